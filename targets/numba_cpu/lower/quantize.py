"""Lowering of QuantizeLinear, DequantizeLinear and DynamicQuantizeLinear to elementwise kernels."""

from __future__ import annotations

import numpy as np

from accelc.ir.pass_base import Refusal
from accelc.targets.numba_cpu.kernels.expr import Expr, ExprBuilder
from accelc.targets.numba_cpu.kernels.text import FLOATS
from accelc.targets.numba_cpu.lower.context import LowerContext
from accelc.targets.numba_cpu.lower.elementwise import emit_map, map_operands, output_order
from accelc.targets.numba_cpu.lower.fusing import emit_expr
from accelc.targets.numba_cpu.lower.movement import axis_of
from accelc.targets.numba_cpu.lower.reduce import emit_reduce
from accelc.targets.numba_cpu.lower.table import LoweringTable, Op
from accelc.targets.numba_cpu.program import Dims, Value, View

TABLE = LoweringTable()

QUANTISED = ("int8", "uint8", "int16", "uint16")


def saturated(builder: ExprBuilder, step: int, zero: int | None, dtype: str, wide: str = "float32") -> int:
    """``step`` (of dtype ``wide``) rounded half to even, shifted by ``zero`` and cut to the range of ``dtype``."""
    total = builder.add(wide, "round", step)
    if zero is not None:
        total = builder.add(wide, "add", total, builder.add(wide, "cast", zero))
    info = np.iinfo(dtype)
    low, high = builder.const(float(info.min), wide), builder.const(float(info.max), wide)
    return builder.add(dtype, "cast", builder.add(wide, "clip", total, low, high))


def as_float(builder: ExprBuilder, step: int, dtype: str, wide: str) -> int:
    """``step`` of ``dtype`` as ``wide``."""
    return step if dtype == wide else builder.add(wide, "cast", step)


def _spread(ctx: LowerContext, op: Op, x: Value) -> tuple[Dims, list[Value | None]] | Refusal:
    """Dims of the walk, and scale and zero point as they broadcast to it: per tensor, axis or block."""
    scale, zero = op.inputs[1], op.input(2)
    assert scale is not None
    rank = len(x.dims)
    tables: list[Value | None] = [scale, zero]
    block = int(op.attrs.get("block_size", 0))
    if not scale.dims or (len(scale.dims) == 1 and scale.dims[0] == 1 and not block):
        return x.dims, [None if table is None else ctx.reshaped(table, ()) for table in tables]
    axis = axis_of(op, rank, 1)
    if isinstance(axis, Refusal):
        return axis
    if not block:
        if len(scale.dims) != 1:
            return Refusal("a scale of several dims without a block size")
        dims = tuple(scale.dims[0] if i == axis else 1 for i in range(rank))
        return x.dims, [None if table is None else ctx.reshaped(table, dims) for table in tables]
    extent, blocks = x.dims[axis], scale.dims[axis] if len(scale.dims) == rank else None
    if not isinstance(extent, int) or not isinstance(blocks, int) or blocks * block != extent:
        return Refusal(f"blocks of {block} do not divide dim {axis} evenly")
    dims = (*x.dims[:axis], blocks, block, *x.dims[axis + 1 :])
    table_dims = (*scale.dims[: axis + 1], 1, *scale.dims[axis + 1 :])
    return dims, [None if table is None else ctx.reshaped(table, table_dims) for table in tables]


def _emit(ctx: LowerContext, op: Op, x: Value, dims: Dims, expr: Expr, tables: list[Value]) -> None:
    """Output 0 as ``expr`` of x and the tables, walked along ``dims``."""
    if dims == x.dims:
        emit_expr(ctx, op, 0, expr, [x, *tables])
        return
    source = ctx.reshaped(x, dims)
    target = ctx.make_view(View(ctx.out(op, 0).id, "reshape"), dims)
    emit_map(ctx, expr, map_operands(ctx, dims, range(len(dims)), [source, *tables]), target)


@TABLE.op("QuantizeLinear", since=10)
def quantize_linear(ctx: LowerContext, op: Op) -> Refusal | None:
    """saturate(round(x / scale) + zero point), per tensor, axis or block, computed in float32 (or float64).

    Source: https://onnx.ai/onnx/operators/onnx__QuantizeLinear.html
    """
    x, scale, zero = op.inputs[0], op.inputs[1], op.input(2)
    dtype = op.outputs[0].dtype
    if x is None or scale is None or dtype not in QUANTISED:
        return Refusal(f"QuantizeLinear to {dtype} has no kernel")
    if x.dtype not in (*FLOATS, "int32") or scale.dtype not in FLOATS:
        return Refusal(f"QuantizeLinear of {x.dtype} by {scale.dtype} has no kernel")
    spread = _spread(ctx, op, x)
    if isinstance(spread, Refusal):
        return spread
    dims, tables = spread
    wide = "float64" if "float64" in (x.dtype, scale.dtype) else "float32"
    builder = ExprBuilder()
    value = as_float(builder, builder.operand(0, x.dtype), x.dtype, wide)
    step = as_float(builder, builder.operand(1, scale.dtype), scale.dtype, wide)
    quotient = builder.add(wide, "div", value, step)
    shift = None if zero is None else builder.operand(2, zero.dtype)
    expr = builder.build(saturated(builder, quotient, shift, dtype, wide))
    _emit(ctx, op, x, dims, expr, [table for table in tables if table is not None])
    return None


@TABLE.op("DequantizeLinear", since=10)
def dequantize_linear(ctx: LowerContext, op: Op) -> Refusal | None:
    """(x - zero point) * scale, per tensor, axis or block.

    Source: https://onnx.ai/onnx/operators/onnx__DequantizeLinear.html
    """
    x, scale, zero = op.inputs[0], op.inputs[1], op.input(2)
    dtype = op.outputs[0].dtype
    if x is None or scale is None or x.dtype not in (*QUANTISED, "int32"):
        return Refusal("DequantizeLinear of this dtype has no kernel")
    if scale.dtype not in FLOATS or dtype not in FLOATS:
        return Refusal(f"DequantizeLinear to {dtype} has no kernel")
    spread = _spread(ctx, op, x)
    if isinstance(spread, Refusal):
        return spread
    dims, tables = spread
    wide = "float64" if "float64" in (dtype, scale.dtype) else "float32"
    builder = ExprBuilder()
    value = builder.operand(0, x.dtype)
    step = as_float(builder, builder.operand(1, scale.dtype), scale.dtype, wide)
    # The difference of integers is exact; it fits int32 for all dtypes that have a zero point in use.
    if x.dtype != "int32":
        value = builder.add("int32", "cast", value)
    if zero is not None:
        shift = builder.operand(2, zero.dtype)
        shift = shift if zero.dtype == "int32" else builder.add("int32", "cast", shift)
        value = builder.add("int32", "sub", value, shift)
    product = builder.add(wide, "mul", builder.add(wide, "cast", value), step)
    expr = builder.build(as_float(builder, product, wide, dtype))
    _emit(ctx, op, x, dims, expr, [table for table in tables if table is not None])
    return None


@TABLE.op("DynamicQuantizeLinear", since=11)
def dynamic_quantize_linear(ctx: LowerContext, op: Op) -> Refusal | None:
    """Scale and zero point from the range of x, zero included; then as QuantizeLinear to uint8.

    Source: https://onnx.ai/onnx/operators/onnx__DynamicQuantizeLinear.html
    """
    x = op.inputs[0]
    if x is None or x.dtype != "float32":
        return Refusal("DynamicQuantizeLinear needs float32")
    ends = []
    for kind in ("max", "min"):
        end = ctx.temp("float32", ())
        emit_reduce(ctx, kind, Expr.identity("float32"), (x,), tuple(range(len(x.dims))), end)
        ends.append(end)
    dtypes = ("float32", "uint8")
    scale, zero = (
        ctx.out(op, i) if i < len(op.outputs) and op.outputs[i].name else ctx.temp(dtype, ())
        for i, dtype in enumerate(dtypes, 1)
    )
    builder = ExprBuilder()
    step = _dynamic_scale(builder)
    emit_map(ctx, builder.build(step), map_operands(ctx, (), (), ends), scale)
    builder = ExprBuilder()
    low = builder.add("float32", "min", builder.operand(1, "float32"), builder.const(0.0, "float32"))
    shift = builder.add("float32", "neg", builder.add("float32", "div", low, _dynamic_scale(builder)))
    emit_map(
        ctx, builder.build(saturated(builder, shift, None, "uint8")), map_operands(ctx, (), (), ends), zero
    )
    if not op.outputs[0].name:
        return None
    builder = ExprBuilder()
    quotient = builder.add("float32", "div", builder.operand(0, "float32"), builder.operand(1, "float32"))
    expr = builder.build(saturated(builder, quotient, builder.operand(2, "uint8"), "uint8"))
    order = output_order(ctx, x.dims, [x])
    emit_map(ctx, expr, map_operands(ctx, x.dims, order, [x, scale, zero]), ctx.out(op, 0, order))
    return None


def _dynamic_scale(builder: ExprBuilder) -> int:
    """(max - min) / 255 of the operands 0 and 1 with zero taken in; 1 / 255 where that is 0."""
    kind = "float32"
    nothing = builder.const(0.0, kind)
    high = builder.add(kind, "max", builder.operand(0, kind), nothing)
    low = builder.add(kind, "min", builder.operand(1, kind), nothing)
    same = builder.add("bool", "eq", high, low)
    width = builder.add(kind, "where", same, builder.const(1.0, kind), builder.add(kind, "sub", high, low))
    return builder.add(kind, "div", width, builder.const(255.0, kind))
