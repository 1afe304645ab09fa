"""Running sums and products along an axis, and sequences read backwards.

Source: https://onnx.ai/onnx/operators/
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax

from accelc.targets.jax_xla.context import Ctx
from accelc.targets.jax_xla.lower_math import wide
from accelc.targets.jax_xla.static_values import axis_of, dims_of, expanded_to
from accelc.targets.jax_xla.table import LoweringTable

if TYPE_CHECKING:
    from accelc.targets.jax_xla.table import Array

TABLE = LoweringTable()


def _register(op_type: str, function: Callable[..., jax.Array], neutral: int) -> None:
    @TABLE.op(op_type, static=(1,))
    def running(ctx: Ctx, x: Array, axis: Array, *, exclusive: int = 0, reverse: int = 0) -> jax.Array:
        along = axis_of(dims_of(axis)[0], len(x.shape))
        array = wide(x) if x.dtype in (jnp.float16, jnp.bfloat16) else jnp.asarray(x)
        if exclusive:
            # Shifted by one: each result is that of the elements before its own.
            ends = [(0, 0, 0)] * len(x.shape)
            ends[along] = (-1, 1, 0) if reverse else (1, -1, 0)
            array = lax.pad(array, np.asarray(neutral, array.dtype), ends)
        return function(array, axis=along, reverse=bool(reverse)).astype(x.dtype)


_register("CumSum", lax.cumsum, 0)
_register("CumProd", lax.cumprod, 1)


@TABLE.op("ReverseSequence")
def reverse_sequence(
    ctx: Ctx, x: Array, lengths: Array, *, batch_axis: int = 1, time_axis: int = 0
) -> jax.Array:
    """The first ``lengths[b]`` elements of each sequence backwards, the others as they are."""
    rank = len(x.shape)
    batch, time = axis_of(batch_axis, rank), axis_of(time_axis, rank)
    count = jnp.asarray(lengths).reshape(expanded_to((-1,), batch, rank))
    place = lax.iota(count.dtype, x.shape[time]).reshape(expanded_to((-1,), time, rank))
    source = jnp.where(place < count, count - 1 - place, place)
    return jnp.take_along_axis(jnp.asarray(x), source, axis=time, mode="clip")
