"""Recognising formulas, whatever the order of operands and the association.

A formula is compared as a polynomial in one or two values, not node by node: ``0.5 * x * (1 + y)``,
``(x + x * y) / 2`` and ``x * (0.5 * y + 0.5)`` are the same to it.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
import onnx_ir as ir

from accelc.ir.rewrite import constant_value, is_op, rank, use_count

Powers = tuple[int, ...]
"""Exponent of each variable in a monomial."""

MAX_NODES = 16
"""Nodes a formula may have; longer ones are not those that exporters write."""

MAX_DEGREE = 4


def scalar(value: ir.Value | None) -> float | None:
    """The number behind a constant of one element (floats and integers), or None."""
    array = constant_value(value, max_bytes=64)
    if array is None or array.size != 1 or array.dtype.kind not in "fiu":
        return None
    return float(array.reshape(()))


def relative_slack(value: ir.Value) -> float:
    """How far a constant written in the dtype of ``value`` may be from the number it stands for."""
    return 1e-3 if value.dtype == ir.DataType.FLOAT16 else 2e-6


@dataclass
class Formula:
    """Values as polynomials in ``variables``.

    Args:
        variables: The values that stand for themselves.
        nodes: Nodes read so far.
        constant_rank: Highest rank of a constant read: it must not enlarge the result.
        known: Results so far, so that a value read twice is looked at once.
    """

    variables: Sequence[ir.Value]
    nodes: dict[ir.Node, None] = field(default_factory=dict)
    constant_rank: int = 0
    known: dict[ir.Value, dict[Powers, float] | None] = field(default_factory=dict)

    def of(self, value: ir.Value | None, depth: int = 0) -> dict[Powers, float] | None:
        """``value`` as coefficients by powers, or None if it is no polynomial of a few nodes.

        The depth is bounded by MAX_NODES, so recursion does not grow with the model.
        """
        if value is None:
            return None
        for index, variable in enumerate(self.variables):
            if value is variable:
                return {tuple(int(i == index) for i in range(len(self.variables))): 1.0}
        number = scalar(value)
        if number is not None:
            self.constant_rank = max(self.constant_rank, rank(value) or 0)
            return {(0,) * len(self.variables): number}
        node = value.producer()
        if node is None or node.domain != "" or depth >= MAX_NODES or len(self.nodes) > MAX_NODES:
            return None
        if node.op_type not in ("Add", "Sub", "Mul", "Div", "Neg", "Pow"):
            return None
        if value not in self.known:
            self.nodes[node] = None
            self.known[value] = self._apply(node, [self.of(operand, depth + 1) for operand in node.inputs])
        return self.known[value]

    def _apply(
        self, node: ir.Node, operands: Sequence[Mapping[Powers, float] | None]
    ) -> dict[Powers, float] | None:
        first, *others = operands
        if first is None or any(other is None for other in others):
            return None
        one = {(0,) * len(self.variables): 1.0}
        if node.op_type == "Neg":
            return _sum(first, -1.0, {})
        second = others[0] if others else None
        if second is None:
            return None
        if node.op_type in ("Add", "Sub"):
            return _sum(second, 1.0 if node.op_type == "Add" else -1.0, first)
        if node.op_type == "Mul":
            return _product(first, second)
        number = second.get((0,) * len(self.variables))
        if number is None or len(second) != 1:
            return None
        if node.op_type == "Div":
            return _sum(first, 1.0 / number, {}) if number != 0.0 else None
        if number not in (2.0, 3.0):
            return None
        power: dict[Powers, float] | None = one
        for _ in range(int(number)):
            power = _product(power, first) if power is not None else None
        return power


def _sum(a: Mapping[Powers, float], factor: float, b: Mapping[Powers, float]) -> dict[Powers, float]:
    """The sum ``factor * a + b``."""
    result = dict(b)
    for powers, coefficient in a.items():
        result[powers] = result.get(powers, 0.0) + factor * coefficient
    return result


def _product(a: Mapping[Powers, float], b: Mapping[Powers, float]) -> dict[Powers, float] | None:
    result: dict[Powers, float] = {}
    for left, x in a.items():
        for right, y in b.items():
            powers = tuple(i + j for i, j in zip(left, right, strict=True))
            if sum(powers) > MAX_DEGREE:
                return None
            result[powers] = result.get(powers, 0.0) + x * y
    return result


def is_formula(found: Mapping[Powers, float] | None, wanted: Mapping[Powers, float], slack: float) -> bool:
    """Whether two polynomials are equal up to a relative error of their coefficients."""
    if found is None:
        return False
    if any(abs(c) > slack for powers, c in found.items() if powers not in wanted):
        return False
    return all(abs(found.get(powers, 0.0) - c) <= slack * abs(c) for powers, c in wanted.items())


def closing(
    inner: ir.Value,
    variables: Sequence[ir.Value],
    wanted: Mapping[Powers, float],
    slack: float,
    *,
    steps: int = 5,
) -> tuple[ir.Node, Formula] | None:
    """The node below ``inner`` at which the formula ``wanted`` is complete.

    Follows the only user of each value, so that nothing in between is read elsewhere.

    Args:
        inner: One of ``variables``, where to start.
        variables: The values the formula is in.
        wanted: The polynomial.
        slack: Relative error allowed in coefficients.
        steps: How many nodes down to look.
    """
    value = inner
    for _ in range(steps):
        users = {usage.node for usage in value.uses()} if use_count(value) <= 2 else set()
        if value.is_graph_output() or len(users) != 1:
            return None
        node = users.pop()
        if not is_op(node, "Add", "Sub", "Mul", "Div") or node.graph is not inner.graph:
            return None
        value = node.outputs[0]
        formula = Formula(variables)
        if is_formula(formula.of(value), wanted, slack):
            return node, formula
    return None


def keeps_rank(formula: Formula, x: ir.Value) -> bool:
    """Whether no constant of the formula has a higher rank than ``x``, which would enlarge the result."""
    known = rank(x)
    return formula.constant_rank == 0 or (known is not None and formula.constant_rank <= known)


def is_finite_number(number: float | None) -> bool:
    """Whether a scalar is there and is no NaN or infinity."""
    return number is not None and bool(np.isfinite(number))
