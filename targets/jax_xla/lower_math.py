"""Arithmetic and mathematical functions, element by element.

Operands broadcast as in NumPy. Half floats are computed in float32 where a function is not exact, as the
references do. Source: https://onnx.ai/onnx/operators/
"""

from __future__ import annotations

from collections.abc import Callable
from functools import reduce
from typing import TYPE_CHECKING, Any

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax

from accelc.targets.jax_xla.context import Ctx, is_static
from accelc.targets.jax_xla.static_values import axis_of, expanded_to
from accelc.targets.jax_xla.table import LoweringTable

if TYPE_CHECKING:
    from accelc.targets.jax_xla.table import Array

TABLE = LoweringTable()

MAX_POWER = 4
"""Largest known whole exponent that becomes a product: more factors lose more bits than ``pow`` does."""


def is_float(x: Array) -> bool:
    """Whether the elements are floating-point numbers of any width."""
    return bool(jnp.issubdtype(x.dtype, jnp.floating))


def wide(x: Array) -> jax.Array:
    """``x`` in at least float32: floats narrower than that, and integers, are converted."""
    array = jnp.asarray(x)
    exact = array.dtype in (jnp.float32, jnp.float64)
    return array if exact else array.astype(jnp.float32)


def in_float32(function: Callable[[jax.Array], jax.Array]) -> Callable[[Array], jax.Array]:
    """``function`` computed in at least float32, its result in the dtype of its operand."""

    def widened(x: Array) -> jax.Array:
        return function(wide(x)).astype(x.dtype)

    return widened


_EXACT: dict[str, Callable[[Array], jax.Array]] = {
    "Abs": jnp.abs,
    "Ceil": jnp.ceil,
    "Floor": jnp.floor,
    "Neg": jnp.negative,
    "Round": jnp.round,  # half to even
    "Sign": jnp.sign,
}
_FUNCTIONS: dict[str, Callable[[jax.Array], jax.Array]] = {
    "Acos": jnp.arccos,
    "Acosh": jnp.arccosh,
    "Asin": jnp.arcsin,
    "Asinh": jnp.arcsinh,
    "Atan": jnp.arctan,
    "Atanh": jnp.arctanh,
    "Cos": jnp.cos,
    "Cosh": jnp.cosh,
    "Erf": lax.erf,
    "Exp": jnp.exp,
    "Log": jnp.log,
    "Reciprocal": jnp.reciprocal,
    "Sigmoid": jax.nn.sigmoid,
    "Sin": jnp.sin,
    "Sinh": jnp.sinh,
    "Sqrt": jnp.sqrt,
    "Tan": jnp.tan,
    "Tanh": jnp.tanh,
}


def _register_unary(op_type: str, function: Callable[[Array], jax.Array]) -> None:
    @TABLE.op(op_type)
    def unary(ctx: Ctx, x: Array) -> jax.Array:
        return function(x)


for _op_type, _function in _EXACT.items():
    _register_unary(_op_type, _function)
for _op_type, _wide_function in _FUNCTIONS.items():
    _register_unary(_op_type, in_float32(_wide_function))


def truncated_quotient(a: Array, b: Array) -> jax.Array:
    """``a / b``; of integers rounded toward zero."""
    if is_float(a):
        return jnp.true_divide(a, b)
    return lax.div(*jnp.broadcast_arrays(a, b))


_BINARY: dict[str, Callable[[Array, Array], jax.Array]] = {
    "Add": jnp.add,
    "Div": truncated_quotient,
    "Mul": jnp.multiply,
    "Sub": jnp.subtract,
}


def placed(a: Array, b: Array, broadcast: int, axis: int | None) -> Array:
    """``b`` shaped so that it broadcasts to ``a`` as before opset 7: its dims lie at ``axis`` of ``a``."""
    if not broadcast or axis is None:
        return b
    return jnp.reshape(b, expanded_to(b.shape, axis_of(axis, len(a.shape)), len(a.shape)))


def register_binary(
    table: LoweringTable, op_type: str, function: Callable[[Array, Array], jax.Array]
) -> None:
    """Register an op of two operands in its form of today and in that before opset 7."""

    @table.op(op_type, since=7)
    def binary(ctx: Ctx, a: Array, b: Array) -> jax.Array:
        return function(a, b)

    @table.op(op_type, since=1)
    def placed_binary(
        ctx: Ctx, a: Array, b: Array, *, broadcast: int = 0, axis: int | None = None
    ) -> jax.Array:
        return function(a, placed(a, b, broadcast, axis))


for _op_type, _binary in _BINARY.items():
    register_binary(TABLE, _op_type, _binary)


def power(a: Array, b: Array) -> jax.Array:
    """``a`` to the ``b``, in the dtype of ``a``.

    Integers to the power of integers wrap; to a negative one they truncate, as 1 / a ** -b would.
    """
    if is_static(b) and np.size(b) == 1 and np.ndim(b) <= len(a.shape):
        exponent = float(np.reshape(b, ()))
        if exponent.is_integer() and 1 <= exponent <= MAX_POWER:
            return lax.integer_pow(jnp.asarray(a), int(exponent))
    if is_float(a):
        base, exponents = wide(a), b.astype(wide(a).dtype)
        return jnp.power(base, exponents).astype(a.dtype)
    if is_float(b):
        return jnp.power(jnp.asarray(a).astype(jnp.float64), b.astype(jnp.float64)).astype(a.dtype)
    whole = jnp.power(jnp.asarray(a), jnp.maximum(b, 0).astype(a.dtype))
    return whole if jnp.issubdtype(b.dtype, jnp.unsignedinteger) else _with_negative_powers(a, b, whole)


def _with_negative_powers(a: Array, b: Array, whole: jax.Array) -> jax.Array:
    """Integers to a negative power are 0, but for 1 and -1."""
    odd = jnp.where(b & 1 == 1, a, jnp.ones_like(a))
    unit = jnp.where(jnp.abs(jnp.asarray(a)) == 1, odd, jnp.zeros_like(a))
    return jnp.where(b < 0, unit, whole).astype(a.dtype)


register_binary(TABLE, "Pow", power)


@TABLE.op("Mod")
def mod(ctx: Ctx, a: Array, b: Array, *, fmod: int = 0) -> jax.Array:
    """Remainder with the sign of ``b``, or with that of ``a`` if ``fmod``. Source: ONNX Mod-28."""
    a, b = jnp.broadcast_arrays(a, b)
    return lax.rem(a, b) if fmod else jnp.remainder(a, b)


def _register_variadic(op_type: str, function: Callable[[Array, Array], jax.Array]) -> None:
    @TABLE.op(op_type)
    def variadic(ctx: Ctx, *operands: Array) -> jax.Array:
        return jnp.asarray(reduce(function, operands))


for _op_type, _binary in {"Max": jnp.maximum, "Min": jnp.minimum, "Sum": jnp.add}.items():
    _register_variadic(_op_type, _binary)


@TABLE.op("Mean")
def mean(ctx: Ctx, *operands: Array) -> jax.Array:
    """Mean of the operands, element by element."""
    return jnp.asarray(reduce(jnp.add, operands)) / len(operands)


@TABLE.op("Clip", since=11)
def clip(ctx: Ctx, x: Array, low: Array | None = None, high: Array | None = None) -> jax.Array:
    """``x`` within bounds; the upper bound where they cross. NaN stays."""
    above = jnp.asarray(x) if low is None else jnp.maximum(x, jnp.reshape(low, ()))
    return above if high is None else jnp.minimum(above, jnp.reshape(high, ()))


@TABLE.op("Clip", since=1)
def clip_attributes(ctx: Ctx, x: Array, *, min: float | None = None, max: float | None = None) -> jax.Array:
    """``Clip`` as before opset 11: bounds are attributes."""
    bounds = [None if bound is None else np.asarray(bound, x.dtype) for bound in (min, max)]
    return jnp.asarray(clip(ctx, x, *bounds))


@TABLE.op("PRelu", since=7)
def prelu(ctx: Ctx, x: Array, slope: Array) -> jax.Array:
    """``x``, its negative elements times ``slope``, which broadcasts to it."""
    return jnp.where(x < 0, jnp.multiply(x, slope), x)


@TABLE.op("PRelu", since=1)
def prelu_channels(ctx: Ctx, x: Array, slope: Array, **_: Any) -> jax.Array:
    """``PRelu`` as before opset 7: a slope of many elements has one per channel."""
    if np.prod(slope.shape) > 1 and len(x.shape) > 2:
        slope = jnp.reshape(slope, expanded_to((-1,), 1, len(x.shape)))
    return jnp.asarray(prelu(ctx, x, slope))
