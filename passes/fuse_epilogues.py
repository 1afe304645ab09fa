"""Fuse the elementwise ops after a convolution or matrix product into its kernel."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar

import onnx_ir as ir

from accelc.ir.groups import SILENT, grow_down, positions, refuse_pairing
from accelc.ir.outline import Outliner
from accelc.ir.pass_base import Pass, PassContext, PassResult, Refusal
from accelc.ir.pointwise import FLOATS, is_scalar
from accelc.ir.rewrite import constant_tensor, regions, same_dim, same_shape

CHANNEL_AXIS: Mapping[str, int] = {"Conv": 1, "ConvTranspose": 1, "Gemm": -1, "MatMul": -1}
"""Anchors, and the axis of their result along which a constant operand may vary."""

EPILOGUE_OPS: frozenset[str] = frozenset(
    {"Add", "Sub", "Mul", "Div", "Sum", "Max", "Min", "Clip", "PRelu", "Relu", "LeakyRelu", "Sigmoid", "Tanh"}
    | {"HardSigmoid", "HardSwish", "Swish", "Gelu", "Elu", "Softplus", "Erf", "Exp", "Sqrt", "Abs", "Neg"}
)
"""Ops that an anchor's kernel applies to a tile before it stores it."""


@dataclass(frozen=True)
class FuseEpilogues(Pass):
    """Outline Conv, ConvTranspose, Gemm or MatMul with the elementwise ops that follow it.

    The epilogue may use its values several times (``x * sigmoid(x)``) as long as one result leaves the kernel.
    Other operands are constants that vary along the channel (column) axis only or not at all, and tensors of
    the result's full shape that are there before, such as a residual. Where two anchors meet in one Add, the
    later one takes it.

    Needs:    inferred types and shapes; constants as initializers.
    Keeps:    graph inputs, outputs, their names; results to the last bit where the runtime keeps the order.
    Skips:    a result that is a graph output or also read elsewhere; an operand that broadcasts in another
              way or has another dtype; dtypes other than float16, float32, float64; nodes that are
              sharded or in different pipeline stages; what the target's cost refuses.
    Cost:     one walk against the topological order, O(nodes + uses).
    Source:   DESIGN section 1; epilogue fusion as in CUTLASS and oneDNN post-ops.
    """

    name: ClassVar[str] = "fuse-epilogues"

    def apply(self, model: ir.Model, ctx: PassContext) -> PassResult:
        """Outline every anchor that has an epilogue."""
        outliner = Outliner(model, ctx)
        modified = False
        for graph in regions(model):
            place = positions(graph)
            # Later anchors first: of two that meet in one Add, the later takes it.
            for node in reversed(place):
                if node.domain == "" and node.op_type in CHANNEL_AXIS:
                    modified |= _fuse(node, place, outliner, ctx)
        return PassResult(model, modified)


def _fuse(anchor: ir.Node, place: Mapping[ir.Node, int], outliner: Outliner, ctx: PassContext) -> bool:
    ctx.check_time(FuseEpilogues.name)
    if not ctx.may_rewrite():
        return False
    result = anchor.outputs[0]
    if result.dtype not in FLOATS:
        kind = result.dtype.name if result.dtype is not None else "an unknown type"
        ctx.refused(Refusal(f"{anchor.op_type} of {kind}, not of floats", at=result), "epilogue", anchor)
        return False

    def admit(node: ir.Node, inside: Mapping[ir.Value, int]) -> Refusal | None:
        if node.domain != "" or node.op_type not in EPILOGUE_OPS:
            return SILENT
        return refuse_epilogue(anchor, node, inside) or refuse_pairing(ctx, anchor, node)

    grown = grow_down(result, place, admit)
    if grown.refusal is not None and grown.refusal.why:
        ctx.refused(grown.refusal, "epilogue", anchor)
    if not grown.nodes:
        return False
    nodes = [anchor, *grown.nodes]
    call = outliner.outline(nodes, anchor=anchor.op_type.lower())
    ctx.rewrote("epilogue", nodes, call, " + ".join(node.op_type for node in nodes))
    return True


def refuse_epilogue(anchor: ir.Node, node: ir.Node, inside: Mapping[ir.Value, int]) -> Refusal | None:
    """Why an operand of ``node`` cannot be read tile by tile in the kernel of ``anchor``, or None.

    Args:
        anchor: A node of CHANNEL_AXIS.
        node: A node of EPILOGUE_OPS.
        inside: Values computed by the kernel.
    """
    result = anchor.outputs[0]
    if node.op_type == "PRelu" and node.inputs[0] not in inside:
        return Refusal("the kernel's result is the slope of PRelu", at=node)
    for value in node.inputs:
        if value is None or value in inside:
            continue
        if value.dtype != result.dtype:
            return Refusal(f"operand {value.name} has another dtype", at=value)
        if same_shape(value, result):
            continue
        if constant_tensor(value) is None:
            return Refusal(f"operand {value.name} is neither constant nor of the result's shape", at=value)
        if not _varies_along_channels_only(value, result, CHANNEL_AXIS[anchor.op_type]):
            return Refusal(f"constant {value.name} varies along other axes than the channels", at=value)
    return None


def _varies_along_channels_only(value: ir.Value, result: ir.Value, axis: int) -> bool:
    if value.shape is None or result.shape is None or len(value.shape) > len(result.shape):
        return False
    if is_scalar(value.shape):
        return True
    rank = len(result.shape)
    offset = rank - len(value.shape)
    channel = axis % rank - offset
    if channel < 0 or not same_dim(value.shape[channel], result.shape[channel + offset]):
        return False
    return all(dim == 1 for index, dim in enumerate(value.shape) if index != channel)
