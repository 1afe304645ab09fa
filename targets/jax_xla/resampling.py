"""Where the elements of a resized axis come from: positions in the input, and their weights.

All of it is NumPy, worked out while tracing. Source: ONNX Resize-19, Keys 1981 (cubic convolution).
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True)
class Taps:
    """What each output position reads.

    Args:
        positions: Places in the input, [taps, out].
        weights: Their weights, [taps, out]; None where one element is taken as it is.
        outside: Output positions that lie outside of the input and get the extrapolation value, [out]; None
            where extrapolation is not asked for.
    """

    positions: np.ndarray
    weights: np.ndarray | None = None
    outside: np.ndarray | None = None


@dataclass(frozen=True)
class Resampling:
    """The attributes of a Resize that say how one axis is resampled; defaults are those of ONNX."""

    mode: str = "nearest"
    place: str = "half_pixel"
    rounding: str = "round_prefer_floor"
    cubic_a: float = -0.75
    antialias: bool = False
    exclude_outside: bool = False

    def taps(self, size: int, out: int, scale: float, roi: tuple[float, float] = (0.0, 1.0)) -> Taps:
        """Taps of an axis of ``size`` elements resized to ``out`` by ``scale``."""
        x = positions(self.place, size, out, scale, roi)
        outside = (x < 0) | (x > size - 1) if self.place == "tf_crop_and_resize" else None
        if self.mode == "nearest":
            near = np.clip(_rounded(self.rounding, x), 0, size - 1)
            return Taps(near.astype(np.int64)[None], outside=outside)
        base = np.floor(x)
        steps, weights = self._kernel(x - base, scale)
        places = base + steps[:, None]
        if self.exclude_outside:
            weights = np.where((places >= 0) & (places <= size - 1), weights, 0)
            weights = weights / weights.sum(axis=0)
        return Taps(np.clip(places, 0, size - 1).astype(np.int64), weights, outside)

    def _kernel(self, offset: np.ndarray, scale: float) -> tuple[np.ndarray, np.ndarray]:
        """Steps from the element at or before each position, and their weights [steps, out].

        Against aliasing the kernel is stretched by what the axis shrinks, and its weights are made to sum to 1.
        """
        radius = 1 if self.mode == "linear" else 2
        shrink = min(scale, 1.0) if self.antialias else 1.0
        first = int(np.floor(-radius / shrink)) + 1
        steps = np.arange(first, 2 - first)
        distance = np.abs(steps[:, None] - offset) * shrink
        weights = _triangle(distance) if self.mode == "linear" else _cubic(distance, self.cubic_a)
        return steps, weights / weights.sum(axis=0) if self.antialias else weights


def positions(
    mode: str, size: int, out: int, scale: float, roi: tuple[float, float] = (0.0, 1.0)
) -> np.ndarray:
    """Positions in the input of all positions in the output, [out]."""
    i = np.arange(out, dtype=np.float64)
    if mode == "align_corners":
        return i * (size - 1) / (out - 1) if out > 1 else i * 0.0
    if mode == "asymmetric":
        return i / scale
    if mode == "tf_crop_and_resize":
        start, end = roi
        step = (end - start) * (size - 1) / (out - 1) if out > 1 else 0.0
        return start * (size - 1) + i * step if out > 1 else (start + end) / 2 * (size - 1) + i
    if mode == "pytorch_half_pixel" and out == 1:
        return i * 0.0
    shift = size / 2 * (1 - out / (size * scale)) if mode == "half_pixel_symmetric" else 0.0
    return shift + (i + 0.5) / scale - 0.5


def _rounded(mode: str, x: np.ndarray) -> np.ndarray:
    if mode == "round_prefer_floor":
        return np.asarray(np.ceil(x - 0.5))
    if mode == "round_prefer_ceil":
        return np.asarray(np.floor(x + 0.5))
    return np.asarray(np.floor(x) if mode == "floor" else np.ceil(x))


def _triangle(distance: np.ndarray) -> np.ndarray:
    return np.asarray(np.clip(1 - distance, 0, 1))


def _cubic(d: np.ndarray, a: float) -> np.ndarray:
    inner = ((a + 2) * d - (a + 3)) * d * d + 1
    outer = ((a * d - 5 * a) * d + 8 * a) * d - 4 * a
    return np.where(d <= 1, inner, np.where(d < 2, outer, 0))
