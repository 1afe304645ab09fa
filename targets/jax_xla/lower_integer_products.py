"""Products and convolutions of 8-bit integers: exact, and with requantised results.

Source: ONNX MatMulInteger-10, QLinearMatMul-21, QLinearConv-10.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import jax
import jax.numpy as jnp

from accelc.targets.jax_xla import precision
from accelc.targets.jax_xla.context import Ctx
from accelc.targets.jax_xla.integer_digits import exact_product
from accelc.targets.jax_xla.lower_conv import conv_integer
from accelc.targets.jax_xla.lower_math import wide
from accelc.targets.jax_xla.lower_quantize import quantized
from accelc.targets.jax_xla.static_values import expanded_to
from accelc.targets.jax_xla.table import LoweringTable

if TYPE_CHECKING:
    from accelc.targets.jax_xla.table import Array

TABLE = LoweringTable()


def _per_row(value: Array, rank: int) -> jax.Array:
    """A scalar, or one value per row of a matrix, as it broadcasts to [.., M, K]."""
    array = jnp.asarray(value)
    if array.ndim == 1 and array.shape[0] != 1 and rank > 1:
        return array[:, None]
    return array.reshape(()) if array.ndim <= 1 else array


def _per_column(value: Array) -> jax.Array:
    """A scalar, or one value per column, as it broadcasts to [.., K, N]."""
    array = jnp.asarray(value)
    return array.reshape(()) if array.ndim <= 1 and array.size == 1 else array


def shifted(x: Array, zero: jax.Array | None) -> jax.Array:
    """``x - zero`` in int32."""
    whole = jnp.asarray(x).astype(jnp.int32)
    return whole if zero is None else whole - zero.astype(jnp.int32)


def integer_matmul(ctx: Ctx, a: jax.Array, b: jax.Array) -> jax.Array:
    """``a @ b`` of integers up to 255 in size, in int32.

    The CPU computes it in float64, where the sums are exact up to 2**37 terms; other devices are slow at those.
    """
    if ctx.platform == "cpu":
        sums = jnp.matmul(a.astype(jnp.float64), b.astype(jnp.float64))
        return sums.astype(jnp.int64).astype(jnp.int32)  # beyond int32 they wrap, as sums in int32 do
    return exact_product(ctx, precision.matmul, a, b, b.shape[-2] if b.ndim > 1 else b.shape[0])


@TABLE.op("MatMulInteger")
def matmul_integer(
    ctx: Ctx, a: Array, b: Array, a_zero: Array | None = None, b_zero: Array | None = None
) -> jax.Array:
    """``(a - a_zero) @ (b - b_zero)`` in int32; zero points per tensor, per row of a, per column of b."""
    left = shifted(a, None if a_zero is None else _per_row(a_zero, len(a.shape)))
    right = shifted(b, None if b_zero is None else _per_column(b_zero))
    return integer_matmul(ctx, left, right)


@TABLE.op("QLinearMatMul")
def qlinear_matmul(
    ctx: Ctx,
    a: Array,
    a_scale: Array,
    a_zero: Array,
    b: Array,
    b_scale: Array,
    b_zero: Array,
    y_scale: Array,
    y_zero: Array,
) -> jax.Array:
    """The product of dequantised matrices, quantised again."""
    rows, columns = _per_row(a_scale, len(a.shape)), _per_column(b_scale)
    whole = matmul_integer(ctx, a, b, a_zero, b_zero).astype(jnp.float32)
    scale = rows.astype(jnp.float32) * columns.astype(jnp.float32)
    y_rows = _per_row(y_scale, len(a.shape)).astype(jnp.float32)
    return quantized(whole * scale, y_rows, _per_row(y_zero, len(a.shape)), y_zero.dtype)


@TABLE.op("QLinearConv")
def qlinear_conv(
    ctx: Ctx,
    x: Array,
    x_scale: Array,
    x_zero: Array,
    w: Array,
    w_scale: Array,
    w_zero: Array,
    y_scale: Array,
    y_zero: Array,
    b: Array | None = None,
    **attributes: Any,
) -> jax.Array:
    """The convolution of dequantised tensors, quantised again; w's scale per tensor or per output channel.

    Source: ONNX QLinearConv-10.
    """
    whole = jnp.asarray(conv_integer(ctx, x, w, x_zero, w_zero, **attributes))
    rank = whole.ndim
    if b is not None:
        whole = whole + jnp.asarray(b).reshape(expanded_to((-1,), 1, rank))
    scale = wide(w_scale).reshape(expanded_to((-1,), 1, rank)) * wide(x_scale).reshape(())
    y_divisor, shift = wide(y_scale).reshape(()), jnp.asarray(y_zero).reshape(())
    return quantized(whole.astype(jnp.float32) * scale, y_divisor, shift, y_zero.dtype)
