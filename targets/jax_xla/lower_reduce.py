"""Reductions over axes, and the places of extremes.

Axes are an attribute in old opsets and a static operand in new ones (ReduceSum from 13, others from 18).
Without axes all are reduced, or none with ``noop_with_empty_axes``. Of no elements a sum is 0, a product 1,
a mean NaN, an extreme the opposite end of its dtype. Source: https://onnx.ai/onnx/operators/
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import jax
import jax.numpy as jnp
from jax import lax

from accelc.targets.jax_xla.context import Ctx
from accelc.targets.jax_xla.lower_math import is_float, wide
from accelc.targets.jax_xla.static_values import axes_of, axis_of, given, product
from accelc.targets.jax_xla.table import LoweringTable

if TYPE_CHECKING:
    from accelc.targets.jax_xla.table import Array

TABLE = LoweringTable()

Axes = tuple[int, ...]
Reduction = Callable[[jax.Array, Axes], jax.Array]
"""An array and the axes to reduce, to the result with those axes kept at extent 1."""


def _sum(x: jax.Array, axes: Axes) -> jax.Array:
    return jnp.sum(x, axis=axes, keepdims=True, dtype=x.dtype)


def _mean(x: jax.Array, axes: Axes) -> jax.Array:
    if is_float(x):
        return jnp.mean(x, axis=axes, keepdims=True)
    count = product(x.shape[axis] for axis in axes)
    return lax.div(_sum(x, axes), jnp.full_like(_sum(x, axes), count))


def _extreme(reduce: Callable[..., jax.Array], highest: bool) -> Reduction:
    def reduction(x: jax.Array, axes: Axes) -> jax.Array:
        if x.dtype == jnp.bool_:
            initial: Any = not highest
        elif is_float(x):
            initial = -jnp.inf if highest else jnp.inf
        else:
            info: Any = jnp.iinfo(x.dtype)  # type: ignore[no-untyped-call]
            initial = info.min if highest else info.max
        return reduce(x, axis=axes, keepdims=True, initial=initial)

    return reduction


def _l2(x: jax.Array, axes: Axes) -> jax.Array:
    return jnp.sqrt(wide(_sum(x * x, axes)))


def _log_sum_exp(x: jax.Array, axes: Axes) -> jax.Array:
    if 0 in [x.shape[axis] for axis in axes]:
        return jnp.log(_sum(x, axes))
    return jnp.asarray(jax.nn.logsumexp(x, axis=axes, keepdims=True))


_SAME: dict[str, Reduction] = {
    "ReduceSum": _sum,
    "ReduceProd": lambda x, axes: jnp.prod(x, axis=axes, keepdims=True, dtype=x.dtype),
    "ReduceMean": _mean,
    "ReduceMax": _extreme(jnp.max, highest=True),
    "ReduceMin": _extreme(jnp.min, highest=False),
}
"""Reductions in the dtype of the operand."""
_WIDE: dict[str, Reduction] = {
    "ReduceL1": lambda x, axes: _sum(jnp.abs(x), axes),
    "ReduceL2": _l2,
    "ReduceSumSquare": lambda x, axes: _sum(x * x, axes),
    "ReduceLogSum": lambda x, axes: jnp.log(wide(_sum(x, axes))),
    "ReduceLogSumExp": lambda x, axes: _log_sum_exp(wide(x), axes),
}
"""Reductions of half floats in float32."""


def _register(op_type: str, reduction: Reduction, widen: bool) -> None:
    @TABLE.op(op_type, static=(1,))
    def reduce(
        ctx: Ctx,
        x: Array,
        axes_operand: Array | None = None,
        *,
        axes: Any = None,
        keepdims: int = 1,
        noop_with_empty_axes: int = 0,
    ) -> jax.Array:
        rank = len(x.shape)
        chosen = given(axes_operand, axes)
        over = tuple(axes_of(chosen, rank)) if chosen is not None else ()
        if not over and not noop_with_empty_axes:
            over = tuple(range(rank))
        array = wide(x) if widen and is_float(x) else jnp.asarray(x)
        result = reduction(array, over).astype(x.dtype)
        return result if keepdims else lax.squeeze(result, over)


for _op_type, _reduction in _SAME.items():
    _register(_op_type, _reduction, widen=False)
for _op_type, _reduction in _WIDE.items():
    _register(_op_type, _reduction, widen=True)


def _register_place(op_type: str, function: Callable[..., jax.Array]) -> None:
    @TABLE.op(op_type)
    def place(
        ctx: Ctx, x: Array, *, axis: int = 0, keepdims: int = 1, select_last_index: int = 0
    ) -> jax.Array:
        along = axis_of(axis, len(x.shape))
        if not select_last_index:
            return function(x, axis=along, keepdims=bool(keepdims)).astype(jnp.int64)
        from_end = function(jnp.flip(x, along), axis=along, keepdims=bool(keepdims))
        return x.shape[along] - 1 - from_end.astype(jnp.int64)


_register_place("ArgMax", jnp.argmax)
_register_place("ArgMin", jnp.argmin)
