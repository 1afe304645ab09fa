"""Conversions between dtypes.

XLA rounds floats to nearest even as ONNX asks, to 8- and 4-bit ones too. What is ours: saturation, wrapping of
integers, and powers of two (float8_e8m0). Source: ONNX Cast-28, CastLike-25, BitCast-26.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import jax
import jax.numpy as jnp
import ml_dtypes
import numpy as np
import onnx_ir as ir
from jax import lax

from accelc.targets.jax_xla.context import Ctx
from accelc.targets.jax_xla.lower_math import is_float, wide
from accelc.targets.jax_xla.table import LoweringTable

if TYPE_CHECKING:
    from accelc.targets.jax_xla.table import Array

TABLE = LoweringTable()

_SATURATING = ("float8_e4m3fn", "float8_e4m3fnuz", "float8_e5m2", "float8_e5m2fnuz")
_SHORT_INTEGERS = frozenset(
    np.dtype(dtype)
    for dtype in (
        np.int8,
        np.uint8,
        np.int16,
        np.uint16,
        jnp.int4,
        jnp.uint4,
        jnp.int2,
        jnp.uint2,
    )
)
_POWERS_OF_TWO = "float8_e8m0fnu"
_HALF_MANTISSA = 1 << 22
_LAST_EXPONENT = 254  # 255 stands for NaN


def convert(x: Array, dtype: Any, *, saturate: bool = True, round_mode: str = "up") -> jax.Array:
    """``x`` in another dtype, rounded to nearest even; integers that do not fit lose their upper bits.

    Args:
        x: A tensor of any numeric dtype.
        dtype: The wanted one; narrow ones are those of ml_dtypes.
        saturate: Values beyond an 8-bit float's range, infinities included, become its largest.
        round_mode: Rounding to a power of two (float8_e8m0): ``up``, ``down`` or ``nearest``.
    """
    array, wanted = jnp.asarray(x), np.dtype(dtype)
    if array.dtype == wanted:
        return array
    if wanted.name in _SATURATING and saturate:
        info: Any = ml_dtypes.finfo(wanted)  # type: ignore[no-untyped-call]
        return jnp.clip(wide(array), float(info.min), float(info.max)).astype(wanted)
    if wanted.name == _POWERS_OF_TWO:
        return _power_of_two(array.astype(jnp.float32), saturate, round_mode)
    if is_float(array) and wanted in _SHORT_INTEGERS:
        # As processors do it: cut off to int32, of which the lower bits stay. XLA would saturate.
        return wide(array).astype(jnp.int32).astype(wanted)
    if wanted.kind == "b":
        return _is_not_zero(array)
    # XLA takes some narrow floats to integers by way of their bits.
    return (wide(array) if is_float(array) and array.dtype.itemsize == 1 else array).astype(wanted)


def _is_not_zero(x: jax.Array) -> jax.Array:
    """By the bits of a float32 or float64: XLA's CPU takes subnormal numbers for 0 when it compares."""
    if x.dtype not in (jnp.float32, jnp.float64):
        return x != 0
    bits = lax.bitcast_convert_type(x, jnp.uint32 if x.dtype == jnp.float32 else jnp.uint64)
    return bits << 1 != 0  # the sign shifted out


def _power_of_two(x: jax.Array, saturate: bool, round_mode: str) -> jax.Array:
    """Magnitudes as powers of two: the exponent bits of a float32 are the whole of a float8_e8m0.

    Source: ONNX Cast-24, table of float8e8m0.
    """
    bits = lax.bitcast_convert_type(jnp.abs(x), jnp.uint32)
    exponent, mantissa = bits >> 23, bits & 0x7FFFFF
    # Below the normal range the mantissa counts in 2**-149, and half of it is 2**-127, the least power.
    bound = jnp.where(exponent == 0, _HALF_MANTISSA, 0)
    if round_mode == "down":
        up = jnp.zeros_like(mantissa, jnp.bool_)
    elif round_mode == "nearest":
        up = mantissa >= _HALF_MANTISSA + bound // 2
    else:
        up = mantissa > bound
    code = exponent + up.astype(jnp.uint32)
    if saturate:
        code = jnp.where(jnp.isnan(x), 255, jnp.minimum(code, _LAST_EXPONENT))
    return lax.bitcast_convert_type(jnp.minimum(code, 255).astype(jnp.uint8), jnp.float8_e8m0fnu)


_NAMES = {
    "FLOAT": np.float32,
    "FLOAT16": np.float16,
    "DOUBLE": np.float64,
    "BOOL": np.bool_,
    **{
        f"{sign}INT{bits}": np.dtype(f"{sign.lower()}int{bits}")
        for sign in ("", "U")
        for bits in (8, 16, 32, 64)
    },
}
"""Dtypes as the ``to`` of the first Cast names them."""


@TABLE.op("Cast")
def cast(ctx: Ctx, x: Array, *, to: int | str, saturate: int = 1, round_mode: str = "up") -> jax.Array:
    """The tensor in dtype ``to``, a name before opset 6."""
    dtype = _NAMES[to] if isinstance(to, str) else ir.DataType(to).numpy()
    return convert(x, dtype, saturate=bool(saturate), round_mode=round_mode)


@TABLE.op("CastLike")
def cast_like(ctx: Ctx, x: Array, like: Array, *, saturate: int = 1, round_mode: str = "up") -> jax.Array:
    """The tensor in the dtype of another."""
    return convert(x, like.dtype, saturate=bool(saturate), round_mode=round_mode)


@TABLE.op("BitCast")
def bit_cast(ctx: Ctx, x: Array, *, to: int) -> jax.Array:
    """The same bits read as another dtype of the same width."""
    dtype = ir.DataType(to).numpy()
    if x.dtype == jnp.bool_:
        x = jnp.asarray(x).astype(jnp.uint8)
    if dtype == np.bool_:
        return lax.bitcast_convert_type(x, jnp.uint8) != 0
    return lax.bitcast_convert_type(x, dtype)
