"""Ifs whose condition is known become the branch that is taken."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import onnx_ir as ir

from accelc.ir import shapes
from accelc.ir.pass_base import Pass, PassContext, PassResult
from accelc.ir.rewrite import Editor, describe, regions, subgraphs_of
from accelc.ir.walk import all_nodes


@dataclass(frozen=True)
class InlineIf(Pass):
    """Replace an If of a known condition by the nodes of the branch that is taken.

    Needs:    folded constants: the condition is one.
    Keeps:    graph inputs and outputs, their names; every result bit for bit.
    Skips:    conditions that depend on data.
    Cost:     one walk, O(nodes); shapes are inferred again if something changed.
    Source:   ONNX If-25.
    """

    name: ClassVar[str] = "inline-if"

    def apply(self, model: ir.Model, ctx: PassContext) -> PassResult:
        """Outer Ifs first: what they release is looked at as well."""
        edit = Editor(model, ctx)
        modified = False
        pending = [node for graph in regions(model) for node in graph if _is_if(node)][::-1]
        while pending and ctx.may_rewrite():
            node = pending.pop()
            taken = _taken(node) if node.graph is not None else None
            if taken is None:
                continue
            ctx.rewrote("known-if", [node], note=f"{describe(node)} always takes {taken}")
            moved = _inline(edit, node, node.attributes[taken].as_graph())
            pending.extend(inner for inner in reversed(moved) if _is_if(inner))
            modified = True
        if modified:
            _forget_merged(model)
            shapes.infer(model)
        return PassResult(model, modified)


def _forget_merged(model: ir.Model) -> None:
    """Drop shapes with names in them: those of a merge of two branches would stay where sizes are known now."""
    for graph in regions(model):
        for node in graph:
            for output in node.outputs:
                if output.shape is not None and not output.is_graph_output() and not output.shape.is_static():
                    output.shape = None


def _is_if(node: ir.Node) -> bool:
    return node.op_type == "If" and node.domain == ""


def _taken(node: ir.Node) -> str | None:
    """Attribute of the branch that is always taken; None if that depends on data."""
    condition = node.inputs[0] if node.inputs else None  # none in a branch that was dropped
    tensor = ir.convenience.get_const_tensor(condition) if condition is not None else None
    if tensor is None or tensor.size != 1:
        return None
    return "then_branch" if bool(tensor.numpy().reshape(-1)[0]) else "else_branch"


def _inline(edit: Editor, node: ir.Node, branch: ir.Graph) -> list[ir.Node]:
    """Move a branch before its If, under names that nobody has, and let its outputs stand for the If's."""
    parent = node.graph
    assert parent is not None  # the caller looked
    results = list(branch.outputs)
    branch.outputs.clear()
    for name, value in list(branch.initializers.items()):
        del branch.initializers[name]
        value.name = edit.fresh_name(f"{node.name}/{name}")
        parent.initializers[value.name] = value
    moved = list(branch)
    branch.remove(moved)
    for inner in moved:
        for output in inner.outputs:
            if output.name:
                output.name = edit.fresh_name(f"{node.name}/{output.name}")
    parent.insert_before(node, moved)
    for old, new in zip(node.outputs, results, strict=True):
        edit.replace(old, new)
    unused = [inner for graph in subgraphs_of(node) for inner in all_nodes(graph)]
    edit.remove(node)
    for inner in unused:  # give back the uses of outer values
        inner.resize_inputs(0)
    edit.touched.clear()
    edit.created.clear()
    return moved
