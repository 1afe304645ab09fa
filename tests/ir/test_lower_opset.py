"""A model goes back towards the opset it came in, as far as its nodes mean the same there."""

from __future__ import annotations

import onnx
import onnx_ir as ir
import pytest

from accelc.ir.lower_opset import lower_opset
from accelc.ir.reading import SOURCE_OPSET


def lowered(
    body: str, *, kind: str = "float", weights: str = "", out: str = "", opset: int = 24, source: int = 7
) -> ir.Model:
    header = f'<ir_version: 11, opset_import: ["" : {opset}]>'
    text = f"{header} g ({kind}[1,3,8,8] x) => ({out or kind}[] y) {weights} {{ {body} }}"
    proto = onnx.shape_inference.infer_shapes(onnx.parser.parse_model(text))
    model = ir.from_proto(proto)
    model.graph.meta[SOURCE_OPSET] = source
    lower_opset(model)
    onnx.checker.check_model(ir.to_proto(model), full_check=True)
    return model


@pytest.mark.parametrize(
    ("body", "opset"),
    [
        ("y = Relu(x)", 13),
        ("y = Softmax(x)", 13),
        ("t = Add(x, x) y = MaxPool<kernel_shape = [2, 2]>(t)", 13),
        ("y = HardSwish(x)", 14),
        ("y = LayerNormalization(x, w)", 17),
        ("y = Gelu(x)", 20),
        ("t = Gelu(x) y = Swish(t)", 24),
        ("y = ReduceMean(x)", 13),
        ("y = ReduceMean(x, axes)", 18),
        ("y = ReduceMean<noop_with_empty_axes = 1>(x)", 18),
        ("y = AveragePool<kernel_shape = [2, 2]>(x)", 13),
        ("y = AveragePool<kernel_shape = [2, 2], ceil_mode = 1>(x)", 19),
        ("y = AveragePool<kernel_shape = [2, 2], dilations = [2, 2]>(x)", 19),
        ("y = Pad(x, pads)", 13),
        ('y = Pad<mode = "wrap">(x, pads)', 19),
        ("y = Pad(x, one, , axes)", 18),
        ("y = Resize(x, , scales)", 19),
        ("y = Reshape<allowzero = 0>(x, flat)", 14),
        ("y = Conv(x, k)", 13),
    ],
)
def test_ops(body: str, opset: int) -> None:
    weights = {
        "w": "float[8] w = {1,1,1,1,1,1,1,1}",
        "axes": "int64[1] axes = {2}",
        "pads": "int64[8] pads = {0,0,1,1,0,0,1,1}",
        "one": "int64[2] one = {1, 1}",
        "scales": "float[4] scales = {1, 1, 2, 2}",
        "flat": "int64[1] flat = {-1}",
        "k": "float[1,3,1,1] k = {1, 2, 3}",
    }
    used = [text for name, text in weights.items() if f" {name})" in body or f" {name}," in body]
    model = lowered(body, weights=f"<{', '.join(used)}>" if used else "")
    assert model.opset_imports[""] == opset
    needed = onnx.helper.find_min_ir_version_for([onnx.helper.make_opsetid("", opset)])
    assert model.ir_version == min(11, max(8, needed))


def test_new_dtypes_hold_the_version() -> None:
    assert lowered("y = Exp(x)", kind="bfloat16").opset_imports[""] == 13
    assert lowered("y = Sin(x)", kind="bfloat16").opset_imports[""] == 22
    assert lowered("y = Cast<to = 17>(x)", out="float8e4m3fn").opset_imports[""] == 19


def test_the_only_type_of_an_operand_counts() -> None:
    text = """<ir_version: 11, opset_import: ["" : 24]> g (uint8[2,2] a, %s s, uint8 z) => (uint8[2,2] y) {
      y = QLinearMatMul(a, s, z, a, s, z, s, z) }"""
    for kind, opset in (("float", 13), ("float16", 21)):
        model = ir.from_onnx_text(text % kind)
        model.graph.meta[SOURCE_OPSET] = 13
        lower_opset(model)
        assert model.opset_imports[""] == opset


def test_subgraphs_count_and_functions_stay() -> None:
    text = """<ir_version: 11, opset_import: ["" : 24]> g (bool c, float[2] x) => (float[2] y) {
      y = If(c) <then_branch = t () => (float[2] a) { a = Gelu(x) },
                 else_branch = f () => (float[2] b) { b = Neg(x) }> }"""
    model = ir.from_onnx_text(text)
    model.graph.meta[SOURCE_OPSET] = 13
    lower_opset(model)
    assert model.opset_imports[""] == 20
    text = """<ir_version: 11, opset_import: ["" : 24, "d" : 1]> g (float[2] x) => (float[2] y) { y = d.f(x) }
      <domain: "d", opset_import: ["" : 24]> f (a) => (b) { b = Neg(a) }"""
    model = ir.from_onnx_text(text)
    lower_opset(model)
    assert (model.opset_imports[""], model.ir_version) == (24, 11)


def test_nothing_is_raised_or_goes_below_the_source() -> None:
    assert lowered("y = Relu(x)", opset=11).opset_imports[""] == 11
    assert lowered("y = Relu(x)", source=17).opset_imports[""] == 17
    assert lowered("y = Relu(x)", source=24).opset_imports[""] == 24
    assert lowered("y = Gelu(x)", source=17).opset_imports[""] == 20
