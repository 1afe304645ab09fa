"""Recover LayerNormalization from the ops that exporters write for it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

import onnx_ir as ir

from accelc.ir.norm_patterns import (
    Norm,
    affine,
    normalized_shape,
    quotient,
    square_of,
    trailing_axis,
    why_not,
    write,
)
from accelc.ir.pass_base import Refusal
from accelc.ir.rewrite import Editor, Match, Rule, RulePass, is_op, operand

SINCE = 17
"""Opset that brought LayerNormalization."""


@dataclass(frozen=True)
class LayerNormRule(Rule[Norm]):
    """``(x - mean(x)) / sqrt(mean((x - mean(x))**2) + eps) * scale + bias``."""

    name: ClassVar[str] = "layer-norm"
    roots: ClassVar[tuple[str, ...]] = ("Div", "Mul")

    def match(self, node: ir.Node, edit: Editor) -> Match[Norm] | Refusal | None:
        """Take the quotient at the root apart; then look below for scale and bias."""
        found = quotient(node)
        square = square_of(found.mean_square) if found is not None else None
        if found is None or square is None:
            return None
        centred, squared = _centred(found.numerator), _centred(square[0])
        if centred is None or squared is None or centred[0] is not squared[0]:
            return None
        x, difference, mean = centred
        if squared[2] is not mean and squared[2].inputs[0] is not x:
            return None
        axis = trailing_axis(mean, x)
        for other in (squared[2], found.mean_square):
            if isinstance(axis, int) and trailing_axis(other, x) != axis:
                axis = Refusal("mean and variance are taken over different axes", at=other)
        if isinstance(axis, Refusal):
            return axis
        if edit.opset < SINCE:
            return Refusal(f"LayerNormalization needs opset {SINCE}, the model has {edit.opset}", at=node)
        below = affine(node, x, axis, with_bias=True)
        if below.scale is None and normalized_shape(x, axis) is None:
            return Refusal("there is no scale, and the normalised size is not known", at=x)
        parts = (*below.nodes, *found.nodes, square[1], difference, squared[1], mean, squared[2])
        nodes = tuple(dict.fromkeys(parts))
        refusal = why_not(x, below.last, nodes)
        return refusal or Match(nodes, Norm(x, axis, found.epsilon, below))

    def rewrite(self, match: Match[Norm], edit: Editor) -> ir.Node:
        """One LayerNormalization in place of the last node."""
        return write(match, edit, "LayerNormalization")


def _centred(value: ir.Value) -> tuple[ir.Value, ir.Node, ir.Node] | None:
    """x, the Sub and the ReduceMean of ``value = x - mean(x)``."""
    difference = value.producer()
    if difference is None or not is_op(difference, "Sub"):
        return None
    mean = operand(difference, 1, "ReduceMean")
    x = difference.inputs[0]
    return (x, difference, mean) if mean is not None and x is not None and mean.inputs[0] is x else None


@dataclass(frozen=True)
class RecoverLayerNorm(RulePass):
    """Replace the formula of LayerNormalization by the op, with scale and bias where they follow.

    Needs:    constants as initializers; inferred types and shapes.
    Keeps:    graph inputs, outputs, their names; results within the dtype's tolerance.
    Skips:    opsets below 17; axes that are not the last ones or not constant, or that are not kept; mean and
              variance over different axes; no scale and a normalised size that is not known; a value inside
              the formula that is also read elsewhere; dtypes other than float16 and float32, in which the op
              would compute less exactly.
    Cost:     one walk, O(nodes).
    Source:   ONNX operators, LayerNormalization-17; Ba et al., arXiv:1607.06450.
    """

    name: ClassVar[str] = "recover-layer-norm"

    def rules(self) -> Sequence[Rule[Norm]]:
        """The one rule."""
        return (LayerNormRule(),)
