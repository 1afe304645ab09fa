"""If, Loop and Scan on the target: bodies are programs, run as often as the op says."""

from pathlib import Path

import numpy as np
import onnx
import onnx_ir as ir
import pytest

from accelc.errors import CallError
from accelc.ir import shapes
from accelc.reference import run_onnxruntime
from accelc.target import TargetOptions
from accelc.targets.numba_cpu.executable import CpuExecutable
from accelc.targets.numba_cpu.kernel_store import KernelStore
from accelc.targets.numba_cpu.program import BodyCall
from accelc.targets.numba_cpu.target import NumbaCpu

F32 = np.float32
GROWS = """g (int64 n, bool c, float[N] x, float[N] k) => (float[M] y, float[T,R] s, float[M] e) {
    y, s = Loop (n, c, x) <body = b (int64 i, bool ci, float[P] v) => (bool co, float[Q] w, float[N] o) {
        w = Concat<axis=0>(v, x) o = Add(k, x) m = ReduceSum<keepdims=0>(w)
        limit = Constant<value_float=11.0>() co = Less(m, limit) }>
    e = Exp(y) }"""
KEEPS = """g (int64 n, float[N] x) => (float[N] y, float[T,N] s) <bool c = {1}> {
    y, s = Loop (n, c, x) <body = b (int64 i, bool ci, float[N] v) => (bool co, float[N] w, float[N] o) {
        co = Identity(ci) w = Add(v, x)
        even = Constant<value_int=2>() r = Mod(i, even) f = Cast<to=9>(r)
        o = If (f) <then_branch = t () => (float[N] a) { a = Neg(w) },
                    else_branch = e () => (float[N] b2) { b2 = Identity(x) }> }> }"""
SCAN = """g (float[H] h0, float[H,T] x, float[H,H] w) => (float[H] h, float[H,T] ys) {
    h, ys = Scan <num_scan_inputs = 1, scan_input_axes = [1], scan_input_directions = [1],
                  scan_output_axes = [-1], scan_output_directions = [1],
                  body = b (float[H] s, float[H] xt) => (float[H] s2, float[H] y) {
        m = MatMul(s, w) a = Add(m, xt) s2 = Tanh(a) y = Neg(s2) }> (h0, x) }"""


def model_of(text: str) -> ir.Model:
    return ir.from_proto(onnx.parser.parse_model(f'<ir_version: 10, opset_import: ["": 24]> {text}'))


def lower(model: ir.Model) -> CpuExecutable:
    exe = NumbaCpu().lower(model, TargetOptions())
    assert isinstance(exe, CpuExecutable)
    assert not exe.fallbacks
    assert any(isinstance(step, BodyCall) for step in exe.program.steps)
    return exe


def check(model: ir.Model, exe: CpuExecutable, feeds: dict[str, np.ndarray]) -> None:
    for found, wanted in zip(exe.run(None, feeds), run_onnxruntime(model, feeds), strict=True):
        assert found.dtype == wanted.dtype
        assert found.shape == wanted.shape
        np.testing.assert_allclose(found, wanted, rtol=1e-5, atol=1e-6)


@pytest.fixture(scope="module")
def grows() -> tuple[ir.Model, CpuExecutable]:
    model = model_of(GROWS)
    return model, lower(model)


@pytest.mark.parametrize(("trips", "go"), [(1, True), (3, True), (90, True)])
def test_carried_shapes_change_and_the_condition_ends_it(
    grows: tuple[ir.Model, CpuExecutable], trips: int, go: bool
) -> None:
    feeds = {"n": np.array(trips), "c": np.array(go), "x": np.ones(3, F32), "k": np.full(3, 2, F32)}
    check(*grows, feeds)


@pytest.mark.parametrize(("trips", "go"), [(0, True), (3, False), (-1, True)])
def test_no_iteration_gives_the_first_values(
    grows: tuple[ir.Model, CpuExecutable], trips: int, go: bool
) -> None:
    x = np.ones(3, F32)
    y, s, e = grows[1].run(None, {"n": np.array(trips), "c": np.array(go), "x": x, "k": x})
    np.testing.assert_array_equal(y, x)
    assert y is not x
    assert s.shape[0] == 0
    assert e.shape == (3,)


def test_nested_if_in_a_loop_compiles_and_plans_nothing_again(monkeypatch: pytest.MonkeyPatch) -> None:
    model = model_of(KEEPS)
    exe = lower(model)
    check(model, exe, {"n": np.array(3), "x": np.arange(5, dtype=F32)})

    def never(*_: object) -> None:
        raise AssertionError("compiled while running")

    monkeypatch.setattr(KernelStore, "require", never)
    for n, size in ((1, 5), (7, 5), (2, 1), (4, 9)):
        check(model, exe, {"n": np.array(n), "x": np.arange(size, dtype=F32)})
    body = exe._main.bodies[0]
    before = [len(plans) for plans in body._region_plans]
    check(model, exe, {"n": np.array(50), "x": np.arange(9, dtype=F32)})
    assert [len(plans) for plans in body._region_plans] == before


@pytest.mark.parametrize("length", [1, 4])
def test_scan_with_axes_and_directions(length: int) -> None:
    rng = np.random.default_rng(length)
    model = model_of(SCAN)
    arrays = {"h0": (3,), "x": (3, length), "w": (3, 3)}
    check(model, lower(model), {k: rng.standard_normal(s).astype(F32) for k, s in arrays.items()})


def test_scan_of_nothing() -> None:
    exe = lower(model_of(SCAN))
    h, ys = exe.run(None, {"h0": np.ones(3, F32), "x": np.ones((3, 0), F32), "w": np.ones((3, 3), F32)})
    np.testing.assert_array_equal(h, np.ones(3, F32))
    assert ys.shape == (3, 0)


def test_shapes_known_outside_steer_the_body() -> None:
    model = model_of(
        """g (float[N,C] x) => (float[K,L] y) <bool c = {1}, int64 n = {2}> {
        h = Shape<start=1>(x) t = Shape<end=1>(x) p = Concat<axis=0>(h, t)
        y = Loop (n, c, x) <body = b (int64 i, bool ci, float v) => (bool co, float[K,L] w) {
            co = Identity(ci) f = Reshape(v, p) w = Neg(f) }> }"""
    )
    body = next(a.as_graph() for a in model.graph[-1].attributes.values())
    body.inputs[2].shape = None
    exe = lower(model)
    assert exe.program.bodies[0].steering
    for shape in ((2, 3), (1, 4), (0, 2)):
        x = np.random.default_rng(0).standard_normal(shape).astype(F32)
        np.testing.assert_array_equal(exe(x=x), x.reshape(shape[::-1]))


def test_saved_bodies_share_constants(tmp_path: Path) -> None:
    model = _two_branches()
    exe = lower(model)
    folder = tmp_path / "a"
    folder.mkdir()
    again = NumbaCpu().load(folder, {"payload": exe.payload(folder)}, TargetOptions())
    assert (folder / "weights.bin").stat().st_size < 2 * 300 * 4
    for c in (True, False):
        feeds = {"c": np.array(c), "x": np.arange(300, dtype=F32)}
        np.testing.assert_array_equal(again.run(None, feeds)[0], exe.run(None, feeds)[0])


def _two_branches() -> ir.Model:
    """Both branches read the same weights."""
    model = onnx.parser.parse_model(
        '<ir_version: 10, opset_import: ["": 24]> g (bool c, float[300] x, float[300] w) => (float[300] y) '
        "{ y = If (c) <then_branch = t () => (float[300] a) { a = Add(x, w) }, "
        "else_branch = e () => (float[300] b) { b = Mul(x, w) }> }"
    )
    del model.graph.input[2]
    weights = np.random.default_rng(0).standard_normal(300).astype(F32)
    model.graph.initializer.append(onnx.numpy_helper.from_array(weights, "w"))
    return ir.from_proto(model)


def test_a_condition_must_be_one_bool() -> None:
    exe = lower(
        model_of(
            "g (bool[K] c, float[2] x) => (float[2] y) { y = If (c) <"
            "then_branch = t () => (float[2] a) { a = Neg(x) }, "
            "else_branch = e () => (float[2] b) { b = Abs(x) }> }"
        )
    )
    np.testing.assert_array_equal(exe(c=np.array([False]), x=np.full(2, -1, F32)), np.ones(2, F32))
    with pytest.raises(CallError, match="not a single bool"):
        exe(c=np.array([True, False]), x=np.ones(2, F32))


def test_inference_takes_nothing_from_the_first_iteration() -> None:
    model = model_of(
        """g (float[1] x, bool c) => (float[M] y, float[K] s) <int64 n = {5}> {
        y, s = Loop (n, c, x) <body = b (int64 i, bool ci, float v) => (bool co, float w, float o) {
            w = Concat<axis=0>(v, v) o = ReduceSum<keepdims=0>(w)
            z = Size(w) limit = Constant<value_int=7>() co = Less(z, limit) }> }"""
    )
    body = model.graph[0].attributes["body"].as_graph()
    for value in (*body.inputs[2:], *body.outputs[1:]):
        value.shape = None
    shapes.infer(model)
    y, s = (shapes.dims_of(value) for value in model.graph.outputs)
    assert not isinstance((y or (0,))[0], int)
    assert not isinstance((s or (0,))[0], int)
    y, s = lower(model).run(None, {"x": np.ones(1, F32), "c": np.array(True)})
    assert (y.shape, s.tolist()) == ((8,), [2.0, 4.0, 8.0])
