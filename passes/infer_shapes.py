"""Infer dtypes and symbolic shapes of all values."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import onnx_ir as ir

from accelc.ir import shapes
from accelc.ir.pass_base import Pass, PassContext, PassResult, Refusal
from accelc.ir.rewrite import regions


@dataclass(frozen=True)
class InferShapes(Pass):
    """Infer the dtype and the symbolic shape of every value (``N*S`` is kept).

    Needs:    nothing.
    Keeps:    nodes, weights, names; declared shapes of inputs and outputs.
    Skips:    nodes that cannot be inferred (unknown ops): a refusal each, their outputs stay without shapes.
    Cost:     one walk, O(nodes).
    Source:   onnx-shape-inference, through accelc.ir.shapes.

    It rewrites nothing, so it runs whatever the rewrite budget. Import infers too and passes hand shapes on, so
    most often nothing is missing; then it only looks, which saves a second on a model with many symbols.
    """

    name: ClassVar[str] = "infer-shapes"

    def apply(self, model: ir.Model, ctx: PassContext) -> PassResult:
        """Infer in place; ``modified`` says whether any dtype, shape or known value changed."""
        if _is_complete(model):
            return PassResult(model, False)
        declared = [(v, v.type, v.shape.copy() if v.shape is not None else None) for v in _signature(model)]
        before = _facts(model)
        for note in shapes.infer(model):
            ctx.record.refusals.append(Refusal(note, rule=self.name))
        for value, type_, shape in declared:  # what callers see of the model is not ours to refine
            value.type, value.shape = type_, shape
        return PassResult(model, _facts(model) != before)


def _is_complete(model: ir.Model) -> bool:
    """Whether every value has a dtype and a shape without unknown dims."""
    return all(
        value.dtype is not None and value.shape is not None and not value.shape.has_unknown_dim()
        for graph in regions(model)
        for node in graph
        for value in node.outputs
        if value.name
    )


def _signature(model: ir.Model) -> list[ir.Value]:
    values = dict.fromkeys([*model.graph.inputs, *model.graph.outputs])
    return [value for value in values if value.type is not None and value.shape is not None]


def _facts(model: ir.Model) -> list[tuple[str, str, str]]:
    """Dtype, shape and known elements of every value, to tell whether inference found anything new."""
    return [
        (str(value.type), str(value.shape), value.metadata_props.get(shapes.SYMBOLIC_DATA, ""))
        for graph in regions(model)
        for node in graph
        for value in node.outputs
    ]
