"""Elementwise expressions: what an epilogue, a prologue or a cluster computes for one element.

An expression is a straight-line program. Step ``i`` is ``(op, arg, ...)`` and computes a value of dtype
``dtypes[i]``; arguments are numbers of earlier steps, except in the leaves:

- ``("in", k)``: operand ``k`` (in an epilogue operand 0 is the accumulator, in a reduction prologue the input),
- ``("const", x)``: a scalar; NaN and infinities are written as strings (``"nan"``, ``"inf"``, ``"-inf"``).

``expr_emit.py`` turns expressions into kernel text and owns the table of ops.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

Step = tuple[Any, ...]


@dataclass(frozen=True)
class Expr:
    """A straight-line elementwise program with one result."""

    steps: tuple[Step, ...]
    dtypes: tuple[str, ...]
    result: int

    @classmethod
    def identity(cls, dtype: str) -> Expr:
        """The expression that returns operand 0."""
        return cls((("in", 0),), (dtype,), 0)

    @property
    def is_identity(self) -> bool:
        """Whether the result is operand 0 unchanged."""
        return self.steps[self.result] == ("in", 0)

    @property
    def dtype(self) -> str:
        """Dtype of the result."""
        return self.dtypes[self.result]

    @property
    def operands(self) -> int:
        """Number of operands (highest ``in`` + 1)."""
        return 1 + max((step[1] for step in self.steps if step[0] == "in"), default=-1)

    def operand_dtype(self, k: int) -> str:
        """Dtype of operand ``k``."""
        for step, dtype in zip(self.steps, self.dtypes, strict=True):
            if step == ("in", k):
                return dtype
        raise KeyError(k)

    def to_json(self) -> dict[str, Any]:
        """JSON form, kept in call parameters."""
        return {
            "steps": [list(step) for step in self.steps],
            "dtypes": list(self.dtypes),
            "result": self.result,
        }

    @classmethod
    def from_json(cls, data: Any) -> Expr:
        """Read ``to_json``'s form; ``expr_emit.check`` says whether it is safe to generate code from."""
        return cls(tuple(tuple(step) for step in data["steps"]), tuple(data["dtypes"]), int(data["result"]))


class ExprBuilder:
    """Builds an Expr step by step, sharing equal steps."""

    def __init__(self) -> None:
        self._steps: list[Step] = []
        self._dtypes: list[str] = []
        self._seen: dict[tuple[Step, str], int] = {}

    def add(self, dtype: str, op: str, *args: Any) -> int:
        """Append ``(op, *args)`` of ``dtype`` and return its number."""
        key = ((op, *args), dtype)
        if key not in self._seen:
            self._seen[key] = len(self._steps)
            self._steps.append(key[0])
            self._dtypes.append(dtype)
        return self._seen[key]

    def operand(self, k: int, dtype: str) -> int:
        """Operand ``k``."""
        return self.add(dtype, "in", k)

    def const(self, x: float | int | bool, dtype: str) -> int:
        """A scalar constant."""
        literal: Any = x
        if isinstance(x, float) and (x != x or x in (float("inf"), float("-inf"))):
            literal = repr(float(x))
        return self.add(dtype, "const", literal)

    def dtype(self, step: int) -> str:
        """Dtype of a step."""
        return self._dtypes[step]

    def step(self, number: int) -> Step:
        """A step added before."""
        return self._steps[number]

    def build(self, result: int) -> Expr:
        """The finished expression."""
        return Expr(tuple(self._steps), tuple(self._dtypes), result)


def substitute(expr: Expr, operands: Sequence[int]) -> Expr:
    """Renumber operands: operand ``k`` becomes ``operands[k]``."""
    steps = tuple(("in", operands[step[1]]) if step[0] == "in" else step for step in expr.steps)
    return Expr(steps, expr.dtypes, expr.result)
