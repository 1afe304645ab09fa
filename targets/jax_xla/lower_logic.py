"""Comparisons, booleans, bits and tests of special values, element by element; ``Where``.

Source: https://onnx.ai/onnx/operators/
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

import jax
import jax.numpy as jnp
from jax import lax

from accelc.targets.jax_xla.context import Ctx
from accelc.targets.jax_xla.lower_math import register_binary, wide
from accelc.targets.jax_xla.table import LoweringTable

if TYPE_CHECKING:
    from accelc.targets.jax_xla.table import Array

TABLE = LoweringTable()

_BINARY: dict[str, Callable[[Array, Array], jax.Array]] = {
    "And": jnp.logical_and,
    "BitwiseAnd": jnp.bitwise_and,
    "BitwiseOr": jnp.bitwise_or,
    "BitwiseXor": jnp.bitwise_xor,
    "Equal": jnp.equal,
    "Greater": jnp.greater,
    "GreaterOrEqual": jnp.greater_equal,
    "Less": jnp.less,
    "LessOrEqual": jnp.less_equal,
    "Or": jnp.logical_or,
    "Xor": jnp.logical_xor,
}
for _op_type, _function in _BINARY.items():
    register_binary(TABLE, _op_type, _function)


@TABLE.op("Not")
def not_(ctx: Ctx, x: Array) -> jax.Array:
    """Logical negation."""
    return jnp.logical_not(x)


@TABLE.op("BitwiseNot")
def bitwise_not(ctx: Ctx, x: Array) -> jax.Array:
    """All bits of an integer inverted."""
    return jnp.bitwise_not(x)


@TABLE.op("BitShift")
def bit_shift(ctx: Ctx, x: Array, amount: Array, *, direction: str) -> jax.Array:
    """Bits moved left or right; by the width or more, or by less than 0, nothing but sign bits is left.

    Source: ONNX BitShift-28.
    """
    x, amount = jnp.broadcast_arrays(x, amount)
    if direction == "LEFT":
        return lax.shift_left(x, amount)
    signed = jnp.issubdtype(x.dtype, jnp.signedinteger)
    return lax.shift_right_arithmetic(x, amount) if signed else lax.shift_right_logical(x, amount)


@TABLE.op("IsNaN")
def is_nan(ctx: Ctx, x: Array) -> jax.Array:
    """Which elements are not a number."""
    return jnp.isnan(wide(x))


@TABLE.op("IsInf")
def is_inf(ctx: Ctx, x: Array, *, detect_negative: int = 1, detect_positive: int = 1) -> jax.Array:
    """Which elements are infinite, of the signs asked for."""
    x = wide(x)
    found = jnp.zeros(x.shape, jnp.bool_)
    if detect_positive:
        found = found | jnp.isposinf(x)
    return found | jnp.isneginf(x) if detect_negative else found


@TABLE.op("Where")
def where(ctx: Ctx, condition: Array, x: Array, y: Array) -> jax.Array:
    """``x`` where the condition holds, else ``y``; all three broadcast."""
    return jnp.where(condition, x, y)
