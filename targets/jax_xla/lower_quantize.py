"""Quantisation and dequantisation: per tensor, per slice of an axis, or per block of it.

Source: ONNX QuantizeLinear-28, DequantizeLinear-28, DynamicQuantizeLinear-11.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import jax
import jax.numpy as jnp
import ml_dtypes
import numpy as np
import onnx_ir as ir

from accelc.errors import LoweringError
from accelc.targets.jax_xla.context import Ctx
from accelc.targets.jax_xla.lower_cast import convert
from accelc.targets.jax_xla.lower_math import is_float, wide
from accelc.targets.jax_xla.static_values import axis_of, expanded_to, is_known
from accelc.targets.jax_xla.table import LoweringTable

if TYPE_CHECKING:
    from accelc.targets.jax_xla.table import Array

TABLE = LoweringTable()


def spread(value: Array, x: Array, axis: int, block: int = 0) -> jax.Array:
    """A scale or zero point as it broadcasts to ``x``: whole, per slice of ``axis``, or per block of it."""
    rank, array = len(x.shape), jnp.asarray(value)
    along = axis_of(axis, max(rank, 1))
    if array.ndim == 0 or (is_known(*array.shape) and array.size == 1):
        return array.reshape(())
    if array.ndim == 1 and not block:
        return array.reshape(expanded_to(array.shape, along, rank))
    if not block or array.ndim != rank:
        raise LoweringError("a scale does not fit its tensor", why=f"{array.shape} for {x.shape}")
    return jnp.repeat(array, block, along)[tuple(slice(extent) for extent in x.shape)]


def quantized(
    x: Array, scale: jax.Array, zero: jax.Array | None, dtype: Any, *, saturate: bool = True
) -> jax.Array:
    """``x / scale + zero`` rounded to nearest even and saturated; scale and zero as they broadcast to ``x``."""
    quotient = wide(jnp.true_divide(x, scale))
    shift = 0.0 if zero is None else wide(zero)
    if jnp.issubdtype(dtype, jnp.floating):
        return convert(quotient + shift, dtype, saturate=saturate)
    info: Any = ml_dtypes.iinfo(dtype)  # type: ignore[no-untyped-call]
    return jnp.clip(jnp.round(quotient) + shift, int(info.min), int(info.max)).astype(jnp.int32).astype(dtype)


@TABLE.op("QuantizeLinear")
def quantize_linear(
    ctx: Ctx,
    x: Array,
    scale: Array,
    zero: Array | None = None,
    *,
    axis: int = 1,
    block_size: int = 0,
    output_dtype: int = 0,
    precision: int = 0,
    saturate: int = 1,
) -> jax.Array:
    """``x / scale + zero`` in the dtype of the zero point, ``output_dtype``, or uint8."""
    dtype = ir.DataType(output_dtype or ir.DataType.UINT8).numpy() if zero is None else zero.dtype
    if precision:
        x, scale = (jnp.asarray(v).astype(ir.DataType(precision).numpy()) for v in (x, scale))
    elif x.dtype != scale.dtype:
        x = jnp.asarray(x).astype(scale.dtype)
    shift = None if zero is None else spread(zero, x, axis, block_size)
    divisor = spread(scale, x, axis, block_size)
    if not is_float(x):
        x = wide(x)
    return quantized(x, divisor, shift, dtype, saturate=bool(saturate))


def dequantized(x: Array, scale: Array, zero: Array | None, dtype: Any) -> jax.Array:
    """``(x - zero) * scale``; scale and zero as they broadcast to ``x``."""
    difference = wide(x) if zero is None else wide(x) - wide(zero)
    return (difference * wide(scale)).astype(dtype)


@TABLE.op("DequantizeLinear")
def dequantize_linear(
    ctx: Ctx,
    x: Array,
    scale: Array,
    zero: Array | None = None,
    *,
    axis: int = 1,
    block_size: int = 0,
    output_dtype: int = 0,
) -> jax.Array:
    """``(x - zero) * scale`` in the dtype of the scale, or ``output_dtype``."""
    dtype = ir.DataType(output_dtype).numpy() if output_dtype else scale.dtype
    shift = None if zero is None else spread(zero, x, axis, block_size)
    return dequantized(x, spread(scale, x, axis, block_size), shift, dtype)


@TABLE.op("DynamicQuantizeLinear")
def dynamic_quantize_linear(ctx: Ctx, x: Array) -> tuple[jax.Array, jax.Array, jax.Array]:
    """``x`` as uint8, with the scale and zero point that its range asks for.

    The range is widened to hold 0. Of zeros alone the scale is 0 in ONNX's formula; 1 keeps the result 0.
    """
    array = jnp.asarray(x)
    high = jnp.max(array, initial=0)
    low = jnp.min(array, initial=0)
    scale = ((high - low) / 255).astype(x.dtype)
    divisor = jnp.where(scale == 0, np.ones((), x.dtype), scale)
    zero = jnp.clip(jnp.round(-low / divisor), 0, 255).astype(jnp.uint8)
    return quantized(array, divisor, zero, jnp.uint8), scale, zero
