"""Products of one value with several weights, as queries, keys and values are made: one product does for all.

XLA does not see that they read the same operand, packs it for each, and takes longer for fewer columns.
"""

from __future__ import annotations

from collections.abc import Hashable, Mapping, Sequence
from typing import Any

import jax.numpy as jnp
from jax.extend import core

from accelc.targets.jax_xla.held import Held


def siblings(eqns: Sequence[Any], values: Mapping[Any, Held]) -> dict[core.Var, list[Any]]:
    """Groups of two and more products that differ in their weights alone.

    Args:
        eqns: Equations in order.
        values: What is known of their operands before the first of them: weights and what is made of weights.

    Returns:
        For the result of every product that has siblings, all of them in order.
    """
    groups: dict[Hashable, list[Any]] = {}
    for eqn in eqns:
        if eqn.primitive.name == "dot_general" and _is_weighted(eqn, values):
            x, w = eqn.invars
            (left_k, _), _ = eqn.params["dimension_numbers"]
            others = {name: value for name, value in eqn.params.items() if name != "dimension_numbers"}
            groups.setdefault((x, tuple(left_k), w.aval.dtype, str(others)), []).append(eqn)
    return {eqn.outvars[0]: group for group in groups.values() if len(group) > 1 for eqn in group}


def _is_weighted(eqn: Any, values: Mapping[Any, Held]) -> bool:
    """Whether an equation multiplies a value with a matrix of weights."""
    x, w = eqn.invars
    (left_k, _), (left_batch, _) = eqn.params["dimension_numbers"]
    if isinstance(x, core.Literal) or isinstance(w, core.Literal) or w not in values:
        return False
    if x in values and values[x].fixed:
        return False
    matrix = len(w.aval.shape) == 2 and values[w].fixed and 0 not in (*x.aval.shape, *w.aval.shape)
    floating = jnp.issubdtype(eqn.outvars[0].aval.dtype, jnp.floating)
    return bool(matrix and floating and len(left_k) == 1 and not left_batch)
