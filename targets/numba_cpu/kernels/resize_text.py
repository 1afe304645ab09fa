"""Body of the ``irregular`` kernel that makes Resize's tables at run time: see host_ops/resize.py for the meaning."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

PLACES = {
    "half_pixel": "(f64(i) + 0.5) / scale - 0.5",
    "half_pixel_symmetric": "f64(size) * 0.5 * (1.0 - f64(y_1) / (f64(size) * scale)) + (f64(i) + 0.5) / scale - 0.5",
    "pytorch_half_pixel": "(f64(i) + 0.5) / scale - 0.5 if y_1 > 1 else 0.0",
    "align_corners": "f64(i * (size - 1)) / f64(y_1 - 1) if y_1 > 1 else 0.0",
    "asymmetric": "f64(i) / scale",
}
"""Position in the input of output position ``i``, by coordinate_transformation_mode."""
ROUNDINGS = {
    "round_prefer_floor": "math.ceil(place - 0.5)",
    "round_prefer_ceil": "math.floor(place + 0.5)",
    "floor": "math.floor(place)",
    "ceil": "math.ceil(place)",
}
TAPS = {"nearest": 1, "linear": 2, "cubic": 4}


def resize_taps(params: Mapping[str, Any]) -> str:
    """Position and weight of tap ``task // y_1`` for output position ``task % y_1``."""
    mode, a = params["mode"], float(params["cubic_a"])
    scale = repr(float(params["scale"])) if params["scale"] else "f64(y_1) / f64(size)"
    lines = ["i = task % y_1", "k = task // y_1", "size = get(sizes, 0)", f"scale = {scale}"]
    lines.append(f"place = {PLACES[params['place']]}")
    if mode == "nearest":
        lines += [f"at = i64({ROUNDINGS[params['rounding']]})", "weight = 1.0"]
    else:
        first = 0 if mode == "linear" else -1
        lines += ["base = math.floor(place)", "part = place - base", f"at = i64(base) + k + {first}"]
        lines += _weight(mode, a, "k", "weight", first)
        if params["exclude_outside"]:
            lines += ["total = 0.0", f"for t in range({TAPS[mode]}):", f"    other = i64(base) + t + {first}"]
            lines.append("    if other >= 0 and other < size:")
            lines += [f"        {line}" for line in _weight(mode, a, "t", "share", first)]
            lines += ["        total += share", "weight = weight / total if at >= 0 and at < size else 0.0"]
    lines += ["put(z, task, most(least(at, size - 1), i64(0)))", "put(y, task, Z(weight))"]
    return "\n".join(lines)


def _weight(mode: str, a: float, tap: str, name: str, first: int) -> list[str]:
    distance = f"d = math.fabs(f64({tap} + {first}) - part)"
    if mode == "linear":
        return [distance, f"{name} = 1.0 - d"]
    inner = f"(({a + 2!r} * d - {a + 3!r}) * d * d + 1.0)"
    outer = f"((({a!r} * d - {5 * a!r}) * d + {8 * a!r}) * d - {4 * a!r})"
    return [distance, f"{name} = {inner} if d <= 1.0 else {outer}"]
