"""MatMul, Gemm and Conv as whole models, compared with onnxruntime; which kernels they choose, what they refuse."""

from __future__ import annotations

from typing import Any

import numpy as np
import onnx
import onnx_ir as ir
import pytest

from accelc.reference import run_onnxruntime
from accelc.target import TargetOptions
from accelc.targets.numba_cpu.executable import CpuExecutable
from accelc.targets.numba_cpu.isa import Isa
from accelc.targets.numba_cpu.kernel_store import KernelStore
from accelc.targets.numba_cpu.lower import conv, matmul
from accelc.targets.numba_cpu.lower.graph import Lowered, lower_graph
from accelc.targets.numba_cpu.lower.table import LoweringTable
from accelc.targets.numba_cpu.program import Call

TABLE = LoweringTable().merge([matmul.TABLE, conv.TABLE])


def random(*shape: int, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed + sum(shape)).standard_normal(shape).astype(np.float32)


def model_of(text: str, constants: dict[str, np.ndarray]) -> ir.Model:
    proto = onnx.parser.parse_model(f'<ir_version: 10, opset_import: ["": 24, "accelc.fused": 1]> {text}')
    kept = [value for value in proto.graph.input if value.name not in constants]
    del proto.graph.input[:]
    proto.graph.input.extend(kept)
    proto.graph.initializer.extend(onnx.numpy_helper.from_array(a, n) for n, a in constants.items())
    return ir.from_proto(proto)


def check(
    text: str, feeds: dict[str, np.ndarray], constants: dict[str, np.ndarray], families: list[str]
) -> Lowered:
    """Lower, run, compare; the program has no fallback and calls exactly these families."""
    model = model_of(text, constants)
    isa = Isa.host()
    lowered = lower_graph(model.clone(), TABLE, isa)
    assert lowered.fallbacks == []
    calls = [step.family for step in lowered.program.steps if isinstance(step, Call)]
    if calls[-1] == "copy":
        calls.pop()  # a channels-last result as the graph's output
    assert calls == families
    options = TargetOptions()
    exe = CpuExecutable(lowered.program, isa, KernelStore(options.cache_dir, isa, options.progress), options)
    for found, wanted in zip(exe.run(None, feeds), run_onnxruntime(model, feeds), strict=True):
        assert found.shape == wanted.shape
        scale = max(1.0, float(np.abs(wanted).max(initial=0.0)))
        np.testing.assert_allclose(found, wanted, rtol=0, atol=2e-5 * scale)
    return lowered


def refusal(text: str, constants: dict[str, np.ndarray]) -> str:
    """Why the one node of a model runs on the reference."""
    lowered = lower_graph(model_of(text, constants), TABLE, Isa.host())
    ((_, _, reason),) = lowered.fallbacks
    return reason


@pytest.mark.parametrize("batch", [1, 5])
def test_dynamic_batch(batch: int) -> None:
    check(
        "g (float[N,20] x, float[20,33] w) => (float[N,33] y) { y = MatMul(x, w) }",
        {"x": random(batch, 20)}, {"w": random(20, 33)}, ["gemm"],
    )  # fmt: skip


@pytest.mark.parametrize(
    ("a", "b", "c"),
    [("2,3,4,5", "5,6", "2,3,4,6"), ("4,5", "3,5,6", "3,4,6"), ("4,5", "1,5,6", "1,4,6"), ("5", "5,6", "6"),
     ("4,5", "5", "4"), ("5", "5", ""), ("2,4,5", "2,5,6", "2,4,6"), ("2,4,5", "5", "2,4")],
)  # fmt: skip
@pytest.mark.parametrize("constant", [True, False])
def test_matmul_ranks(a: str, b: str, c: str, constant: bool) -> None:
    shape_a, shape_b = ([int(s) for s in t.split(",")] for t in (a, b))
    x, w = random(*shape_a), random(*shape_b, seed=1)
    feeds, constants = ({"x": x}, {"w": w}) if constant else ({"x": x, "w": w}, {})
    check(
        f"g (float[{a}] x, float[{b}] w) => (float[{c}] y) {{ y = MatMul(x, w) }}", feeds, constants, ["gemm"]
    )


@pytest.mark.parametrize(
    "attrs",
    [
        "alpha=1.0",
        "transA=1",
        "transB=1",
        "alpha=0.5, beta=2.0",
        "alpha=0.0, beta=0.0",
        "transA=1, transB=1, alpha=3.0",
    ],
)
@pytest.mark.parametrize("constant", [True, False])
def test_gemm(attrs: str, constant: bool) -> None:
    a = random(*((12, 7) if "transA" in attrs else (7, 12)))
    b = random(*((9, 12) if "transB" in attrs else (12, 9)), seed=1)
    c = random(9, seed=2)
    feeds, constants = ({"a": a}, {"b": b, "c": c}) if constant else ({"a": a, "b": b, "c": c}, {})
    shape = "float[12,7]" if "transA" in attrs else "float[7,12]"
    right = "float[9,12]" if "transB" in attrs else "float[12,9]"
    check(
        f"g ({shape} a, {right} b, float[9] c) => (float[7,9] y) {{ y = Gemm<{attrs}>(a, b, c) }}",
        feeds, constants, ["gemm"],
    )  # fmt: skip


@pytest.mark.parametrize("c", [(), (1,), (7, 1), (1, 9), (7, 9)])
def test_gemm_addend_broadcasts(c: tuple[int, ...]) -> None:
    kind = f"float[{','.join(map(str, c))}]" if c else "float"
    check(
        f"g (float[7,12] a, float[12,9] b, {kind} c) => (float[7,9] y) {{ y = Gemm(a, b, c) }}",
        {"a": random(7, 12), "c": random(*c)}, {"b": random(12, 9)}, ["gemm"],
    )  # fmt: skip


CONV = "g (float[{x}] x, float[{w}] w, float[{o}] b) => (float[{y}] y) {{ y = Conv<{attrs}>(x, w, b) }}"


@pytest.mark.parametrize(
    ("x", "w", "y", "attrs", "families"),
    [
        ((2, 5, 6, 7), (9, 5, 1, 1), "2,9,6,7", "group=1", ["copy", "gemm"]),
        ((1, 3, 8, 9), (9, 3, 3, 3), "1,9,8,9", "pads=[1,1,1,1]", ["pad_copy", "conv"]),
        ((1, 12, 8, 9), (9, 12, 3, 3), "1,9,6,9", "pads=[0,2,0,0]", ["copy", "pad_copy", "conv"]),
        ((1, 12, 8, 9), (9, 12, 3, 3), "1,9,3,4", "strides=[2,2]", ["copy", "conv"]),
        ((1, 3, 8, 9), (9, 3, 3, 3), "1,9,4,5", 'auto_pad="SAME_UPPER", strides=[2,2]', ["pad_copy", "conv"]),
        ((1, 3, 8, 9), (9, 3, 4, 3), "1,9,8,9", 'auto_pad="SAME_LOWER"', ["pad_copy", "conv"]),
        ((1, 3, 8, 9), (9, 3, 3, 3), "1,9,4,7", 'auto_pad="VALID", dilations=[2,1]', ["pad_copy", "conv"]),
        ((1, 6, 8, 9), (9, 2, 3, 3), "1,9,6,7", "group=3", ["pad_copy", "conv"]),
        ((1, 6, 8, 9), (6, 1, 3, 3), "1,6,8,9", "group=6, pads=[1,1,1,1]", ["copy", "depthwise"]),
        ((1, 6, 8, 9), (12, 1, 3, 3), "1,12,6,7", "group=6", ["pad_copy", "conv"]),
        ((1, 16, 17, 18), (16, 16, 3, 3), "1,16,17,18", "pads=[1,1,1,1]", ["copy", "pad_copy", "winograd"]),
        ((2, 3, 20), (5, 3, 4), "2,5,9", "strides=[2]", ["pad_copy", "conv"]),
        ((1, 3, 4, 5, 6), (5, 3, 2, 3, 2), "1,5,3,3,5", "group=1", ["pad_copy", "conv"]),
    ],
)  # fmt: skip
def test_conv(x: Any, w: Any, y: str, attrs: str, families: list[str]) -> None:
    text = CONV.format(x=",".join(map(str, x)), w=",".join(map(str, w)), o=w[0], y=y, attrs=attrs)
    check(text, {"x": random(*x)}, {"w": random(*w, seed=1), "b": random(w[0], seed=2)}, families)


def test_conv_with_dynamic_extents_and_no_bias() -> None:
    text = """g (float[N,3,H,W] x, float[8,3,3,3] w, float[9,8,1,1] v) => (float[N,9,H,W] y) {
        t = Conv<pads=[1,1,1,1]>(x, w) y = Conv(t, v) }"""
    constants = {"w": random(8, 3, 3, 3), "v": random(9, 8, 1, 1)}
    for shape in ((1, 3, 7, 9), (2, 3, 1, 4), (0, 3, 5, 5)):
        check(text, {"x": random(*shape)}, constants, ["pad_copy", "conv", "gemm"])


def test_fused_residual() -> None:
    """The epilogue of a fused function: bias, residual, relu; the residual's memory may be taken."""
    text = """g (float[N,4,H,W] x, float[4,4,1,1] v, float[4,4,3,3] w, float[4] b) => (float[N,4,H,W] y) {
        r = Conv(x, v) y = accelc.fused.conv_add_relu(x, w, b, r) }
        <domain: "accelc.fused", opset_import: ["": 24]>
        conv_add_relu (x, w, b, r) => (y) { c = Conv<pads=[1,1,1,1]>(x, w, b) s = Add(c, r) y = Relu(s) }"""
    constants = {"v": random(4, 4, 1, 1), "w": random(4, 4, 3, 3), "b": random(4)}
    lowered = check(text, {"x": random(2, 4, 5, 6)}, constants, ["copy", "gemm", "pad_copy", "conv"])
    (call,) = (step for step in lowered.program.steps if isinstance(step, Call) and step.family == "conv")
    assert call.inplace == (3,)


@pytest.mark.parametrize(("a", "b", "c"), [("5", "5", ""), ("4,5", "5", "4"), ("5", "5,6", "6")])
def test_fused_epilogue_of_vectors(a: str, b: str, c: str) -> None:
    result, shape = (f"float[{c}]", [int(s) for s in c.split(",")]) if c else ("float", [])
    text = f"""g (float[{a}] x, float[{b}] w, {result} r) => ({result} y) {{ y = accelc.fused.add(x, w, r) }}
        <domain: "accelc.fused", opset_import: ["": 24]>
        add (x, w, r) => (y) {{ t = MatMul(x, w) y = Add(t, r) }}"""
    x, w = (random(*map(int, dims.split(","))) for dims in (a, b))
    check(text, {"x": x, "w": w, "r": random(*shape)}, {}, ["gemm"])


def test_refusals() -> None:
    assert "a shape that is not known" in refusal(
        "g (float[1,4,5,5] x, float[O,4,3,3] w) => (float[1,O,3,3] y) { y = Conv(x, w) }", {}
    )
    assert "broken alpha" in refusal(
        "g (int32[2,3] x, int32[3,2] w) => (int32[2,2] y) { y = Gemm<alpha = 0.5>(x, w) }", {}
    )
