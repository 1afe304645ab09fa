"""Lowering of MatMulInteger, ConvInteger, QLinearMatMul and QLinearConv.

The sums are exact: operands less their zero points are whole numbers of at most 9 (or 17) bits, and a product of them
summed in float64 is exact up to 2**53, in float32 up to 2**24. So the float kernels do the work; results wrap to int32.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from accelc.ir.dims import Dim
from accelc.ir.pass_base import Refusal
from accelc.targets.numba_cpu.kernels.expr import ExprBuilder
from accelc.targets.numba_cpu.lower.context import LowerContext
from accelc.targets.numba_cpu.lower.conv import conv
from accelc.targets.numba_cpu.lower.elementwise import emit_map, map_operands, output_order
from accelc.targets.numba_cpu.lower.fusing import emit_expr
from accelc.targets.numba_cpu.lower.matmul import matmul
from accelc.targets.numba_cpu.lower.narrow import cast_any
from accelc.targets.numba_cpu.lower.quantize import QUANTISED, as_float, saturated
from accelc.targets.numba_cpu.lower.table import LoweringTable, Op, OutSpec
from accelc.targets.numba_cpu.program import Value

TABLE = LoweringTable()


def _centred(
    ctx: LowerContext, value: Value, zero: Value | None, dtype: str, dims: Sequence[Dim] = ()
) -> Value:
    """``value`` less its zero point (seen with ``dims`` unless it is one number), in ``dtype``."""
    if zero is None:
        return cast_any(ctx, value, dtype)
    single = not zero.dims or zero.dims == (1,)
    array, shift = ctx.array(value), ctx.array(zero)
    if array is not None and shift is not None:
        shaped = shift.reshape(()) if single else shift.reshape([int(extent) for extent in dims])
        kind = np.dtype(dtype)
        return ctx.model_constant(array.astype(kind) - shaped.astype(kind), f"{value.name}.centred")
    builder = ExprBuilder()
    left = builder.add(dtype, "cast", builder.operand(0, value.dtype))
    right = builder.add(dtype, "cast", builder.operand(1, zero.dtype))
    expr = builder.build(builder.add(dtype, "sub", left, right))
    table = ctx.reshaped(zero, () if single else dims)
    order = output_order(ctx, value.dims, [value])
    result = ctx.temp(dtype, value.dims, order, f"{value.name}.centred")
    emit_map(ctx, expr, map_operands(ctx, value.dims, order, [value, table]), result)
    return result


def _exact_dtype(depth: Dim) -> str:
    """The float dtype in which sums of ``depth`` products of 8-bit operands are exact."""
    return "float32" if isinstance(depth, int) and depth * 255 * 255 < 1 << 24 else "float64"


def _product(
    ctx: LowerContext, op: Op, a: Value, b: Value, a_zero: Value | None, b_zero: Value | None
) -> Value | Refusal:
    """The exact sums of a @ b as floats."""
    if a.dtype not in ("int8", "uint8") or b.dtype not in ("int8", "uint8"):
        return Refusal(f"{op.op_type} of {a.dtype} and {b.dtype} has no kernel")
    dtype = _exact_dtype(a.dims[-1])
    left = _centred(ctx, a, a_zero, dtype, () if a_zero is None else _rowwise(a_zero, a))
    right = _centred(ctx, b, b_zero, dtype, () if b_zero is None else _columnwise(b_zero, b))
    spec = OutSpec(f"{op.outputs[0].name}.sums", dtype, op.outputs[0].dims)
    refusal = matmul(ctx, replace(op, op_type="MatMul", inputs=(left, right), outputs=(spec,), attrs={}))
    return ctx.by_name[spec.name] if refusal is None else refusal


def _rowwise(table: Value, matrix: Value) -> tuple[Dim, ...]:
    """Dims of a number for each row: [M] becomes [M, 1]; others already broadcast."""
    return (*table.dims, 1) if len(table.dims) == 1 and len(matrix.dims) > 1 else table.dims


def _columnwise(table: Value, _matrix: Value) -> tuple[Dim, ...]:
    return table.dims


@TABLE.op("MatMulInteger", since=10)
def matmul_integer(ctx: LowerContext, op: Op) -> Refusal | None:
    """(A - a_zero) @ (B - b_zero) as int32.

    Source: https://onnx.ai/onnx/operators/onnx__MatMulInteger.html
    """
    a, b = op.inputs[0], op.inputs[1]
    assert a is not None
    assert b is not None
    sums = _product(ctx, op, a, b, op.input(2), op.input(3))
    if isinstance(sums, Refusal):
        return sums
    _as_int32(ctx, op, sums)
    return None


def _as_int32(ctx: LowerContext, op: Op, sums: Value) -> None:
    """Output 0: whole numbers as int32, wrapping around."""
    builder = ExprBuilder()
    whole = builder.add("int64", "cast", builder.operand(0, sums.dtype))
    emit_expr(ctx, op, 0, builder.build(builder.add("int32", "cast", whole)), [sums])


@TABLE.op("QLinearMatMul", since=10)
def qlinear_matmul(ctx: LowerContext, op: Op) -> Refusal | None:
    """The product of quantised matrices, quantised again.

    Source: https://onnx.ai/onnx/operators/onnx__QLinearMatMul.html
    """
    found = [op.input(i) for i in range(8)]
    a, a_scale, a_zero, b, b_scale, b_zero, y_scale, y_zero = found
    if a is None or b is None or a_scale is None or b_scale is None or y_scale is None:
        return Refusal("no input")
    sums = _product(ctx, op, a, b, a_zero, b_zero)
    if isinstance(sums, Refusal):
        return sums
    scales = [
        _table(ctx, a_scale, _rowwise(a_scale, a)),
        _table(ctx, b_scale, _columnwise(b_scale, b)),
        _table(ctx, y_scale, _rowwise(y_scale, a)),
    ]
    zero = None if y_zero is None else _table(ctx, y_zero, _rowwise(y_zero, a))
    return _requantise(ctx, op, sums, scales, zero)


def _table(ctx: LowerContext, table: Value, dims: Sequence[Dim]) -> Value:
    """A scale or zero point as it broadcasts to the result."""
    return ctx.reshaped(table, () if table.dims == (1,) else dims)


def _requantise(
    ctx: LowerContext, op: Op, sums: Value, scales: Sequence[Value], zero: Value | None
) -> Refusal | None:
    """Output 0 = saturate(round(sums * (s0 * s1 / s2)) + zero), the factor in float32."""
    dtype = op.outputs[0].dtype
    if dtype not in QUANTISED:
        return Refusal(f"{op.op_type} to {dtype} has no kernel")
    wide = "float32"
    builder = ExprBuilder()
    value = as_float(builder, builder.operand(0, sums.dtype), sums.dtype, wide)
    first, second, last = (
        as_float(builder, builder.operand(i, scale.dtype), scale.dtype, wide)
        for i, scale in enumerate(scales, 1)
    )
    factor = builder.add(wide, "div", builder.add(wide, "mul", first, second), last)
    shift = None if zero is None else builder.operand(4, zero.dtype)
    total = saturated(builder, builder.add(wide, "mul", value, factor), shift, dtype, wide)
    operands = [sums, *scales, *([] if zero is None else [zero])]
    emit_expr(ctx, op, 0, builder.build(total), operands)
    return None


def _convolution(
    ctx: LowerContext, op: Op, x: Value, w: Value, zeros: Sequence[Value | None], bias: Value | None
) -> Value | Refusal:
    """The exact sums of a convolution in float64 (minimal filtering, which float32 may choose, is not exact)."""
    if x.dtype not in ("int8", "uint8") or w.dtype not in ("int8", "uint8"):
        return Refusal(f"{op.op_type} of {x.dtype} and {w.dtype} has no kernel")
    rank = len(x.dims) - 2
    kind = "float64"
    source = _centred(ctx, x, zeros[0], kind, (-1,))
    weight = _centred(ctx, w, zeros[1], kind, (w.dims[0], *(1,) * (rank + 1)))
    inputs = [source, weight] if bias is None else [source, weight, cast_any(ctx, bias, kind)]
    spec = OutSpec(f"{op.outputs[0].name}.sums", kind, op.outputs[0].dims)
    refusal = conv(ctx, replace(op, op_type="Conv", inputs=tuple(inputs), outputs=(spec,)))
    return ctx.by_name[spec.name] if refusal is None else refusal


@TABLE.op("ConvInteger", since=10)
def conv_integer(ctx: LowerContext, op: Op) -> Refusal | None:
    """Convolution of 8-bit integers less their zero points, as int32; pads count as the zero point.

    Source: https://onnx.ai/onnx/operators/onnx__ConvInteger.html
    """
    x, w = op.inputs[0], op.inputs[1]
    assert x is not None
    assert w is not None
    sums = _convolution(ctx, op, x, w, (op.input(2), op.input(3)), None)
    if isinstance(sums, Refusal):
        return sums
    _as_int32(ctx, op, sums)
    return None


@TABLE.op("QLinearConv", since=10)
def qlinear_conv(ctx: LowerContext, op: Op) -> Refusal | None:
    """Convolution of quantised operands, quantised again; weights per tensor or per output channel.

    Source: https://onnx.ai/onnx/operators/onnx__QLinearConv.html
    """
    found = [op.input(i) for i in range(9)]
    x, x_scale, x_zero, w, w_scale, w_zero, y_scale, y_zero, bias = found
    if x is None or w is None or x_scale is None or w_scale is None or y_scale is None:
        return Refusal("no input")
    sums = _convolution(ctx, op, x, w, (x_zero, w_zero), bias)
    if isinstance(sums, Refusal):
        return sums
    channels = (1, w.dims[0], *(1,) * (len(x.dims) - 2))
    scales = [
        ctx.reshaped(x_scale, ()),
        ctx.reshaped(w_scale, () if w_scale.dims in ((), (1,)) else channels),
        ctx.reshaped(y_scale, ()),
    ]
    return _requantise(ctx, op, sums, scales, None if y_zero is None else ctx.reshaped(y_zero, ()))
