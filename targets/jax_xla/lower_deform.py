"""DeformConv: a convolution that reads its taps at computed places."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import jax.numpy as jnp
import numpy as np

from accelc.targets.jax_xla import precision
from accelc.targets.jax_xla.context import Ctx
from accelc.targets.jax_xla.table import LoweringTable
from accelc.targets.jax_xla.windows import windows

if TYPE_CHECKING:
    import jax

    from accelc.targets.jax_xla.table import Array

TABLE = LoweringTable()


@TABLE.op("DeformConv")
def deform_conv(
    ctx: Ctx,
    x: Array,
    w: Array,
    offset: Array,
    b: Array | None = None,
    mask: Array | None = None,
    *,
    dilations: Sequence[int] | None = None,
    group: int = 1,
    kernel_shape: Sequence[int] | None = None,
    offset_group: int = 1,
    pads: Sequence[int] | None = None,
    strides: Sequence[int] | None = None,
) -> Array:
    """Convolution of x [N, C, H, W] whose taps are moved by ``offset`` and weighted by ``mask``.

    Shapes: w [M, C / group, kH, kW]; offset [N, offset_group * kH * kW * 2, oH, oW] as (y, x) pairs; mask
    [N, offset_group * kH * kW, oH, oW]. Taps are read by bilinear interpolation, zero outside the image.
    Source: ONNX DeformConv-22.
    """
    image, weights = jnp.asarray(x), jnp.asarray(w)
    wide = precision.sum_dtype(image.dtype)
    batch, channels = image.shape[:2]
    shape = windows(image.shape[2:], weights.shape[2:], strides=strides, dilations=dilations, pads=pads)
    taps = int(np.prod(shape.kernel))
    moved = jnp.asarray(offset).astype(wide).reshape(batch, offset_group, taps, 2, *shape.out)
    places = []
    for axis in range(2):
        start = np.arange(shape.out[axis]) * shape.strides[axis] - shape.low[axis]
        tap = np.indices(shape.kernel)[axis].reshape(-1) * shape.dilations[axis]
        base = tap[:, None] + start[None, :]
        base = base[:, :, None] if axis == 0 else base[:, None, :]
        places.append(moved[:, :, :, axis] + base.astype(wide))
    grouped = image.astype(wide).reshape(batch, offset_group, channels // offset_group, *image.shape[2:])
    taken = _bilinear(grouped, places[0], places[1])
    if mask is not None:
        taken = taken * jnp.asarray(mask).astype(wide).reshape(batch, offset_group, 1, taps, *shape.out)
    # [N, offset_group, C / offset_group, taps, oH, oW] is [N, group, C / group, taps, oH, oW] read anew
    columns = taken.reshape(batch, group, channels // group, taps, *shape.out)
    kernels = weights.reshape(group, weights.shape[0] // group, channels // group, taps)
    result = precision.einsum(ctx, "ngcthw,gmct->ngmhw", columns, kernels.astype(wide))
    result = result.reshape(batch, weights.shape[0], *shape.out)
    if b is not None:
        result = result + jnp.asarray(b).astype(wide)[:, None, None]
    return result.astype(image.dtype)


def _bilinear(x: jax.Array, row: jax.Array, column: jax.Array) -> jax.Array:
    """Values of x [N, G, C, H, W] at places [N, G, ...]: [N, G, C, ...], zero outside."""
    height, width = x.shape[3:]
    flat = x.reshape(*x.shape[:3], height * width)
    total = jnp.zeros((), x.dtype)
    top, left = jnp.floor(row), jnp.floor(column)
    for down in (0, 1):
        for right in (0, 1):
            at_row, at_column = top + down, left + right
            share = (1 - jnp.abs(row - at_row)) * (1 - jnp.abs(column - at_column))
            inside = (at_row >= 0) & (at_row < height) & (at_column >= 0) & (at_column < width)
            index = jnp.where(inside, at_row * width + at_column, 0).astype(jnp.int32)
            gathered = jnp.take_along_axis(flat, index.reshape(*index.shape[:2], 1, -1), axis=3)
            gathered = gathered.reshape(*x.shape[:3], *index.shape[2:])
            total = total + gathered * jnp.where(inside, share, 0)[:, :, None]
    return total
