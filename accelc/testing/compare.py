"""When two arrays count as the same answer: floats within a bound, everything else exactly."""

from __future__ import annotations

from typing import Any

import numpy as np

from accelc.reference import is_float, relative_error

_BOUNDS = {"float16": 5e-3, "bfloat16": 4e-2}


def default_bound(dtype: np.dtype[Any]) -> float:
    """The error, as a share of max|output|, that another correct build may make in ``dtype``."""
    if not is_float(dtype):
        return 0.0
    return _BOUNDS.get(dtype.name, 1e-1 if dtype.itemsize == 1 else 1e-4)


def compare(expected: np.ndarray, actual: np.ndarray, bound: float) -> tuple[float, str]:
    """Compare two arrays.

    Args:
        expected: Any shape and dtype.
        actual: What must be the same.
        bound: Largest max|a-b| / max|a| for floating-point arrays. Shape, dtype, integers, bools, strings,
            NaN and infinities must match exactly.

    Returns:
        The error (0 for other than floats), and what is wrong: empty if nothing is.
    """
    if expected.shape != actual.shape:
        return float("inf"), f"shape {list(actual.shape)}, expected {list(expected.shape)}"
    if expected.dtype != actual.dtype and not expected.dtype.kind == actual.dtype.kind == "U":
        return float("inf"), f"dtype {actual.dtype}, expected {expected.dtype}"
    if not is_float(expected.dtype):
        return 0.0, _first_difference(expected, actual, expected != actual)
    wide = np.complex128 if expected.dtype.kind == "c" else np.float64
    a, b = expected.astype(wide), actual.astype(wide)
    special = ~np.isfinite(a) | ~np.isfinite(b)
    unlike = special & ~((a == b) | (np.isnan(a) & np.isnan(b)))
    if unlike.any():
        return float("inf"), _first_difference(expected, actual, unlike)
    error = relative_error(expected, actual)
    if error > bound:
        worst = np.abs(np.where(special, 0, a) - np.where(special, 0, b)) if a.size else np.zeros(0)
        at = np.unravel_index(int(worst.argmax()), a.shape)
        values = f"at {_place(at)} {b[at]:.7g}, expected {a[at]:.7g}"
        return error, f"error {error:.3g} of max|output| exceeds {bound:.3g}; {values}"
    return error, ""


def _first_difference(expected: np.ndarray, actual: np.ndarray, unlike: np.ndarray) -> str:
    unlike = np.asarray(unlike)
    count = int(unlike.sum())
    if count == 0:
        return ""
    at = np.unravel_index(int(unlike.argmax()), unlike.shape)
    return f"{count} of {unlike.size} elements differ; at {_place(at)} {actual[at]}, expected {expected[at]}"


def _place(at: tuple[Any, ...]) -> str:
    return f"[{', '.join(str(int(i)) for i in at)}]"
