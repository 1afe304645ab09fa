"""Random ops: right by their statistics. Their keys come with every call, so that two calls draw differently."""

from __future__ import annotations

import struct
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import jax
import jax.numpy as jnp
import onnx_ir as ir

from accelc.targets.jax_xla import precision
from accelc.targets.jax_xla.context import Ctx
from accelc.targets.jax_xla.table import LoweringTable

if TYPE_CHECKING:
    from accelc.targets.jax_xla.table import Array

TABLE = LoweringTable()


def key_of(ctx: Ctx, seed: float | None) -> jax.Array:
    """The key of this node and call; without one, the key of ``seed``, by its bits as float32."""
    if ctx.key is not None:
        return ctx.key
    (bits,) = struct.unpack("<I", struct.pack("<f", 0.0 if seed is None else float(seed)))
    return jax.random.key(bits)


def _type(dtype: int | None, like: Any) -> Any:
    return like if dtype is None else ir.DataType(dtype).numpy()


def _normal(
    ctx: Ctx, seed: float | None, shape: Sequence[Any], dtype: Any, mean: float, scale: float
) -> Array:
    wide = precision.sum_dtype(dtype)
    drawn = jax.random.normal(key_of(ctx, seed), tuple(shape), wide)
    return (drawn * scale + mean).astype(dtype)


def _uniform(
    ctx: Ctx, seed: float | None, shape: Sequence[Any], dtype: Any, low: float, high: float
) -> Array:
    wide = precision.sum_dtype(dtype)
    drawn = jax.random.uniform(key_of(ctx, seed), tuple(shape), wide)
    return (drawn * (high - low) + low).astype(dtype)


@TABLE.op("RandomNormal")
def random_normal(
    ctx: Ctx,
    *,
    shape: Sequence[int],
    dtype: int = 1,
    mean: float = 0.0,
    scale: float = 1.0,
    seed: float | None = None,
) -> Array:
    """Normal draws of ``mean`` and deviation ``scale``. Source: ONNX RandomNormal-22."""
    return _normal(ctx, seed, shape, _type(dtype, None), mean, scale)


@TABLE.op("RandomNormalLike")
def random_normal_like(
    ctx: Ctx,
    x: Array,
    *,
    dtype: int | None = None,
    mean: float = 0.0,
    scale: float = 1.0,
    seed: float | None = None,
) -> Array:
    """Normal draws in the shape of ``x``. Source: ONNX RandomNormalLike-22."""
    return _normal(ctx, seed, x.shape, _type(dtype, x.dtype), mean, scale)


@TABLE.op("RandomUniform")
def random_uniform(
    ctx: Ctx,
    *,
    shape: Sequence[int],
    dtype: int = 1,
    high: float = 1.0,
    low: float = 0.0,
    seed: float | None = None,
) -> Array:
    """Uniform draws from ``low`` to ``high``. Source: ONNX RandomUniform-22."""
    return _uniform(ctx, seed, shape, _type(dtype, None), low, high)


@TABLE.op("RandomUniformLike")
def random_uniform_like(
    ctx: Ctx,
    x: Array,
    *,
    dtype: int | None = None,
    high: float = 1.0,
    low: float = 0.0,
    seed: float | None = None,
) -> Array:
    """Uniform draws in the shape of ``x``. Source: ONNX RandomUniformLike-22."""
    return _uniform(ctx, seed, x.shape, _type(dtype, x.dtype), low, high)


@TABLE.op("Bernoulli")
def bernoulli(ctx: Ctx, x: Array, *, dtype: int | None = None, seed: float | None = None) -> Array:
    """1 with the probability that ``x`` gives, else 0. Source: ONNX Bernoulli-22."""
    given = jnp.asarray(x)
    wide = precision.sum_dtype(given.dtype)
    drawn = jax.random.uniform(key_of(ctx, seed), given.shape, wide)
    return (drawn < given.astype(wide)).astype(_type(dtype, given.dtype))


@TABLE.op("Multinomial")
def multinomial(
    ctx: Ctx, x: Array, *, dtype: int = 6, sample_size: int = 1, seed: float | None = None
) -> Array:
    """Classes drawn from unnormalised log-probabilities [N, classes]: [N, samples]. Source: ONNX Multinomial-22."""
    given = jnp.asarray(x)
    logits = given.astype(precision.sum_dtype(given.dtype))
    drawn = jax.random.categorical(key_of(ctx, seed), logits, axis=-1, shape=(sample_size, given.shape[0]))
    return drawn.T.astype(_type(dtype, None))
