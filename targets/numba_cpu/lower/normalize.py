"""Lowering of softmax and the normalisations: rows in one kernel, the rest composed of kernels that exist."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace

import numpy as np

from accelc.ir.pass_base import Refusal
from accelc.targets.numba_cpu.kernels import expr_emit
from accelc.targets.numba_cpu.kernels.expr import Expr, ExprBuilder
from accelc.targets.numba_cpu.kernels.text import VECTOR_FLOATS
from accelc.targets.numba_cpu.lower import dims as dim
from accelc.targets.numba_cpu.lower.context import LowerContext
from accelc.targets.numba_cpu.lower.elementwise import emit_map, map_operands, output_order
from accelc.targets.numba_cpu.lower.fusing import (
    emit_expr,
    finish,
    materialised,
    prologue_of,
    widened,
    with_epilogue,
)
from accelc.targets.numba_cpu.lower.reduce import emit_reduce
from accelc.targets.numba_cpu.lower.table import LoweringTable, Op
from accelc.targets.numba_cpu.program import Dims, Value, View

TABLE = LoweringTable()


def _axis(op: Op, rank: int, default: int = -1) -> int | Refusal:
    axis = int(op.attrs.get("axis", default))
    return axis % rank if -rank <= axis < rank else Refusal(f"axis {axis} does not fit rank {rank}")


def _prepared(ctx: LowerContext, op: Op) -> Op | Refusal:
    """The op with float16 work widened, or why it has no kernel."""
    if op.outputs[0].dtype in ("float16", "bfloat16"):
        op = widened(ctx, op)
    x = op.inputs[0]
    if x is None:
        return Refusal("no input")
    expr, _ = prologue_of(op)
    if expr.dtype not in VECTOR_FLOATS:
        return Refusal(f"{op.op_type} of {expr.dtype} has no kernel")
    return op


def emit_rows(
    ctx: LowerContext,
    family: str,
    op: Op,
    order: Sequence[int],
    span: int,
    extra: Mapping[str, object],
    tables: Sequence[Value] = (),
) -> None:
    """Emit a row kernel on the op's first operand: rows are the last ``span`` dims of ``order``."""
    expr, operands = prologue_of(op)
    full_dims = operands[0].dims
    mapped = map_operands(ctx, full_dims, order, operands, inner=order[-1])
    whole = all(
        k == "unit" and v.dims == full_dims for k, v in zip(mapped.access, mapped.values, strict=True)
    )
    fits = expr_emit.can_vectorize(expr) and (span == 1 or whole)
    plain = all(
        k != "any" or v.dtype == expr.dtype for k, v in zip(mapped.access, mapped.values, strict=True)
    )
    dense = ctx.is_dense(mapped.values[0], order) and mapped.access[0] != "zero"
    if not (fits and plain and (span == 1 or dense)):
        source = ctx.ordered(materialised(ctx, op), order)
        expr = Expr.identity(expr.dtype)
        mapped = map_operands(ctx, full_dims, order, [source], inner=order[-1])
        if mapped.access[0] == "zero":  # a row of one element
            mapped = replace(mapped, access=("unit",))
    output = with_epilogue(ctx, op, expr.dtype, tuple(order))
    params = {
        "expr": expr.to_json(),
        "access": list(mapped.access),
        "order": list(order),
        "span": span,
        "loops": max(3, len(order) - span),
        "tables": len(tables),
        "cost": expr_emit.flops(expr) + 20,
        **extra,
    }
    inplace = [
        k
        for k, (kind, value) in enumerate(zip(mapped.access, mapped.values, strict=True))
        if kind == "unit"
        and value.dims == full_dims
        and value.dtype == output.dtype
        and len(mapped.values) == 1
    ]
    ctx.emit(family, params, [*mapped.values, *tables], [output], inplace)
    finish(ctx, op, output)


def _softmax(ctx: LowerContext, op: Op) -> Refusal | None:
    """Softmax along one axis; the axis becomes the innermost dim in memory."""
    prepared = _prepared(ctx, op)
    if isinstance(prepared, Refusal):
        return prepared
    op, rank = prepared, len(prepared.outputs[0].dims)
    if rank == 0:
        return Refusal("Softmax of a scalar")
    axis = _axis(op, rank)
    if isinstance(axis, Refusal):
        return axis
    x = op.inputs[0]
    assert x is not None
    order = [d for d in ctx.order_of(x) or range(rank) if d != axis] + [axis]
    emit_rows(ctx, "softmax", op, order, 1, {"log": op.op_type == "LogSoftmax"})
    return None


def _softmax_flat(ctx: LowerContext, op: Op) -> Refusal | None:
    """Softmax before opset 13: all dims from ``axis`` on are one."""
    prepared = _prepared(ctx, op)
    if isinstance(prepared, Refusal):
        return prepared
    op = prepared
    x = op.inputs[0]
    assert x is not None
    rank = len(x.dims)
    axis = _axis(op, rank, 1) if rank else Refusal("Softmax of a scalar")
    if isinstance(axis, Refusal):
        return axis
    emit_rows(ctx, "softmax", op, tuple(range(rank)), rank - axis, {"log": op.op_type == "LogSoftmax"})
    return None


for _name in ("Softmax", "LogSoftmax"):
    TABLE.op(_name, since=13, fuses=True)(_softmax)
    TABLE.op(_name, since=1, fuses=True)(_softmax_flat)


def _row_table(ctx: LowerContext, value: Value, row: Dims, dtype: str) -> Value | None:
    """``value`` as one dense row if it holds exactly one element for each of the row's."""
    trimmed = value.dims[len(value.dims) - len(row) :] if len(value.dims) >= len(row) else value.dims
    if value.dtype != dtype or trimmed != row or any(d != 1 for d in value.dims[: -len(row) or None]):
        return None
    return ctx.ordered(value)


def _row_norm(ctx: LowerContext, op: Op, tables: Sequence[Value], center: bool) -> Refusal | None:
    """Layer or RMS normalisation over the dims from ``axis`` on, then scale and bias."""
    x = op.inputs[0]
    assert x is not None
    rank = len(x.dims)
    axis = _axis(op, rank) if rank else Refusal("normalisation of a scalar")
    if isinstance(axis, Refusal):
        return axis
    row = x.dims[axis:]
    epsilon = float(op.attrs.get("epsilon", 1e-5))
    dense = [_row_table(ctx, table, row, prologue_of(op)[0].dtype) for table in tables]
    extra = {"epsilon": epsilon, "center": center}
    if all(table is not None for table in dense):
        found = [table for table in dense if table is not None]
        emit_rows(ctx, "normalize", op, tuple(range(rank)), rank - axis, extra, found)
        return None
    # Scale and bias of other shapes: a kernel of their own.
    raw = normalised(ctx, op, epsilon, rank - axis, center=center)
    return _affine(ctx, op, raw, tables)


def normalised(ctx: LowerContext, op: Op, epsilon: float, span: int, *, center: bool = True) -> Value:
    """The op's first operand normalised over its last ``span`` dims, without scale and bias."""
    full = prologue_of(op)[1][0]
    dtype = prologue_of(op)[0].dtype
    name = f"{op.outputs[0].name}.normalised"
    inner = replace(
        op, outputs=(replace(op.outputs[0], name=name, dtype=dtype, dims=full.dims),), epilogue=None
    )
    extra = {"epsilon": epsilon, "center": center}
    emit_rows(ctx, "normalize", inner, tuple(range(len(full.dims))), span, extra)
    return ctx.by_name.pop(name)


def _affine(ctx: LowerContext, op: Op, raw: Value, tables: Sequence[Value]) -> Refusal | None:
    """Raw * tables[0] + tables[1] by broadcasting, then the epilogue."""
    builder = ExprBuilder()
    result = builder.operand(0, raw.dtype)
    for k, table in enumerate(tables):
        step = builder.operand(k + 1, table.dtype)
        if table.dtype != raw.dtype:
            step = builder.add(raw.dtype, "cast", step)
        result = builder.add(raw.dtype, "add" if k else "mul", result, step)
    order = output_order(ctx, raw.dims, [raw])
    output = with_epilogue(ctx, op, raw.dtype, order)
    emit_map(ctx, builder.build(result), map_operands(ctx, raw.dims, order, [raw, *tables]), output)
    finish(ctx, op, output)
    return None


@TABLE.op("LayerNormalization", since=17, fuses=True)
def layer_normalization(ctx: LowerContext, op: Op) -> Refusal | None:
    """(x - mean) / sqrt(var + epsilon) * scale + bias over the dims from ``axis`` on.

    Refuses: mean and inverse deviation as outputs.
    Source: https://onnx.ai/onnx/operators/onnx__LayerNormalization.html
    """
    if any(spec.name for spec in op.outputs[1:]):
        return Refusal("mean and inverse deviation as outputs have no kernel")
    prepared = _prepared(ctx, op)
    if isinstance(prepared, Refusal):
        return prepared
    return _row_norm(ctx, prepared, [v for v in prepared.inputs[1:3] if v is not None], True)


@TABLE.op("RMSNormalization", since=23, fuses=True)
def rms_normalization(ctx: LowerContext, op: Op) -> Refusal | None:
    """X / sqrt(mean(x²) + epsilon) * scale over the dims from ``axis`` on."""
    prepared = _prepared(ctx, op)
    if isinstance(prepared, Refusal):
        return prepared
    return _row_norm(ctx, prepared, [v for v in prepared.inputs[1:2] if v is not None], False)


def _per_channel(ctx: LowerContext, value: Value, rank: int) -> Value:
    """[C] as [C, 1, ...], which broadcasts along dim 1 of rank ``rank``."""
    return ctx.reshaped(value, (*value.dims, *(1 for _ in range(rank - 2))))


@TABLE.op("BatchNormalization", since=7, fuses=True)
def batch_normalization(ctx: LowerContext, op: Op) -> Refusal | None:
    """Inference: x * a + b with a = scale / sqrt(var + epsilon), b = bias - mean * a, per channel.

    Refuses: training mode.
    Source: https://onnx.ai/onnx/operators/onnx__BatchNormalization.html
    """
    if op.attrs.get("training_mode", 0) or any(spec.name for spec in op.outputs[1:]):
        return Refusal("training mode has no kernel")
    prepared = _prepared(ctx, op)
    if isinstance(prepared, Refusal):
        return prepared
    op = prepared
    tables = [value for value in op.inputs[1:5] if value is not None]
    x = materialised(ctx, op)
    if len(tables) != 4 or not x.dims:
        return Refusal("batch normalisation needs scale, bias, mean and variance")
    epsilon, rank = float(op.attrs.get("epsilon", 1e-5)), len(x.dims)
    arrays = [ctx.array(value) for value in tables]
    if all(array is not None for array in arrays):
        scale, bias, mean, var = (np.asarray(array, np.float64) for array in arrays)
        factor = scale / np.sqrt(var + epsilon)
        folded = [factor.astype(x.dtype), (bias - mean * factor).astype(x.dtype)]
        made = [
            ctx.model_constant(array, f"{op.outputs[0].name}.affine{i}") for i, array in enumerate(folded)
        ]
        return _affine(ctx, op, x, [_per_channel(ctx, value, max(rank, 2)) for value in made])
    builder = ExprBuilder()
    steps = [builder.operand(k, value.dtype) for k, value in enumerate((x, *tables))]
    steps = [s if builder.dtype(s) == x.dtype else builder.add(x.dtype, "cast", s) for s in steps]
    spread = builder.add(
        x.dtype, "sqrt", builder.add(x.dtype, "add", steps[4], builder.const(epsilon, x.dtype))
    )
    factor_step = builder.add(x.dtype, "div", steps[1], spread)
    centred = builder.add(x.dtype, "sub", steps[0], steps[3])
    scaled = builder.add(x.dtype, "mul", centred, factor_step)
    expr = builder.build(builder.add(x.dtype, "add", scaled, steps[2]))
    order = output_order(ctx, x.dims, [x])
    output = with_epilogue(ctx, op, x.dtype, order)
    operands = [x, *(_per_channel(ctx, value, max(rank, 2)) for value in tables)]
    emit_map(ctx, expr, map_operands(ctx, x.dims, order, operands), output)
    finish(ctx, op, output)
    return None


@TABLE.op("InstanceNormalization", since=1, fuses=True)
def instance_normalization(ctx: LowerContext, op: Op) -> Refusal | None:
    """Each channel of each sample normalised over its spatial dims, then scale and bias per channel."""
    prepared = _prepared(ctx, op)
    if isinstance(prepared, Refusal):
        return prepared
    x, scale, bias = prepared.inputs[:3]
    if x is None or scale is None or bias is None or len(x.dims) < 3:
        return Refusal("instance normalisation needs [N, C, spatial...], scale and bias")
    rank = len(x.dims)
    raw = normalised(ctx, prepared, float(prepared.attrs.get("epsilon", 1e-5)), rank - 2)
    return _affine(ctx, prepared, raw, [_per_channel(ctx, value, rank) for value in (scale, bias)])


@TABLE.op("GroupNormalization", since=21, fuses=True)
def group_normalization(ctx: LowerContext, op: Op) -> Refusal | None:
    """Groups of channels normalised together, then scale and bias per channel."""
    prepared = _prepared(ctx, op)
    if isinstance(prepared, Refusal):
        return prepared
    _, scale, bias = prepared.inputs[:3]
    groups = int(prepared.attrs.get("num_groups", 0))
    x = materialised(ctx, prepared)
    if scale is None or bias is None or len(x.dims) < 2 or groups < 1:
        return Refusal("group normalisation needs [N, C, ...], scale, bias and num_groups")
    rest = dim.floordiv(dim.product(x.dims[1:]), groups)
    rows = ctx.reshaped(x, (x.dims[0], groups, rest))
    inner = replace(prepared, inputs=(rows,), prologue=None, prologue_operands=())
    raw = normalised(ctx, inner, float(prepared.attrs.get("epsilon", 1e-5)), 1)
    back = ctx.make_view(View(raw.id, "reshape"), x.dims)
    return _affine(ctx, prepared, back, [_per_channel(ctx, value, len(x.dims)) for value in (scale, bias)])


@TABLE.op("LpNormalization", fuses=True)
def lp_normalization(ctx: LowerContext, op: Op) -> Refusal | None:
    """X / norm along one axis; where the norm is 0 the result is 0 (opset 22)."""
    prepared = _prepared(ctx, op)
    if isinstance(prepared, Refusal):
        return prepared
    x = materialised(ctx, prepared)
    axis = _axis(prepared, len(x.dims)) if x.dims else Refusal("normalisation of a scalar")
    if isinstance(axis, Refusal):
        return axis
    kind = {1: "l1", 2: "l2"}.get(int(op.attrs.get("p", 2)))
    if kind is None:
        return Refusal(f"p = {op.attrs.get('p')}; 1 and 2 have kernels")
    norm = ctx.temp(x.dtype, [1 if d == axis else extent for d, extent in enumerate(x.dims)])
    emit_reduce(ctx, kind, Expr.identity(x.dtype), (x,), (axis,), norm)
    builder = ExprBuilder()
    value, size = builder.operand(0, x.dtype), builder.operand(1, x.dtype)
    zero = builder.const(0.0, x.dtype)
    quotient = builder.add(x.dtype, "div", value, size)
    result = builder.add(x.dtype, "where", builder.add("bool", "eq", size, zero), zero, quotient)
    if prepared.epilogue is not None:
        raw = ctx.temp(x.dtype, x.dims, output_order(ctx, x.dims, [x]))
        emit_map(
            ctx,
            builder.build(result),
            map_operands(ctx, x.dims, raw.order or range(len(x.dims)), [x, norm]),
            raw,
        )
        finish(ctx, prepared, raw)
        return None
    emit_expr(ctx, prepared, 0, builder.build(result), [x, norm])
    return None
