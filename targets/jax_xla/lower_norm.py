"""Normalisations: Batch, Layer, RMS, Group, Instance, LRN, Lp, MeanVariance; and Dropout."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import jax
import jax.numpy as jnp
import onnx_ir as ir
from jax import lax

from accelc.targets.jax_xla import precision
from accelc.targets.jax_xla.context import Ctx
from accelc.targets.jax_xla.lower_pool import power, root
from accelc.targets.jax_xla.table import LoweringTable

if TYPE_CHECKING:
    from accelc.targets.jax_xla.table import Array

TABLE = LoweringTable()


def _widened(*arrays: Array) -> list[jax.Array]:
    """Arrays in the dtype in which they are summed."""
    return [jnp.asarray(a).astype(precision.sum_dtype(jnp.asarray(a).dtype)) for a in arrays]


def _along_channels(x: Array, rank: int) -> jax.Array:
    """[C] as [C, 1, ...], to broadcast over [N, C, spatial...]."""
    return jnp.asarray(x).reshape(-1, *(1,) * max(rank - 2, 0))


@TABLE.op("BatchNormalization")
def batch_normalization(
    ctx: Ctx,
    x: Array,
    scale: Array,
    bias: Array,
    mean: Array,
    variance: Array,
    *,
    epsilon: float = 1e-5,
    momentum: float = 0.9,
    training_mode: int = 0,
    spatial: int = 1,
    is_test: int = 0,
) -> Any:
    """``(x - mean) / sqrt(variance + epsilon) * scale + bias`` over [N, C, ...].

    Training takes mean and variance of the batch, and also gives the running ones; opset 7 to 13 say so by more
    outputs than one, older ones by ``is_test`` 0. Source: ONNX BatchNormalization-15.
    """
    given = jnp.asarray(x)
    training = bool(training_mode)
    if ctx.version < 14 and ctx.output_count > 1 and not is_test:
        training = True
    image, factor, shift, old_mean, old_variance = _widened(x, scale, bias, mean, variance)
    image = image.astype(jnp.promote_types(image.dtype, old_mean.dtype))
    used_mean, used_variance = old_mean, old_variance
    axes = (0, *range(2, image.ndim)) if spatial else (0,)
    if training:
        used_mean, used_variance = image.mean(axes), image.var(axes)

    def over(v: jax.Array) -> jax.Array:
        return _along_channels(v, image.ndim) if spatial else v.reshape(image.shape[1:])

    # One product and one sum per pixel: the weights' side is folded once, over C values.
    slope = factor / jnp.sqrt(used_variance + epsilon)
    y = (image - over(used_mean)) * over(slope) + over(shift)
    y = y.astype(given.dtype)
    if not training or ctx.output_count < 2:
        return y
    running = [
        (old * momentum + new * (1 - momentum)).astype(jnp.asarray(kept).dtype)
        for old, new, kept in ((old_mean, used_mean, mean), (old_variance, used_variance, variance))
    ]
    return (y, *running, *running)[: ctx.output_count]


@TABLE.op("InstanceNormalization")
def instance_normalization(ctx: Ctx, x: Array, scale: Array, bias: Array, *, epsilon: float = 1e-5) -> Array:
    """Every channel of every image to mean 0 and variance 1. Source: ONNX InstanceNormalization-22."""
    given = jnp.asarray(x)
    image, factor, shift = _widened(x, scale, bias)
    axes = tuple(range(2, image.ndim))
    centred = image - image.mean(axes, keepdims=True)
    spread = lax.rsqrt((centred * centred).mean(axes, keepdims=True) + epsilon)
    y = centred * spread * _along_channels(factor, image.ndim) + _along_channels(shift, image.ndim)
    return y.astype(given.dtype)


def _stash(ctx: Ctx, x: jax.Array, stash_type: int) -> Any:
    """The dtype of the mean and the deviation: float32 unless the input is wider, or another is asked for."""
    asked = ir.DataType(stash_type).numpy()
    if x.dtype == jnp.float64:
        return jnp.float64
    return jnp.float32 if precision.is_half(asked) else asked


@TABLE.op("LayerNormalization")
def layer_normalization(
    ctx: Ctx,
    x: Array,
    scale: Array,
    bias: Array | None = None,
    *,
    axis: int = -1,
    epsilon: float = 1e-5,
    stash_type: int = 1,
) -> Any:
    """Mean 0 and variance 1 over the dims from ``axis`` on, then scaled and shifted.

    Optional outputs: the mean and the inverse deviation, in ``stash_type``. Source: ONNX LayerNormalization-17.
    """
    given = jnp.asarray(x)
    wide = given.astype(_stash(ctx, given, stash_type))
    axes = tuple(range(axis % given.ndim, given.ndim))
    mean = wide.mean(axes, keepdims=True)
    centred = wide - mean
    inverse = lax.rsqrt((centred * centred).mean(axes, keepdims=True) + epsilon)
    y = (centred * inverse).astype(given.dtype) * jnp.asarray(scale).astype(given.dtype)
    if bias is not None:
        y = y + jnp.asarray(bias).astype(given.dtype)
    if ctx.output_count < 2:
        return y
    stashed = ir.DataType(stash_type).numpy()
    return (y, mean.astype(stashed), inverse.astype(stashed))[: ctx.output_count]


@TABLE.op("RMSNormalization")
def rms_normalization(
    ctx: Ctx, x: Array, scale: Array, *, axis: int = -1, epsilon: float = 1e-5, stash_type: int = 1
) -> Array:
    """``x / sqrt(mean(x^2) + epsilon) * scale`` over the dims from ``axis`` on. Source: ONNX RMSNormalization-23."""
    given = jnp.asarray(x)
    wide = given.astype(_stash(ctx, given, stash_type))
    axes = tuple(range(axis % given.ndim, given.ndim))
    inverse = lax.rsqrt((wide * wide).mean(axes, keepdims=True) + epsilon)
    factor = jnp.asarray(scale)
    return ((wide * inverse).astype(given.dtype).astype(factor.dtype) * factor).astype(factor.dtype)


@TABLE.op("GroupNormalization")
def group_normalization(
    ctx: Ctx,
    x: Array,
    scale: Array,
    bias: Array,
    *,
    num_groups: int,
    epsilon: float = 1e-5,
    stash_type: int = 1,
) -> Array:
    """Every group of channels of every image to mean 0 and variance 1.

    Scale and bias are per channel from opset 21 on, per group before. Source: ONNX GroupNormalization-21.
    """
    given = jnp.asarray(x)
    wide = given.astype(_stash(ctx, given, stash_type))
    batch, channels = wide.shape[:2]
    grouped = wide.reshape(batch, num_groups, -1)
    centred = grouped - grouped.mean(-1, keepdims=True)
    normal = centred * lax.rsqrt((centred * centred).mean(-1, keepdims=True) + epsilon)
    factor, shift = (jnp.asarray(v).astype(wide.dtype) for v in (scale, bias))
    if ctx.version < 21 and factor.shape[0] == num_groups and num_groups != channels:
        factor, shift = (jnp.repeat(v, channels // num_groups) for v in (factor, shift))
    y = normal.reshape(wide.shape).astype(given.dtype).astype(wide.dtype)
    y = y * _along_channels(factor, wide.ndim) + _along_channels(shift, wide.ndim)
    return y.astype(given.dtype)


@TABLE.op("LRN")
def lrn(
    ctx: Ctx, x: Array, *, size: int, alpha: float = 1e-4, beta: float = 0.75, bias: float = 1.0
) -> Array:
    """Each value of [N, C, ...] over a power of the squares around it, across ``size`` channels.

    The sum is a sum of shifted copies: channels are few steps apart. Source: ONNX LRN-13.
    """
    given = jnp.asarray(x)
    (image,) = _widened(x)
    before, after = (size - 1) // 2, size // 2
    rest = ((0, 0),) * (image.ndim - 2)
    padded = jnp.pad(image * image, ((0, 0), (before, after), *rest))
    channels = image.shape[1]
    total = padded[:, :channels]
    for i in range(1, size):
        total = total + padded[:, i : i + channels]
    divisor = total * (alpha / size) + bias
    if beta == 0.75:
        # x^-0.75 as roots: power is a loop of logarithms and exponentials
        inverse = lax.rsqrt(divisor)
        return (image * inverse * jnp.sqrt(inverse)).astype(given.dtype)
    return (image / jnp.power(divisor, beta)).astype(given.dtype)


@TABLE.op("LpNormalization")
def lp_normalization(ctx: Ctx, x: Array, *, axis: int = -1, p: int = 2) -> Array:
    """``x`` over its p-norm along ``axis``, zero where that is zero. Source: ONNX LpNormalization-22."""
    given = jnp.asarray(x)
    (wide,) = _widened(x)
    norm = root(power(wide, p).sum(axis, keepdims=True), p)
    return jnp.where(norm == 0, 0, wide / jnp.where(norm == 0, 1, norm)).astype(given.dtype)


@TABLE.op("MeanVarianceNormalization")
def mean_variance_normalization(ctx: Ctx, x: Array, *, axes: Sequence[int] = (0, 2, 3)) -> Array:
    """Mean 0 and variance 1 over ``axes``; 1e-9 is added to the deviation. Source: ONNX function body."""
    given = jnp.asarray(x)
    (wide,) = _widened(x)
    over = tuple(axes)
    centred = wide - wide.mean(over, keepdims=True)
    deviation = jnp.sqrt((centred * centred).mean(over, keepdims=True))
    return (centred / (deviation + 1e-9)).astype(given.dtype)


@TABLE.op("Dropout")
def dropout(
    ctx: Ctx,
    x: Array,
    ratio: Any = None,
    training_mode: Any = None,
    *,
    seed: int = 0,
    is_test: int = 0,
    **kept: float,
) -> Any:
    """The input; in training, zeros with probability ``ratio`` and the rest scaled by ``1 / (1 - ratio)``.

    ``kept`` holds ``ratio`` of opset 10 and before, where there is no training mode. Source: ONNX Dropout-22.
    """
    given = jnp.asarray(x)
    mask = jnp.ones(given.shape, bool)
    if training_mode is None:
        return given if ctx.output_count < 2 else (given, mask)
    share = jnp.asarray(0.5 if ratio is None else ratio).astype(jnp.float32).reshape(())
    active = jnp.asarray(training_mode).astype(bool).reshape(())
    key = ctx.key if ctx.key is not None else jax.random.key(seed)
    drawn = jax.random.uniform(key, given.shape, jnp.float32) >= share
    mask = jnp.where(active, drawn, True)
    factor = jnp.where(active & (share < 1), 1 / (1 - jnp.minimum(share, 1 - 1e-7)), 1)
    y = jnp.where(mask, (given * factor.astype(given.dtype)), 0).astype(given.dtype)
    y = jnp.where(active & (share > 0), y, given)
    return y if ctx.output_count < 2 else (y, mask)
