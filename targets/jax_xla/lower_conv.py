"""Convolutions: Conv, ConvTranspose, ConvInteger."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import jax.numpy as jnp

from accelc.targets.jax_xla.context import Ctx
from accelc.targets.jax_xla.convolution import convolve, zero_point_shaped
from accelc.targets.jax_xla.integer_digits import exact_product
from accelc.targets.jax_xla.table import LoweringTable
from accelc.targets.jax_xla.windows import Windows, windows

if TYPE_CHECKING:
    import jax

    from accelc.targets.jax_xla.table import Array

TABLE = LoweringTable()


@TABLE.op("Conv")
def conv(
    ctx: Ctx,
    x: Array,
    w: Array,
    b: Array | None = None,
    *,
    auto_pad: str = "NOTSET",
    dilations: Sequence[int] | None = None,
    group: int = 1,
    kernel_shape: Sequence[int] | None = None,
    pads: Sequence[int] | None = None,
    strides: Sequence[int] | None = None,
) -> Array:
    """Convolution of x [N, C, spatial...] with w [M, C / group, kernel...] and bias [M]: [N, M, out...].

    Source: ONNX Conv-22.
    """
    image, weights = jnp.asarray(x), jnp.asarray(w)
    shape = windows(
        image.shape[2:], weights.shape[2:], strides=strides, dilations=dilations, pads=pads, auto_pad=auto_pad
    )
    bias = None if b is None else jnp.asarray(b)
    return convolve(ctx, image, weights, shape, group=group, bias=bias).astype(image.dtype)


@TABLE.op("ConvInteger")
def conv_integer(
    ctx: Ctx,
    x: Array,
    w: Array,
    x_zero_point: Array | None = None,
    w_zero_point: Array | None = None,
    *,
    auto_pad: str = "NOTSET",
    dilations: Sequence[int] | None = None,
    group: int = 1,
    kernel_shape: Sequence[int] | None = None,
    pads: Sequence[int] | None = None,
    strides: Sequence[int] | None = None,
) -> Array:
    """Convolution of 8-bit integers, less their zero points, to int32; pads count as zero.

    Source: ONNX ConvInteger-10.
    """
    image, weights = (jnp.asarray(v).astype(jnp.int32) for v in (x, w))
    if x_zero_point is not None:
        image = image - jnp.asarray(x_zero_point).astype(jnp.int32).reshape(())
    if w_zero_point is not None:
        weights = weights - zero_point_shaped(jnp.asarray(w_zero_point).astype(jnp.int32), weights.ndim)
    shape = windows(
        image.shape[2:], weights.shape[2:], strides=strides, dilations=dilations, pads=pads, auto_pad=auto_pad
    )

    def product(ctx: Ctx, image: jax.Array, weights: jax.Array) -> jax.Array:
        return convolve(ctx, image, weights, shape, group=group)

    return exact_product(ctx, product, image, weights, math.prod(weights.shape[1:]))


@TABLE.op("ConvTranspose")
def conv_transpose(
    ctx: Ctx,
    x: Array,
    w: Array,
    b: Array | None = None,
    *,
    auto_pad: str = "NOTSET",
    dilations: Sequence[int] | None = None,
    group: int = 1,
    kernel_shape: Sequence[int] | None = None,
    output_padding: Sequence[int] | None = None,
    output_shape: Sequence[int] | None = None,
    pads: Sequence[int] | None = None,
    strides: Sequence[int] | None = None,
) -> Array:
    """Transposed convolution of x [N, C, spatial...] with w [C, M / group, kernel...]: [N, M, out...].

    It is the convolution of the input, spread by the strides, with the flipped kernel.
    Source: ONNX ConvTranspose-22.
    """
    image, weights = jnp.asarray(x), jnp.asarray(w)
    rank = image.ndim - 2
    kernel = weights.shape[2:]
    steps = tuple(strides or (1,) * rank)
    spread = tuple(dilations or (1,) * rank)
    extra = tuple(output_padding or (0,) * rank)
    begins, ends, out = _transposed_pads(
        image.shape[2:], kernel, steps, spread, extra, pads, auto_pad, output_shape
    )
    spans = [(kernel[i] - 1) * spread[i] for i in range(rank)]
    low = tuple(spans[i] - begins[i] for i in range(rank))
    high = tuple(spans[i] - ends[i] + extra[i] for i in range(rank))
    # [C, M / group, k...] to [M, C / group, k...], flipped
    apart = weights.reshape(group, weights.shape[0] // group, *weights.shape[1:])
    flipped = jnp.flip(jnp.swapaxes(apart, 1, 2), tuple(range(3, 3 + rank)))
    flipped = flipped.reshape(group * weights.shape[1], weights.shape[0] // group, *kernel)
    shape = Windows(tuple(kernel), (1,) * rank, spread, low, high, out)
    bias = None if b is None else jnp.asarray(b)
    result = convolve(ctx, image, flipped, shape, group=group, bias=bias, input_steps=steps)
    return result.astype(image.dtype)


def _transposed_pads(
    extents: Sequence[Any],
    kernel: Sequence[int],
    steps: Sequence[int],
    spread: Sequence[int],
    extra: Sequence[int],
    pads: Sequence[int] | None,
    auto_pad: str,
    output_shape: Sequence[int] | None,
) -> tuple[tuple[Any, ...], tuple[Any, ...], tuple[Any, ...]]:
    """(begins, ends, output extents) of a transposed convolution."""
    rank = len(kernel)
    full = [steps[i] * (extents[i] - 1) + extra[i] + (kernel[i] - 1) * spread[i] + 1 for i in range(rank)]
    wanted: list[Any] | None = None
    if output_shape:
        wanted = list(output_shape)[-rank:]
    elif auto_pad in ("SAME_UPPER", "SAME_LOWER"):
        wanted = [extents[i] * steps[i] for i in range(rank)]
    if wanted is None:
        given = tuple(pads or (0,) * (2 * rank)) if auto_pad == "NOTSET" else (0,) * (2 * rank)
        begins, ends = given[:rank], given[rank:]
        return begins, ends, tuple(full[i] - begins[i] - ends[i] for i in range(rank))
    # The odd pad goes to the end for SAME_UPPER and to the begin otherwise.
    total = [full[i] - wanted[i] for i in range(rank)]
    halves = tuple(n // 2 for n in total)
    rests = tuple(total[i] - halves[i] for i in range(rank))
    upper = auto_pad == "SAME_UPPER"
    return (halves if upper else rests), (rests if upper else halves), tuple(wanted)
