"""Products of one value with several weights, as queries, keys and values are made: one product does for all.

XLA does not see that they read the same operand, packs it for each, and takes longer for fewer columns.
"""

from __future__ import annotations

from collections.abc import Hashable, Mapping, Sequence
from typing import Any

from jax.extend import core

from accelc.targets.jax_xla.held import Held
from accelc.targets.jax_xla.product_order import is_weighted


def siblings(eqns: Sequence[Any], values: Mapping[Any, Held]) -> dict[core.Var, list[Any]]:
    """Groups of two and more products that differ in their weights alone.

    Args:
        eqns: Equations in order, none of them on weights alone.
        values: What is known of their operands before the first of them: weights and what is made of weights.

    Returns:
        For the result of every product that has siblings, all of them in order.
    """
    groups: dict[Hashable, list[Any]] = {}
    for eqn in eqns:
        if eqn.primitive.name != "dot_general":
            continue
        x, w = eqn.invars
        if not isinstance(w, core.Literal) and w in values and is_weighted(eqn, values[w]):
            (left_k, _), _ = eqn.params["dimension_numbers"]
            others = {name: value for name, value in eqn.params.items() if name != "dimension_numbers"}
            groups.setdefault((x, tuple(left_k), w.aval.dtype, str(others)), []).append(eqn)
    return {eqn.outvars[0]: group for group in groups.values() if len(group) > 1 for eqn in group}
