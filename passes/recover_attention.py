"""Recover Attention from the matrix products and the softmax that exporters write for it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

import numpy as np
import onnx_ir as ir

from accelc.ir.attention_pattern import Mask, Scores, read_scores, refuse_mask, refuse_shapes
from accelc.ir.bounds import MAX_BYTES
from accelc.ir.pass_base import Refusal
from accelc.ir.pointwise import FLOATS
from accelc.ir.rewrite import Editor, Match, Rule, RulePass, constant_value, is_op, rank, same_dim, sole_user

SINCE = 23
"""Opset that brought Attention."""


@dataclass(frozen=True)
class _Found:
    scores: Scores
    values: ir.Value


@dataclass(frozen=True)
class AttentionRule(Rule[_Found]):
    """``softmax(q @ k^T * scale + mask) @ v`` with q, k, v of shape ``[B, H, S, D]``."""

    trust_masks: bool = False

    name: ClassVar[str] = "attention"
    roots: ClassVar[tuple[str, ...]] = ("Softmax",)

    def match(self, node: ir.Node, edit: Editor) -> Match[_Found] | Refusal | None:
        """Read the scores above the softmax, and the product below it."""
        weights = node.outputs[0]
        scores = read_scores(node.inputs[0])
        if scores is None or not any(is_op(usage.node, "MatMul") for usage in weights.uses()):
            return None
        last = sole_user(weights)
        if last is None:
            return Refusal(f"{weights.name} is also read elsewhere", at=weights)
        if isinstance(scores, Refusal):
            return scores
        values = last.inputs[1]
        if last.inputs[0] is not weights or values is None or last.graph is not node.graph:
            return Refusal("the weights are not the left operand of a product of their region", at=last)
        refusal = self._refuse(node, scores, values, edit)
        return refusal or Match((last, node, *scores.nodes, *scores.helpers), _Found(scores, values))

    def _refuse(self, node: ir.Node, scores: Scores, values: ir.Value, edit: Editor) -> Refusal | None:
        weights = node.outputs[0]
        if edit.opset < SINCE:
            return Refusal(f"Attention needs opset {SINCE}, the model has {edit.opset}", at=node)
        # float64 is left as it is: kernels for attention are in single precision
        if weights.dtype not in FLOATS or weights.dtype == ir.DataType.DOUBLE:
            return Refusal(f"{weights.name} is not of floats that Attention takes here", at=weights)
        if rank(weights) != 4 or node.attributes.get_int("axis", -1) not in (-1, 3):
            return Refusal("the softmax is not over the last of four axes", at=node)
        return refuse_shapes(scores, values) or refuse_mask(scores, trust_masks=self.trust_masks)

    def rewrite(self, match: Match[_Found], edit: Editor) -> ir.Node:
        """One Attention in place of the last product, with a Transpose of the keys where one is needed."""
        last, scores = match.nodes[0], match.found.scores
        key = scores.key
        if scores.key_perm != (0, 1, 2, 3):
            attributes = {"perm": scores.key_perm}
            moved = edit.node("Transpose", [key], attributes, before=last, origin=match.nodes).outputs[0]
            moved.dtype = key.dtype if key.dtype is not None else ir.DataType.FLOAT
            if key.shape is not None:
                moved.shape = ir.Shape([key.shape[axis] for axis in scores.key_perm])
            key = moved
        inputs: list[ir.Value | None] = [scores.query, key, match.found.values]
        mask = _additive(scores.mask, last, scores.product.outputs[0], edit)
        if mask is not None:
            inputs.append(_full_height(mask, scores, last, edit))
        result = last.outputs[0]
        node = edit.node(
            "Attention", inputs, {"scale": scores.scale}, before=last, like=result, origin=match.nodes
        )
        edit.replace(result, node.outputs[0])
        return node


def _additive(mask: Mask, near: ir.Node, scores: ir.Value, edit: Editor) -> ir.Value | None:
    """The mask as a tensor to add, or None if there is none."""
    if mask.condition is None:
        return mask.value
    dtype = scores.dtype.numpy() if scores.dtype is not None else np.dtype(np.float32)
    zero, fill = np.zeros((), dtype), np.asarray(mask.fill, dtype)
    keep, other = (fill, zero) if mask.inverted else (zero, fill)
    condition = constant_value(mask.condition, max_bytes=MAX_BYTES)
    if condition is not None:
        return edit.constant(np.where(condition, keep, other), near=near, name="attention_mask")
    operands = [
        mask.condition,
        edit.constant(keep, near=near, name="mask_true"),
        edit.constant(other, near=near, name="mask_false"),
    ]
    made = edit.node("Where", operands, before=near).outputs[0]
    made.shape = mask.condition.shape.copy() if mask.condition.shape is not None else None
    made.dtype = scores.dtype if scores.dtype is not None else ir.DataType.FLOAT
    return made


def _full_height(mask: ir.Value, scores: Scores, near: ir.Node, edit: Editor) -> ir.Value:
    """The mask with a row per query: the op broadcasts a single one, onnxruntime 1.32 refuses it.

    The rows are counted on the mask itself where that is possible, so that all layers share one Expand.
    """
    query = scores.query.shape
    if mask.shape is None or query is None or same_dim(mask.shape[-2], query[2]):
        return mask
    rows = query[2]
    if isinstance(rows, int):
        target = edit.constant(np.asarray([rows, 1], np.int64), near=near, name="mask_shape")
    else:
        source, span = (
            (mask, {"start": -1})
            if same_dim(rows, mask.shape[-1])
            else (scores.query, {"start": 2, "end": 3})
        )
        count = edit.node("Shape", [source], span, before=near).outputs[0]
        one = edit.constant(np.asarray([1], np.int64), near=near, name="one")
        target = edit.node("Concat", [count, one], {"axis": 0}, before=near).outputs[0]
        for value, size in ((count, 1), (target, 2)):
            value.dtype, value.shape = ir.DataType.INT64, ir.Shape([size])
    expanded = edit.node("Expand", [mask, target], before=near).outputs[0]
    expanded.dtype = mask.dtype if mask.dtype is not None else ir.DataType.FLOAT
    expanded.shape = ir.Shape([*mask.shape.dims[:-2], rows, mask.shape[-1]])
    return expanded


@dataclass(frozen=True)
class RecoverAttention(RulePass):
    """Replace eager attention by the op Attention, 4-D, with an additive mask where there is one.

    The scale may stand on the scores, on q, on k, or on several of them. Masks written by Where are turned into
    ones that are added.

    Args:
        trust_masks: Take masks that are not proven finite: a row that is -inf all along then gives 0, not NaN.

    Needs:    constants as initializers; inferred types and shapes.
    Keeps:    graph inputs, outputs, their names; results within the dtype's tolerance for finite scores.
    Skips:    opsets below 23; scores or weights that are also read elsewhere; a softmax over another axis;
              ranks other than 4; keys that are not the result of a transpose; batch or heads that are not
              known to be equal; scales that are not positive; masks of another dtype or rank, that do not
              broadcast or might be padded, that may be -inf along a whole row, or that write a moderate
              number; dtypes other than float16, float32, float64.
    Cost:     one walk, O(nodes).
    Source:   ONNX operators, Attention-23 and -24; Vaswani et al., arXiv:1706.03762.
    """

    trust_masks: bool = False

    name: ClassVar[str] = "recover-attention"

    def rules(self) -> Sequence[Rule[_Found]]:
        """The one rule."""
        return (AttentionRule(self.trust_masks),)
