"""Reading elements at positions, and the choice of elements by value.

Indices count from the end where negative. Beyond the range ONNX leaves the result open: they are clamped.
Source: https://onnx.ai/onnx/operators/
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax

from accelc.targets.jax_xla.context import Ctx, is_static
from accelc.targets.jax_xla.lower_math import is_float
from accelc.targets.jax_xla.static_values import axis_of, dims_of, given, is_known
from accelc.targets.jax_xla.table import LoweringTable

if TYPE_CHECKING:
    from accelc.targets.jax_xla.table import Array

TABLE = LoweringTable()


def from_start(index: Array, extent: Any) -> jax.Array:
    """Indices counted from the start."""
    counted = jnp.asarray(index)
    if jnp.issubdtype(counted.dtype, jnp.unsignedinteger):
        return counted
    return jnp.where(counted < 0, counted + extent, counted)


@TABLE.op("Gather")
def gather(ctx: Ctx, x: Array, index: Array, *, axis: int = 0) -> jax.Array:
    """Slices of ``x`` at ``index``, whose dims take the place of ``axis``. Source: ONNX Gather-13."""
    along = axis_of(axis, len(x.shape))
    if is_static(index) and is_known(x.shape[along]):
        places = np.asarray(index)
        run = _run(np.where(places < 0, places + x.shape[along], places).reshape(-1), x.shape[along])
        if run is not None:
            part = lax.slice_in_dim(jnp.asarray(x), *run, axis=along)
            return part.reshape(*x.shape[:along], *places.shape, *x.shape[along + 1 :])
    return jnp.take(x, from_start(index, x.shape[along]), axis=along, mode="clip")


def _run(places: np.ndarray, extent: int) -> tuple[int, int] | None:
    """Start and end of places that follow each other within the extent: a slice is no gather."""
    if not places.size or places[0] < 0 or places[-1] >= extent or (np.diff(places) != 1).any():
        return None
    return int(places[0]), int(places[-1]) + 1


@TABLE.op("GatherElements")
def gather_elements(ctx: Ctx, x: Array, index: Array, *, axis: int = 0) -> jax.Array:
    """Element ``[.., index[p], ..]`` for every place ``p`` of the index. Source: ONNX GatherElements-13."""
    along = axis_of(axis, len(x.shape))
    places = from_start(index, x.shape[along])
    limits = [x.shape[i] if i == along else extent for i, extent in enumerate(index.shape)]
    part = lax.slice(jnp.asarray(x), (0,) * len(limits), limits)
    return jnp.take_along_axis(part, places, axis=along, mode="clip")


@TABLE.op("GatherND")
def gather_nd(ctx: Ctx, x: Array, index: Array, *, batch_dims: int = 0) -> jax.Array:
    """Slices of ``x`` at the index tuples in the last dim of ``index``. Source: ONNX GatherND-13."""
    return jnp.asarray(x)[index_tuple(x.shape, index, batch_dims)]


def index_tuple(shape: tuple[Any, ...], index: Array, batch_dims: int = 0) -> tuple[jax.Array, ...]:
    """Index tuples as one array per indexed axis, the batch axes first, for NumPy's indexing."""
    outer = index.shape[:-1]
    batch = [lax.broadcasted_iota(index.dtype, outer, axis) for axis in range(batch_dims)]
    parts = jnp.asarray(index)
    steps = [
        jnp.clip(from_start(parts[..., i], shape[batch_dims + i]), 0, shape[batch_dims + i] - 1)
        for i in range(index.shape[-1])
    ]
    return (*batch, *steps)


@TABLE.op("OneHot", static=(1,))
def one_hot(ctx: Ctx, index: Array, depth: Array, values: Array, *, axis: int = -1) -> jax.Array:
    """``values[1]`` at the indices along a new axis of extent ``depth``, elsewhere ``values[0]``.

    Source: ONNX OneHot-28.
    """
    extent = dims_of(depth)[0]
    places = jnp.asarray(index).astype(jnp.int64)
    at = axis_of(axis, len(index.shape) + 1)
    grid = lax.expand_dims(from_start(places, extent), (at,))
    wanted = lax.broadcasted_iota(jnp.int64, (*index.shape[:at], extent, *index.shape[at:]), at)
    off_on = jnp.asarray(values)
    return jnp.where(grid == wanted, off_on[1], off_on[0])


@TABLE.op("TopK", static=(1,))
def top_k(
    ctx: Ctx,
    x: Array,
    k_operand: Array | None = None,
    *,
    axis: int = -1,
    largest: int = 1,
    sorted: int = 1,
    k: int | None = None,
) -> tuple[jax.Array, jax.Array]:
    """The ``k`` largest or smallest along an axis, in order, and their places; of equals the first.

    Source: ONNX TopK-24.
    """
    along = axis_of(axis, len(x.shape))
    moved = jnp.moveaxis(jnp.asarray(x), along, -1)
    # Negated numbers, and integers with all bits inverted, come in the opposite order.
    key = moved if largest else (-moved if is_float(moved) else ~moved)
    count = dims_of(given(k_operand, k))[0]
    found, places = lax.top_k(key, count)
    values = found if largest else (-found if is_float(found) else ~found)
    return jnp.moveaxis(values, -1, along), jnp.moveaxis(places, -1, along).astype(jnp.int64)


@TABLE.op("Trilu")
def trilu(ctx: Ctx, x: Array, k: Array | None = None, *, upper: int = 1) -> jax.Array:
    """Zero below, or above, the ``k``-th diagonal of each matrix."""
    rows, columns = x.shape[-2:]
    offset = 0 if k is None else jnp.reshape(jnp.asarray(k), ())
    distance = lax.broadcasted_iota(jnp.int64, (rows, columns), 1) - lax.broadcasted_iota(
        jnp.int64, (rows, columns), 0
    )
    kept = distance >= offset if upper else distance <= offset
    return jnp.where(kept, x, jnp.zeros((), x.dtype))
