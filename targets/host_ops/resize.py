"""Resize: where each output position lies in the input, and which neighbours count how much there.

Resizing is separable: one axis after the other, each by a table of positions and weights. Targets with kernels take
the tables from here; the host op serves what they have no kernel for.
Source: https://onnx.ai/onnx/operators/onnx__Resize.html
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from accelc.errors import CallError
from accelc.ir.resize_rule import kept_ratio
from accelc.targets.host_ops.base import HostOp, given

CROP = "tf_crop_and_resize"


@dataclass(frozen=True)
class Taps:
    """The neighbours of each output position along one axis.

    Args:
        positions: int64 [taps, out], within the input.
        weights: float64 [taps, out]; None if there is one tap, taken as it is.
        outside: bool [out]: positions that get the extrapolation value; None if there are none.
    """

    positions: np.ndarray
    weights: np.ndarray | None = None
    outside: np.ndarray | None = None


@dataclass(frozen=True)
class Resizing:
    """The attributes of a Resize, with ONNX's defaults."""

    mode: str = "nearest"
    place: str = "half_pixel"
    rounding: str = "round_prefer_floor"
    antialias: bool = False
    cubic_a: float = -0.75
    exclude_outside: bool = False
    extrapolation: float = 0.0

    @classmethod
    def of(cls, attrs: Mapping[str, Any]) -> Resizing:
        """Read them."""
        return cls(
            str(attrs.get("mode", "nearest")),
            str(attrs.get("coordinate_transformation_mode", "half_pixel")),
            str(attrs.get("nearest_mode", "round_prefer_floor")),
            bool(attrs.get("antialias", 0)),
            float(attrs.get("cubic_coeff_a", -0.75)),
            bool(attrs.get("exclude_outside", 0)),
            float(attrs.get("extrapolation_value", 0.0)),
        )

    def taps(self, size: int, out: int, scale: float, roi: tuple[float, float] = (0.0, 1.0)) -> Taps:
        """The table of one axis.

        Args:
            size: Elements of the input, at least 1.
            out: Elements of the output.
            scale: Ratio of the two, as given: it need not be exactly out / size.
            roi: Start and end of the region, as shares of the input; for tf_crop_and_resize alone.
        """
        place = self._places(size, out, scale, roi)
        outside = (place < 0) | (place > size - 1) if self.place == CROP else None
        outside = outside if outside is not None and outside.any() else None
        if self.mode == "nearest":
            near = _nearest(self.rounding, place)
            return Taps(np.clip(near, 0, size - 1).astype(np.int64)[None], None, outside)
        positions, weights = self._neighbours(place, scale)
        if self.exclude_outside:
            weights = np.where((positions >= 0) & (positions < size), weights, 0.0)
            total = weights.sum(axis=0)
            weights = weights / np.where(total == 0, 1.0, total)
        return Taps(np.clip(positions, 0, size - 1).astype(np.int64), weights, outside)

    def _places(self, size: int, out: int, scale: float, roi: tuple[float, float]) -> np.ndarray:
        """Where each output position lies in the input."""
        i, wanted = np.arange(out, dtype=np.float64), size * scale
        start, end = roi
        formulas: dict[str, Callable[[], np.ndarray]] = {
            "half_pixel": lambda: (i + 0.5) / scale - 0.5,
            "half_pixel_symmetric": lambda: size / 2 * (1 - out / wanted) + (i + 0.5) / scale - 0.5,
            "pytorch_half_pixel": lambda: (i + 0.5) / scale - 0.5 if out > 1 else i * 0.0,
            "align_corners": lambda: i * (size - 1) / (out - 1) if out > 1 else i * 0.0,
            "asymmetric": lambda: i / scale,
            CROP: lambda: (
                (start + i * (end - start) / (out - 1)) * (size - 1)
                if out > 1
                else i * 0.0 + (start + end) / 2 * (size - 1)
            ),
        }
        if self.place not in formulas:
            raise CallError(f"Resize has no coordinate_transformation_mode {self.place!r}")
        return np.asarray(formulas[self.place]())

    def _neighbours(self, place: np.ndarray, scale: float) -> tuple[np.ndarray, np.ndarray]:
        """Positions [taps, out], which may lie outside the input, and their weights."""
        # A filter that smooths is as much wider as the output is smaller, and its weights are made to sum to 1.
        shrink = min(scale, 1.0) if self.antialias else 1.0
        reach = 1 if self.mode == "linear" else 2
        first = math.floor(-reach / shrink) + 1
        base = np.ceil(place) - 1 if self.antialias else np.floor(place)
        steps = np.arange(first, 2 - first, dtype=np.float64)[:, None]
        distance = np.abs(steps - (place - base)) * shrink
        weights = np.maximum(1 - distance, 0) if self.mode == "linear" else _cubic(distance, self.cubic_a)
        if self.antialias:
            weights = weights / weights.sum(axis=0)
        return base + steps, weights


def _nearest(rounding: str, x: np.ndarray) -> np.ndarray:
    if rounding == "round_prefer_floor":
        return np.asarray(np.ceil(x - 0.5))
    if rounding == "round_prefer_ceil":
        return np.asarray(np.floor(x + 0.5))
    return np.asarray(np.floor(x) if rounding == "floor" else np.ceil(x))


def _cubic(d: np.ndarray, a: float) -> np.ndarray:
    """Weights at these distances (Keys 1981)."""
    inner = ((a + 2) * d - (a + 3)) * d * d + 1
    outer = ((a * d - 5 * a) * d + 8 * a) * d - 4 * a
    return np.where(d <= 1, inner, np.where(d < 2, outer, 0.0))


def resize(inputs: Sequence[Any], attrs: Mapping[str, Any]) -> list[Any]:
    """Resize of any shape and mode; integers are rounded towards zero, as in onnxruntime."""
    x, roi, scales, sizes = np.asarray(inputs[0]), *(given(inputs, i) for i in (1, 2, 3))
    axes = [int(axis) % x.ndim for axis in attrs.get("axes", range(x.ndim))]
    how = Resizing.of(attrs)
    extents = [x.shape[axis] for axis in axes]
    policy = str(attrs.get("keep_aspect_ratio_policy", "stretch"))
    if sizes is not None and np.size(sizes):
        outs = [int(size) for size in sizes]
        if min(extents, default=1) < 1:
            raise CallError("Resize of a tensor without elements", why=f"the shape is {list(x.shape)}")
        factors = [out / extent for out, extent in zip(outs, extents, strict=True)]
        if policy != "stretch":
            scale, outs = kept_ratio(outs, extents, policy)
            factors = [scale] * len(axes)
    else:
        factors = [float(scale) for scale in np.asarray(scales).reshape(-1)]
        outs = [math.floor(extent * scale) for extent, scale in zip(extents, factors, strict=True)]
    region = [float(place) for place in np.asarray(roi).reshape(-1)] if roi is not None else []
    regions = [(region[i], region[i + len(axes)]) if region else (0.0, 1.0) for i in range(len(axes))]
    value = x if x.dtype == np.float64 or how.mode == "nearest" else x.astype(np.float64)
    for axis, out, scale, each in zip(axes, outs, factors, regions, strict=True):
        if out != value.shape[axis] or scale != 1.0 or (how.place == CROP and each != (0.0, 1.0)):
            value = _along(value, axis, how.taps(value.shape[axis], out, scale, each), how.extrapolation)
    if x.dtype.kind in "iu" and value.dtype.kind == "f":
        info = np.iinfo(x.dtype)
        value = np.clip(value, info.min, info.max)
    return [value.astype(x.dtype)]


def _along(x: np.ndarray, axis: int, taps: Taps, extrapolation: float) -> np.ndarray:
    """One axis resized."""
    shape = [-1 if i == axis else 1 for i in range(x.ndim)]
    if taps.weights is None:
        result = np.take(x, taps.positions[0], axis)
    else:
        result = sum(
            np.take(x, positions, axis) * weights.reshape(shape)
            for positions, weights in zip(taps.positions, taps.weights, strict=True)
        )
    if taps.outside is not None:
        result = np.where(taps.outside.reshape(shape), np.asarray(extrapolation, x.dtype), result)
    return np.asarray(result)


OPS: dict[tuple[str, str], HostOp] = {("", "Resize"): resize}
"""Host ops by (domain, op)."""
