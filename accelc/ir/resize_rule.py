"""Sizes of a Resize that keeps the aspect ratio: the inference library rounds them down, or takes them as asked for."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import onnx_ir as ir


def kept_ratio(sizes: Sequence[int], extents: Sequence[int], policy: str) -> tuple[float, list[int]]:
    """The one scale, and the sizes that follow from it.

    Args:
        sizes: Wanted sizes of the resized axes.
        extents: Their sizes in the input, at least 1.
        policy: ``not_larger`` or ``not_smaller``.

    Source: https://onnx.ai/onnx/operators/onnx__Resize.html
    """
    ratios = [size / extent for size, extent in zip(sizes, extents, strict=True)]
    scale = min(ratios) if policy == "not_larger" else max(ratios)
    return scale, [int(scale * extent + 0.5) for extent in extents]


def correct_resize(ctx: Any, node: ir.Node) -> None:
    """Set the resized dims where the aspect ratio is kept; the library's rule ran before."""
    policy = node.attributes.get_string("keep_aspect_ratio_policy", "stretch")
    data, output = node.inputs[0] if node.inputs else None, node.outputs[0]
    wanted = node.inputs[3] if len(node.inputs) > 3 else None
    if policy == "stretch" or wanted is None or data is None or data.shape is None or output.shape is None:
        return
    rank = len(data.shape)
    axes = [axis % rank for axis in node.attributes.get_ints("axes", range(rank))]
    extents, elements = [data.shape[axis] for axis in axes], ctx.get_symbolic_value(wanted)
    known = [size for size in (*(elements or ()), *extents) if isinstance(size, int) and size > 0]
    dims: list[int | ir.SymbolicDim] = list(output.shape.dims)
    if elements is not None and len(known) == 2 * len(axes):
        _, sizes = kept_ratio(known[: len(axes)], known[len(axes) :], policy)
    else:
        sizes = [ctx.new_symbolic_dim() for _ in axes]
    for axis, size in zip(axes, sizes, strict=True):
        dims[axis] = size
    output.shape = ctx.name_anonymous_dims_in_shape(ir.Shape(dims))
