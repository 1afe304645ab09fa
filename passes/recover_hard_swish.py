"""Recover HardSwish from the ops that exporters write for it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

import onnx_ir as ir

from accelc.ir.pass_base import Refusal
from accelc.ir.patterns import Formula, closing, is_formula, keeps_rank, relative_slack, scalar
from accelc.ir.pointwise import FLOATS
from accelc.ir.rewrite import Editor, Match, Rule, RulePass, input_of, is_op, use_count

SINCE = 14
"""Opset that brought HardSwish."""


@dataclass(frozen=True)
class HardSwishRule(Rule[ir.Value]):
    """``x * hardsigmoid(x)`` with slope 1/6 and offset 1/2, or ``x * clip(x + 3, 0, 6) / 6``."""

    name: ClassVar[str] = "hard-swish"
    roots: ClassVar[tuple[str, ...]] = ("Clip", "HardSigmoid")

    def match(self, node: ir.Node, edit: Editor) -> Match[ir.Value] | Refusal | None:
        """Find x above the gate and the closing product below it."""
        gate, argument = node.outputs[0], node.inputs[0]
        height = _height(node)
        if argument is None or gate.dtype not in FLOATS or height is None:
            return None
        slack = relative_slack(gate)
        line = _line(node, height)
        for x in _candidates(node, argument):
            inside = Formula([x])
            if not is_formula(inside.of(argument), line, slack):
                continue
            end = closing(gate, [x, gate], {(1, 1): 1.0 / height}, slack)
            if end is None:
                if use_count(gate) > 1 or gate.is_graph_output():
                    return Refusal(f"{gate.name} is also read outside the formula", at=gate)
                continue
            last, outside = end
            if edit.opset < SINCE:
                return Refusal(f"HardSwish needs opset {SINCE}, the model has {edit.opset}", at=node)
            if not (keeps_rank(inside, x) and keeps_rank(outside, x)):
                return Refusal(f"a constant has a higher rank than {x.name}", at=x)
            return Match((last, *[n for n in (*outside.nodes, node, *inside.nodes) if n is not last]), x)
        return None

    def rewrite(self, match: Match[ir.Value], edit: Editor) -> ir.Node:
        """One HardSwish in place of the closing node."""
        last = match.nodes[0]
        node = edit.node("HardSwish", [match.found], before=last, like=last.outputs[0], origin=match.nodes)
        edit.replace(last.outputs[0], node.outputs[0])
        return node


def _height(node: ir.Node) -> float | None:
    """Upper end of the gate, whose lower end is 0; None if it has other ends."""
    if node.op_type == "HardSigmoid":
        return 1.0
    low, high = scalar(input_of(node, 1)), scalar(input_of(node, 2))
    return high if low == 0.0 and high is not None and 0.0 < high < float("inf") else None


def _line(node: ir.Node, height: float) -> dict[tuple[int, ...], float]:
    """What must be clipped: height * (x / 6 + 1 / 2). A HardSigmoid brings its own line."""
    if node.op_type != "HardSigmoid":
        return {(1,): height / 6.0, (0,): height / 2.0}
    alpha = node.attributes.get_float("alpha", 0.2)
    beta = node.attributes.get_float("beta", 0.5)
    return {(1,): 1.0} if abs(alpha - 1.0 / 6.0) < 1e-6 and abs(beta - 0.5) < 1e-6 else {(9,): 1.0}


def _candidates(node: ir.Node, argument: ir.Value) -> list[ir.Value]:
    """Values that may be x: the gate's operand, or what is behind a sum and a factor."""
    if node.op_type == "HardSigmoid":
        return [argument]
    found = [argument]
    for value in found:
        producer = value.producer()
        if producer is not None and is_op(producer, "Add", "Mul", "Div") and len(found) < 5:
            found.extend(v for v in producer.inputs if v is not None)
    return found[1:]


@dataclass(frozen=True)
class RecoverHardSwish(RulePass):
    """Replace the forms of HardSwish by the op.

    Needs:    constants as initializers; types.
    Keeps:    graph inputs, outputs, their names; results within the dtype's tolerance.
    Skips:    opsets below 14; a value inside the formula that is also read elsewhere or is a graph output;
              constants of a higher rank than x; dtypes other than float16, float32, float64.
    Cost:     one walk, O(nodes).
    Source:   ONNX operators, HardSwish-14; Howard et al., arXiv:1905.02244.
    """

    name: ClassVar[str] = "recover-hard-swish"

    def rules(self) -> Sequence[Rule[ir.Value]]:
        """The one rule."""
        return (HardSwishRule(),)
