from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
import onnx_ir as ir
import pytest

from accelc.errors import LimitError, PassError
from accelc.ir.pass_base import PassContext, PassRecord
from accelc.ir.rewrite import (
    MAX_ORIGINS,
    Editor,
    Match,
    Refusal,
    Rule,
    RulePass,
    apply_rules,
    constant_ints,
    constant_value,
    operand,
    origin_of,
    same_shape,
    set_origin,
    sole_user,
    static_shape,
)
from accelc.testing import assert_refuses, assert_rewrites, model_from_text, run_pass


class NegNeg(Rule[ir.Value]):
    """Neg(Neg(x)) is x."""

    name = "neg-neg"
    roots = ("Neg",)

    def match(self, node: ir.Node, edit: Editor) -> Match[ir.Value] | Refusal | None:
        inner = operand(node, 0, "Neg")
        if inner is None:
            return None
        if sole_user(inner.outputs[0]) is None:
            return Refusal("the inner Neg has a second user", at=inner)
        x = inner.inputs[0]
        assert x is not None
        if not edit.can_replace(node.outputs[0], x):
            return Refusal("the result is a graph output and cannot take another name", at=node)
        return Match((node, inner), x)

    def rewrite(self, match: Match[ir.Value], edit: Editor) -> ir.Node | None:
        edit.replace(match.nodes[0].outputs[0], match.found)
        return None


class AddSame(Rule[ir.Value]):
    """Add(x, x) is Mul(x, 2)."""

    name = "add-same"
    roots = ("Add",)

    def match(self, node: ir.Node, edit: Editor) -> Match[ir.Value] | Refusal | None:
        x = node.inputs[0]
        return Match((node,), x) if x is not None and x is node.inputs[1] else None

    def rewrite(self, match: Match[ir.Value], edit: Editor) -> ir.Node | None:
        root = match.nodes[0]
        two = edit.constant(np.array(2, np.float32), near=root, name="two")
        new = edit.node("Mul", [match.found, two], before=root, like=root.outputs[0])
        edit.replace(root.outputs[0], new.outputs[0])
        return new


@dataclass(frozen=True)
class Toy(RulePass):
    name: ClassVar[str] = "toy"

    def rules(self) -> Sequence[Rule[Any]]:
        return (NegNeg(), AddSame())


def test_rewrites_and_keeps_the_output_name() -> None:
    result = assert_rewrites(
        Toy(),
        "g (float[N,3] x) => (float[N,3] y) { a = Relu(x) b = Neg(a) c = Neg(b) y = Add(c, c) }",
        "g (float[N,3] x) => (float[N,3] y) <float two = {2}> { a = Relu(x) y = Mul(a, two) }",
    )
    mul = result.graph[-1]
    assert mul.outputs[0].name == "y"
    assert result.graph.outputs[0].shape == ir.Shape(["N", 3])


def test_a_chain_collapses_in_one_pass() -> None:
    nodes = " ".join(f"t{i + 1} = Neg(t{i})" for i in range(50))
    text = f"g (float[3] x) => (float[3] y) {{ t0 = Relu(x) {nodes} y = Exp(t50) }}"
    assert_rewrites(Toy(), text, "g (float[3] x) => (float[3] y) { a = Relu(x) y = Exp(a) }")


def test_output_taken_over_by_the_earlier_value() -> None:
    assert_rewrites(
        Toy(),
        "g (float[3] x) => (float[3] y) { a = Relu(x) b = Neg(a) y = Neg(b) }",
        "g (float[3] x) => (float[3] y) { y = Relu(x) }",
    )


@pytest.mark.parametrize(
    "text",
    [
        "g (float[3] x) => (float[3] y) { b = Neg(x) y = Neg(b) }",
        "g (float[3] x) => (float[3] a, float[3] y) { a = Relu(x) b = Neg(a) y = Neg(b) }",
    ],
)
def test_output_that_cannot_be_renamed_is_refused(text: str) -> None:
    assert_refuses(Toy(), text, "cannot take another name")


def test_refusal_is_recorded_once_with_rule_and_node() -> None:
    model = model_from_text(
        "g (float[3] x) => (float[3] y, float[3] z) { b = Neg(x) c = Neg(b) y = Exp(c) z = Exp(b) }"
    )
    model.graph[1].name = "outer"
    _, modified, record = run_pass(Toy(), model)
    assert not modified
    assert [(r.rule, r.node, r.why) for r in record.refusals] == [
        ("neg-neg", "outer", "the inner Neg has a second user")
    ]


def test_trace_names_nodes_and_result_and_new_nodes_keep_their_origin() -> None:
    model = model_from_text("g (float[3] x) => (float[3] y) { y = Add(x, x) }")
    model.graph[0].name = "double"
    _, modified, record = run_pass(Toy(), model)
    assert modified
    (rewrite,) = record.rewrites
    assert (rewrite.rule, rewrite.nodes) == ("add-same", ("double",))
    assert model.graph[0].name == "double"
    assert origin_of(model.graph[0]) == ("double",)


def test_subgraphs_with_captures() -> None:
    assert_rewrites(
        Toy(),
        """g (bool p, float[3] x) => (float[3] y) {
             a = Relu(x)
             y = If (p) <then_branch = t () => (float[3] q) { b = Neg(a) c = Neg(b) q = Exp(c) },
                         else_branch = e () => (float[3] r) { r = Add(a, a) }>
           }""",
        """g (bool p, float[3] x) => (float[3] y) {
             a = Relu(x)
             y = If (p) <then_branch = t () => (float[3] q) { q = Exp(a) },
                         else_branch = e () => (float[3] r) <float two = {2}> { r = Mul(a, two) }>
           }""",
    )


def test_captured_value_cannot_become_the_output_of_a_branch() -> None:
    assert_refuses(
        Toy(),
        """g (bool p, float[3] x) => (float[3] y) {
             a = Relu(x)
             y = If (p) <then_branch = t () => (float[3] q) { b = Neg(a) q = Neg(b) },
                         else_branch = e () => (float[3] r) { r = Exp(a) }>
           }""",
        "cannot take another name",
    )


def test_operand_stays_in_its_region() -> None:
    assert_rewrites(
        Toy(),
        """g (bool p, float[3] x) => (float[3] y) {
             b = Neg(x)
             y = If (p) <then_branch = t () => (float[3] q) { c = Neg(b) q = Exp(c) },
                         else_branch = e () => (float[3] r) { r = Exp(x) }>
           }""",
        """g (bool p, float[3] x) => (float[3] y) {
             b = Neg(x)
             y = If (p) <then_branch = t () => (float[3] q) { c = Neg(b) q = Exp(c) },
                         else_branch = e () => (float[3] r) { r = Exp(x) }>
           }""",
    )


def test_rewrite_budget_stops_after_n() -> None:
    text = "g (float[3] x) => (float[3] y) { a = Add(x, x) b = Add(a, a) y = Add(b, b) }"
    for budget in range(4):
        model = model_from_text(text)
        _, modified, record = run_pass(Toy(), model, max_rewrites=budget)
        assert len(record.rewrites) == budget
        assert modified == (budget > 0)
        assert [n.op_type for n in model.graph].count("Mul") == budget


def test_replace_inserts_identity_only_when_it_must() -> None:
    model = model_from_text("g (float[3] x) => (float[3] y) { y = Relu(x) }")
    edit = Editor(model, PassContext())
    relu = model.graph[0]
    edit.replace(relu.outputs[0], model.graph.inputs[0])
    edit.remove(relu)
    assert [n.op_type for n in model.graph] == ["Identity"]
    assert model.graph.outputs[0].name == "y"


def test_replace_puts_a_node_behind_a_value() -> None:
    model = model_from_text("g (float[3] x) => (float[3] y) { a = Relu(x) y = Exp(a) }")
    edit = Editor(model, PassContext())
    a = model.graph[0].outputs[0]
    new = edit.node("Neg", [a], before=model.graph[1], like=a)
    edit.replace(a, new.outputs[0])
    assert [n.op_type for n in model.graph] == ["Relu", "Neg", "Exp"]
    assert new.inputs[0] is a
    assert model.graph[2].inputs[0] is new.outputs[0]


def test_remove_refuses_what_is_read() -> None:
    model = model_from_text("g (float[3] x) => (float[3] y) { a = Relu(x) y = Exp(a) }")
    edit = Editor(model, PassContext())
    with pytest.raises(PassError, match="cannot be removed"):
        edit.remove(model.graph[0])
    with pytest.raises(PassError, match="cannot be removed"):
        edit.remove(model.graph[1])


def test_names_are_unique_across_regions() -> None:
    model = model_from_text(
        """g (bool p, float[3] x) => (float[3] y) {
             y = If (p) <then_branch = t () => (float[3] two) { two = Exp(x) },
                         else_branch = e () => (float[3] two_1) { two_1 = Add(x, x) }>
           }"""
    )
    run_pass(Toy(), model)
    names = [str(v.name) for n in model.graph.all_nodes() for v in n.outputs]
    inner = [name for g in model.graph.subgraphs() for name in g.initializers]
    assert len(set(names + inner)) == len(names + inner)


def test_rules_that_undo_each_other_end_in_an_error() -> None:
    class Swap(Rule[str]):
        name = "swap"
        roots = ("Relu", "Exp")

        def match(self, node: ir.Node, edit: Editor) -> Match[str] | Refusal | None:
            return Match((node,), "Exp" if node.op_type == "Relu" else "Relu")

        def rewrite(self, match: Match[str], edit: Editor) -> ir.Node | None:
            root = match.nodes[0]
            new = edit.node(match.found, root.inputs, before=root, like=root.outputs[0])
            edit.replace(root.outputs[0], new.outputs[0])
            return new

    model = model_from_text("g (float[3] x) => (float[3] y) { y = Relu(x) }")
    with pytest.raises(PassError, match="do not come to an end"):
        apply_rules(model, (Swap(),), PassContext(record=PassRecord("swap")))


def test_a_failing_rule_names_itself_and_the_node() -> None:
    class Broken(Rule[str]):
        name = "broken"
        roots = ("Relu",)

        def match(self, node: ir.Node, edit: Editor) -> Match[str] | Refusal | None:
            raise KeyError("oops")

        def rewrite(self, match: Match[str], edit: Editor) -> ir.Node | None:
            return None

    model = model_from_text("g (float[3] x) => (float[3] y) { y = Relu(x) }")
    model.graph[0].name = "act"
    with pytest.raises(PassError) as caught:
        apply_rules(model, (Broken(),), PassContext())
    assert str(caught.value) == (
        "PassError: rule broken failed\n  where  node act (Relu)\n  why    KeyError: 'oops'"
    )


def test_the_time_limit_is_kept() -> None:
    nodes = " ".join(f"t{i + 1} = Neg(t{i})" for i in range(600))
    model = model_from_text(f"g (float[3] x) => (float[3] y) {{ t0 = Relu(x) {nodes} y = Exp(t600) }}")
    with pytest.raises(LimitError):
        apply_rules(model, (NegNeg(),), PassContext(deadline=0.0))


def test_constant_value() -> None:
    model = model_from_text(
        """g (float[3] x) => (float[3] y) <float[3] w = {1, 2, 3}> {
             s = Constant<value_ints = [2, 3]>()
             f = Constant<value_float = 0.5>()
             t = Constant<value = float[1] {4}>()
             u = Constant<value_string = "a">()
             y = Sum(x, w, t, f)
        }"""
    )
    w = model.graph.initializers["w"]
    outs = {str(n.outputs[0].name): n.outputs[0] for n in model.graph}
    np.testing.assert_array_equal(constant_value(w), [1, 2, 3])
    assert constant_value(w, max_bytes=11) is None
    assert constant_ints(outs["s"]) == (2, 3)
    assert constant_value(outs["f"]) == np.float32(0.5)
    np.testing.assert_array_equal(constant_value(outs["t"]), [4])
    assert constant_value(outs["u"]) is None
    assert constant_value(outs["y"]) is None
    assert constant_value(model.graph.inputs[0]) is None
    assert constant_value(None) is None


def test_an_initializer_that_is_also_an_input_is_no_constant() -> None:
    model = model_from_text("g (float[3] x) => (float[3] y) <float[3] w = {1, 2, 3}> { y = Add(x, w) }")
    model.graph.inputs.append(model.graph.initializers["w"])
    assert constant_value(model.graph.initializers["w"]) is None


def test_absent_external_data_is_no_constant() -> None:
    tensor = ir.ExternalTensor(
        "nothing.bin", 0, 12, ir.DataType.FLOAT, shape=ir.Shape([3]), name="w", base_dir="/nonexistent"
    )
    value = ir.Value(name="w", shape=ir.Shape([3]), type=ir.TensorType(ir.DataType.FLOAT), const_value=tensor)
    ir.Graph([], [], nodes=[], initializers=[value])
    assert constant_value(value) is None


def test_shapes_are_equal_only_when_known_to_be() -> None:
    model = model_from_text(
        "g (float[N,3] a, float[N,3] b, float[M,3] c, float[?,3] d) => (float[N,3] y) { y = Add(a, b) }"
    )
    a, b, c, d = model.graph.inputs
    assert same_shape(a, b)
    assert not same_shape(a, c)
    assert not same_shape(d, d)
    assert static_shape(a) is None


def test_origins_are_bounded() -> None:
    model = model_from_text("g (float[3] x) => (float[3] y) { y = Relu(x) }")
    node = model.graph[0]
    sources = [ir.Node("", "Relu", [], name=f"n{i}") for i in range(MAX_ORIGINS + 10)]
    set_origin(node, sources)
    assert origin_of(node) == tuple(f"n{i}" for i in range(MAX_ORIGINS))
    node.metadata_props["accelc.origin"] = "not json"
    node.name = "n"
    assert origin_of(node) == ("n",)
