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
from accelc.targets.jax_xla.static_values import axis_of, dims_of, expanded_to, is_known, product
from accelc.targets.jax_xla.table import LoweringTable

if TYPE_CHECKING:
    from accelc.targets.jax_xla.table import Array

TABLE = LoweringTable()


MIN_LANES = 16
"""Sequences side by side from which on the CPU takes one step after the other: JAX's form for any device, a tree
of partial results, is 10 times as slow with 64 sequences of 10,000."""


def _stepwise(
    combine: Callable[[jax.Array, jax.Array], jax.Array], x: jax.Array, axis: int, reverse: bool, neutral: int
) -> jax.Array:
    """Running results, all sequences at once."""

    def step(so_far: jax.Array, here: jax.Array) -> tuple[jax.Array, jax.Array]:
        result = combine(so_far, here)
        return result, result

    # Transposed once, on either side of the loop, and not in each of its steps.
    steps = lax.optimization_barrier(jnp.moveaxis(x, axis, 0))
    start = jnp.full(steps.shape[1:], neutral, x.dtype)
    return jnp.moveaxis(lax.optimization_barrier(lax.scan(step, start, steps, reverse=reverse)[1]), 0, axis)


def _register(
    op_type: str,
    function: Callable[..., jax.Array],
    combine: Callable[[jax.Array, jax.Array], jax.Array],
    neutral: int,
) -> None:
    @TABLE.op(op_type, static=(1,))
    def running(ctx: Ctx, x: Array, axis: Array, *, exclusive: int = 0, reverse: int = 0) -> jax.Array:
        along = axis_of(dims_of(axis)[0], len(x.shape))
        array = wide(x) if x.dtype in (jnp.float16, jnp.bfloat16) else jnp.asarray(x)
        if exclusive:
            # Shifted by one: each result is that of the elements before its own.
            ends = [(0, 0, 0)] * len(x.shape)
            ends[along] = (-1, 1, 0) if reverse else (1, -1, 0)
            array = lax.pad(array, np.asarray(neutral, array.dtype), ends)
        lanes = product(dim for i, dim in enumerate(x.shape) if i != along)
        if ctx.platform == "cpu" and is_known(*x.shape) and lanes >= MIN_LANES:
            return _stepwise(combine, array, along, bool(reverse), neutral).astype(x.dtype)
        return function(array, axis=along, reverse=bool(reverse)).astype(x.dtype)


_register("CumSum", lax.cumsum, jnp.add, 0)
_register("CumProd", lax.cumprod, jnp.multiply, 1)


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
