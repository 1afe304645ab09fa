"""Whole models through target xla: one function where that can be, cuts where values must be seen."""

from __future__ import annotations

import sys
import threading
from typing import Any

import numpy as np
import pytest

import accelc
from accelc.errors import CallError, FallbackError, LoweringError, UnsupportedError, UsageError
from accelc.targets.jax_xla import compiled_step, runtime

pytest.importorskip("jax", reason="target xla needs accelc[jax]")


def model(text: str) -> str:
    return f'<ir_version: 10, opset_import: ["" : 21]> {text}'


def facts(exe: accelc.Executable) -> dict[str, Any]:
    return dict(exe.summary["target_facts"])


CHAIN = model(
    """g (float[N,4] x) => (float[N,2,2] y) <float[4] b = {1, 2, 3, 4}, int64[3] shape = {-1, 2, 2}> {
      t = Add(x, b)  r = Relu(t)  y = Reshape(r, shape)
    }"""
)
CUT = model(
    """g (float[N] x) => (float[M] y, int64[K] s) <float[1] zero = {0}, int64[1] all = {-1}> {
      m = Greater(x, zero)  n = NonZero(m)  i = Reshape(n, all)  g = Gather(x, i)  y = Exp(g)  s = Shape(g)
    }"""
)


def test_one_function() -> None:
    exe = accelc.compile(CHAIN, target="xla")
    assert exe.verification.status == "verified"
    assert facts(exe)["compiled functions"] == 1
    assert facts(exe)["host steps"] == []
    for rows in (0, 1, 7):
        x = np.full((rows, 4), -1.5, np.float32)
        expected = np.maximum(x + np.arange(1, 5, dtype=np.float32), 0).reshape(-1, 2, 2)
        np.testing.assert_array_equal(exe(x=x), expected)
    assert exe.memory_plan.peak_bytes > 0
    times = exe.step_times({"x": x}, rounds=1)
    assert [step.kernel for step in times] == ["xla function"]


def test_results_belong_to_the_caller() -> None:
    exe = accelc.compile(
        model("g (float[2] x) => (float[2] y, float[2] z) { y = Neg(x)  z = Identity(x) }"), target="xla"
    )
    x = np.ones(2, np.float32)
    for result in exe.run(None, {"x": x}):
        result[:] = 5
    np.testing.assert_array_equal(x, [1, 1])


def test_large_results_are_handed_over() -> None:
    text = "g (float[600,600] x) => (float[600,600] y, float[600,600] z) { y = Neg(x)  z = Identity(x) }"
    exe = accelc.compile(model(text), target="xla")
    x = np.ones((600, 600), np.float32)
    first = exe.run(None, {"x": x})
    for result in first:
        assert result.flags.writeable
        result[:] = 5
    np.testing.assert_array_equal(exe.run(None, {"x": x})[0], -x)
    np.testing.assert_array_equal(first[0], np.full_like(x, 5))
    np.testing.assert_array_equal(x, np.ones_like(x))


def test_data_dependent_shapes_cut_the_program() -> None:
    exe = accelc.compile(CUT, target="xla")
    assert exe.verification.status == "verified"
    assert facts(exe)["compiled functions"] == 2
    assert [line.split(" ")[1] for line in facts(exe)["host steps"]] == ["(NonZero):"]
    assert exe.fallbacks == ()
    y, s = exe.run(None, {"x": np.array([-1, 0, 2, 3], np.float32)})
    np.testing.assert_allclose(y, np.exp([2, 3]), rtol=1e-6)
    assert s.tolist() == [2]
    y, s = exe.run(None, {"x": np.array([-1], np.float32)})
    assert y.shape == (0,)


def test_a_computed_operand_is_seen_before_it_decides_a_shape() -> None:
    text = model(
        """g (float[N] x) => (float[M] y) <float[1] zero = {0}, int64[1] start = {0}> {
          m = Greater(x, zero)  i = Cast<to = 7>(m)  n = ReduceSum(i)  y = Slice(x, start, n)
        }"""
    )
    exe = accelc.compile(text, target="xla")
    assert exe.verification.status == "verified"
    x = np.array([3, -1, 2, -5], np.float32)
    np.testing.assert_array_equal(exe(x=x), x[:2])


def test_small_inputs_steer_without_a_cut() -> None:
    text = model("g (float[A,B] x, int64[R] shape) => (float[C,D] y) { y = Reshape(x, shape) }")
    exe = accelc.compile(text, target="xla")
    assert facts(exe)["compiled functions"] == 1
    x = np.arange(6, dtype=np.float32).reshape(2, 3)
    for shape in ([3, 2], [6, 1], [1, -1]):
        np.testing.assert_array_equal(exe(x=x, shape=np.array(shape)), x.reshape(shape))


def test_strings_and_sequences_stay_on_the_host() -> None:
    text = model(
        """g (float[4] x, string[2] a, string[2] b) => (float[2] y, string[2] c)
             <int64 one = {1}, int64[2] cut = {2, 2}> {
          s = SplitToSequence(x, cut)  e = SequenceAt(s, one)  y = Neg(e)  c = StringConcat(a, b)
        }"""
    )
    exe = accelc.compile(text, target="xla", verify=False)
    y, c = exe.run(None, {"x": np.arange(4, dtype=np.float32), "a": ["a", "ü"], "b": np.array(["b", "c"])})
    assert y.tolist() == [-2, -3]
    assert c.tolist() == ["ab", "üc"]
    assert exe.fallbacks == ()


def test_random_numbers_are_fresh() -> None:
    text = model("g () => (float[50] y) { y = RandomNormal<shape = [50]>() }")
    exe = accelc.compile(text, target="xla", verify=False)
    first, second = exe(), exe()
    assert first.shape == (50,)
    assert not np.array_equal(first, second)


def test_deep_models() -> None:
    nodes = "\n".join(f"t{i + 1} = Neg(t{i})" for i in range(3000))
    exe = accelc.compile(
        model(f"g (float[2] t0) => (float[2] t3000) {{ {nodes} }}"), target="xla", level=0, verify=False
    )
    np.testing.assert_array_equal(exe(t0=np.array([1, 2], np.float32)), [1, 2])


def test_threads_share_an_executable() -> None:
    exe = accelc.compile(CHAIN, target="xla", verify=False)
    errors: list[BaseException] = []

    def call(rows: int) -> None:
        try:
            for _ in range(20):
                x = np.full((rows, 4), rows, np.float32)
                np.testing.assert_array_equal(
                    exe(x=x).reshape(rows, 4), x + np.arange(1, 5, dtype=np.float32)
                )
        except BaseException as error:
            errors.append(error)

    threads = [threading.Thread(target=call, args=(rows,)) for rows in (1, 2, 3, 1, 2, 3, 4, 4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert errors == []


@pytest.mark.parametrize(("precision", "bound"), [("bf16", 2.0**-5), ("f16", 2.0**-8), ("tf32", 1e-5)])
def test_precision(precision: str, bound: float) -> None:
    rng = np.random.default_rng(0)
    text = model("g (float[8,64] a, float[64,8] b) => (float[8,8] y) { y = MatMul(a, b) }")
    a, b = rng.standard_normal((8, 64)).astype(np.float32), rng.standard_normal((64, 8)).astype(np.float32)
    exe = accelc.compile(text, target="xla", precision=precision)
    assert exe.verification.status == "verified"
    error = np.abs(exe(a=a, b=b) - a @ b).max() / np.abs(a @ b).max()
    assert error <= bound
    assert error > 0 or precision == "tf32"


# ------------------------------------------------------------------ errors
def test_missing_input() -> None:
    exe = accelc.compile(CHAIN, target="xla", verify=False)
    with pytest.raises(CallError, match="input 'x' is missing"):
        exe.run(None, {})
    with pytest.raises(CallError, match=r"expected float32\[N,4\], got float64\[1,4\]"):
        exe(x=np.ones((1, 4)))
    with pytest.raises(CallError, match="no output is called 'q'"):
        exe.run(["q"], {"x": np.ones((1, 4), np.float32)})


def test_no_such_device() -> None:
    with pytest.raises(UnsupportedError, match="there is no TPU here"):
        accelc.compile(CHAIN, target="tpu")


def test_unknown_domain() -> None:
    head = '<ir_version: 10, opset_import: ["" : 21, "com.acme" : 1]>'
    text = f"{head} g (float[2] x) => (float[2] y) {{ y = com.acme.Foo(x) }}"
    with pytest.raises(LoweringError) as caught:
        accelc.compile(text, target="xla", verify=False)
    assert "cannot lower 1 node(s)" in str(caught.value)
    assert "no lowering for com.acme::Foo" in str(caught.value)


def test_strict_refuses_the_reference() -> None:
    head = '<ir_version: 10, opset_import: ["" : 21, "ai.onnx.ml" : 3]>'
    text = f'{head} g (float[2,3] x) => (float[2,3] y) {{ y = ai.onnx.ml.Normalizer<norm = "L2">(x) }}'
    exe = accelc.compile(text, target="xla")
    if exe.fallbacks:
        with pytest.raises(FallbackError, match="no lowering on target 'xla'"):
            accelc.compile(text, target="xla", strict=True)


def test_unknown_precision() -> None:
    with pytest.raises(UsageError, match="there is no precision 'f8'"):
        accelc.compile(CHAIN, target="xla", precision="f8")


def test_inputs_that_cannot_be_computed_do_not_spoil_the_program() -> None:
    text = model("g (float[A] x, float[B] y) => (float[C] z) { z = Add(x, y) }")
    exe = accelc.compile(text, target="xla", verify=False)
    three, two = np.ones(3, np.float32), np.ones(2, np.float32)
    with pytest.raises(accelc.AccelcError):
        exe(x=three, y=two)
    assert exe.fallbacks == ()
    assert exe(x=three, y=three).tolist() == [2, 2, 2]


@pytest.mark.parametrize(
    ("held", "text"),
    [
        ([2], "2"),
        ([1], "1, not 2: XLA's client keeps the number that it starts with"),
        ([None], "as many as JAX was started with, not 2: XLA's client keeps the number that it starts with"),
    ],
)
def test_threads_are_told_as_they_are(
    monkeypatch: pytest.MonkeyPatch, held: list[int | None], text: str
) -> None:
    monkeypatch.setattr(runtime, "_held", held)
    exe = accelc.compile(CHAIN, target="xla", threads=2, verify=False)
    assert facts(exe).get("threads", text) == text  # an accelerator has none


def test_data_is_not_taken_for_steering() -> None:
    text = model(
        """g (float[N] x) => (float[1] y) <float[1] one = {1}, int64[1] start = {0}> {
          t = Exp(x)  m = Greater(t, one)  i = Cast<to = 7>(m)  n = ReduceSum(i)
          s = Slice(t, start, n)  y = ReduceSum(s)
        }"""
    )
    exe = accelc.compile(text, target="xla")
    assert exe.verification.status == "verified"
    assert facts(exe)["compiled functions"] == 2
    x = np.array([3, -1, 2, -5], np.float32)
    np.testing.assert_allclose(exe(x=x), [np.exp(3) + np.exp(-1)], rtol=1e-6)


def test_many_shapes_do_not_fill_the_memory(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(compiled_step, "MAX_ENTRIES", 2)
    exe = accelc.compile(model("g (float[N] x) => (float[N] y) { y = Neg(x) }"), target="xla", verify=False)
    for size in (1, 2, 1, 3, 1):
        np.testing.assert_array_equal(exe(x=np.ones(size, np.float32)), -np.ones(size))
    (step,) = exe.runner.compiled_steps()  # type: ignore[attr-defined]
    assert [key[0][0] for key in step.entries] == [(3,), (1,)]


def test_without_jax_the_error_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(runtime, "_held", [])
    monkeypatch.delitem(sys.modules, "jax")
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    with pytest.raises(UnsupportedError) as caught:
        runtime.prepare()
    assert str(caught.value).splitlines() == [
        "UnsupportedError: JAX is not installed",
        "  fix    pip install 'accelc[jax]'",
    ]


def test_host_steps_fail_with_their_name() -> None:
    text = model(
        """g (float[4] x, int64 at) => (float[2] y) <int64[2] cut = {2, 2}> {
          s = SplitToSequence(x, cut)  y = SequenceAt(s, at)
        }"""
    )
    exe = accelc.compile(text, target="xla", verify=False)
    with pytest.raises(CallError, match="a position lies outside of the sequence") as caught:
        exe(x=np.ones(4, np.float32), at=np.int64(7))
    assert caught.value.where == ("node SequenceAt_1 (SequenceAt)",)
