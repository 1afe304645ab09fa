"""Writing elements at positions.

Of several updates to one place, without a reduction, any may stay, as ONNX leaves it open.
Source: https://onnx.ai/onnx/operators/
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

import jax
import jax.numpy as jnp
from jax import lax

from accelc.errors import LoweringError
from accelc.targets.jax_xla.context import Ctx
from accelc.targets.jax_xla.lower_gather import from_start, index_tuple
from accelc.targets.jax_xla.static_values import axis_of
from accelc.targets.jax_xla.table import LoweringTable

if TYPE_CHECKING:
    from accelc.targets.jax_xla.table import Array

TABLE = LoweringTable()

_REDUCTIONS: dict[str, Callable[..., jax.Array]] = {
    "none": lambda at, updates: at.set(updates),
    "add": lambda at, updates: at.add(updates),
    "mul": lambda at, updates: at.multiply(updates),
    "max": lambda at, updates: at.max(updates),
    "min": lambda at, updates: at.min(updates),
}


def _written(x: Array, places: tuple[jax.Array, ...], updates: Array, reduction: str) -> jax.Array:
    if reduction not in _REDUCTIONS:
        raise LoweringError(f"there is no reduction {reduction}", fix=f"use one of {', '.join(_REDUCTIONS)}")
    return _REDUCTIONS[reduction](jnp.asarray(x).at[places], jnp.asarray(updates))


@TABLE.op("ScatterElements", "Scatter")
def scatter_elements(
    ctx: Ctx, x: Array, index: Array, updates: Array, *, axis: int = 0, reduction: str = "none"
) -> jax.Array:
    """Element ``[.., index[p], ..]`` set to, or reduced with, the update at ``p``.

    Source: ONNX ScatterElements-18.
    """
    along = axis_of(axis, len(x.shape))
    places: list[jax.Array] = [
        from_start(index, x.shape[along]) if i == along else lax.broadcasted_iota(jnp.int32, index.shape, i)
        for i in range(len(x.shape))
    ]
    return _written(x, tuple(places), updates, reduction)


@TABLE.op("ScatterND")
def scatter_nd(ctx: Ctx, x: Array, index: Array, updates: Array, *, reduction: str = "none") -> jax.Array:
    """Slices at the index tuples set to, or reduced with, the updates. Source: ONNX ScatterND-18."""
    return _written(x, index_tuple(x.shape, index), updates, reduction)


@TABLE.op("TensorScatter")
def tensor_scatter(
    ctx: Ctx,
    past: Array,
    update: Array,
    write_index: Array | None = None,
    *,
    axis: int = -2,
    mode: str = "linear",
) -> jax.Array:
    """A cache with new elements written along ``axis`` from a place of each sample on.

    Shapes: past [B, .., S, ..]; update the same, but for ``axis``; write_index [B], 0 by default.
    Source: ONNX TensorScatter-24.
    """
    along = axis_of(axis, len(past.shape))
    start = jnp.zeros(past.shape[0], jnp.int64) if write_index is None else jnp.asarray(write_index)
    place = start[:, None] + lax.iota(start.dtype, update.shape[along])
    if mode == "circular":
        place = place % past.shape[along]
    rows = lax.broadcasted_iota(start.dtype, place.shape, 0)
    # With the axis next to the batch, one index pair per slice: whole slices move.
    cache = jnp.moveaxis(jnp.asarray(past), along, 1)
    fresh = jnp.moveaxis(jnp.asarray(update), along, 1)
    return jnp.moveaxis(cache.at[rows, place].set(fresh), 1, along)
