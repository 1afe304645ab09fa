"""The product that all convolutions are, in the forms that XLA runs well.

Images go through XLA with channels last: its convolutions read them so, products of 1x1 kernels are plain matrix
products, and a depthwise kernel is a few vector multiply-adds per tap. The transposes around one convolution meet
those around the next; XLA moves them through what lies between, and they cancel. Weights are transposed by the same
rule; as that depends on weights alone it is done once, not at every call (accelc.targets.jax_xla.hoist).
"""

from __future__ import annotations

import math
import string
from collections.abc import Iterator, Sequence
from itertools import product
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax

from accelc.targets.jax_xla import precision
from accelc.targets.jax_xla.context import Ctx
from accelc.targets.jax_xla.windows import Dim, Windows, at_least_zero

MAX_SHIFTED_TAPS = 50
"""Taps up to which a depthwise kernel is a sum of shifted images; 7x7 kernels are common, larger ones are not."""


def convolve(
    ctx: Ctx,
    x: jax.Array,
    w: jax.Array,
    shape: Windows,
    *,
    group: int = 1,
    bias: jax.Array | None = None,
    input_steps: Sequence[int] | None = None,
) -> jax.Array:
    """Images [N, C, spatial...] with weights [M, C / group, kernel...]: [N, M, out...] in the dtype of sums.

    Args:
        ctx: Platform and precision.
        x: Images.
        w: Weights.
        shape: Windows; negative pads cut.
        group: Groups of channels that do not mix.
        bias: [M], added to the sums.
        input_steps: Pixels of the spread input for each of ``x``: what makes a convolution transposed.
    """
    image, weights = precision.operands(ctx, x, w)
    rank = len(shape.kernel)
    if any(isinstance(n, int) and n == 0 for n in (*x.shape[:2], *w.shape)):
        result = jnp.zeros((x.shape[0], *shape.out, w.shape[0]), precision.sum_dtype(image.dtype))
    else:
        last = image.transpose(0, *range(2, rank + 2), 1)
        if input_steps is None and is_pointwise(shape, group):
            result = pointwise(ctx, last, weights, shape)
        elif input_steps is None and ctx.platform == "cpu" and is_tiled(x, shape, group):
            result = tiled(ctx, image, weights, shape)
        elif input_steps is None and ctx.platform == "cpu" and is_depthwise(x, w, shape, group):
            result = depthwise(last, weights, shape)
        else:
            result = general(ctx, last, weights, shape, group, input_steps)
    if bias is not None:
        result = result + bias.astype(result.dtype)
    return result.transpose(0, rank + 1, *range(1, rank + 1))


def general(
    ctx: Ctx,
    x: jax.Array,
    w: jax.Array,
    shape: Windows,
    group: int,
    input_steps: Sequence[int] | None = None,
) -> jax.Array:
    """Any convolution of x [N, spatial..., C] by XLA's own op."""
    rank = len(shape.kernel)
    spatial = string.digits[:rank]
    return lax.conv_general_dilated(
        x,
        w.transpose(*range(2, rank + 2), 1, 0),
        window_strides=shape.strides,
        padding=shape.pads,
        lhs_dilation=tuple(input_steps) if input_steps is not None else None,
        rhs_dilation=shape.dilations,
        dimension_numbers=(f"N{spatial}C", f"{spatial}IO", f"N{spatial}C"),
        feature_group_count=group,
        **precision.settings(ctx, x.dtype),
    )


def _is_bare(shape: Windows) -> bool:
    """Whether an image has no pads."""
    return all(isinstance(n, int) and n == 0 for n in (*shape.low, *shape.high))


def is_pointwise(shape: Windows, group: int) -> bool:
    """Whether every output pixel is a product of one input pixel: a 1x1 kernel without pads."""
    return group == 1 and _is_bare(shape) and math.prod(shape.kernel) == 1


def pointwise(ctx: Ctx, x: jax.Array, w: jax.Array, shape: Windows) -> jax.Array:
    """A 1x1 convolution of x [N, spatial..., C] as a product with [C, M]."""
    taken = next(taps(x, shape, 0))[1]
    matrix = w.reshape(w.shape[:2]).T
    return jnp.matmul(taken, matrix, **precision.settings(ctx, x.dtype))


def is_tiled(x: jax.Array, shape: Windows, group: int) -> bool:
    """Whether windows lie side by side, as where a transformer cuts an image into patches; of known extents."""
    known = all(isinstance(n, int) for n in (*x.shape, *shape.out))
    beside = tuple(shape.kernel) == tuple(shape.strides) and all(n == 1 for n in shape.dilations)
    return group == 1 and _is_bare(shape) and known and beside


def tiled(ctx: Ctx, x: jax.Array, w: jax.Array, shape: Windows) -> jax.Array:
    """A convolution of x [N, C, spatial...] whose windows lie side by side: a product of their pixels, [N, out..., M].

    Pixels change places once, in runs of a window's last axis.
    """
    rank = len(shape.kernel)
    covered = [n * k for n, k in zip(shape.out, shape.kernel, strict=True)]
    whole = lax.slice(x, (0,) * x.ndim, (*x.shape[:2], *covered))
    apart = [n for pair in zip(shape.out, shape.kernel, strict=True) for n in pair]
    outs, inners = range(2, 2 + 2 * rank, 2), range(3, 3 + 2 * rank, 2)
    windows = whole.reshape(*x.shape[:2], *apart).transpose(0, *outs, 1, *inners)
    matrix = w.reshape(w.shape[0], -1).T
    rows = lax.optimization_barrier(windows.reshape(math.prod((x.shape[0], *shape.out)), matrix.shape[0]))
    result = jnp.matmul(rows, matrix, **precision.settings(ctx, x.dtype))
    return result.reshape(x.shape[0], *shape.out, w.shape[0])


def is_depthwise(x: jax.Array, w: jax.Array, shape: Windows, group: int) -> bool:
    """Whether every channel has its own kernel, of few taps."""
    return (
        group == w.shape[0] == x.shape[1]
        and group > 1
        and math.prod(shape.kernel) <= MAX_SHIFTED_TAPS
        and not jnp.issubdtype(x.dtype, jnp.integer)
    )


def depthwise(x: jax.Array, w: jax.Array, shape: Windows) -> jax.Array:
    """A depthwise convolution of x [N, spatial..., C] as shifted images, each scaled by its tap's weights [C]."""
    kernels = w.reshape(w.shape[0], -1).T
    total: Any = None
    for i, taken in taps(x, shape, 0):
        part = taken * lax.index_in_dim(kernels, i, keepdims=False)
        total = part if total is None else total + part
    return jnp.asarray(total)


def taps(x: jax.Array, shape: Windows, fill: Any) -> Iterator[tuple[int, jax.Array]]:
    """For each tap of the windows over x [N, spatial..., C], what all windows see there: [N, out..., C].

    Outside of ``x`` they see ``fill``.
    """
    padded = widened(x, shape, fill)
    for i, tap in enumerate(product(*map(range, shape.kernel))):
        taken = padded
        for axis, step in enumerate(tap):
            taken = shifted(taken, shape, axis, step)
        yield i, taken


def widened(x: jax.Array, shape: Windows, fill: Any) -> jax.Array:
    """Images [N, spatial..., C] with all the pads that its windows reach into."""
    edges: list[tuple[Dim, Dim]] = [(0, 0)]
    for axis in range(len(shape.kernel)):
        low = shape.low[axis]
        edges.append((low, at_least_zero(shape.needed(axis) - x.shape[axis + 1] - low)))
    if all(isinstance(n, int) and n == 0 for edge in edges for n in edge):
        return x
    config = [(low, high, 0) for low, high in (*edges, (0, 0))]
    return lax.pad(x, jnp.asarray(fill, x.dtype), config)


def shifted(x: jax.Array, shape: Windows, axis: int, tap: int) -> jax.Array:
    """What all windows see along spatial ``axis`` of x [N, spatial..., C] at their tap ``tap``."""
    start, step = tap * shape.dilations[axis], shape.strides[axis]
    whole = isinstance(x.shape[axis + 1], int) and x.shape[axis + 1] == shape.out[axis]
    if whole and step == 1 and start == 0:
        return x
    return lax.slice_in_dim(x, start, start + (shape.out[axis] - 1) * step + 1, step, axis + 1)


def zero_point_shaped(zeros: jax.Array, rank: int) -> jax.Array:
    """Zero points of weights, one or one per output channel, to broadcast over [M, C, kernel...]."""
    return zeros.reshape(-1, *(1,) * (rank - 1)) if np.ndim(zeros) else zeros
