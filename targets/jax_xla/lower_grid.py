"""Sampling of images at places that are computed: GridSample, and AffineGrid, which makes such places.

Source: ONNX GridSample-22, AffineGrid-20.
"""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax

from accelc.errors import LoweringError
from accelc.targets.jax_xla.context import Ctx
from accelc.targets.jax_xla.lower_math import wide
from accelc.targets.jax_xla.static_values import Dim, dims_of, expanded_to, product
from accelc.targets.jax_xla.table import LoweringTable

if TYPE_CHECKING:
    from accelc.targets.jax_xla.table import Array

TABLE = LoweringTable()

_MODES = {
    "bilinear": "linear",
    "linear": "linear",
    "nearest": "nearest",
    "bicubic": "cubic",
    "cubic": "cubic",
}
_FIRST_TAP = {"nearest": 0, "linear": 0, "cubic": -1}
_CUBIC_A = -0.75


@TABLE.op("GridSample")
def grid_sample(
    ctx: Ctx,
    x: Array,
    grid: Array,
    *,
    align_corners: int = 0,
    mode: str = "linear",
    padding_mode: str = "zeros",
) -> jax.Array:
    """Samples of x [N, C, spatial...] at places grid [N, out..., spatial rank], the last axis first, -1 to 1.

    Shapes: result [N, C, out...].
    """
    if mode not in _MODES:
        raise LoweringError(f"GridSample has no mode {mode}", fix=f"use one of {', '.join(_MODES)}")
    kind = _MODES[mode]
    image = wide(x)
    spatial = image.shape[2:]
    out = grid.shape[1:-1]
    places = wide(grid).astype(image.dtype).reshape(grid.shape[0], product(out), len(spatial))
    taps = [
        _axis_taps(places[:, :, len(spatial) - 1 - i], extent, kind, padding_mode, bool(align_corners))
        for i, extent in enumerate(spatial)
    ]
    flat = image.reshape(*image.shape[:2], product(spatial))
    indices, shares = [], []
    for chosen in itertools.product(*taps):
        index: Any = 0
        share: Any = 1
        for extent, (place, weight) in zip(spatial, chosen, strict=True):
            index, share = index * extent + place, share * weight
        indices.append(index)
        shares.append(share)
    # Held back from fusion, where they would be worked out again for every channel; and one gather, not one for
    # each tap: together 6 times as fast on a CPU.
    index, share = lax.optimization_barrier((jnp.concatenate(indices, 1), jnp.concatenate(shares, 1)))
    read: jax.Array = (
        jnp.take_along_axis(flat, index[:, None], axis=2, mode="promise_in_bounds") * share[:, None]
    )
    total: jax.Array = read.reshape(*image.shape[:2], len(indices), product(out)).sum(axis=2)
    return total.reshape(*image.shape[:2], *out).astype(x.dtype)


def _axis_taps(
    place: jax.Array, extent: Dim, mode: str, padding: str, align: bool
) -> list[tuple[jax.Array, jax.Array]]:
    """Indices along one axis and their weights, for places from -1 to 1."""
    low, high = (0.0, extent - 1.0) if align else (-0.5, extent - 0.5)
    x = (place + 1) / 2 * (extent - 1) if align else ((place + 1) * extent - 1) / 2
    if mode == "nearest":
        x = jnp.round(x)
    if padding == "border":
        x = jnp.where((x < low) | (x > high), jnp.clip(x, 0, extent - 1), x)
    elif padding == "reflection":
        x = _reflected(x, low, high)
    base = jnp.floor(x)
    taps = []
    for step, weight in enumerate(_weights(mode, x - base), _FIRST_TAP[mode]):
        index = base + step
        inside = (index >= 0) & (index <= extent - 1)
        if padding == "zeros":
            weight = jnp.where(inside, weight, 0)
        elif padding == "reflection":
            index = jnp.trunc(_reflected(index, low, high))
        taps.append((jnp.clip(index, 0, extent - 1).astype(jnp.int32), weight))
    return taps


def _reflected(x: jax.Array, low: Any, high: Any) -> jax.Array:
    """``x`` mirrored at the bounds until it lies between them."""
    span = high - low
    if isinstance(span, float) and span <= 0:
        return jnp.full_like(x, low)
    away = jnp.where(x < low, low - x, x - high)
    times = jnp.floor(away / span)
    rest = away - times * span
    even = jnp.remainder(times, 2) == 0
    below = jnp.where(even, low + rest, high - rest)
    above = jnp.where(even, high - rest, low + rest)
    return jnp.where(x < low, below, jnp.where(x > high, above, x))


def _weights(mode: str, t: jax.Array) -> Sequence[jax.Array]:
    """Weights of the taps for the part ``t`` behind the first one at or before a place."""
    if mode == "nearest":
        return [jnp.ones_like(t)]
    if mode == "linear":
        return [1 - t, t]
    a = _CUBIC_A
    outer = [((a * d - 5 * a) * d + 8 * a) * d - 4 * a for d in (t + 1, 2 - t)]
    inner = [((a + 2) * d - (a + 3)) * d * d + 1 for d in (t, 1 - t)]
    return [outer[0], *inner, outer[1]]


@TABLE.op("AffineGrid", static=(1,))
def affine_grid(ctx: Ctx, theta: Array, size: Array, *, align_corners: int = 0) -> jax.Array:
    """Places of output pixels under affine maps theta [N, rank, rank + 1].

    Shapes: result [N, spatial..., rank], the last axis first.
    """
    spatial = dims_of(size)[2:]
    rank = len(spatial)
    matrix = jnp.asarray(theta)
    total = matrix[:, :, -1].reshape(matrix.shape[0], *(1,) * rank, rank)
    for i, extent in enumerate(spatial):
        places = _even_places(extent, bool(align_corners)).astype(matrix.dtype)
        column = matrix[:, :, rank - 1 - i].reshape(matrix.shape[0], *(1,) * rank, rank)
        total = total + column * places.reshape(expanded_to((extent,), 1 + i, rank + 2))
    return jnp.broadcast_to(total, (matrix.shape[0], *spatial, rank))


def _even_places(extent: int, align: bool) -> np.ndarray:
    """Places of an axis from -1 to 1: of its pixels' centres, or with its end pixels at the ends."""
    if align:
        return np.linspace(-1.0, 1.0, extent)
    return (2 * np.arange(extent) + 1) / extent - 1
