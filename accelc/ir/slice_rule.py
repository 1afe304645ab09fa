"""Extents of slices along symbolic dims: exact, where the inference library assumes that bounds lie inside.

The library says that ``x[0:5]`` of ``N`` rows has 5 rows: for ``N = 3`` it has 3. It knows nothing of ``x[-1:]``.
Symbols stand for sizes of 1 or more, here as there: a size of 0 is found when shapes are bound.
"""

from __future__ import annotations

from functools import lru_cache
from typing import Any

import onnx_ir as ir

_OPEN = 2**31 - 1
"""Ends from here on mean "to the end"; exporters write 2^31 - 1, 2^63 - 1 and what lies between."""
_SENTINELS = (2**31 - 1, 2**63 - 1)
Extent = int | ir.SymbolicDim


def correct_slice(ctx: Any, node: ir.Node) -> None:
    """Set the sliced dims of a Slice by bounds that are known; the library's rule ran before."""
    data, output = node.inputs[0] if node.inputs else None, node.outputs[0]
    if data is None or data.shape is None or output.shape is None or len(output.shape) != len(data.shape):
        return
    bounds = _bounds(ctx, node)
    if bounds is None:
        return
    dims: list[Extent] = list(output.shape.dims)
    for start, end, axis, step in bounds:
        if not -len(dims) <= axis < len(dims) or step == 0:
            return
        extent = data.shape[axis]
        inside = step > 0 and start >= 0 and (end < 0 or end in _SENTINELS)  # what the library has right
        if isinstance(extent, ir.SymbolicDim) and extent.value is not None and not inside:
            dims[axis] = slice_extent(extent.value, start, end, step)
    if dims != list(output.shape.dims):
        output.shape = ir.Shape(
            dims
        )  # merging would keep the library's number, which is more precise but wrong


def _bounds(ctx: Any, node: ir.Node) -> list[tuple[int, int, int, int]] | None:
    """(start, end, axis, step) of each sliced axis; None unless all are numbers."""
    columns: list[list[int]] = []
    for i in range(1, 5):
        value = node.inputs[i] if i < len(node.inputs) else None
        if value is None:
            if i < 3:
                return None
            columns.append(list(range(len(columns[0]))) if i == 3 else [1] * len(columns[0]))
            continue
        elements = ctx.get_symbolic_value(value)
        if elements is None or any(not isinstance(element, int) for element in elements):
            return None
        columns.append([int(element) for element in elements])
    if len({len(column) for column in columns}) != 1:
        return None
    return list(zip(*columns, strict=True))


@lru_cache(maxsize=4096)
def slice_extent(extent: str, start: int, end: int, step: int) -> Extent:
    """Number of elements of ``x[start:end:step]`` along a dim of ``extent`` elements.

    Args:
        extent: The dim, an expression; its symbols are at least 1.
        start: As in ONNX: negative counts from the end, too large is clamped.
        end: Likewise.
        step: Not 0.

    Returns:
        A number or an expression, simplified.
    """
    n = f"({extent})"
    if step > 0:
        if start >= _OPEN or end <= -_OPEN:
            return 0
        low = str(start) if start >= 0 else f"Max(0, {n} - {-start})" if start > -_OPEN else "0"
        high = n if end >= _OPEN else f"Min({end}, {n})" if end >= 0 else f"({n} - {-end})"
        count = f"({high}) - ({low})"
    else:
        if start <= -_OPEN or end >= _OPEN:
            return 0
        low = f"({n} - 1)" if start >= _OPEN or start == -1 else _from_end(start, n)
        high = "-1" if end <= -_OPEN else _from_end(end, n)
        count = f"({low}) - ({high})"
    if abs(step) > 1:
        count = f"-floor(-({count})/{abs(step)})"
    found = ir.SymbolicDim(f"Max(0, {count})").simplify()
    text = str(found.value)
    return int(text) if text.isdigit() else found


def _from_end(place: int, n: str) -> str:
    """A bound of a slice that goes backwards, within -1 and n - 1."""
    return f"Min({place}, {n} - 1)" if place >= 0 else f"Max(-1, {n} - {-place})"
