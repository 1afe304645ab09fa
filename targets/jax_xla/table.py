"""The lowering table: which function lowers which op to JAX, from which opset version on.

A lowering takes the context, the operands (None for an absent one) and the attributes as keywords, and gives an
array, or a tuple of arrays for several outputs. Attribute names are snake case (``trans_a`` for ``transA``).
Operands named in ``static`` come as NumPy arrays, known while tracing; the others are NumPy or JAX arrays.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import jax
    import numpy as np

    Array = jax.Array | np.ndarray[Any, Any]

Lowering = Callable[..., Any]
"""``(ctx, *operands, **attributes)`` to an array or a tuple of arrays."""


@dataclass(frozen=True)
class Rule:
    """How one op is lowered.

    Args:
        function: The lowering.
        since: First opset version it holds for.
        static: Places of operands that must be known while tracing, as they decide shapes or the kind of work.
    """

    function: Lowering
    since: int = 1
    static: tuple[int, ...] = ()


@dataclass
class LoweringTable:
    """Rules by (domain, op), newest first."""

    rules: dict[tuple[str, str], list[Rule]] = field(default_factory=dict)

    def op(
        self, *op_types: str, since: int = 1, domain: str = "", static: tuple[int, ...] = ()
    ) -> Callable[[Lowering], Lowering]:
        """Register one lowering for one op, or for several that differ in name only."""

        def register(function: Lowering) -> Lowering:
            for op_type in op_types:
                self._add((domain, op_type), Rule(function, since, static))
            return function

        return register

    def _add(self, key: tuple[str, str], rule: Rule) -> None:
        rules = self.rules.setdefault(key, [])
        rules.append(rule)
        rules.sort(key=lambda rule: -rule.since)

    def find(self, domain: str, op_type: str, version: int) -> Rule | None:
        """The newest rule not above ``version``."""
        for rule in self.rules.get((domain, op_type), ()):
            if rule.since <= version:
                return rule
        return None

    def merge(self, tables: Iterable[LoweringTable]) -> LoweringTable:
        """Add all rules of other tables."""
        for table in tables:
            for key, rules in table.rules.items():
                for rule in rules:
                    self._add(key, rule)
        return self

    def __iter__(self) -> Iterator[tuple[str, str, int]]:
        """(domain, op, since) of every rule."""
        for (domain, op_type), rules in sorted(self.rules.items()):
            for rule in rules:
                yield domain, op_type, rule.since


def snake(name: str) -> str:
    """``transA`` to ``trans_a``."""
    return re.sub(r"(?<=[a-z0-9])([A-Z])", lambda found: f"_{found[1].lower()}", name).lower()
