"""Recover Swish (SiLU) from the ops that exporters write for it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

import onnx_ir as ir

from accelc.ir.pass_base import Refusal
from accelc.ir.patterns import Formula, closing, keeps_rank, relative_slack
from accelc.ir.pointwise import FLOATS
from accelc.ir.rewrite import Editor, Match, Rule, RulePass, is_op, operand, sole_user, use_count

SINCE = 24
"""Opset that brought Swish."""


@dataclass(frozen=True)
class _Found:
    x: ir.Value
    alpha: float


@dataclass(frozen=True)
class SwishRule(Rule[_Found]):
    """``x * sigmoid(alpha * x)``."""

    name: ClassVar[str] = "swish"
    roots: ClassVar[tuple[str, ...]] = ("Sigmoid",)

    def match(self, node: ir.Node, edit: Editor) -> Match[_Found] | Refusal | None:
        """The product below the root, whose other operand is x."""
        gate, argument = node.outputs[0], node.inputs[0]
        if argument is None or gate.dtype not in FLOATS:
            return None
        scaled = operand(node, 0, "Mul", "Div")
        above = [v for v in scaled.inputs if v is not None] if scaled is not None else []
        for x in (argument, *above):
            inside = Formula([x])
            polynomial = inside.of(argument)
            if polynomial is None or set(polynomial) != {(1,)}:
                continue
            end = closing(gate, [x, gate], {(1, 1): 1.0}, relative_slack(gate), steps=1)
            if end is None:
                if use_count(gate) > 1 and any(_reads(u.node, x) for u in gate.uses()):
                    return Refusal(f"{gate.name} is also read outside the formula", at=gate)
                continue
            last = end[0]
            if edit.opset < SINCE:
                return Refusal(f"Swish needs opset {SINCE}, the model has {edit.opset}", at=node)
            if not keeps_rank(inside, x):
                return Refusal(f"a constant has a higher rank than {x.name}", at=x)
            return Match((last, node, *inside.nodes), _Found(x, polynomial[(1,)]))
        return None

    def rewrite(self, match: Match[_Found], edit: Editor) -> ir.Node:
        """One Swish in place of the product."""
        return _write(match, edit)


@dataclass(frozen=True)
class QuotientRule(Rule[_Found]):
    """``x / (1 + exp(-x))``."""

    name: ClassVar[str] = "swish-quotient"
    roots: ClassVar[tuple[str, ...]] = ("Exp",)

    def match(self, node: ir.Node, edit: Editor) -> Match[_Found] | Refusal | None:
        """Neg above the root, an Add of one and a Div below it."""
        negated = operand(node, 0, "Neg")
        if negated is None or node.outputs[0].dtype not in FLOATS:
            return None
        x = negated.inputs[0]
        added = sole_user(node.outputs[0])
        if x is None or added is None or not is_op(added, "Add") or added.graph is not node.graph:
            return None
        formula = Formula([node.outputs[0]])
        if formula.of(added.outputs[0]) != {(0,): 1.0, (1,): 1.0} or not keeps_rank(formula, x):
            return None
        last = sole_user(added.outputs[0])
        if last is None:
            return Refusal(f"{added.outputs[0].name} is also read outside the formula", at=added)
        if not is_op(last, "Div") or last.inputs[0] is not x or last.graph is not node.graph:
            return None
        if edit.opset < SINCE:
            return Refusal(f"Swish needs opset {SINCE}, the model has {edit.opset}", at=node)
        return Match((last, added, node, negated), _Found(x, 1.0))

    def rewrite(self, match: Match[_Found], edit: Editor) -> ir.Node:
        """One Swish in place of the quotient."""
        return _write(match, edit)


def _reads(node: ir.Node, x: ir.Value) -> bool:
    return is_op(node, "Mul") and any(value is x for value in node.inputs)


def _write(match: Match[_Found], edit: Editor) -> ir.Node:
    last = match.nodes[0]
    attributes = {"alpha": match.found.alpha} if match.found.alpha != 1.0 else {}
    swish = edit.node(
        "Swish", [match.found.x], attributes, before=last, like=last.outputs[0], origin=match.nodes
    )
    edit.replace(last.outputs[0], swish.outputs[0])
    return swish


@dataclass(frozen=True)
class RecoverSilu(RulePass):
    """Replace ``x * sigmoid(alpha * x)`` and ``x / (1 + exp(-x))`` by Swish.

    Needs:    constants as initializers; types.
    Keeps:    graph inputs, outputs, their names; results within the dtype's tolerance.
    Skips:    opsets below 24; a value inside the formula that is also read elsewhere or is a graph output;
              constants of a higher rank than x; dtypes other than float16, float32, float64.
    Cost:     one walk, O(nodes).
    Source:   ONNX operators, Swish-24; Ramachandran et al., arXiv:1710.05941.
    """

    name: ClassVar[str] = "recover-silu"

    def rules(self) -> Sequence[Rule[_Found]]:
        """Both forms."""
        return (SwishRule(), QuotientRule())
