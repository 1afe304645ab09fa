"""Attention in all its forms, and RotaryEmbedding."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

import jax
import jax.numpy as jnp
import onnx_ir as ir

from accelc.targets.jax_xla import precision
from accelc.targets.jax_xla.context import Ctx
from accelc.targets.jax_xla.lower_softmax import probabilities
from accelc.targets.jax_xla.table import LoweringTable

if TYPE_CHECKING:
    from accelc.targets.jax_xla.table import Array

TABLE = LoweringTable()

SOFTCAPPED, BIASED, NORMALISED = 1, 2, 3
"""Values of ``qk_matmul_output_mode`` other than 0, the plain product."""


@TABLE.op("Attention")
def attention(
    ctx: Ctx,
    q: Array,
    k: Array,
    v: Array,
    attn_mask: Array | None = None,
    past_key: Array | None = None,
    past_value: Array | None = None,
    nonpad_kv_seqlen: Array | None = None,
    *,
    is_causal: int = 0,
    kv_num_heads: int | None = None,
    q_num_heads: int | None = None,
    qk_matmul_output_mode: int = 0,
    scale: float | None = None,
    softcap: float = 0.0,
    softmax_precision: int | None = None,
    left_window_size: int = -1,
    right_window_size: int = -1,
) -> Any:
    """``softmax(scale * Q @ K' + mask) @ V``, heads apart.

    Shapes: q [B, heads, T, E] or [B, T, heads * E], k and v likewise of S positions and kv heads (fewer of them are
    shared by groups of query heads). Outputs: Y like q, present key and value [B, kv heads, S, E], and the product
    at the stage that ``qk_matmul_output_mode`` names. A query that may look at nothing gives zeros.
    Source: ONNX Attention-24.
    """
    flat = jnp.asarray(q).ndim == 3
    query, key, value = (
        _heads(jnp.asarray(x), heads) for x, heads in ((q, q_num_heads), (k, kv_num_heads), (v, kv_num_heads))
    )
    if past_key is not None and past_value is not None:
        key = jnp.concatenate((jnp.asarray(past_key).astype(key.dtype), key), axis=2)
        value = jnp.concatenate((jnp.asarray(past_value).astype(value.dtype), value), axis=2)
    factor = 1 / math.sqrt(query.shape[3]) if scale is None else scale
    asked = ctx.output_count > 3
    plain = attn_mask is None and nonpad_kv_seqlen is None and left_window_size < 0 and right_window_size < 0
    alike = query.shape[3] == value.shape[3] and not (is_causal and past_key is not None)
    if plain and alike and not asked and not softcap and ctx.platform != "cpu":
        y = _library_attention(ctx, query, key, value, factor, bool(is_causal))
        return _outputs(ctx, y, key, value, None, flat)
    product = _product(ctx, query, key, factor)
    stages = {0: product}
    if softcap:
        product = jnp.tanh(product / softcap) * softcap
    stages[SOFTCAPPED] = product
    offset: Any = 0
    if past_key is not None:
        offset = jnp.asarray(past_key).shape[2]
    elif nonpad_kv_seqlen is not None:
        offset = jnp.asarray(nonpad_kv_seqlen).reshape(-1, 1, 1, 1) - query.shape[2]
    windows = (left_window_size, right_window_size)
    bias = _bias(query, key, attn_mask, nonpad_kv_seqlen, bool(is_causal), offset, windows)
    if bias is not None:
        product = product + bias
    stages[BIASED] = product
    weights = _probabilities(product, bias, query.dtype, softmax_precision)
    stages[NORMALISED] = weights
    y = _weighted(ctx, weights, value)
    return _outputs(ctx, y, key, value, stages[qk_matmul_output_mode] if asked else None, flat)


def _heads(x: jax.Array, heads: int | None) -> jax.Array:
    """[B, T, heads * E] as [B, heads, T, E]."""
    if x.ndim == 4:
        return x
    count = heads or 1
    return x.reshape(x.shape[0], x.shape[1], count, x.shape[2] // count).transpose(0, 2, 1, 3)


def _outputs(
    ctx: Ctx, y: jax.Array, key: jax.Array, value: jax.Array, product: jax.Array | None, flat: bool
) -> Any:
    if flat:
        y = y.transpose(0, 2, 1, 3).reshape(y.shape[0], y.shape[2], -1)
    kept = product if product is None else product.astype(y.dtype)
    return y if ctx.output_count < 2 else (y, key, value, kept)[: ctx.output_count]


def _library_attention(
    ctx: Ctx, query: jax.Array, key: jax.Array, value: jax.Array, scale: float, causal: bool
) -> jax.Array:
    """JAX's own attention, which accelerators run without writing the product to memory where they can."""
    dtype = query.dtype
    narrow = precision.NARROW.get(ctx.precision) if dtype == jnp.float32 else None
    q, k, v = (x.transpose(0, 2, 1, 3).astype(narrow or dtype) for x in (query, key, value))
    y = jax.nn.dot_product_attention(q, k, v, scale=scale, is_causal=causal)
    return y.transpose(0, 2, 1, 3).astype(dtype)


def _grouped(query: jax.Array, kv_heads: int) -> jax.Array:
    """[B, heads, T, E] as [B, kv heads, group * T, E]: a group's queries are rows of one product."""
    batch, heads, steps, size = query.shape
    return query.reshape(batch, kv_heads, (heads // kv_heads) * steps, size)


def _product(ctx: Ctx, query: jax.Array, key: jax.Array, scale: float) -> jax.Array:
    """``scale * Q @ K'`` [B, heads, T, S] in the dtype of sums."""
    batch, heads, steps, _ = query.shape
    dtype = query.dtype
    scaled = query * jnp.asarray(scale, dtype)
    if precision.is_half(dtype):
        # The definition scales both operands by the root, so that neither overflows.
        root = jnp.asarray(math.sqrt(scale), dtype)
        scaled, key = query * root, key * root
    rows = _grouped(scaled, key.shape[1])
    product = precision.matmul(ctx, rows, key.transpose(0, 1, 3, 2))
    return product.astype(precision.sum_dtype(dtype)).reshape(batch, heads, steps, key.shape[2])


def _weighted(ctx: Ctx, weights: jax.Array, value: jax.Array) -> jax.Array:
    """``weights @ V`` [B, heads, T, E]."""
    batch, heads, steps, _ = weights.shape
    rows = _grouped(weights, value.shape[1])
    return precision.matmul(ctx, rows, value).reshape(batch, heads, steps, value.shape[3])


def _bias(
    query: jax.Array,
    key: jax.Array,
    mask: Array | None,
    lengths: Array | None,
    causal: bool,
    offset: Any,
    windows: tuple[int, int],
) -> jax.Array | None:
    """What is added to the product, of rank 4 or what broadcasts to it; None where nothing is."""
    wide = precision.sum_dtype(query.dtype)
    steps, positions = query.shape[2], key.shape[2]
    column = jnp.arange(positions)[None, :]
    distance = jnp.arange(steps)[:, None] + offset - column  # how far back the key lies
    allowed: list[jax.Array] = []
    if causal:
        allowed.append(distance >= 0)
    if windows[0] >= 0:
        allowed.append(distance <= windows[0])
    if windows[1] >= 0:
        allowed.append(-distance <= windows[1])
    if lengths is not None:
        allowed.append(column < jnp.asarray(lengths).reshape(-1, 1, 1, 1))
    bias: jax.Array | None = None
    if mask is not None:
        given = jnp.asarray(mask)
        boolean = given.dtype == jnp.bool_
        missing = positions - given.shape[-1]
        if not isinstance(missing, int) or missing > 0:
            edge = [(0, 0)] * (given.ndim - 1) + [(0, missing)]
            given = jnp.pad(given, edge, constant_values=False if boolean else -jnp.inf)
        bias = jnp.where(given, 0, -jnp.inf).astype(wide) if boolean else given.astype(wide)
    for condition in allowed:
        bias = jnp.where(condition, jnp.zeros((), wide) if bias is None else bias, -jnp.inf)
    return bias


def _probabilities(
    product: jax.Array, bias: jax.Array | None, dtype: Any, softmax_precision: int | None
) -> jax.Array:
    """Softmax over the keys; zeros where all of them are masked."""
    wide = product.dtype
    if softmax_precision is not None:
        asked = ir.DataType(softmax_precision).numpy()
        wide = jnp.promote_types(wide, asked)
    scores = product.astype(wide)
    if bias is None:
        return probabilities(scores, -1).astype(dtype)
    # One all-masked row would be exp(-inf + inf); its maximum counts as 0 and its sum as 1.
    top = scores.max(-1, keepdims=True)
    powers = jnp.exp(scores - jnp.where(jnp.isneginf(top), 0, top))
    total = powers.sum(-1, keepdims=True)
    weights = powers / jnp.where(total == 0, 1, total)
    masked = jnp.isneginf(bias.max(-1, keepdims=True))
    return jnp.where(masked, 0, weights).astype(dtype)


@TABLE.op("RotaryEmbedding")
def rotary_embedding(
    ctx: Ctx,
    x: Array,
    cos_cache: Array,
    sin_cache: Array,
    position_ids: Array | None = None,
    *,
    interleaved: int = 0,
    num_heads: int = 0,
    rotary_embedding_dim: int = 0,
) -> Array:
    """Turn pairs of a head's entries by angles that grow with the position.

    Shapes: x [B, heads, T, E] or [B, T, heads * E]; caches [positions, R / 2] with position_ids [B, T], or
    [B, T, R / 2] without. Only the first R = ``rotary_embedding_dim`` entries turn (0: all).
    Source: ONNX RotaryEmbedding-23.
    """
    given = jnp.asarray(x)
    flat = given.ndim == 3
    # [B, T, heads, E]
    if flat:
        heads = given.reshape(given.shape[0], given.shape[1], num_heads, given.shape[2] // num_heads)
    else:
        heads = given.transpose(0, 2, 1, 3)
    turned = rotary_embedding_dim or heads.shape[3]
    cos, sin = jnp.asarray(cos_cache), jnp.asarray(sin_cache)
    if position_ids is not None:
        cos, sin = cos[jnp.asarray(position_ids)], sin[jnp.asarray(position_ids)]
    cos, sin = cos[:, :, None, :], sin[:, :, None, :]
    part, rest = heads[..., :turned], heads[..., turned:]
    if interleaved:
        first, second = part[..., 0::2], part[..., 1::2]
    else:
        first, second = part[..., : turned // 2], part[..., turned // 2 :]
    real, imaginary = cos * first - sin * second, sin * first + cos * second
    if interleaved:
        joined = jnp.stack((real, imaginary), axis=-1).reshape(part.shape)
    else:
        joined = jnp.concatenate((real, imaginary), axis=-1)
    y = jnp.concatenate((joined.astype(given.dtype), rest), axis=-1)
    return y.reshape(given.shape) if flat else y.transpose(0, 2, 1, 3)
