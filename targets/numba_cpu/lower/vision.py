"""Lowering of sampling ops: GridSample, RoiAlign, DeformConv, MaxUnpool, and MaxPool with indices."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

from accelc.ir.pass_base import Refusal
from accelc.targets.numba_cpu.kernels.expr import ExprBuilder
from accelc.targets.numba_cpu.kernels.text import POINTERS, VECTOR_FLOATS
from accelc.targets.numba_cpu.lower import dims as arith
from accelc.targets.numba_cpu.lower.context import LowerContext
from accelc.targets.numba_cpu.lower.fusing import emit_expr
from accelc.targets.numba_cpu.lower.matmul import matmul
from accelc.targets.numba_cpu.lower.movement import emit_copy, sliced
from accelc.targets.numba_cpu.lower.narrow import also_narrow, cast_any
from accelc.targets.numba_cpu.lower.shape_ops import emit_fill
from accelc.targets.numba_cpu.lower.table import LoweringTable, Op, OutSpec
from accelc.targets.numba_cpu.program import Value

TABLE = LoweringTable()

_MODES = {
    "bilinear": "linear",
    "linear": "linear",
    "nearest": "nearest",
    "bicubic": "cubic",
    "cubic": "cubic",
}


@TABLE.op("GridSample", since=16)
@also_narrow
def grid_sample(ctx: LowerContext, op: Op) -> Refusal | None:
    """Samples at normalised places: 1 to 3 spatial dims; nearest, linear, cubic; zeros, border, reflection.

    Source: https://onnx.ai/onnx/operators/onnx__GridSample.html
    """
    x, grid = op.inputs[0], op.inputs[1]
    if x is None or grid is None or x.dtype not in VECTOR_FLOATS or grid.dtype not in VECTOR_FLOATS:
        return Refusal("GridSample of this dtype has no kernel")
    rank = len(x.dims) - 2
    mode = _MODES.get(str(op.attrs.get("mode", "linear")))
    if not 1 <= rank <= 3 or mode is None:
        return Refusal(f"GridSample over {rank} spatial dims has no kernel")
    params = {
        "kind": "grid_sample",
        "dtype": x.dtype,
        "rank": rank,
        "mode": mode,
        "padding": str(op.attrs.get("padding_mode", "zeros")),
        "align": bool(op.attrs.get("align_corners", 0)),
    }
    pixels = arith.product(op.outputs[0].dims[2:])
    source = ctx.reshaped(x, (*x.dims, *(1,) * (3 - rank)))
    places = ctx.reshaped(cast_any(ctx, grid, x.dtype), (grid.dims[0], pixels, rank))
    target = ctx.reshaped(ctx.out(op, 0), (*op.outputs[0].dims[:2], pixels))
    ctx.emit("irregular", params, [source, places], [target])
    return None


@TABLE.op("RoiAlign", since=10)
@also_narrow
def roi_align(ctx: LowerContext, op: Op) -> Refusal | None:
    """Average or maximum of bilinear samples within each part of each region.

    Source: https://onnx.ai/onnx/operators/onnx__RoiAlign.html
    """
    x, rois, index = op.inputs[0], op.inputs[1], op.inputs[2]
    if x is None or rois is None or index is None or x.dtype not in VECTOR_FLOATS or len(x.dims) != 4:
        return Refusal("RoiAlign of this dtype has no kernel")
    default = "half_pixel" if op.version >= 16 else "output_half_pixel"
    params = {
        "kind": "roi_align",
        "dtype": x.dtype,
        "half_pixel": str(op.attrs.get("coordinate_transformation_mode", default)) == "half_pixel",
        "max": str(op.attrs.get("mode", "avg")) == "max",
        "sampling_ratio": int(op.attrs.get("sampling_ratio", 0)),
        "spatial_scale": float(op.attrs.get("spatial_scale", 1.0)),
    }
    if not 0 <= int(op.attrs.get("sampling_ratio", 0)) <= 1 << 16:
        return Refusal("RoiAlign with this sampling_ratio has no kernel")
    inputs = [
        ctx.ordered(x),
        ctx.ordered(cast_any(ctx, rois, x.dtype)),
        ctx.ordered(cast_any(ctx, index, "int64")),
    ]
    ctx.emit("irregular", params, inputs, [ctx.out(op, 0)])
    return None


@TABLE.op("DeformConv", since=19)
@also_narrow
def deform_conv(ctx: LowerContext, op: Op) -> Refusal | None:
    """Samples at shifted places for each tap, then one product.

    Source: https://onnx.ai/onnx/operators/onnx__DeformConv.html
    """
    x, weight, offset, bias, mask = (op.input(i) for i in range(5))
    if x is None or weight is None or offset is None or x.dtype not in VECTOR_FLOATS or len(x.dims) != 4:
        return Refusal("DeformConv needs float32 or float64 [N, C, H, W]")
    shape = tuple(extent for extent in weight.dims if isinstance(extent, int))
    if len(shape) != 4:
        return Refusal("DeformConv with weights of unknown shape has no kernel")
    params: dict[str, Any] = {
        "kind": "deform_columns",
        "dtype": x.dtype,
        "mask": mask is not None,
        "offset_groups": int(op.attrs.get("offset_group", 1)),
        "kernel": list(shape[2:]),
        "strides": [int(s) for s in op.attrs.get("strides", (1, 1))],
        "dilations": [int(s) for s in op.attrs.get("dilations", (1, 1))],
        "pads": [int(s) for s in op.attrs.get("pads", (0,) * 4)][:2],
    }
    groups, taps = int(op.attrs.get("group", 1)), shape[2] * shape[3]
    outputs, channels = shape[0] // groups, shape[1]
    pixels = arith.product(op.outputs[0].dims[2:])
    columns = ctx.temp(x.dtype, (x.dims[0], pixels, taps, x.dims[1]))
    inputs = [ctx.ordered(x), ctx.ordered(offset), None if mask is None else ctx.ordered(mask)]
    ctx.emit("irregular", params, inputs, [columns])
    # [G, N * P, taps * C/G] @ [G, taps * C/G, OC/G], both as views.
    rows = arith.mul(x.dims[0], pixels)
    left = ctx.permuted(ctx.reshaped(columns, (rows, taps, groups, channels)), (2, 0, 1, 3))
    left = ctx.reshaped(left, (groups, rows, taps * channels))
    right = ctx.permuted(ctx.reshaped(weight, (groups, outputs, channels, taps)), (0, 3, 2, 1))
    right = ctx.reshaped(right, (groups, taps * channels, outputs))
    spec = OutSpec(f"{op.outputs[0].name}.sums", x.dtype, (groups, rows, outputs))
    refusal = matmul(ctx, replace(op, op_type="MatMul", inputs=(left, right), outputs=(spec,), attrs={}))
    if refusal is not None:
        return refusal
    sums = ctx.reshaped(ctx.by_name[spec.name], (groups, x.dims[0], *op.outputs[0].dims[2:], outputs))
    result = ctx.reshaped(ctx.permuted(sums, (1, 0, 4, 2, 3)), op.outputs[0].dims)
    if bias is None:
        emit_copy(ctx, result, ctx.out(op, 0))
        return None
    builder = ExprBuilder()
    total = builder.add(x.dtype, "add", builder.operand(0, x.dtype), builder.operand(1, x.dtype))
    emit_expr(ctx, op, 0, builder.build(total), [result, ctx.reshaped(bias, (1, shape[0], 1, 1))])
    return None


def max_pool_indices(
    ctx: LowerContext,
    op: Op,
    extents: Sequence[int],
    strides: Sequence[int],
    dilations: Sequence[int],
    pads: Sequence[int],
) -> Refusal | None:
    """MaxPool with the place of each maximum in the whole tensor as second output."""
    x = op.inputs[0]
    if x is None or x.dtype not in POINTERS or x.dtype in ("bool", "float16", "bfloat16"):
        return Refusal("MaxPool with indices of this dtype has no kernel")
    if op.prologue is not None or op.epilogue is not None:
        return Refusal("MaxPool with indices takes no fused work")
    front = 3 - len(extents)
    # With column-major indices the spatial dims count from the first: fillers go behind them.
    column_major = bool(op.attrs.get("storage_order", 0))

    def filled(numbers: Sequence[Any], filler: int) -> list[Any]:
        ones = [filler] * front
        return [*numbers, *ones] if column_major else [*ones, *numbers]

    params = {
        "kind": "max_pool",
        "dtype": x.dtype,
        "column_major": column_major,
        "kernel": filled(extents, 1),
        "strides": filled(strides, 1),
        "dilations": filled(dilations, 1),
        "pads": filled(pads, 0),
    }
    planes = arith.mul(x.dims[0], x.dims[1])
    source = ctx.reshaped(x, (planes, *filled(x.dims[2:], 1)))
    dims = next(spec.dims for spec in op.outputs if spec.name)
    targets = []
    for i, dtype in enumerate((x.dtype, "int64")):
        asked = i < len(op.outputs) and bool(op.outputs[i].name)
        value = ctx.out(op, i) if asked else ctx.temp(dtype, dims)
        targets.append(ctx.reshaped(value, (planes, *filled(dims[2:], 1))))
    ctx.emit("irregular", params, [source], targets)
    return None


@TABLE.op("MaxUnpool", since=9)
def max_unpool(ctx: LowerContext, op: Op) -> Refusal | None:
    """Zeros, with the elements of X where the indices say.

    Source: https://onnx.ai/onnx/operators/onnx__MaxUnpool.html
    """
    x, index = op.inputs[0], op.inputs[1]
    if x is None or index is None or x.dtype not in POINTERS or index.dtype != "int64":
        return Refusal("MaxUnpool of this dtype has no kernel")
    rank = len(x.dims) - 2
    kernel = [int(k) for k in op.attrs["kernel_shape"]]
    strides = [int(s) for s in op.attrs.get("strides", (1,) * rank)]
    pads = [int(p) for p in op.attrs.get("pads", (0,) * (2 * rank))]
    # Indices count in the tensor that was pooled, whose shape follows from the attributes alone.
    pooled = (
        *x.dims[:2],
        *(
            arith.add(
                arith.mul(arith.sub(x.dims[2 + i], 1), strides[i]), kernel[i] - pads[i] - pads[rank + i]
            )
            for i in range(rank)
        ),
    )
    output = ctx.out(op, 0)
    same = pooled == output.dims
    target = output if same else ctx.temp(x.dtype, pooled)
    emit_fill(ctx, target, False if x.dtype == "bool" else 0)
    count = arith.product(x.dims)
    flat = ctx.reshaped(target, (arith.product(pooled),))
    places = ctx.reshaped(index, (count, 1))
    params = {"dtype": x.dtype, "index": "int64", "reduction": "none", "axis": 0}
    ctx.emit("scatter", params, [places, ctx.reshaped(x, (count,)), flat], [flat])
    if not same:
        emit_fill(ctx, output, False if x.dtype == "bool" else 0)
        inner: Value = output
        for axis, extent in enumerate(pooled):
            inner = sliced(ctx, inner, axis, 0, arith.minimum(extent, output.dims[axis]))
            target = sliced(ctx, target, axis, 0, arith.minimum(extent, output.dims[axis]))
        emit_copy(ctx, target, inner)
    return None


__all__ = ["TABLE", "max_pool_indices"]
