"""Recover Gelu from the ops that exporters write for it."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import ClassVar

import onnx_ir as ir

from accelc.ir.pass_base import Refusal
from accelc.ir.patterns import Formula, Powers, closing, is_formula, keeps_rank, relative_slack
from accelc.ir.pointwise import FLOATS
from accelc.ir.rewrite import Editor, Match, Rule, RulePass, is_op, use_count

SINCE = 20
"""Opset that brought Gelu."""

CLOSED: dict[Powers, float] = {(1, 0): 0.5, (1, 1): 0.5}
"""0.5 * x + 0.5 * x * y, with y the erf or tanh."""

ERF: dict[Powers, float] = {(1,): math.sqrt(0.5)}
TANH: dict[Powers, float] = {(1,): math.sqrt(2.0 / math.pi), (3,): math.sqrt(2.0 / math.pi) * 0.044715}


@dataclass(frozen=True)
class _Found:
    x: ir.Value
    approximate: str


@dataclass(frozen=True)
class GeluRule(Rule[_Found]):
    """``0.5 * x * (1 + erf(x / sqrt(2)))`` and its tanh form, in any order and association."""

    name: ClassVar[str] = "gelu"
    roots: ClassVar[tuple[str, ...]] = ("Erf", "Tanh")

    def match(self, node: ir.Node, edit: Editor) -> Match[_Found] | Refusal | None:
        """Find x above the root and the closing node below it."""
        inner = node.outputs[0]
        argument = node.inputs[0]
        if argument is None or inner.dtype not in FLOATS:
            return None
        slack = relative_slack(inner)
        wanted = ERF if node.op_type == "Erf" else TANH
        for x in _candidates(argument, node.op_type):
            inside = Formula([x])
            if not is_formula(inside.of(argument), wanted, slack):
                continue
            end = closing(inner, [x, inner], CLOSED, slack)
            if end is None:
                return _why_open(inner)
            last, outside = end
            if edit.opset < SINCE:
                return Refusal(f"Gelu needs opset {SINCE}, the model has {edit.opset}", at=node)
            if not (keeps_rank(inside, x) and keeps_rank(outside, x)):
                return Refusal(f"a constant has a higher rank than {x.name}", at=x)
            nodes = (last, *[n for n in (*outside.nodes, node, *inside.nodes) if n is not last])
            return Match(nodes, _Found(x, "none" if node.op_type == "Erf" else "tanh"))
        return None

    def rewrite(self, match: Match[_Found], edit: Editor) -> ir.Node:
        """One Gelu in place of the closing node."""
        last = match.nodes[0]
        found = match.found
        attributes = {"approximate": found.approximate} if found.approximate != "none" else {}
        gelu = edit.node("Gelu", [found.x], attributes, before=last, like=last.outputs[0], origin=match.nodes)
        edit.replace(last.outputs[0], gelu.outputs[0])
        return gelu


def _why_open(inner: ir.Value) -> Refusal | None:
    """Something that starts like Gelu: worth telling only where another reader is what stops it."""
    if use_count(inner) > 1 or inner.is_graph_output():
        return Refusal(f"{inner.name} is also read outside the formula", at=inner)
    users = [usage.node for usage in inner.uses()]
    if users and is_op(users[0], "Add", "Mul") and use_count(users[0].outputs[0]) > 1:
        return Refusal(f"{users[0].outputs[0].name} is also read outside the formula", at=users[0])
    return None


def _candidates(argument: ir.Value, op: str) -> Iterator[ir.Value]:
    """Values that may be x, given the operand of erf or tanh."""
    node = argument.producer()
    if op == "Erf":
        if is_op(node, "Div", "Mul"):
            assert node is not None
            yield from (value for value in node.inputs if value is not None)
        return
    seen: set[ir.Value] = set()
    pending: list[ir.Value] = [argument]
    while pending and len(seen) < 12:
        value = pending.pop()
        node = value.producer()
        if value in seen or node is None or not is_op(node, "Add", "Mul", "Div", "Pow"):
            continue
        seen.add(value)
        operands: Sequence[ir.Value] = [v for v in node.inputs if v is not None]
        pending.extend(operands)
        # The cube is x**3, x*x*x or x*(x*x): each has a power of x or a product of x with itself.
        if node.op_type == "Pow" or (node.op_type == "Mul" and operands[0] is operands[1]):
            yield operands[0]


@dataclass(frozen=True)
class RecoverGelu(RulePass):
    """Replace the erf and tanh forms of Gelu by the op.

    Needs:    constants as initializers; types.
    Keeps:    graph inputs, outputs, their names; results within the dtype's tolerance.
    Skips:    opsets below 20; a value inside the formula that is also read elsewhere or is a graph output;
              constants of a higher rank than x; dtypes other than float16, float32, float64.
    Cost:     one walk, O(nodes).
    Source:   ONNX operators, Gelu-20; Hendrycks and Gimpel, arXiv:1606.08415.
    """

    name: ClassVar[str] = "recover-gelu"

    def rules(self) -> Sequence[Rule[_Found]]:
        """The one rule."""
        return (GeluRule(),)
