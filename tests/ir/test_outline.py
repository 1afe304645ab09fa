"""Outlining and its inverse: canonical bodies, names, places, and that the model still runs."""

from __future__ import annotations

import numpy as np
import onnx
import onnx_ir as ir
import pytest

from accelc.errors import PassError
from accelc.ir import shapes
from accelc.ir.inline import inline_all
from accelc.ir.outline import DIGEST_KEY, DOMAIN, outline
from accelc.ir.rewrite import origin_of
from accelc.ir.verify import verify
from accelc.reference import run_onnxruntime
from accelc.testing import model_from_text, normal_text, random_feeds


def model_of(text: str) -> ir.Model:
    model = model_from_text(text)
    shapes.infer(model)
    return model


def outline_ops(text: str, *ops: str, anchor: str = "map") -> tuple[ir.Model, ir.Node]:
    model = model_of(text)
    nodes = [node for node in model.graph if node.op_type in ops]
    return model, outline(model, nodes, anchor=anchor)


def check_runs(text: str, model: ir.Model) -> None:
    """The model is valid and gives the same answers as the text, fused and inlined again."""
    verify(model)
    onnx.checker.check_model(ir.to_proto(model), full_check=True)
    original = model_of(text)
    feeds = random_feeds(original)
    expected = run_onnxruntime(original, feeds, optimize=False)
    for subject in (model, model.clone()):
        if subject is not model:
            assert inline_all(subject)
            assert not subject.functions
            verify(subject)
        for want, got in zip(expected, run_onnxruntime(subject, feeds, optimize=False), strict=True):
            np.testing.assert_array_equal(got, want)


CONV = (
    "g (float[2,3,8,8] x, float[2,4,8,8] r) => (float[2,4,8,8] y) "
    "<float[4,3,3,3] w, float[4] b, float lo = {0}, float hi = {6}, float[1] s = {0.3}> {"
    " c = Conv<pads=[1,1,1,1], group=1>(x, w, b)  t = Mul(s, c)  u = Add(r, t)  y = Clip(u, lo, hi) }"
)


def test_call_body_and_constants() -> None:
    model, call = outline_ops(CONV, "Conv", "Mul", "Add", "Clip", anchor="conv")
    assert call.domain == DOMAIN
    assert call.op_type.startswith("conv_mul_add_clip_")
    assert len(call.op_type.rsplit("_", 1)[1]) == 16
    assert [v.name for v in call.inputs if v is not None] == ["x", "w", "b", "s", "r"]
    assert call.outputs[0].name == "y"
    assert origin_of(call) == ("c", "t", "u", "y")
    function = model.functions[call.op_identifier()]
    assert len(function.metadata_props[DIGEST_KEY]) == 64
    assert function.metadata_props[DIGEST_KEY].startswith(call.op_type.rsplit("_", 1)[1])
    assert [node.op_type for node in function] == ["Constant", "Constant", "Conv", "Mul", "Add", "Clip"]
    assert "group" not in list(function)[2].attributes  # at its default
    assert set(model.graph.initializers) == {"w", "b", "s"}  # the bounds went inside
    check_runs(CONV, model)


def test_equal_structure_gives_one_function() -> None:
    text = (
        "g (float[4] a, float[4] b) => (float[4] y, float[4] z) <float[1] one = {1}, float uno = {1}> {"
        " z1 = Add(one, a)  z = Exp(z1)  y1 = Add(b, uno)  y = Exp(y1) }"
    )
    model = model_of(text)
    nodes = {str(node.outputs[0].name): node for node in model.graph}
    first = outline(model, [nodes["z1"], nodes["z"]], anchor="map")
    second = outline(model, [nodes["y"], nodes["y1"]], anchor="map")
    assert first.op_type == second.op_type
    assert len(model.functions) == 1
    assert not model.graph.initializers
    check_runs(text, model)


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("y = Sub(t, x)", "y = Sub(x, t)"),
        ("y = LeakyRelu<alpha=0.1>(t)", "y = LeakyRelu<alpha=0.2>(t)"),
        ("y = Add(t, half)", "y = Add(t, two)"),
        ("y = Add(t, x)", "y = Mul(t, x)"),
    ],
)
def test_other_structure_gives_another_function(one: str, other: str) -> None:
    names = []
    for last in (one, other):
        text = (
            "g (float[4] x) => (float[4] y) <float half = {0.5}, float two = {2}> { t = Exp(x) " + last + " }"
        )
        model = model_of(text)
        names.append(outline(model, list(model.graph), anchor="map").op_type.rsplit("_", 1)[1])
    assert names[0] != names[1]


def test_commutative_operands_and_defaults_do_not_matter() -> None:
    names = set()
    for middle in ("Add(t, r)", "Add(r, t)"):
        for relu in ("LeakyRelu(u)", "LeakyRelu<alpha=0.01>(u)"):
            text = f"g (float[4] x, float[4] r) => (float[4] y) {{ t = Exp(x)  u = {middle}  y = {relu} }}"
            model = model_of(text)
            names.add(outline(model, list(model.graph), anchor="map").op_type)
    assert len(names) == 1


def test_learned_scalars_stay_operands() -> None:
    """0.3 has a full mantissa: as an operand it lets layers share the kernel; 0.5 goes inside."""
    text = (
        "g (float[4] x) => (float[4] y) <float a = {0.3}, float b = {0.5}> { t = Mul(x, a)  y = Mul(t, b) }"
    )
    model, call = outline_ops(text, "Mul")
    assert [v.name for v in call.inputs if v is not None] == ["x", "a"]
    check_runs(text, model)


def test_constant_that_enlarges_keeps_its_shape() -> None:
    text = "g (float x) => (float[1,1] y) <float[1,1] two = {2}> { t = Exp(x)  y = Mul(t, two) }"
    model, _ = outline_ops(text, "Exp", "Mul")
    check_runs(text, model)


def test_unused_and_missing_operands() -> None:
    text = (
        "g (float[2,4] x) => (float[2,4] y) <float[4] s, float hi = {1}> {"
        ' n, mean, inv = LayerNormalization(x, s)  y = Clip(n, "", hi) }'
    )
    model, call = outline_ops(text, "LayerNormalization", "Clip")
    body = list(model.functions[call.op_identifier()])
    assert body[-1].inputs[1] is None
    check_runs(text, model)


def test_value_read_twice_and_kept_outside() -> None:
    text = "g (float[4] x) => (float[4] y, float[4] z) { s = Sigmoid(x)  p = Mul(x, s)  y = Mul(p, p)  z = Neg(y) }"
    model, call = outline_ops(text, "Sigmoid", "Mul")
    assert len(call.inputs) == 1
    check_runs(text, model)


def test_inside_a_subgraph_with_captured_values() -> None:
    text = (
        "g (bool c, float[4] x) => (float[4] y) <float[4] w> { y = If(c) <"
        " then_branch = t () => (float[4] a) { e = Exp(x)  a = Mul(e, w) },"
        " else_branch = f () => (float[4] b) { b = Neg(x) }> }"
    )
    model = model_of(text)
    branch = next(iter(model.graph)).attributes["then_branch"].as_graph()
    call = outline(model, list(branch), anchor="map")
    assert call.graph is branch
    check_runs(text, model)


def test_long_names_are_cut() -> None:
    chain = " ".join(f"t{i + 1} = Neg(t{i})" for i in range(20))
    text = f"g (float[2] t0) => (float[2] t20) {{ {chain} }}"
    model, call = outline_ops(text, "Neg")
    assert call.op_type.startswith("map_neg_neg_neg_neg_neg_and15_")
    check_runs(text, model)


@pytest.mark.parametrize(
    ("ops", "why"),
    [
        (("Exp", "Neg"), "2 nodes have results used outside"),
        (("Exp",), ""),
        (("If",), "holds a graph"),
    ],
)
def test_groups_that_cannot_be_outlined(ops: tuple[str, ...], why: str) -> None:
    text = (
        "g (bool c, float[4] x) => (float[4] y, float[4] z, float[4] i) { y = Exp(x)  z = Neg(x)  i = If(c) <"
        " then_branch = t () => (float[4] a) { a = Abs(x) }, else_branch = f () => (float[4] b) { b = Abs(x) }> }"
    )
    if not why:
        assert outline_ops(text, *ops)[1].outputs[0].name == "y"
        return
    with pytest.raises(PassError, match=why):
        outline_ops(text, *ops)


def test_node_without_effect_is_refused() -> None:
    model = model_of("g (float[4] x) => (float[4] y) { dead = Exp(x)  y = Neg(x) }")
    with pytest.raises(PassError, match="nothing in the group reads it"):
        outline(model, list(model.graph), anchor="map")


def test_equal_short_digest_of_another_body_gets_the_long_name() -> None:
    text = "g (float[4] x) => (float[4] y) { t = Exp(x)  y = Neg(t) }"
    model, call = outline_ops(text, "Exp", "Neg")
    model.functions[call.op_identifier()].metadata_props[DIGEST_KEY] = "another"
    again = model_of(text)
    again.functions.update(model.functions)
    second = outline(again, list(again.graph), anchor="map")
    assert len(second.op_type.rsplit("_", 1)[1]) == 64


def test_inlining_restores_the_model() -> None:
    text = "g (float[4] x, float[4] r) => (float[4] y) { t = Exp(x)  u = Mul(t, r)  y = Neg(u) }"
    model, _ = outline_ops(text, "Exp", "Mul", "Neg")
    assert inline_all(model)
    assert normal_text(model) == normal_text(model_of(text))
    assert not inline_all(model)


def test_inlining_shared_functions_keeps_names_apart() -> None:
    text = (
        "g (bool c, float[4] x) => (float[4] y) { a = Exp(x)  b = Neg(a)  d = Exp(b)  e = Neg(d)  y = If(c) <"
        " then_branch = t () => (float[4] p) { q = Exp(e)  p = Neg(q) },"
        " else_branch = f () => (float[4] r) { r = Identity(e) }> }"
    )
    model = model_of(text)
    nodes = list(model.graph)
    branch = list(nodes[-1].attributes["then_branch"].as_graph())
    for pair in (nodes[:2], nodes[2:4], branch):
        outline(model, pair, anchor="map")
    assert len(model.functions) == 1
    check_runs(text, model)


def test_inlining_only_some() -> None:
    text = "g (float[4] x) => (float[4] y) { a = Exp(x)  b = Neg(a)  d = Abs(b)  y = Tanh(d) }"
    model = model_of(text)
    nodes = list(model.graph)
    first = outline(model, nodes[:2], anchor="map")
    second = outline(model, nodes[2:], anchor="map")
    assert inline_all(model, only={first.op_identifier()})
    assert [node.op_type for node in model.graph] == ["Exp", "Neg", second.op_type]
    assert DOMAIN in model.opset_imports
    check_runs(text, model)
