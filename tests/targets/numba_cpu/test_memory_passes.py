"""Joins without copies, orders with a lower peak, memory limits: same results, less memory, honest refusals."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnx_ir as ir
import pytest

import accelc
from accelc.errors import ArtifactError, LimitError, UsageError
from accelc.reference import run_onnxruntime
from accelc.target import TargetOptions
from accelc.targets.numba_cpu import elide_copies, improve, target
from accelc.targets.numba_cpu.executable import CpuExecutable
from accelc.targets.numba_cpu.program import Call, Program
from accelc.targets.numba_cpu.target import NumbaCpu

HEADER = '<ir_version: 11, opset_import: ["" : 24]>\n'
JOINS = """g (float[N,8,6,6] x, float[8,8,1,1] w, float[8,8,1,1] u) => (float[N,24,6,6] y, float[N,40,6,6] z) {
  a = Conv(x, w)
  b = Conv(a, u)
  c = Concat<axis=1>(a, b)
  d = Conv(b, w)
  e = Concat<axis=1>(c, d)
  y = Relu(e)
  f = Concat<axis=1>(e, c)
  z = Sigmoid(f)
}"""
NET = """g (float[1,3,64,64] x, float[16,3,3,3] w, float[16,1,3,3] v, float[24,16,1,1] u) => (float[1,24,15,15] y) {
  a = Conv<pads=[1,1,1,1]>(x, w)
  b = Relu(a)
  c = Conv<group=16, pads=[1,1,1,1]>(b, v)
  d = Relu(c)
  e = Conv(d, u)
  y = MaxPool<kernel_shape=[5,5], strides=[4,4]>(e)
}"""


def weights(text: str) -> ir.Model:
    """A model whose operands but x are constants."""
    proto = onnx.parser.parse_model(HEADER + text)
    rng = np.random.default_rng(0)
    for value in list(proto.graph.input)[1:]:
        shape = [dim.dim_value for dim in value.type.tensor_type.shape.dim]
        array = (rng.standard_normal(shape) / 3).astype(np.float32)
        proto.graph.initializer.append(onnx.numpy_helper.from_array(array, value.name))
        proto.graph.input.remove(value)
    return ir.from_proto(proto)


def lower(model: ir.Model, **options: object) -> CpuExecutable:
    exe = NumbaCpu().lower(model, TargetOptions(**options))  # type: ignore[arg-type]
    assert isinstance(exe, CpuExecutable)
    return exe


def copies(exe: CpuExecutable) -> int:
    return sum(isinstance(step, Call) and step.family == "copy" for step in exe.program.steps)


def check(model: ir.Model, exe: CpuExecutable, x: np.ndarray) -> None:
    for found, wanted in zip(exe.run(None, {"x": x}), run_onnxruntime(model, {"x": x}), strict=True):
        np.testing.assert_allclose(found, wanted, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("batch", [1, 2, 0])
def test_joins_are_written_in_place(batch: int) -> None:
    model = weights(JOINS)
    exe = lower(model, sanitize=True)
    x = np.random.default_rng(1).standard_normal((batch, 8, 6, 6)).astype(np.float32)
    check(model, exe, x)


def test_fewer_copies_and_no_more_memory(monkeypatch: pytest.MonkeyPatch) -> None:
    model = weights(JOINS)
    improved = lower(model)
    monkeypatch.setattr(improve, "elide_copies", lambda *_, **__: 0)
    plain = lower(model)
    assert copies(improved) < copies(plain)
    for batch in (1, 7):
        shapes = {"x": (batch, 8, 6, 6)}
        assert improved.plan_for(shapes).peak_bytes <= plain.plan_for(shapes).peak_bytes


@pytest.mark.parametrize("restored", range(5))
def test_copies_put_back_leave_the_others_right(restored: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """A value that goes to two places is written to one of them and copied to the other, whichever stay."""
    text = """g (float[N,8,6,6] x) => (float[N,24,6,6] y, float[N,16,6,6] z, float[N,40,6,6] u) {
      a = Exp(x)
      b = Neg(a)
      c = Concat<axis=1>(a, b)
      d = Concat<axis=1>(b, a, x)
      e = Concat<axis=1>(c, d)
      y = Relu(d)
      z = Sigmoid(c)
      u = Relu(e)
    }"""
    worse = iter(
        [0, 0] + [1, 1] * restored
    )  # two samples each: before, and after so many copies were put back
    monkeypatch.setattr(elide_copies, "_peak", lambda *_: next(worse, 0))
    model = weights(text)
    x = np.random.default_rng(6).standard_normal((2, 8, 6, 6)).astype(np.float32)
    check(model, lower(model, sanitize=True), x)


@pytest.mark.parametrize("which", [0, 1])
def test_two_whole_copies_of_one_value(which: int, monkeypatch: pytest.MonkeyPatch) -> None:
    text = "g (float[N,6] x) => (float[N,6] y, float[N,6] z) { a = Exp(x) y = Softmax(a) b = Sin(a) z = Softmax(b) }"
    improved = improve.improve

    def with_copies(program: Program, *arguments: Any, **options: Any) -> None:
        exp, softmax, sin, last = program.steps
        made = []
        for reader in (softmax, sin):
            copy = replace(program.values[exp.outputs[0]], id=len(program.values), name="copy")
            program.values.append(copy)
            params = {"itemsize": 4}
            made += [
                Call("copy", params, exp.outputs, (copy.id,)),
                replace(reader, inputs=(copy.id, *reader.inputs[1:])),
            ]
        program.steps = [exp, *made, last]
        improved(program, *arguments, **options)

    def any_of_them(elision: Any, *_: Any) -> list[int]:
        return sorted(elision.elided)[which : which + 1]

    worse = iter([0, 0, 1, 1])  # one is put back, whichever
    monkeypatch.setattr(elide_copies, "_peak", lambda *_: next(worse, 0))
    monkeypatch.setattr(elide_copies._Elision, "at_peak", any_of_them)
    monkeypatch.setattr(improve, "improve", with_copies)
    model = weights(text)
    check(model, lower(model, sanitize=True), np.random.default_rng(7).random((3, 6), np.float32))


def test_attention_takes_over_its_queries_and_reads_slices() -> None:
    """Rows of several blocks; q, k and v are one product's columns, and q once more a product of its own."""
    text = """g (float[1,100,16] x, float[16,48] w, float[16,16] u) => (float[1,100,16] y, float[1,100,16] z) {
      m = MatMul(x, w)
      a, b, c = Split<axis=-1, num_outputs=3>(m)
      h = Constant<value_ints=[1,100,2,8]>()
      d = Reshape(a, h) e = Reshape(b, h) f = Reshape(c, h)
      q = Transpose<perm=[0,2,1,3]>(d) k = Transpose<perm=[0,2,1,3]>(e) v = Transpose<perm=[0,2,1,3]>(f)
      r = Attention(q, k, v)
      s = Transpose<perm=[0,2,1,3]>(r)
      o = Shape(x)
      y = Reshape(s, o)
      n = MatMul(x, u)
      p = Reshape(n, h)
      t = Transpose<perm=[0,2,1,3]>(p)
      i = Attention(t, k, v)
      j = Transpose<perm=[0,2,1,3]>(i)
      l = Reshape(j, o)
      z = Softmax(l)
    }"""
    model = weights(text)
    exe = lower(model, sanitize=True)
    check(model, exe, np.random.default_rng(8).standard_normal((1, 100, 16)).astype(np.float32))
    assert copies(exe) <= 1  # the output y
    plan = exe.memory_map()
    assert plan is not None
    assert any("n" in buffer.name.split(", ") and len(buffer.name.split(", ")) > 1 for buffer in plan.buffers)


def test_views_of_joined_values_stay_right() -> None:
    """A reshape needs dense memory: what it reads keeps its own."""
    text = """g (float[N,4,6] x) => (float[N,24] r, float[N,8,6] y) {
      a = Exp(x)
      b = Neg(x)
      c = Concat<axis=1>(a, b)
      y = Relu(c)
      s = Flatten(a)
      r = Relu(s)
    }"""
    model = weights(text)
    check(model, lower(model, sanitize=True), np.random.default_rng(2).random((3, 4, 6), np.float32))


def test_an_order_with_a_lower_peak() -> None:
    """Two branches swell and shrink: one after the other they never swell together."""
    text = """g (float[1,64] x, float[64,4096] w, float[4096,1] v) => (float[1,1] y) {
      a = MatMul(x, w)
      b = Sin(x)
      c = MatMul(b, w)
      d = MatMul(a, v)
      e = MatMul(c, v)
      y = Sub(d, e)
    }"""
    model = weights(text)
    exe = lower(model)
    check(model, exe, np.random.default_rng(3).random((1, 64), np.float32))
    assert exe.memory_plan.peak_bytes < 2 * 4096 * 4


def test_a_limit_is_kept_with_the_same_results() -> None:
    model = weights(NET)
    free = lower(model)
    peak = free.memory_plan.peak_bytes
    limit = int(0.6 * peak)
    limited = lower(model, mem_limit=limit, sanitize=True)
    assert limited.memory_plan.peak_bytes <= limit
    cost = limited.memory_plan.limit
    assert cost is not None
    assert (cost.limit_bytes, cost.unlimited_bytes) == (limit, peak)
    assert cost.recomputed_calls > 0
    x = np.random.default_rng(4).standard_normal((1, 3, 64, 64)).astype(np.float32)
    np.testing.assert_array_equal(limited(x=x), free(x=x))
    check(model, limited, x)


def test_recomputed_values_are_the_same() -> None:
    """A cheap wide value is needed at both ends of a chain with a high peak."""
    text = """g (float[1,512] x, float[512,512] w) => (float[1,512] y) {
      k = Sin(x)
      a = MatMul(k, w)
      b = Softmax<axis=-1>(a)
      c = MatMul(b, w)
      d = Softmax<axis=-1>(c)
      y = Sub(d, k)
    }"""
    model = weights(text)
    free = lower(model)
    limited = lower(model, mem_limit=free.memory_plan.peak_bytes - 1024, sanitize=True)
    cost = limited.memory_plan.limit
    assert cost is not None
    assert cost.recomputed_flops > 0
    x = np.random.default_rng(5).random((1, 512), np.float32)
    np.testing.assert_array_equal(limited(x=x), free(x=x))


def test_a_limit_that_cannot_be_met_says_the_least() -> None:
    with pytest.raises(LimitError, match="cannot be kept within 100 B") as caught:
        lower(weights(NET), mem_limit=100)
    assert "the least found is" in caught.value.why


def test_a_limit_needs_sizes() -> None:
    with pytest.raises(UsageError, match="shapes that are known") as caught:
        lower(weights(JOINS), mem_limit=1 << 30)
    assert "N" in caught.value.why


def test_what_a_limit_costs_is_saved(tmp_path: Path) -> None:
    model = weights(NET)
    peak = accelc.compile(model.clone(), verify=False).memory_plan.peak_bytes
    exe = accelc.compile(model, verify=False, mem_limit=f"{0.6 * peak / 1000:.3f}kB")
    loaded = accelc.load(exe.save(tmp_path / "net.accel"))
    assert loaded.memory_plan == exe.memory_plan
    assert loaded.summary["memory"]["limit"]["unlimited_bytes"] == peak
    with pytest.raises(ArtifactError, match="damaged"):
        target._cost({"limit_bytes": "many"})
