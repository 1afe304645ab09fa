"""Ops that move elements by positions known while tracing: joining, cutting, padding.

Source: https://onnx.ai/onnx/operators/
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax

from accelc.errors import LoweringError
from accelc.targets.jax_xla.context import Ctx
from accelc.targets.jax_xla.static_values import Dim, axes_of, axis_of, dims_of, given, is_known
from accelc.targets.jax_xla.table import LoweringTable

if TYPE_CHECKING:
    from accelc.targets.jax_xla.table import Array

TABLE = LoweringTable()


@TABLE.op("Concat")
def concat(ctx: Ctx, *parts: Array, axis: int = 1) -> jax.Array:
    """Parts one after the other along an axis."""
    return jnp.concatenate(parts, axis_of(axis, len(parts[0].shape)))


def _even_sizes(extent: Dim, count: int) -> list[Dim]:
    """Extents of ``count`` parts, all but the last equal."""
    if not is_known(extent):
        return [extent // count] * count
    size = -(-extent // count)
    return [max(0, min(size, extent - i * size)) for i in range(count)]


@TABLE.op("Split", static=(1,))
def split(
    ctx: Ctx,
    x: Array,
    sizes_operand: Array | None = None,
    *,
    axis: int = 0,
    split: Any = None,
    num_outputs: int | None = None,
) -> tuple[jax.Array, ...]:
    """Parts along an axis: of the sizes given, else equal but for the last. Source: ONNX Split-18."""
    along = axis_of(axis, len(x.shape))
    sizes = given(sizes_operand, split)
    if sizes is None:
        parts = _even_sizes(x.shape[along], ctx.output_count if num_outputs is None else num_outputs)
    else:
        parts = dims_of(sizes)
    found, at = [], 0
    for part in parts:
        found.append(lax.slice_in_dim(jnp.asarray(x), at, at + part, axis=along))
        at = at + part
    return tuple(found)


@TABLE.op("Slice", static=(1, 2, 3, 4))
def slice_(
    ctx: Ctx,
    x: Array,
    starts_operand: Array | None = None,
    ends_operand: Array | None = None,
    axes_operand: Array | None = None,
    steps_operand: Array | None = None,
    *,
    starts: Any = None,
    ends: Any = None,
    axes: Any = None,
) -> jax.Array:
    """Elements from starts to ends by steps along axes, bounds as in Python. Source: ONNX Slice-13."""
    first, last = dims_of(given(starts_operand, starts)), dims_of(given(ends_operand, ends))
    chosen = given(axes_operand, axes)
    along = range(len(first)) if chosen is None else axes_of(chosen, len(x.shape))
    steps = [1] * len(first) if steps_operand is None else dims_of(steps_operand)
    index = [slice(None)] * len(x.shape)
    for start, end, axis, step in zip(first, last, along, steps, strict=True):
        index[axis] = slice(*_bounds(start, end, step, x.shape[axis]), step)
    return jnp.asarray(x)[tuple(index)]


def _bounds(start: Dim, end: Dim, step: int, extent: Dim) -> tuple[Dim, Dim]:
    """Bounds of a slice; those beyond any extent are left open, so that they need no comparison of dims."""
    if is_known(start, end, extent):
        return start, end
    far = np.iinfo(np.int32).max
    if step > 0:
        open_start = is_known(start) and (start == 0 or start <= -far)
        return None if open_start else start, None if is_known(end) and end >= far else end
    return None if is_known(start) and start >= far else start, None if is_known(end) and end <= -far else end


MODES = {"constant": "constant", "edge": "edge", "reflect": "reflect", "wrap": "wrap"}
"""Modes of Pad, as NumPy calls them."""


@TABLE.op("Pad", static=(1, 3))
def pad(
    ctx: Ctx,
    x: Array,
    pads_operand: Array | None = None,
    fill: Array | None = None,
    axes: Array | None = None,
    *,
    mode: str = "constant",
    pads: Any = None,
    paddings: Any = None,
    value: float = 0.0,
) -> jax.Array:
    """More elements at both ends of axes, or fewer where pads are negative. Source: ONNX Pad-25.

    Before opset 11 pads and value are attributes (``paddings`` at opset 1).
    """
    rank = len(x.shape)
    amounts = dims_of(given(given(pads_operand, pads), paddings))
    along = range(rank) if axes is None else axes_of(axes, rank)
    widths: list[tuple[Dim, Dim]] = [(0, 0)] * rank
    half = len(amounts) // 2
    for i, axis in enumerate(along):
        widths[axis] = (amounts[i], amounts[half + i])
    if mode not in MODES:
        raise LoweringError(f"Pad has no mode {mode}", fix=f"use one of {', '.join(MODES)}")
    if mode == "constant":
        filled = jnp.asarray(value if fill is None else fill).astype(x.dtype).reshape(())
        return lax.pad(jnp.asarray(x), filled, [(low, high, 0) for low, high in widths])
    return _mirrored(jnp.asarray(x), widths, mode)


def _mirrored(x: jax.Array, widths: list[tuple[Dim, Dim]], mode: str) -> jax.Array:
    """Padded with elements of ``x``, of what is left of it where pads are negative."""
    cut = [(min(low, 0), min(high, 0), 0) if is_known(low, high) else (0, 0, 0) for low, high in widths]
    kept = lax.pad(x, jnp.zeros((), x.dtype), cut)
    more = [(max(low, 0), max(high, 0)) if is_known(low, high) else (low, high) for low, high in widths]
    for axis, (low, high) in enumerate(more):
        if mode == "reflect" and not is_known(kept.shape[axis]):
            kept = _reflected(kept, axis, low, high)
            more[axis] = (0, 0)
    return jnp.pad(kept, more, mode=MODES[mode])


def _reflected(x: jax.Array, axis: int, low: Dim, high: Dim) -> jax.Array:
    """An axis of symbolic extent mirrored at both ends; jnp.pad would ask how often it has to go to and fro."""
    extent = jnp.asarray(x.shape[axis])
    period = jnp.maximum(2 * (extent - 1), 1)
    place = jnp.remainder(lax.iota(extent.dtype, low + x.shape[axis] + high) - low, period)
    return jnp.take(x, jnp.where(place < extent, place, period - place), axis=axis, mode="clip")


@TABLE.op("CenterCropPad", static=(1,))
def center_crop_pad(ctx: Ctx, x: Array, target: Array, *, axes: Any = None) -> jax.Array:
    """Cropped around the centre, or padded with zeros, to the extents given. Source: ONNX CenterCropPad-18."""
    along = range(len(x.shape)) if axes is None else axes_of(axes, len(x.shape))
    widths = [(0, 0, 0)] * len(x.shape)
    for axis, extent in zip(along, dims_of(target), strict=True):
        more = extent - x.shape[axis]
        # The odd element goes, or comes, at the end.
        low = more // 2 if more >= 0 else -(-more // 2)
        widths[axis] = (low, more - low, 0)
    return lax.pad(jnp.asarray(x), jnp.zeros((), x.dtype), widths)
