"""Put BatchNormalization, constant scale and shift, and padding into the weights and pads of what is before."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
import onnx_ir as ir

from accelc.ir.affine import (
    ANCHORS,
    Affine,
    absorb,
    anchor_weights,
    arithmetic_affine,
    batch_norm_affine,
)
from accelc.ir.rewrite import (
    Editor,
    Match,
    Refusal,
    Rule,
    RulePass,
    constant_ints,
    constant_tensor,
    constant_value,
    input_of,
    operand,
    rank,
    same_shape,
    sole_user,
    use_count,
)

Pair = tuple[np.ndarray, np.ndarray]
_FLOATS = (ir.DataType.FLOAT, ir.DataType.DOUBLE)


class AbsorbAffine(Rule[Pair]):
    """BatchNormalization, or Add, Sub, Mul, Div by a constant, after Conv, ConvTranspose or Gemm."""

    name = "absorb-affine"
    roots = ("BatchNormalization", "Add", "Sub", "Mul", "Div")

    def match(self, node: ir.Node, edit: Editor) -> Match[Pair] | Refusal | None:
        """The operand is an anchor with constant weights that has no other user."""
        side = 0 if operand(node, 0, *ANCHORS) is not None else 1
        anchor = operand(node, side, *ANCHORS)
        if anchor is None or (side == 1 and node.op_type == "BatchNormalization"):
            return None
        affine = _affine_of(node, side, anchor)
        if affine is None or isinstance(affine, Refusal):
            return affine
        refusal = _check_anchor(node, anchor, edit)
        if refusal is not None:
            return refusal
        weights = anchor_weights(anchor)
        if isinstance(weights, Refusal):
            return weights
        pair = absorb(anchor, weights, affine)
        return pair if isinstance(pair, Refusal) else Match((node, anchor), pair)

    def rewrite(self, match: Match[Pair], edit: Editor) -> ir.Node | None:
        """The anchor with new weights."""
        root, anchor = match.nodes
        w, b = match.found
        old_w = anchor.inputs[1]
        assert old_w is not None
        stem = str(old_w.name)
        inputs = [
            anchor.inputs[0],
            edit.constant(w, near=anchor, name=f"{stem}_scaled"),
            edit.constant(b, near=anchor, name=f"{stem}_bias"),
        ]
        attributes = {name: a for name, a in anchor.attributes.items() if name != "beta"}
        new = edit.node(
            anchor.op_type, inputs, attributes, before=root, like=root.outputs[0], origin=(anchor, root)
        )
        edit.replace(root.outputs[0], new.outputs[0])
        return new


def _affine_of(node: ir.Node, side: int, anchor: ir.Node) -> Affine | Refusal | None:
    if node.op_type == "BatchNormalization":
        return batch_norm_affine(node)
    return arithmetic_affine(node, side, channel_axis=1)


def _check_anchor(node: ir.Node, anchor: ir.Node, edit: Editor) -> Refusal | None:
    """Why the anchor cannot absorb what follows."""
    if sole_user(anchor.outputs[0]) is None:
        return Refusal(f"the {anchor.op_type} has a second user", at=anchor)
    if anchor.outputs[0].dtype not in _FLOATS:
        # Rounding scaled weights to 16 bits costs more accuracy than the op it saves.
        return Refusal("weights of fewer than 32 bits would be rounded again", at=anchor)
    if any(use_count(v) or v.is_graph_output() for v in node.outputs[1:]):
        return Refusal("more than the first result is used", at=node)
    if not same_shape(anchor.outputs[0], node.outputs[0]):
        return Refusal("the result is not surely as large as that of the anchor", at=node)
    w = input_of(anchor, 1)
    tensor = constant_tensor(w)
    shared = w is not None and tensor is not None and use_count(w) > 1
    if shared and tensor is not None and tensor.nbytes > edit.ctx.limits.max_fold_bytes:
        return Refusal(f"w is shared and its {tensor.nbytes} bytes would be doubled", at=w)
    return None


class AbsorbPad(Rule[tuple[int, ...]]):
    """Pad before Conv or a pooling op becomes its pads."""

    name = "absorb-pad"
    roots = ("Conv", "MaxPool", "AveragePool")

    def match(self, node: ir.Node, edit: Editor) -> Match[tuple[int, ...]] | Refusal | None:
        """The operand is a constant Pad of the spatial dims with the value that the op pads with."""
        pad = operand(node, 0, "Pad")
        if pad is None:
            return None
        extra = _spatial_pads(pad, edit)
        if isinstance(extra, Refusal):
            return extra
        refusal = _check_value(pad, node) or _check_window(node, extra)
        if refusal is not None:
            return refusal
        own = node.attributes.get_ints("pads") or (0,) * len(extra)
        return Match((node, pad), tuple(a + b for a, b in zip(own, extra, strict=True)))

    def rewrite(self, match: Match[tuple[int, ...]], edit: Editor) -> ir.Node | None:
        """The op on the operand of the Pad."""
        root, pad = match.nodes
        attributes: dict[str, Any] = {
            n: a for n, a in root.attributes.items() if n not in ("pads", "auto_pad")
        }
        attributes["pads"] = match.found
        if root.op_type == "AveragePool":
            attributes["count_include_pad"] = 1
        inputs = [pad.inputs[0], *root.inputs[1:]]
        new = edit.node(root.op_type, inputs, attributes, before=root, like=root.outputs, origin=(pad, root))
        for old, value in zip(root.outputs, new.outputs, strict=True):
            edit.replace(old, value)
        return new


def _spatial_pads(pad: ir.Node, edit: Editor) -> tuple[int, ...] | Refusal:
    """Begins and ends of the spatial dims; a Refusal for anything else."""
    if edit.opset < 11:
        return Refusal(f"Pad of opset {edit.opset} is not looked at", at=pad)
    if pad.attributes.get_string("mode", "constant") != "constant":
        return Refusal("the Pad is not constant", at=pad)
    if sole_user(pad.outputs[0]) is None:
        return Refusal("the Pad has a second user", at=pad)
    n, pads = rank(input_of(pad, 0)), constant_ints(input_of(pad, 1))
    axes = constant_ints(input_of(pad, 3)) if input_of(pad, 3) is not None else tuple(range(n or 0))
    if n is None or pads is None or axes is None or len(pads) != 2 * len(axes):
        return Refusal("rank, pads or axes of the Pad are not known", at=pad)
    full = [0] * (2 * n)
    for i, axis in enumerate(axes):
        full[axis % n] = pads[i]
        full[axis % n + n] = pads[i + len(axes)]
    if full[0] or full[1] or full[n] or full[n + 1]:
        return Refusal("the Pad pads batch or channels", at=pad)
    if min(full) < 0:
        return Refusal("the Pad crops", at=pad)
    return tuple(full[2:n] + full[n + 2 :])


def _check_value(pad: ir.Node, node: ir.Node) -> Refusal | None:
    """Conv and AveragePool pad with zeros, MaxPool with the lowest value there is."""
    value = 0.0
    if input_of(pad, 2) is not None:
        array = constant_value(pad.inputs[2], max_bytes=8)
        if array is None or array.size != 1:
            return Refusal("the value of the Pad is not constant", at=pad)
        value = float(array.reshape(-1)[0])
    wanted = float("-inf") if node.op_type == "MaxPool" else 0.0
    if value != wanted:
        return Refusal(f"the Pad pads with {value:g}, {node.op_type} with {wanted:g}", at=pad)
    return None


def _check_window(node: ir.Node, extra: tuple[int, ...]) -> Refusal | None:
    """Whether the op's own pads can grow by ``extra``."""
    attributes = node.attributes
    if attributes.get_string("auto_pad", "NOTSET") not in ("NOTSET", "VALID"):
        return Refusal("auto_pad computes the pads from the padded size", at=node)
    if node.op_type == "Conv":
        return None
    own = attributes.get_ints("pads") or (0,) * len(extra)
    kernel = attributes.get_ints("kernel_shape") or ()
    if attributes.get_int("ceil_mode", 0):
        return Refusal("ceil_mode: windows may reach beyond the padding", at=node)
    if len(node.outputs) > 1:
        return Refusal("indices would count from another origin", at=node)
    if node.op_type == "AveragePool" and any(own) and not attributes.get_int("count_include_pad", 0):
        return Refusal("AveragePool leaves its own padding out of the average", at=node)
    if any(a + b >= kernel[i % len(kernel)] for i, (a, b) in enumerate(zip(own, extra, strict=True))):
        return Refusal("pads must be smaller than the kernel", at=node)
    return None


class SplitBatchNorm(Rule[Affine]):
    """BatchNormalization that nothing absorbs is a Mul and an Add, which fuse with their neighbours."""

    name = "split-batch-norm"
    roots = ("BatchNormalization",)

    def match(self, node: ir.Node, edit: Editor) -> Match[Affine] | Refusal | None:
        """Constant operands, one result in use."""
        x = input_of(node, 0)
        n = rank(x)
        affine = batch_norm_affine(node)
        if isinstance(affine, Refusal):
            return affine
        if n is None or n < 2 or x is None or x.dtype not in _FLOATS:
            return Refusal("rank or dtype of the operand is unknown or unfit", at=x)
        if any(use_count(v) or v.is_graph_output() for v in node.outputs[1:]):
            return Refusal("more than the first result is used", at=node)
        return Match((node,), affine)

    def rewrite(self, match: Match[Affine], edit: Editor) -> ir.Node | None:
        """X * scale + shift, the constants of shape [C, 1, ..]."""
        root = match.nodes[0]
        x, out = root.inputs[0], root.outputs[0]
        assert x is not None
        assert x.dtype is not None
        shape = (-1,) + (1,) * ((rank(x) or 2) - 2)
        scale, shift = (
            edit.constant(part.astype(x.dtype.numpy()).reshape(shape), near=root, name=f"{out.name}_{name}")
            for part, name in ((match.found.scale, "scale"), (match.found.shift, "shift"))
        )
        scaled = edit.node("Mul", [x, scale], before=root, like=out)
        new = edit.node("Add", [scaled.outputs[0], shift], before=root, like=out)
        edit.replace(out, new.outputs[0])
        return new


@dataclass(frozen=True)
class FuseBatchNorm(RulePass):
    """Put BatchNormalization, per-channel arithmetic and padding into the ops beside them.

    Conv, ConvTranspose and Gemm absorb a following BatchNormalization or per-channel arithmetic; Conv, MaxPool
    and AveragePool a preceding Pad; what is left of BatchNormalization becomes Mul and Add.

    Needs:    inferred shapes; constant weights.
    Keeps:    results within the dtype's tolerance: new weights are computed in float64 and rounded once.
    Skips:    anchors with a second user, weights that are not constant, or shared and larger than
              ``limits.max_fold_bytes``; BatchNormalization in training mode; constants that are not one value per
              channel or not finite; weights of fewer than 32 bits; a Pad that crops, pads batch or channels, is
              not constant or pads with another value than the op does; auto_pad, ceil_mode, pads as large as the
              kernel, an AveragePool that leaves its own padding out.
    Cost:     O(nodes + bytes of the weights).
    Source:   ONNX operators, BatchNormalization-15, Conv-22, Pad-24.
    """

    name: ClassVar[str] = "fuse-batch-norm"

    def rules(self) -> Sequence[Rule[Any]]:
        """Absorbing before splitting."""
        return (AbsorbAffine(), AbsorbPad(), SplitBatchNorm())
