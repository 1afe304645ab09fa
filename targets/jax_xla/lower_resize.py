"""Resize and Upsample: one axis after the other, each as weighted sums of gathered positions.

Positions and weights are worked out while tracing, so resized axes need known extents; nearest by whole factors,
where each element just repeats, takes symbolic ones.
Source: https://onnx.ai/onnx/operators/onnx__Resize.html
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import jax
import jax.numpy as jnp
import ml_dtypes
import numpy as np
from jax import lax

from accelc.errors import LoweringError
from accelc.ir.resize_rule import kept_ratio
from accelc.targets.host_ops.resize import CROP, Resizing, Taps
from accelc.targets.jax_xla.context import Ctx
from accelc.targets.jax_xla.lower_math import is_float, wide
from accelc.targets.jax_xla.static_values import Dim, axes_of, dims_of, is_known
from accelc.targets.jax_xla.table import LoweringTable

if TYPE_CHECKING:
    from accelc.targets.jax_xla.table import Array

TABLE = LoweringTable()

MAX_GATHERED = 4
"""Most taps that are gathered one by one; more are one product with a matrix of weights."""


@TABLE.op("Resize", since=11, static=(1, 2, 3))
def resize(
    ctx: Ctx,
    x: Array,
    roi: Array | None = None,
    scales: Array | None = None,
    sizes: Array | None = None,
    *,
    antialias: int = 0,
    axes: Any = None,
    coordinate_transformation_mode: str = "half_pixel",
    cubic_coeff_a: float = -0.75,
    exclude_outside: int = 0,
    extrapolation_value: float = 0.0,
    keep_aspect_ratio_policy: str = "stretch",
    mode: str = "nearest",
    nearest_mode: str = "round_prefer_floor",
) -> jax.Array:
    """``x`` with axes resampled to ``sizes``, or by ``scales``. Source: ONNX Resize-19."""
    rank = len(x.shape)
    along = list(range(rank)) if axes is None else axes_of(axes, rank)
    how = Resizing(
        mode=mode,
        place=coordinate_transformation_mode,
        rounding=nearest_mode,
        cubic_a=cubic_coeff_a,
        antialias=bool(antialias),
        exclude_outside=bool(exclude_outside),
    )
    crop = how.place == CROP
    rois = _rois(roi, len(along)) if crop else [(0.0, 1.0)] * len(along)
    shape = [x.shape[axis] for axis in along]
    if scales is not None and np.size(scales):
        factors = [float(scale) for scale in np.asarray(scales).reshape(-1)]
        spans = [end - start for start, end in rois]
        outs = [_scaled(dim, factor, span) for dim, factor, span in zip(shape, factors, spans, strict=True)]
    else:
        outs, factors = _fitted(shape, dims_of(sizes), keep_aspect_ratio_policy)
    plan = [
        (axis, out, factor, part)
        for axis, out, factor, part in zip(along, outs, factors, rois, strict=True)
        if crop or factor != 1.0 or (out is not x.shape[axis] and out != x.shape[axis])
    ]
    return _resampled(jnp.asarray(x), how, plan, extrapolation_value)


def _rois(roi: Array | None, count: int) -> list[tuple[float, float]]:
    """Start and end of each axis, as parts of its extent."""
    if roi is None or np.size(roi) != 2 * count:
        raise LoweringError("tf_crop_and_resize needs the start and the end of each axis in roi")
    starts_ends = np.asarray(roi, dtype=np.float64).reshape(2, count)
    return [(float(start), float(end)) for start, end in starts_ends.T]


def _scaled(dim: Dim, scale: float, span: float) -> Dim:
    """Extent of an axis resized by ``scale``, rounded down; in float32, as the model's scale is."""
    if is_known(dim):
        return int(np.floor(np.float32(dim) * np.float32(span) * np.float32(scale)))
    if not float(scale).is_integer() or span != 1.0:
        raise LoweringError(
            "Resize of a dynamic dim needs a whole scale",
            why=f"{dim} by {scale}",
            fix="give the dim's extent",
        )
    return dim * int(scale)


def _fitted(shape: Sequence[Dim], sizes: Sequence[Dim], policy: str) -> tuple[list[Dim], list[float]]:
    """Extents and scales of the axes, the ratios between them kept if asked for."""
    if not is_known(*shape, *sizes):
        same = [size is dim or size == dim for dim, size in zip(shape, sizes, strict=True)]
        known = [is_known(dim, size) for dim, size in zip(shape, sizes, strict=True)]
        if policy != "stretch" or not all(a or b for a, b in zip(same, known, strict=True)):
            raise LoweringError(
                "Resize to sizes of a dynamic dim", why=f"{shape} to {sizes}", fix="give its extent"
            )
        scales = [1.0 if equal else size / dim for equal, dim, size in zip(same, shape, sizes, strict=True)]
        return list(sizes), scales
    if policy == "stretch":
        return list(sizes), [size / dim for dim, size in zip(shape, sizes, strict=True)]
    kept, outs = kept_ratio(sizes, shape, policy)
    return list(outs), [kept] * len(outs)


def _resampled(
    x: jax.Array, how: Resizing, plan: Sequence[tuple[int, Dim, float, Any]], extrapolation: float
) -> jax.Array:
    """Axes of ``plan`` (axis, extent, scale, part) resampled, in at least float32 where weights are involved."""
    dtype = x.dtype
    value = x if how.mode == "nearest" else wide(x)
    outside: dict[int, np.ndarray] = {}
    for axis, out, scale, part in plan:
        factor = _repeats(how, scale)
        if factor is not None:
            value = _repeated(value, axis, factor)
            continue
        if not is_known(value.shape[axis], out):
            raise LoweringError(
                "Resize of a dynamic dim", why=f"{value.shape[axis]} by {scale}", fix="give its extent"
            )
        taps = how.taps(value.shape[axis], out, scale, part)
        value = _tapped(value, axis, taps)
        if taps.outside is not None and taps.outside.any():
            outside[axis] = taps.outside
    for axis, places in outside.items():
        shape = [-1 if i == axis else 1 for i in range(value.ndim)]
        value = jnp.where(places.reshape(shape), jnp.asarray(extrapolation).astype(value.dtype), value)
    return _narrowed(value, dtype)


def _narrowed(value: jax.Array, dtype: Any) -> jax.Array:
    """Rounded and saturated where the tensor holds integers."""
    if value.dtype == dtype or is_float(jnp.zeros((), dtype)):
        return value.astype(dtype)
    info: Any = ml_dtypes.iinfo(dtype)  # type: ignore[no-untyped-call]
    return jnp.clip(jnp.round(value), int(info.min), int(info.max)).astype(dtype)


def _repeats(how: Resizing, scale: float) -> int | None:
    """How often each element repeats, if that is all that resampling does, whatever the extent."""
    if how.mode != "nearest" or not scale.is_integer() or how.place not in ("half_pixel", "asymmetric"):
        return None
    factor = int(scale)
    # Two elements tell: the pattern of positions is the same for each.
    found = how.taps(2, 2 * factor, scale).positions[0]
    return factor if np.array_equal(found, np.arange(2 * factor) // factor) else None


def _repeated(x: jax.Array, axis: int, factor: int) -> jax.Array:
    apart = jnp.broadcast_to(
        lax.expand_dims(x, (axis + 1,)), (*x.shape[: axis + 1], factor, *x.shape[axis + 1 :])
    )
    return apart.reshape(*x.shape[:axis], x.shape[axis] * factor, *x.shape[axis + 1 :])


def _tapped(x: jax.Array, axis: int, taps: Taps) -> jax.Array:
    """One axis replaced by sums of taps."""
    if taps.weights is None:
        return _taken(x, axis, taps.positions[0])
    if len(taps.positions) > MAX_GATHERED:
        matrix = np.zeros((taps.positions.shape[1], x.shape[axis]))
        np.add.at(matrix, (np.arange(len(matrix))[None], taps.positions), taps.weights)
        product = lax.dot_general(
            x,
            jnp.asarray(matrix.astype(x.dtype)),
            (((axis,), (1,)), ((), ())),
            precision=lax.Precision.HIGHEST,
        )
        return jnp.moveaxis(product, -1, axis)
    shape = [-1 if i == axis else 1 for i in range(x.ndim)]
    total: Any = 0
    for places, weights in zip(taps.positions, taps.weights, strict=True):
        total = total + _taken(x, axis, places) * weights.astype(x.dtype).reshape(shape)
    return jnp.asarray(total)


def _taken(x: jax.Array, axis: int, places: np.ndarray) -> jax.Array:
    """Elements at known places: a strided slice where they lie evenly, else a gather."""
    steps = np.diff(places)
    if places.size and (steps == (steps[0] if steps.size else 1)).all() and (steps > 0).all():
        stride = int(steps[0]) if steps.size else 1
        return lax.slice_in_dim(x, int(places[0]), int(places[-1]) + 1, stride, axis)
    return jnp.take(x, places.astype(np.int32), axis=axis, mode="clip")  # int64 is 9 times as slow on a CPU


@TABLE.op("Resize", since=10, static=(1,))
@TABLE.op("Upsample", since=9, static=(1,))
def resize_scales(ctx: Ctx, x: Array, scales: Array, *, mode: str = "nearest") -> jax.Array:
    """``Resize`` before opset 11: asymmetric positions, rounded down."""
    return _upsampled(x, np.asarray(scales).reshape(-1).tolist(), mode)


@TABLE.op("Upsample", since=7)
def upsample_attribute(ctx: Ctx, x: Array, *, scales: Sequence[float], mode: str = "nearest") -> jax.Array:
    """``Upsample`` before opset 9: scales are an attribute."""
    return _upsampled(x, scales, mode)


@TABLE.op("Upsample", since=1)
def upsample_image(
    ctx: Ctx, x: Array, *, width_scale: float, height_scale: float, mode: str = "nearest"
) -> jax.Array:
    """``Upsample`` of opset 1, of [N, C, H, W]."""
    return _upsampled(x, (1.0, 1.0, height_scale, width_scale), mode)


def _upsampled(x: Array, scales: Sequence[float], mode: str) -> jax.Array:
    kind = "linear" if mode == "bilinear" else mode
    how = Resizing(mode=kind, place="asymmetric", rounding="floor")
    outs = [_scaled(dim, scale, 1.0) for dim, scale in zip(x.shape, scales, strict=True)]
    plan = [
        (axis, out, float(scale), (0.0, 1.0))
        for axis, (out, scale) in enumerate(zip(outs, scales, strict=True))
        if scale != 1.0
    ]
    return _resampled(jnp.asarray(x), how, plan, 0.0)
