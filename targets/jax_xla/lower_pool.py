"""Pools: Average, Max and Lp over windows or all there is, and MaxUnpool and Col2Im which put values back."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Sequence
from functools import reduce
from typing import TYPE_CHECKING, Any

import jax.numpy as jnp
import numpy as np
from jax import lax

from accelc.targets.jax_xla import precision
from accelc.targets.jax_xla.context import Ctx
from accelc.targets.jax_xla.convolution import MAX_SHIFTED_TAPS, shifted, widened
from accelc.targets.jax_xla.table import LoweringTable
from accelc.targets.jax_xla.windows import Windows, windows

if TYPE_CHECKING:
    import jax

    from accelc.targets.jax_xla.table import Array

TABLE = LoweringTable()


def _over_windows(
    x: Any, start: Any, combine: Callable[[Any, Any], Any], shape: Windows, extents: Sequence[Any]
) -> Any:
    """Reduce every window of x [N, C, spatial...]; what lies outside of it is ``start``."""
    high = [shape.needed(i) - extents[i] - shape.low[i] for i in range(len(extents))]
    return lax.reduce_window(
        x,
        start,
        combine,
        window_dimensions=(1, 1, *shape.kernel),
        window_strides=(1, 1, *shape.strides),
        padding=((0, 0), (0, 0), *zip(shape.low, high, strict=True)),
        window_dilation=(1, 1, *shape.dilations),
    )


def _folded(
    ctx: Ctx, x: jax.Array, start: Any, combine: Callable[[Any, Any], Any], shape: Windows
) -> jax.Array:
    """As :func:`_over_windows`; on CPU by shifted images with channels last, one dim after the other.

    XLA's loop over windows takes one value at a time there; shifted images are combined by whole vectors.
    """
    if ctx.platform != "cpu" or max(shape.kernel) > MAX_SHIFTED_TAPS:
        return jnp.asarray(_over_windows(x, start, combine, shape, x.shape[2:]))
    rank = len(shape.kernel)
    total = widened(x.transpose(0, *range(2, rank + 2), 1), shape, start)
    for axis in range(rank):
        parts = [shifted(total, shape, axis, tap) for tap in range(shape.kernel[axis])]
        total = reduce(combine, parts)
    return total.transpose(0, rank + 1, *range(1, rank + 1))


def least(dtype: Any) -> Any:
    """The value that no maximum takes over another: minus infinity, or the least integer."""
    if jnp.issubdtype(dtype, jnp.floating):
        return np.asarray(-np.inf, dtype)
    return np.asarray(np.iinfo(dtype).min, dtype)


@TABLE.op("MaxPool")
def max_pool(
    ctx: Ctx,
    x: Array,
    *,
    kernel_shape: Sequence[int],
    auto_pad: str = "NOTSET",
    ceil_mode: int = 0,
    dilations: Sequence[int] | None = None,
    pads: Sequence[int] | None = None,
    storage_order: int = 0,
    strides: Sequence[int] | None = None,
) -> Any:
    """Largest value of each window of [N, C, spatial...], and its place in the flat input if asked for.

    A NaN in a window is its maximum. Of equal values the first counts. Source: ONNX MaxPool-22.
    """
    image = jnp.asarray(x)
    shape = windows(
        image.shape[2:],
        kernel_shape,
        strides=strides,
        dilations=dilations,
        pads=pads,
        auto_pad=auto_pad,
        ceil_mode=bool(ceil_mode),
    )
    if ctx.output_count < 2:
        return _folded(ctx, image, least(image.dtype), lax.max, shape)
    place = _flat_places(image.shape, storage_order)

    def later(best: tuple[Any, Any], new: tuple[Any, Any]) -> tuple[Any, Any]:
        larger = (new[0] > best[0]) | ((new[0] != new[0]) & (best[0] == best[0]))
        equal = (new[0] == best[0]) | ((new[0] != new[0]) & (best[0] != best[0]))
        take = larger | (equal & (new[1] < best[1]))
        return jnp.where(take, new[0], best[0]), jnp.where(take, new[1], best[1])

    nowhere = np.asarray(np.iinfo(np.int64).max)
    start = (least(image.dtype), nowhere)
    values, places = _over_windows((image, place), start, later, shape, image.shape[2:])
    return values, places


def _flat_places(shape: Sequence[Any], storage_order: int) -> jax.Array:
    """Index of every value in the flat tensor; the spatial dims column-major if ``storage_order`` is 1."""
    order = list(range(len(shape)))
    if storage_order:
        order[2:] = reversed(order[2:])
    place: Any = jnp.zeros(tuple(shape), jnp.int64)
    step: Any = 1
    for axis in reversed(order):
        place = place + lax.broadcasted_iota(jnp.int64, tuple(shape), axis) * step
        step = step * shape[axis]
    return jnp.asarray(place)


@TABLE.op("AveragePool")
def average_pool(
    ctx: Ctx,
    x: Array,
    *,
    kernel_shape: Sequence[int],
    auto_pad: str = "NOTSET",
    ceil_mode: int = 0,
    count_include_pad: int = 0,
    dilations: Sequence[int] | None = None,
    pads: Sequence[int] | None = None,
    strides: Sequence[int] | None = None,
) -> Array:
    """Mean of each window of [N, C, spatial...]; pads count if asked for, what ceil_mode adds never does.

    Source: ONNX AveragePool-22.
    """
    image = jnp.asarray(x)
    extents = image.shape[2:]
    shape = windows(
        extents,
        kernel_shape,
        strides=strides,
        dilations=dilations,
        pads=pads,
        auto_pad=auto_pad,
        ceil_mode=bool(ceil_mode),
    )
    wide = precision.sum_dtype(image.dtype)
    total = _folded(ctx, image.astype(wide), np.zeros((), wide), lax.add, shape)
    for axis, extent in enumerate(extents):
        count = _counted(shape, axis, extent, bool(count_include_pad)).astype(wide)
        total = total / count.reshape(-1, *(1,) * (len(extents) - axis - 1))
    return total.astype(image.dtype)


def _counted(shape: Windows, axis: int, extent: Any, with_pads: bool) -> jax.Array:
    """How many taps of each window along ``axis`` count."""
    first = jnp.arange(shape.out[axis]) * shape.strides[axis]
    tap = np.arange(shape.kernel[axis]) * shape.dilations[axis]
    place = first[:, None] + tap[None, :]
    low = shape.low[axis]
    begin = 0 if with_pads else low
    end = low + extent + (shape.high[axis] if with_pads else 0)
    return jnp.sum((place >= begin) & (place < end), axis=1)


@TABLE.op("LpPool")
def lp_pool(
    ctx: Ctx,
    x: Array,
    *,
    kernel_shape: Sequence[int],
    auto_pad: str = "NOTSET",
    ceil_mode: int = 0,
    dilations: Sequence[int] | None = None,
    p: float = 2,
    pads: Sequence[int] | None = None,
    strides: Sequence[int] | None = None,
) -> Array:
    """``(sum |x|^p)^(1/p)`` of each window of [N, C, spatial...]. Source: ONNX LpPool-22."""
    image = jnp.asarray(x)
    shape = windows(
        image.shape[2:],
        kernel_shape,
        strides=strides,
        dilations=dilations,
        pads=pads,
        auto_pad=auto_pad,
        ceil_mode=bool(ceil_mode),
    )
    wide = precision.sum_dtype(image.dtype)
    total = _folded(ctx, power(image.astype(wide), p), np.zeros((), wide), lax.add, shape)
    return root(total, p).astype(image.dtype)


def power(x: jax.Array, p: float) -> jax.Array:
    """``|x|^p``."""
    if p == 1:
        return jnp.abs(x)
    return x * x if p == 2 else jnp.power(jnp.abs(x), p)


def root(x: jax.Array, p: float) -> jax.Array:
    """``x^(1/p)``."""
    if p == 1:
        return x
    return jnp.sqrt(x) if p == 2 else jnp.power(x, 1.0 / p)


def _spatial(x: jax.Array) -> tuple[int, ...]:
    return tuple(range(2, x.ndim))


@TABLE.op("GlobalAveragePool")
def global_average_pool(ctx: Ctx, x: Array) -> Array:
    """Mean over the spatial dims, which become 1. Source: ONNX GlobalAveragePool-22."""
    image = jnp.asarray(x)
    wide = image.astype(precision.sum_dtype(image.dtype))
    return wide.mean(_spatial(image), keepdims=True).astype(image.dtype)


@TABLE.op("GlobalMaxPool")
def global_max_pool(ctx: Ctx, x: Array) -> Array:
    """Maximum over the spatial dims, which become 1. Source: ONNX GlobalMaxPool-22."""
    image = jnp.asarray(x)
    return image.max(_spatial(image), keepdims=True, initial=least(image.dtype))


@TABLE.op("GlobalLpPool")
def global_lp_pool(ctx: Ctx, x: Array, *, p: float = 2) -> Array:
    """``(sum |x|^p)^(1/p)`` over the spatial dims, which become 1. Source: ONNX GlobalLpPool-22."""
    image = jnp.asarray(x)
    wide = image.astype(precision.sum_dtype(image.dtype))
    return root(power(wide, p).sum(_spatial(image), keepdims=True), p).astype(image.dtype)


@TABLE.op("MaxUnpool", static=(2,))
def max_unpool(
    ctx: Ctx,
    x: Array,
    places: Array,
    output_shape: np.ndarray | None = None,
    *,
    kernel_shape: Sequence[int],
    pads: Sequence[int] | None = None,
    strides: Sequence[int] | None = None,
) -> Array:
    """Values put back at the flat places that MaxPool gave, zeros elsewhere.

    The places are those of the natural shape; with another output shape they are carried over. Places outside are
    left out. Source: ONNX MaxUnpool-22.
    """
    values = jnp.asarray(x)
    rank = values.ndim - 2
    steps, pad = tuple(strides or (1,) * rank), tuple(pads or (0,) * (2 * rank))
    natural = [
        (values.shape[2 + i] - 1) * steps[i] + kernel_shape[i] - pad[i] - pad[i + rank] for i in range(rank)
    ]
    shape = (*values.shape[:2], *natural)
    full = shape if output_shape is None else tuple(int(n) for n in output_shape)
    index = jnp.unravel_index(jnp.asarray(places).reshape(-1), shape)
    return jnp.zeros(full, values.dtype).at[index].set(values.reshape(-1), mode="drop")


@TABLE.op("Col2Im", static=(1, 2))
def col2im(
    ctx: Ctx,
    x: Array,
    image_shape: np.ndarray,
    block_shape: np.ndarray,
    *,
    dilations: Sequence[int] | None = None,
    pads: Sequence[int] | None = None,
    strides: Sequence[int] | None = None,
) -> Array:
    """Columns [N, C * block, L] summed into the image [N, C, image...]. Source: ONNX Col2Im-18."""
    columns = jnp.asarray(x)
    sizes, kernel = [int(n) for n in image_shape], [int(n) for n in block_shape]
    rank = len(sizes)
    shape = windows(sizes, kernel, strides=strides, dilations=dilations, pads=pads)
    channels = columns.shape[1] // max(int(np.prod(kernel)), 1)
    parts = columns.reshape(columns.shape[0], channels, *kernel, *shape.out)
    padded = [sizes[i] + shape.low[i] + shape.high[i] for i in range(rank)]
    result = jnp.zeros((columns.shape[0], channels, *padded), columns.dtype)
    for tap in itertools.product(*map(range, kernel)):
        window = tuple(
            slice(
                tap[i] * shape.dilations[i],
                tap[i] * shape.dilations[i] + shape.strides[i] * (shape.out[i] - 1) + 1,
                shape.strides[i],
            )
            for i in range(rank)
        )
        result = result.at[(slice(None), slice(None), *window)].add(parts[(slice(None), slice(None), *tap)])
    inner = tuple(slice(shape.low[i], shape.low[i] + sizes[i]) for i in range(rank))
    return result[(slice(None), slice(None), *inner)]
