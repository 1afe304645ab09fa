"""Verification: what counts as the same answer, and what cannot be compared."""

from __future__ import annotations

from typing import Any

import numpy as np
import onnx_ir as ir
import pytest

from accelc.errors import CallError, NumericsError, UnsupportedError
from accelc.oracle_process import run_isolated
from accelc.target import Verification
from accelc.targets.onnx_model.target import OnnxExecutable
from accelc.verification import check, compare, hazard, prepare, raise_if_failed

HEADER = '<ir_version: 11, opset_import: ["" : 24]>\n'


def model_of(text: str) -> ir.Model:
    return ir.from_onnx_text(HEADER + text)


def f32(*values: float) -> np.ndarray:
    return np.array(values, np.float32)


@pytest.mark.parametrize(
    ("expected", "second", "found", "why"),
    [
        (f32(1, 2), f32(1, 2), f32(1, 2), ""),
        (f32(1, 2), f32(1, 2), f32(1, 2.00001), ""),
        (f32(1, 2), f32(1, 2), f32(1, 2.1), "error 0.05 of max|output| exceeds 2e-05"),
        (f32(1, 2), f32(1, 2.1), f32(1, 2.15), ""),
        (f32(1, np.nan), f32(1, np.nan), f32(1, np.nan), ""),
        (f32(1, np.nan), f32(1, np.nan), f32(1, 1), "expected nan, got 1.0 at [1]"),
        (f32(1, np.inf), f32(1, np.inf), f32(1, -np.inf), "expected inf, got -inf at [1]"),
        (f32(1, np.nan), f32(1, 2), f32(1, 2), ""),
        (f32(1), f32(1), f32(1, 1), "expected shape [1], got [2]"),
        (f32(1), f32(1), np.array([1.0]), "expected dtype float32, got float64"),
        (np.array([1, 2]), np.array([1, 2]), np.array([1, 3]), "1 of 2 elements differ"),
        (np.array([1, 2]), np.array([1, 3]), np.array([1, 9]), ""),
        (f32(), f32(), f32(), ""),
    ],
)
def test_compare(expected: np.ndarray, second: np.ndarray, found: np.ndarray, why: str) -> None:
    assert compare(expected, second, found, 2e-5)[2] == why


def test_a_right_model_is_verified_on_two_sizes() -> None:
    model = model_of("g (float[N,3] x) => (float[N,3] y) { y = Softmax(x) }")
    verdict = check(OnnxExecutable(model, kernels=1), prepare(model, model))
    assert (verdict.status, verdict.input_sets) == ("verified", 2)
    assert verdict.max_rel_error <= verdict.bound
    assert [name for name, _ in verdict.outputs] == ["y"]


def test_a_wrong_model_fails_with_its_output_named() -> None:
    right = model_of("g (float[N,3] x) => (float[N,3] y) { y = Relu(x) }")
    wrong = model_of("g (float[N,3] x) => (float[N,3] y) { y = Abs(x) }")
    verdict = check(OnnxExecutable(wrong, kernels=1), prepare(right, right))
    assert verdict.status == "failed"
    assert verdict.reason.startswith("output y: error ")
    with pytest.raises(NumericsError) as caught:
        raise_if_failed(verdict, model_name="m")
    assert str(caught.value) == (
        "NumericsError: the compiled model does not give the same answers\n"
        "  where  model m\n"
        f"  why    {verdict.reason}\n"
        "  fix    accelc verify MODEL --bisect names the rewrite; --verify off skips the check"
    )


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        (
            "g (float[N] x) => (float[N] y) { r = RandomNormalLike(x) y = Add(x, r) }",
            "non-deterministic: RandomNormalLike at node r",
        ),
        (
            "g (float[N] x) => (float[N] y) <bool t = {1}> { y = Dropout(x, , t) }",
            "non-deterministic: Dropout in training mode at node y",
        ),
    ],
)
def test_what_cannot_be_compared_says_why(text: str, reason: str) -> None:
    model = model_of(text)
    verdict = check(OnnxExecutable(model, kernels=1), prepare(model, model))
    assert verdict == Verification("not verified", reason=reason)


def test_an_endless_loop_is_not_tried() -> None:
    model = model_of(
        "g (bool c, float[1] x) => (float[1] y) { y = Loop(, c, x) <body = b (int64 i, bool go, float[1] v)"
        " => (bool on, float[1] w) { on = Identity(go) w = Add(v, v) }> }"
    )
    assert prepare(model, model).reason == "may not end: Loop at node y has no small bound"


def test_a_value_out_of_proportion_is_tried_on_the_users_data_only(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("accelc.verification._LARGE_BYTES", 1 << 20)
    model = model_of("g (float[1] x) => (float[1000000] y) <int64[1] s = {1000000}> { y = Expand(x, s) }")
    assert prepare(model, model).reason.startswith("too large: one value takes 3 MB")
    assert len(prepare(model, model, data={"x": f32(3)}).cases) == 1


def test_a_model_larger_than_memory_is_not_tried() -> None:
    model = model_of(
        "g (float[1] x) => (float[1000000000,1000000] y) <int64[2] s = {1000000000, 1000000}> { y = Expand(x, s) }"
    )
    assert prepare(model, model).reason.startswith("too large: one value takes ")


def test_rejected_draws_are_drawn_again_with_other_sizes() -> None:
    model = model_of(
        "g (float[N,16] x) => (float[M,4,16] y) <int64[3] s = {-1, 4, 16}> { y = Reshape(x, s) }"
    )
    cases = prepare(model, model)
    assert [case.feeds["x"].shape[0] % 4 for case in cases.cases] == [0, 0]


def test_inputs_that_never_fit_are_said() -> None:
    model = model_of("g (float[N,7] x) => (float[M,512] y) <int64[2] s = {-1, 512}> { y = Reshape(x, s) }")
    cases = prepare(model, model)
    assert cases.cases == []
    assert cases.reason.startswith("onnxruntime rejected every input drawn: ")
    assert check(OnnxExecutable(model, kernels=1), cases).status == "not verified"


def test_the_users_data_is_what_is_compared() -> None:
    model = model_of("g (float[N] x) => (float[N] y) { y = Sqrt(x) }")
    feeds = {"x": f32(4, 9)}
    cases = prepare(model, model, data=feeds)
    assert [case.expected[0].tolist() for case in cases.cases] == [[2, 3]]


def test_half_precision_is_held_to_half_precision() -> None:
    model = model_of("g (float16[N] x) => (float16[N] y) { y = Tanh(x) }")
    assert prepare(model, model).floor == pytest.approx(4 / 1024)


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("g (int64[N] a, int64[N] b) => (int64[N] c) { c = Div(a, b) }", "integer Div at node c"),
        ("g (int64[N] a) => (int64[N] c) <int64[1] b = {0}> { c = Mod(a, b) }", "integer Mod at node c"),
        ("g (int64[N] a) => (int64[N] c) <int64[1] b = {2}> { c = Div(a, b) }", ""),
        ("g (float[N] a, float[N] b) => (float[N] c) { c = Div(a, b) }", ""),
    ],
)
def test_hazards(text: str, found: str) -> None:
    assert hazard(model_of(text)) == found


def test_a_crash_of_the_oracle_is_a_reason() -> None:
    model = model_of("g (int64[N] a, int64[N] b) => (int64[N] c) { c = Div(a, b) }")
    with pytest.raises(UnsupportedError) as caught:
        run_isolated(model, {"a": np.array([np.iinfo(np.int64).min]), "b": np.array([-1])})
    assert str(caught.value) == "UnsupportedError: onnxruntime crashed on the model\n  why    signal 8"


def test_the_isolated_oracle_gives_what_the_other_gives() -> None:
    model = model_of("g (int64[N] a, int64[N] b) => (int64[N] c) { c = Div(a, b) }")
    first, second = run_isolated(model, {"a": np.array([7, -7]), "b": np.array([2, 2])})
    assert first[0].tolist() == second[0].tolist() == [3, -3]


def test_sizes_drawn_at_random_that_the_model_refuses_are_left_out() -> None:
    model = model_of("g (float[N] x) => (float[N] y) { y = Sqrt(x) }")

    class Picky(OnnxExecutable):
        def run(self, output_names: Any, feeds: Any) -> list[np.ndarray]:
            if refused(feeds["x"].shape[0]):
                raise CallError("the size makes no sense")
            return super().run(output_names, feeds)

    cases = prepare(model, model)
    exe = Picky(model, kernels=1)
    exe.emitted = None  # else onnxruntime would run it
    first = cases.cases[0].feeds["x"].shape[0]
    refused = lambda size: size == first  # noqa: E731
    assert (check(exe, cases).status, check(exe, cases).input_sets) == ("verified", 1)
    refused = lambda size: True  # noqa: E731
    assert "refuses the inputs drawn (the size makes no sense)" in check(exe, cases).reason
    given = prepare(model, model, data={"x": np.ones(3, np.float32)})
    with pytest.raises(CallError):
        check(exe, given)
