"""Extents of pools with ceil_mode or automatic pads along symbolic dims.

The inference library leaves out a window that would start past the input only where the size is a number, and does
not say what automatic pads give where it is none.
"""

from __future__ import annotations

from typing import Any

import onnx_ir as ir


def correct_pool(ctx: Any, node: ir.Node) -> None:
    """Set the symbolic spatial dims of a pool with ceil_mode or automatic pads; the library's rule ran before.

    Source: ONNX MaxPool-22, "sliding windows that would start in the right padded region are ignored".
    """
    data, output = node.inputs[0] if node.inputs else None, node.outputs[0]
    kernel = node.attributes.get_ints("kernel_shape", ())
    auto, spatial = node.attributes.get_string("auto_pad", "NOTSET"), len(kernel)
    automatic = auto in ("SAME_UPPER", "SAME_LOWER")
    rounded_up = node.attributes.get_int("ceil_mode", 0) != 0
    if not (automatic or rounded_up) or data is None or data.shape is None:
        return
    if output.shape is None or len(data.shape) != spatial + 2:
        return
    strides = node.attributes.get_ints("strides", (1,) * spatial)
    dilations = node.attributes.get_ints("dilations", (1,) * spatial)
    none = (0,) * 2 * spatial
    pads = node.attributes.get_ints("pads", none) if auto == "NOTSET" else none
    dims: list[int | ir.SymbolicDim] = list(output.shape.dims)
    for i, window in enumerate(kernel):
        extent = data.shape[2 + i]
        if isinstance(extent, ir.SymbolicDim) and extent.value is not None:
            # With automatic pads there are as many windows as starts within the input: a reach of 1 has just those.
            reach = 1 if automatic else (window - 1) * dilations[i] + 1
            dims[2 + i] = ceil_extent(extent.value, reach, strides[i], pads[i], pads[spatial + i])
    for value in node.outputs:
        value.shape = ir.Shape(dims)


def ceil_extent(extent: str, reach: int, stride: int, before: int, after: int) -> int | ir.SymbolicDim:
    """Number of windows, rounded up, of those that start before the trailing pads.

    Args:
        extent: The dim, an expression.
        reach: Elements from a window's first to its last, dilation included.
        stride: Step between windows.
        before: Leading pads.
        after: Trailing pads.
    """
    # ceil((n + before + after - reach) / stride) + 1 windows, of which ceil((n + before) / stride) start in time:
    # the numerators differ by a constant, so the smaller one is known.
    numerator = f"({extent}) + {before + min(0, after - reach + stride)}"
    found = ir.SymbolicDim(f"-floor(-({numerator})/{stride})").simplify()
    text = str(found.value)
    return int(text) if text.isdigit() else found
