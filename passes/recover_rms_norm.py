"""Recover RMSNormalization from the ops that exporters write for it."""

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
from accelc.ir.rewrite import Editor, Match, Rule, RulePass

SINCE = 23
"""Opset that brought RMSNormalization."""


@dataclass(frozen=True)
class RMSNormRule(Rule[Norm]):
    """``x / sqrt(mean(x**2) + eps) * scale``."""

    name: ClassVar[str] = "rms-norm"
    roots: ClassVar[tuple[str, ...]] = ("Div", "Mul")

    def match(self, node: ir.Node, edit: Editor) -> Match[Norm] | Refusal | None:
        """Take the quotient at the root apart; then look below for the scale."""
        found = quotient(node)
        square = square_of(found.mean_square) if found is not None else None
        if found is None or square is None or square[0] is not found.numerator:
            return None
        x = found.numerator
        axis = trailing_axis(found.mean_square, x)
        if isinstance(axis, Refusal):
            return axis
        if edit.opset < SINCE:
            return Refusal(f"RMSNormalization needs opset {SINCE}, the model has {edit.opset}", at=node)
        below = affine(node, x, axis, with_bias=False)
        if below.scale is None and normalized_shape(x, axis) is None:
            return Refusal("there is no scale, and the normalised size is not known", at=x)
        nodes = (*below.nodes, *found.nodes, square[1])
        refusal = why_not(x, below.last, nodes)
        return refusal or Match(nodes, Norm(x, axis, found.epsilon, below))

    def rewrite(self, match: Match[Norm], edit: Editor) -> ir.Node:
        """One RMSNormalization in place of the last node."""
        return write(match, edit, "RMSNormalization")


@dataclass(frozen=True)
class RecoverRMSNorm(RulePass):
    """Replace the formula of RMSNormalization by the op, with the scale where it follows.

    Needs:    constants as initializers; inferred types and shapes; recover-layer-norm has run, whose formula
              holds this one.
    Keeps:    graph inputs, outputs, their names; results within the dtype's tolerance.
    Skips:    opsets below 23; axes that are not the last ones or not constant, or that are not kept; no scale
              and a normalised size that is not known; a value inside the formula that is also read elsewhere;
              dtypes other than float16 and float32, in which the op would compute less exactly.
    Cost:     one walk, O(nodes).
    Source:   ONNX operators, RMSNormalization-23; Zhang and Sennrich, arXiv:1910.07467.
    """

    name: ClassVar[str] = "recover-rms-norm"

    def rules(self) -> Sequence[Rule[Norm]]:
        """The one rule."""
        return (RMSNormRule(),)
