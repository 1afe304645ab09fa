"""Pooling of regions of an image: RoiAlign and MaxRoiPool.

Source: ONNX RoiAlign-22, MaxRoiPool-22.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import jax
import jax.numpy as jnp
from jax import lax

from accelc.targets.jax_xla.context import Ctx
from accelc.targets.jax_xla.lower_math import wide
from accelc.targets.jax_xla.table import LoweringTable

if TYPE_CHECKING:
    from accelc.targets.jax_xla.table import Array

TABLE = LoweringTable()


@TABLE.op("RoiAlign", since=16)
def roi_align(
    ctx: Ctx,
    x: Array,
    rois: Array,
    batch: Array,
    *,
    coordinate_transformation_mode: str = "half_pixel",
    mode: str = "avg",
    output_height: int = 1,
    output_width: int = 1,
    sampling_ratio: int = 0,
    spatial_scale: float = 1.0,
) -> jax.Array:
    """Average or maximum of bilinear samples within each part of each region.

    Shapes: x [N, C, H, W]; rois [R, 4] as x1, y1, x2, y2; batch [R]; result [R, C, output height, output width].
    """
    image = wide(x)
    half_pixel = coordinate_transformation_mode == "half_pixel"
    # As in training it is done: gradients reach the image, not the regions, whose sample counts are no function.
    regions = lax.stop_gradient(wide(rois).astype(image.dtype))
    corners = regions * spatial_scale - (0.5 if half_pixel else 0.0)
    extents = corners[:, 2:] - corners[:, :2]
    if not half_pixel:
        extents = jnp.maximum(extents, 1.0)
    axes = [
        _Samples(corners[:, 1 - i], extents[:, 1 - i], count, image.shape[2 + i], sampling_ratio)
        for i, count in enumerate((output_height, output_width))
    ]
    pool = _max_samples if mode == "max" else _mean_samples
    return pool(image, jnp.asarray(batch), *axes).astype(x.dtype)


@TABLE.op("RoiAlign", since=1)
def roi_align_output_half_pixel(
    ctx: Ctx, x: Array, rois: Array, batch: Array, **attributes: Any
) -> jax.Array:
    """``RoiAlign`` before opset 16: places are not shifted by half a pixel."""
    attributes["coordinate_transformation_mode"] = "output_half_pixel"
    return jnp.asarray(roi_align(ctx, x, rois, batch, **attributes))


class _Samples:
    """Sample places of all regions along one axis.

    Args:
        start: Where regions start, [R].
        extent: Their extents, [R].
        bins: Parts of a region.
        size: Elements of the axis.
        ratio: Samples per part; 0 for as many as the part has elements.
    """

    def __init__(self, start: jax.Array, extent: jax.Array, bins: int, size: int, ratio: int) -> None:
        self.start, self.bins, self.size = start, bins, size
        self.bin = extent / bins
        adaptive = jnp.ceil(self.bin).astype(jnp.int32)
        self.count = jnp.full_like(adaptive, ratio) if ratio > 0 else adaptive
        self.most: Any = ratio if ratio > 0 else jnp.max(adaptive, initial=0)

    def at(self, i: jax.Array) -> tuple[jax.Array, jax.Array, jax.Array, jax.Array]:
        """Sample ``i`` of every part, [R, bins]: indices before and behind it, weight of the latter, if it counts."""
        part = lax.iota(self.start.dtype, self.bins)
        step = (i + 0.5) * self.bin / self.count
        place = self.start[:, None] + part * self.bin[:, None] + step[:, None]
        counts = (place >= -1) & (place <= self.size) & (i < self.count)[:, None]
        place = jnp.maximum(place, 0)
        low = jnp.minimum(jnp.floor(place).astype(jnp.int32), self.size - 1)
        high = jnp.minimum(low + 1, self.size - 1)
        return low, high, jnp.where(low == self.size - 1, 0, place - low), counts

    def weights(self) -> jax.Array:
        """Sum over the samples of each part of the weights of all elements, [R, bins, size]."""
        regions = self.start.shape[0]
        element = lax.iota(jnp.int32, self.size)

        def add(i: jax.Array, total: jax.Array) -> jax.Array:
            low, high, share, counts = (part[:, :, None] for part in self.at(i))
            one = jnp.where(element == low, 1 - share, 0) + jnp.where(element == high, share, 0)
            return total + jnp.where(counts, one, 0)

        zeros = jnp.zeros((regions, self.bins, self.size), self.start.dtype)
        total: jax.Array = lax.fori_loop(0, self.most, add, zeros)
        return total


def _mean_samples(image: jax.Array, batch: jax.Array, rows: _Samples, columns: _Samples) -> jax.Array:
    """The mean of bilinear samples is linear in rows and in columns: two small products per region."""
    total = jnp.maximum(rows.count * columns.count, 1).astype(image.dtype)

    def one(region: tuple[jax.Array, ...]) -> jax.Array:
        place, down, across = region
        taken = lax.dynamic_index_in_dim(image, place, keepdims=False)
        return jnp.einsum("ph,chw,qw->cpq", down, taken, across, precision=lax.Precision.HIGHEST)

    sums: jax.Array = lax.map(one, (batch, rows.weights(), columns.weights()))
    return sums / total[:, None, None, None]


def _max_samples(image: jax.Array, batch: jax.Array, rows: _Samples, columns: _Samples) -> jax.Array:
    """The largest of the weighted neighbours of all samples; 0 of none.

    ONNX takes the maximum over the four products of pixel and weight, not over their sums.
    """
    shape = (batch.shape[0], image.shape[1], rows.bins, columns.bins)
    across = columns.most

    def sample(k: jax.Array, best: jax.Array) -> jax.Array:
        top, bottom, down, in_rows = rows.at(k // across)
        left, right, along, in_columns = columns.at(k % across)
        taken = [
            image[batch[:, None, None], :, row[:, :, None], column[:, None, :]]
            * (row_share[:, :, None] * column_share[:, None, :])[..., None]
            for row, row_share in ((top, 1 - down), (bottom, down))
            for column, column_share in ((left, 1 - along), (right, along))
        ]
        largest = jnp.moveaxis(jnp.maximum(jnp.maximum(*taken[:2]), jnp.maximum(*taken[2:])), -1, 1)
        inside = (in_rows[:, :, None] & in_columns[:, None, :])[:, None]
        sampled = (k // across < rows.count) & (k % across < columns.count)
        # A sample outside of the image counts as 0; one beyond a region's own number does not count.
        value = jnp.where(inside, largest, 0)
        return jnp.where(sampled[:, None, None, None], jnp.maximum(best, value), best)

    start = jnp.full(shape, -jnp.inf, image.dtype)
    best = lax.fori_loop(0, rows.most * across, sample, start)
    none = (rows.count * columns.count <= 0)[:, None, None, None]
    return jnp.where(none, 0, best)


@TABLE.op("MaxRoiPool")
def max_roi_pool(
    ctx: Ctx, x: Array, rois: Array, *, pooled_shape: Sequence[int], spatial_scale: float = 1.0
) -> jax.Array:
    """Maximum of the elements within each part of each region, 0 of none.

    Shapes: x [N, C, H, W]; rois [R, 5] as batch, x1, y1, x2, y2; result [R, C, *pooled_shape].
    """
    image = jnp.asarray(x)
    scaled = jnp.floor(
        wide(rois)[:, 1:] * spatial_scale + 0.5
    )  # rounded half up, as regions are not negative
    masks = [
        _bins(scaled[:, 1 - i], scaled[:, 3 - i], count, image.shape[2 + i])
        for i, count in enumerate(pooled_shape)
    ]

    def one(region: tuple[jax.Array, ...]) -> jax.Array:
        place, rows, columns = region
        taken = lax.dynamic_index_in_dim(image, place, keepdims=False)
        narrow = jnp.max(jnp.where(columns, taken[:, :, None, :], -jnp.inf), axis=3)
        best = jnp.max(jnp.where(rows[:, :, None], narrow[:, None], -jnp.inf), axis=2)
        filled = rows.any(axis=1)[:, None] & columns.any(axis=1)
        return jnp.where(filled, best, 0).astype(image.dtype)

    pooled: jax.Array = lax.map(one, (jnp.asarray(rois)[:, 0].astype(jnp.int32), *masks))
    return pooled


def _bins(start: jax.Array, end: jax.Array, bins: int, size: int) -> jax.Array:
    """Which elements lie in each part of each region, [R, bins, size]."""
    extent = jnp.maximum(end - start + 1, 1)[:, None] / bins
    part = lax.iota(start.dtype, bins)
    low = jnp.floor(part * extent) + start[:, None]
    high = jnp.ceil((part + 1) * extent) + start[:, None]
    element = lax.iota(start.dtype, size)
    return (element >= low[:, :, None]) & (element < high[:, :, None])
