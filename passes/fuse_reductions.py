"""Fuse the elementwise ops before (and after) a reduction or row-wise normalisation into its kernel."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar

import onnx_ir as ir

from accelc.ir.groups import SILENT, Grown, grow_down, grow_up, positions, refuse_operands, refuse_pairing
from accelc.ir.outline import Outliner
from accelc.ir.pass_base import Pass, PassContext, PassResult, Refusal
from accelc.ir.pointwise import FLOATS, REDUCTIONS, ROW_OPS, is_pointwise
from accelc.ir.rewrite import is_dead, regions, same_shape, use_count


@dataclass(frozen=True)
class FuseReductions(Pass):
    """Outline a Reduce*, Softmax, LogSoftmax or normalisation with the elementwise ops around it.

    Before it: the ops that compute its first operand and that nothing else reads. After it, where the result has
    the operand's full shape (Softmax, LogSoftmax, LayerNormalization, RMSNormalization): the ops that follow, up
    to one result that leaves the kernel.

    Needs:    inferred types and shapes; constants as initializers.
    Keeps:    graph inputs, outputs, their names; results to the last bit where the runtime keeps the order.
    Skips:    values that are graph outputs or also read elsewhere; values not of the operand's full shape,
              other operands that do not broadcast to it; integer division; dtypes other than bool, integers,
              float16, float32, float64 (the reduction itself: floats); nodes that are
              sharded or in different pipeline stages; what the target's cost refuses.
    Cost:     one walk, O(nodes + uses).
    Source:   DESIGN section 1.
    """

    name: ClassVar[str] = "fuse-reductions"

    def apply(self, model: ir.Model, ctx: PassContext) -> PassResult:
        """Outline every reduction that has elementwise neighbours."""
        outliner = Outliner(model, ctx)
        modified = False
        for graph in regions(model):
            place = positions(graph)
            for node in reversed(place):
                if node.domain == "" and node.op_type in (REDUCTIONS | ROW_OPS) and node.graph is not None:
                    modified |= _fuse(node, place, outliner, ctx)
        return PassResult(model, modified)


def _fuse(anchor: ir.Node, place: Mapping[ir.Node, int], outliner: Outliner, ctx: PassContext) -> bool:
    ctx.check_time(FuseReductions.name)
    if not ctx.may_rewrite():
        return False
    operand = anchor.inputs[0]
    if operand is None or operand.dtype not in FLOATS or is_dead(anchor):
        return False
    before = grow_up(anchor, 0, ctx)
    after = _epilogue(anchor, place, ctx)
    for grown in (before, after):
        if grown.refusal is not None and grown.refusal.why:
            ctx.refused(grown.refusal, "reduction", anchor)
    nodes = [*reversed(before.nodes), anchor, *after.nodes]
    if len(nodes) < 2:
        return False
    call = outliner.outline(nodes, anchor="")
    ctx.rewrote("reduction", nodes, call, " + ".join(node.op_type for node in nodes))
    return True


def _epilogue(anchor: ir.Node, place: Mapping[ir.Node, int], ctx: PassContext) -> Grown:
    """The elementwise ops after a row op, if its first output is all that is read of it."""
    result = anchor.outputs[0]
    if anchor.op_type not in ROW_OPS or any(v.is_graph_output() or use_count(v) for v in anchor.outputs[1:]):
        return Grown()

    def admit(node: ir.Node, inside: Mapping[ir.Value, int]) -> Refusal | None:
        if not is_pointwise(node):
            return SILENT
        if not same_shape(node.outputs[0], result):
            return Refusal(f"{node.outputs[0].name} is not known to have the full shape", at=node)
        return refuse_operands(node, result) or refuse_pairing(ctx, anchor, node)

    return grow_down(result, place, admit)
