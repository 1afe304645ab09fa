"""The target as a user meets it: small models, whole calls, compared with onnxruntime."""

import os
import threading
from pathlib import Path

import numpy as np
import onnx
import onnx_ir as ir
import pytest

from accelc.errors import CallError, FallbackError, LoweringError
from accelc.reference import run_onnxruntime
from accelc.target import TargetOptions
from accelc.targets.numba_cpu.executable import CpuExecutable
from accelc.targets.numba_cpu.target import NumbaCpu

MLP = """g (float[N,7] x, float[7,20] w0, float[20] b0, float[20,5] w1, float[5] b1) => (float[N,5] y) {
    t0 = Gemm(x, w0, b0) t1 = Relu(t0) t2 = Gemm(t1, w1, b1) y = Softmax<axis=-1>(t2) }"""


def model_of(text: str, constants: dict[str, np.ndarray] | None = None) -> ir.Model:
    proto = onnx.parser.parse_model(f'<ir_version: 10, opset_import: ["": 24]> {text}')
    constants = constants or {}
    kept = [value for value in proto.graph.input if value.name not in constants]
    del proto.graph.input[:]
    proto.graph.input.extend(kept)
    proto.graph.initializer.extend(onnx.numpy_helper.from_array(a, n) for n, a in constants.items())
    return ir.from_proto(proto)


def lower(model: ir.Model, **options: object) -> CpuExecutable:
    exe = NumbaCpu().lower(model, TargetOptions(**options))  # type: ignore[arg-type]
    assert isinstance(exe, CpuExecutable)
    return exe


def check(model: ir.Model, feeds: dict[str, np.ndarray], exe: CpuExecutable | None = None) -> None:
    exe = exe or lower(model)
    for found, wanted in zip(exe.run(None, feeds), run_onnxruntime(model, feeds), strict=True):
        assert found.dtype == wanted.dtype
        assert found.shape == wanted.shape
        np.testing.assert_allclose(found, wanted, rtol=1e-5, atol=1e-5)


@pytest.fixture(scope="module")
def mlp() -> ir.Model:
    rng = np.random.default_rng(0)
    shapes = {"w0": (7, 20), "b0": (20,), "w1": (20, 5), "b1": (5,)}
    return model_of(MLP, {k: rng.standard_normal(s).astype(np.float32) for k, s in shapes.items()})


@pytest.fixture(scope="module")
def exe(mlp: ir.Model) -> CpuExecutable:
    return lower(mlp, threads=2)


def rows(n: int) -> np.ndarray:
    return np.random.default_rng(n).standard_normal((n, 7)).astype(np.float32)


@pytest.mark.parametrize("batch", [1, 3, 64, 0])
def test_batch_sizes_share_one_compile(mlp: ir.Model, exe: CpuExecutable, batch: int) -> None:
    check(mlp, {"x": rows(batch)}, exe)
    assert not exe.fallbacks


def test_outputs_are_never_the_arena(exe: CpuExecutable) -> None:
    first = exe(x=rows(3))
    kept = first.copy()
    exe(x=rows(3) + 1)
    np.testing.assert_array_equal(first, kept)


def test_non_contiguous_inputs_and_lists(exe: CpuExecutable) -> None:
    wide = np.random.default_rng(0).standard_normal((3, 14)).astype(np.float32)
    np.testing.assert_array_equal(exe(x=wide[:, ::2]), exe(x=wide[:, ::2].copy()))
    np.testing.assert_array_equal(exe(x=wide[:, :7].tolist()), exe(x=wide[:, :7].copy()))


@pytest.mark.parametrize(
    ("feeds", "message"),
    [
        ({}, "input 'x' is missing"),
        ({"x": np.zeros((2, 7))}, "expected float32, got float64"),
        ({"x": np.zeros((2, 8), np.float32)}, "axis 1: expected 7, got 8"),
        ({"x": np.zeros(7, np.float32)}, "expected rank 2, got 1"),
        ({"x": np.zeros((2, 7), np.float32), "z": 1}, "no input 'z'"),
    ],
)
def test_call_errors_say_what_was_expected(exe: CpuExecutable, feeds: dict, message: str) -> None:
    with pytest.raises(CallError, match=message):
        exe.run(None, feeds)


def test_selects_outputs_by_name(exe: CpuExecutable) -> None:
    assert exe.run(["y"], {"x": rows(1)})[0].shape == (1, 5)
    with pytest.raises(CallError, match="no output 'q'"):
        exe.run(["q"], {"x": rows(1)})


def test_eight_python_threads_at_once(exe: CpuExecutable) -> None:
    wanted = {n: exe(x=rows(n)) for n in range(1, 9)}
    wrong = []

    def work(n: int) -> None:
        wrong.extend(n for _ in range(200) if not np.array_equal(exe(x=rows(n)), wanted[n]))

    threads = [threading.Thread(target=work, args=(n,)) for n in range(1, 9)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not wrong


@pytest.mark.filterwarnings("ignore:.*fork.*:DeprecationWarning")
@pytest.mark.filterwarnings("ignore:os.fork.*:RuntimeWarning")  # JAX, where another test ran it here
def test_fork_after_a_run(exe: CpuExecutable) -> None:
    wanted = exe(x=rows(64))
    child = os.fork()
    if child == 0:
        os._exit(0 if np.array_equal(exe(x=rows(64)), wanted) else 1)
    assert os.waitpid(child, 0)[1] == 0
    np.testing.assert_array_equal(exe(x=rows(64)), wanted)


def test_memory_plan_is_what_is_allocated(exe: CpuExecutable) -> None:
    plan = exe.plan_for({"x": (64, 7)})
    assert plan.peak_bytes >= plan.lower_bound_bytes > 0
    assert plan.weight_bytes > 0


def test_same_value_twice_as_output_and_input_as_output() -> None:
    model = model_of(
        "g (float[2,3] x) => (float[2,3] y, float[2,3] z, float[3,2] t) "
        "{ y = Neg(x) z = Identity(x) t = Transpose<perm=[1,0]>(x) }"
    )
    check(model, {"x": np.arange(6, dtype=np.float32).reshape(2, 3)})


def test_symbolic_shapes_need_no_kernel() -> None:
    model = model_of(
        "g (float[N,S,6] x) => (float[N,S,2,3] y, int64[3] s) "
        "<int64[1] z = {0}, int64[2] hd = {2,3}> "
        "{ s = Shape(x) n = Shape<start=0,end=2>(x) t = Concat<axis=0>(n, hd) a = Reshape(x, t) y = Abs(a) }"
    )
    exe = lower(model)
    assert not exe.fallbacks
    for shape in ((2, 4, 6), (1, 1, 6), (3, 0, 6)):
        check(model, {"x": np.random.default_rng(0).standard_normal(shape).astype(np.float32)}, exe)


def test_data_dependent_shape_splits_regions() -> None:
    model = model_of(
        "g (float[N] x) => (float[M] y) "
        "{ a = Abs(x) i = NonZero(a) r = Transpose<perm=[1,0]>(i) g = GatherND(a, r) y = Sqrt(g) }"
    )
    exe = lower(model)
    assert not exe.fallbacks
    for x in ([0.0, 4.0, 9.0], [1.0], [0.0]):
        check(model, {"x": np.array(x, np.float32)}, exe)


def test_control_flow_runs_with_captures() -> None:
    model = model_of(
        "g (float[3] x, bool c) => (float[3] y) { a = Exp(x) "
        "y = If (c) <then_branch = t () => (float[3] u) { u = Neg(a) }, "
        "else_branch = e () => (float[3] v) { v = Add(a, x) }> }"
    )
    exe = lower(model)
    for c in (True, False):
        check(model, {"x": np.ones(3, np.float32), "c": np.array(c)}, exe)


def test_strict_refuses_the_reference() -> None:
    model = model_of("g (float[2,2] x) => (float[2,2] y) { a = Abs(x) y = RandomUniformLike(a) }")
    assert "(RandomUniformLike): no kernel" in lower(model).fallbacks[0]
    with pytest.raises(FallbackError, match="RandomUniformLike"):
        lower(model, strict=True)


def test_unknown_ops_are_listed_together() -> None:
    proto = onnx.parser.parse_model(
        '<ir_version: 10, opset_import: ["": 24, "my": 1]> g (float[2] x) => (float[2] y) '
        "{ a = my.Foo(x) y = my.Bar(a) }"
    )
    with pytest.raises(LoweringError, match="2 node"):
        lower(ir.from_proto(proto))


def test_saved_program_runs_after_moving(mlp: ir.Model, exe: CpuExecutable, tmp_path: Path) -> None:
    folder = tmp_path / "a"
    folder.mkdir()
    payload = exe.payload(folder)
    moved = folder.rename(tmp_path / "b")
    again = NumbaCpu().load(moved, {"payload": payload}, TargetOptions(threads=2))
    np.testing.assert_array_equal(again.run(None, {"x": rows(5)})[0], exe(x=rows(5)))


@pytest.mark.parametrize("bits", [128, 512])
def test_other_vector_widths(mlp: ir.Model, bits: int) -> None:
    check(mlp, {"x": rows(5)}, lower(mlp, vector_bits=bits))


def test_kernels_read_shape_elements() -> None:
    """Shape arithmetic that feeds a kernel has memory of its own, not the arena's."""
    model = model_of(
        "g (float[N,S] x) => (float[N,S] y) <int64[1] one = {1}> { "
        "s = Shape(x) n = Gather<axis=0>(s, one) f = Cast<to=1>(n) a = Mul(x, f) b = Neg(a) y = Mul(b, f) }"
    )
    check(model, {"x": np.random.default_rng(0).standard_normal((3, 5)).astype(np.float32)})


def test_square_root_by_pow_keeps_the_special_values() -> None:
    model = model_of("g (float[9] x) => (float[9] y) <float h = {0.5}> { y = Pow(x, h) }")
    x = np.array([0.0, -0.0, np.inf, -np.inf, np.nan, -1.0, 4.0, 2.25, 1e-40], np.float32)
    (found,), (wanted,) = lower(model).run(None, {"x": x}), run_onnxruntime(model, {"x": x})
    np.testing.assert_allclose(found, wanted, rtol=1e-6)
    np.testing.assert_array_equal(np.signbit(found[:2]), np.signbit(wanted[:2]))
