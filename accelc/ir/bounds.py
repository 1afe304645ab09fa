"""Bounds of a value's elements, from constants and simple ops: interval arithmetic over a few nodes."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import onnx_ir as ir

from accelc.ir.rewrite import constant_value, is_op

Interval = tuple[float, float]

MAX_DEPTH = 12
"""Ops looked through; a mask is made from its inputs in fewer."""

MAX_BYTES = 64 << 20

_MOVES: tuple[str, ...] = (
    *("Expand", "Flatten", "Gather", "GatherElements", "GatherND", "Identity", "Reshape", "Slice"),
    *("Split", "Squeeze", "Tile", "Transpose", "Unsqueeze"),
)
_FLOAT_LIMIT = {
    ir.DataType.FLOAT: float(np.finfo(np.float32).max),
    ir.DataType.DOUBLE: float(np.finfo(np.float64).max),
    ir.DataType.FLOAT16: float(np.finfo(np.float16).max),
}


def finite_bounds(value: ir.Value | None, depth: int = 0) -> Interval | None:
    """Lowest and highest number that an element of ``value`` can be, or None if it may be NaN or infinite.

    A graph input of a float dtype has no bounds; one of an integer dtype or bool has those of the dtype.
    The depth is bounded by MAX_DEPTH, so recursion does not grow with the model.
    """
    if value is None or depth > MAX_DEPTH:
        return None
    array = constant_value(value, max_bytes=MAX_BYTES)
    if array is not None:
        return _of_array(array)
    node = value.producer()
    bounds = _of_node(node, depth) if node is not None and node.domain == "" else None
    return _representable(bounds, value.dtype) or _of_dtype(value.dtype)


def _of_array(array: np.ndarray) -> Interval | None:
    if array.size == 0 or array.dtype.kind not in "fiub":
        return None
    low, high = float(array.min()), float(array.max())
    return (low, high) if np.isfinite(low) and np.isfinite(high) else None


def _of_dtype(dtype: ir.DataType | None) -> Interval | None:
    if dtype == ir.DataType.BOOL:
        return (0.0, 1.0)
    if dtype is None or not dtype.is_integer():
        return None
    info = np.iinfo(dtype.numpy())
    return (float(info.min), float(info.max))


def _representable(bounds: Interval | None, dtype: ir.DataType | None) -> Interval | None:
    """The bounds, if nothing between them overflows in ``dtype`` (integers wrap around, floats go to inf)."""
    if bounds is None or dtype is None:
        return None
    allowed = _of_dtype(dtype)
    if allowed is None:
        limit = _FLOAT_LIMIT.get(dtype)
        allowed = (-limit, limit) if limit is not None else None
    if allowed is None or bounds[0] < allowed[0] or bounds[1] > allowed[1]:
        return None
    return bounds


def _of_node(node: ir.Node, depth: int) -> Interval | None:
    if is_op(node, "Cast", *_MOVES):
        return finite_bounds(node.inputs[0], depth + 1)
    if is_op(node, "Where"):
        return _union([finite_bounds(value, depth + 1) for value in node.inputs[1:]])
    if is_op(node, "Concat"):
        return _union([finite_bounds(value, depth + 1) for value in node.inputs])
    if is_op(node, "Neg"):
        inner = finite_bounds(node.inputs[0], depth + 1)
        return (-inner[1], -inner[0]) if inner is not None else None
    if not is_op(node, "Add", "Sub", "Mul"):
        return None
    a, b = (finite_bounds(value, depth + 1) for value in node.inputs)
    if a is None or b is None:
        return None
    if node.op_type == "Add":
        return (a[0] + b[0], a[1] + b[1])
    if node.op_type == "Sub":
        return (a[0] - b[1], a[1] - b[0])
    corners = [x * y for x in a for y in b]
    return (min(corners), max(corners))


def _union(parts: Sequence[Interval | None]) -> Interval | None:
    known = [part for part in parts if part is not None]
    if not known or len(known) != len(parts):
        return None
    return (min(low for low, _ in known), max(high for _, high in known))
