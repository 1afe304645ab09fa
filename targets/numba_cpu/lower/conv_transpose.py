"""Lowering of ConvTranspose and Col2Im: a product for all taps, then a sum where windows overlap."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from accelc.ir.dims import Dim
from accelc.ir.pass_base import Refusal
from accelc.targets.numba_cpu.kernels.col2im import SPATIAL
from accelc.targets.numba_cpu.lower import dims as arith
from accelc.targets.numba_cpu.lower.context import LowerContext
from accelc.targets.numba_cpu.lower.matmul import matmul
from accelc.targets.numba_cpu.lower.narrow import also_narrow
from accelc.targets.numba_cpu.lower.table import LoweringTable, Op, OutSpec
from accelc.targets.numba_cpu.program import Value

TABLE = LoweringTable()


def padded(numbers: Sequence[Any], filler: int) -> list[Any]:
    """``numbers`` for the spatial dims, with leading fillers up to the kernel's rank."""
    return [filler] * (SPATIAL - len(numbers)) + list(numbers)


@TABLE.op("ConvTranspose", since=1)
@also_narrow
def conv_transpose(ctx: LowerContext, op: Op) -> Refusal | None:
    """Transposed convolution: groups, dilations, pads, output_padding, output_shape, auto_pad.

    Shapes: X ``[N, C, spatial...]`` (1 to 3 spatial dims), W ``[C, M/group, kernel...]``, B ``[M]``.
    Dtypes: float32, float64; float16 and bfloat16 in float32. The result is channels-last in memory.
    Source: https://onnx.ai/onnx/operators/onnx__ConvTranspose.html
    """
    x, weight, bias = op.inputs[0], op.inputs[1], op.input(2)
    if x is None or weight is None or x.dtype not in ("float32", "float64"):
        return Refusal("ConvTranspose of this dtype has no kernel")
    rank, groups = len(x.dims) - 2, int(op.attrs.get("group", 1))
    shape = tuple(extent for extent in weight.dims if isinstance(extent, int))
    if not 1 <= rank <= SPATIAL or len(shape) != rank + 2 or not isinstance(x.dims[1], int):
        return Refusal(f"ConvTranspose with {rank} spatial dims or weights of unknown shape has no kernel")
    geometry = _geometry(op, x, shape[2:])
    if isinstance(geometry, Refusal):
        return geometry
    taps = int(np.prod(shape[2:], dtype=np.int64))
    channels, per_group = x.dims[1] // groups, shape[1]
    columns = _columns(ctx, op, x, weight, groups, (channels, per_group, taps))
    if isinstance(columns, Refusal):
        return columns
    batch, spatial, out_spatial = x.dims[0], x.dims[2:], op.outputs[0].dims[2:]
    columns = ctx.reshaped(columns, (groups, batch, *padded(spatial, 1), taps, per_group))
    order = (0, *range(2, rank + 2), 1)
    out = ctx.out(op, 0, order)
    # The output lies channels-last: seen in that order it is [N, spatial..., G, M/G] by a reshape.
    last = ctx.permuted(out, order)
    target = ctx.reshaped(last, (batch, *padded(out_spatial, 1), groups, per_group))
    params = {"dtype": x.dtype, "bias": bias is not None, **geometry}
    ctx.emit("col2im", params, [columns, None if bias is None else ctx.ordered(bias)], [target])
    return None


def _columns(
    ctx: LowerContext, op: Op, x: Value, weight: Value, groups: int, sizes: tuple[int, int, int]
) -> Value | Refusal:
    """X' @ W for every tap: [G, N * pixels, taps * M/G], or without the first dim for one group."""
    channels, per_group, taps = sizes
    rank = len(x.dims)
    pixels = arith.product((x.dims[0], *x.dims[2:]))
    last = ctx.permuted(x, (0, *range(2, rank), 1))
    array = ctx.array(weight)
    if array is not None:
        parts = array.reshape(groups, channels, per_group, taps).transpose(0, 1, 3, 2)
        packed = ctx.model_constant(
            np.ascontiguousarray(parts).reshape(groups, channels, taps * per_group), f"{weight.name}.taps"
        )
    else:
        split = ctx.reshaped(weight, (groups, channels, per_group, taps))
        packed = ctx.reshaped(ctx.permuted(split, (0, 1, 3, 2)), (groups, channels, taps * per_group))
    dims: tuple[Dim, ...] = (pixels, taps * per_group)
    if groups == 1:
        left, right = ctx.reshaped(last, (pixels, channels)), packed
        if array is not None:
            right = ctx.model_constant(
                np.asarray(ctx.array(packed)).reshape(channels, taps * per_group), f"{weight.name}.taps"
            )
        else:
            right = ctx.reshaped(packed, (channels, taps * per_group))
    else:
        left = ctx.permuted(ctx.reshaped(last, (pixels, groups, channels)), (1, 0, 2))
        right, dims = packed, (groups, *dims)
    spec = OutSpec(f"{op.outputs[0].name}.columns", x.dtype, dims)
    refusal = matmul(ctx, replace(op, op_type="MatMul", inputs=(left, right), outputs=(spec,), attrs={}))
    return ctx.by_name[spec.name] if refusal is None else refusal


def _geometry(op: Op, x: Value, kernel: Sequence[int]) -> dict[str, list[int]] | Refusal:
    """Kernel, strides, dilations and leading pads; trailing pads follow from the output's shape."""
    rank = len(kernel)
    strides = [int(s) for s in op.attrs.get("strides", (1,) * rank)]
    dilations = [int(d) for d in op.attrs.get("dilations", (1,) * rank)]
    extra = [int(p) for p in op.attrs.get("output_padding", (0,) * rank)]
    auto = op.attrs.get("auto_pad", "NOTSET") or "NOTSET"
    pads = [int(p) for p in op.attrs.get("pads", (0,) * (2 * rank))][:rank]
    if auto == "VALID":
        pads = [0] * rank
    elif auto in ("SAME_UPPER", "SAME_LOWER") or "output_shape" in op.attrs:
        for i in range(rank):
            size, wanted = x.dims[2 + i], op.outputs[0].dims[2 + i]
            reach = (kernel[i] - 1) * dilations[i] + 1
            if isinstance(size, int) and isinstance(wanted, int):
                total = strides[i] * (size - 1) + extra[i] + reach - wanted
            elif "output_shape" not in op.attrs:
                total = reach + extra[i] - strides[i]
            else:
                return Refusal("output_shape needs static spatial dims")
            total = max(0, total)
            pads[i] = total // 2 if auto == "SAME_UPPER" else total - total // 2
    return {
        "kernel": padded(kernel, 1),
        "strides": padded(strides, 1),
        "dilations": padded(dilations, 1),
        "pads": padded(pads, 0),
    }


@TABLE.op("Col2Im", since=18)
@also_narrow
def col2im(ctx: LowerContext, op: Op) -> Refusal | None:
    """Columns [N, C * taps, L] summed into an image.

    Source: https://onnx.ai/onnx/operators/onnx__Col2Im.html
    """
    x, block = op.inputs[0], op.input(2)
    kernel = None if block is None else ctx.symbols(block)
    if x is None or x.dtype not in ("float32", "float64"):
        return Refusal("Col2Im of this dtype has no kernel")
    if kernel is None or not all(isinstance(k, int) for k in kernel) or not 1 <= len(kernel) <= SPATIAL:
        return Refusal("Col2Im needs a block shape of 1 to 3 dims that is known at compile time")
    rank, sizes = len(kernel), [int(k) for k in kernel]
    strides = [int(s) for s in op.attrs.get("strides", (1,) * rank)]
    dilations = [int(d) for d in op.attrs.get("dilations", (1,) * rank)]
    pads = [int(p) for p in op.attrs.get("pads", (0,) * (2 * rank))]
    image, channels = op.outputs[0].dims[2:], op.outputs[0].dims[1]
    taps = int(np.prod(sizes, dtype=np.int64))
    counts: list[Dim] = []
    for i in range(rank):
        extent = image[i]
        if not isinstance(extent, int):
            return Refusal("Col2Im needs an image of static shape")
        counts.append(
            (extent + pads[i] + pads[rank + i] - dilations[i] * (sizes[i] - 1) - 1) // strides[i] + 1
        )
    split = ctx.reshaped(x, (x.dims[0], channels, taps, arith.product(counts)))
    dense = ctx.ordered(ctx.permuted(split, (0, 3, 2, 1)))
    columns = ctx.reshaped(dense, (1, x.dims[0], *padded(counts, 1), taps, channels))
    order = (0, *range(2, rank + 2), 1)
    last = ctx.permuted(ctx.out(op, 0, order), order)
    target = ctx.reshaped(last, (x.dims[0], *padded(image, 1), 1, channels))
    params = {
        "dtype": x.dtype,
        "bias": False,
        "kernel": padded(sizes, 1),
        "strides": padded(strides, 1),
        "dilations": padded(dilations, 1),
        "pads": padded(pads[:rank], 0),
    }
    ctx.emit("col2im", params, [columns, None], [target])
    return None
