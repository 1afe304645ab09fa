"""Lowering of reductions: Reduce*, ArgMax, ArgMin, global pooling, CumSum."""

from __future__ import annotations

from accelc.ir.pass_base import Refusal
from accelc.targets.numba_cpu.kernels import expr_emit
from accelc.targets.numba_cpu.kernels.expr import Expr, ExprBuilder
from accelc.targets.numba_cpu.kernels.text import FLOATS, POINTERS
from accelc.targets.numba_cpu.lower.context import LowerContext
from accelc.targets.numba_cpu.lower.elementwise import emit_map, map_operands
from accelc.targets.numba_cpu.lower.fusing import (
    emit_expr,
    finish,
    materialised,
    prologue_of,
    widened,
    with_epilogue,
)
from accelc.targets.numba_cpu.lower.table import LoweringTable, Op
from accelc.targets.numba_cpu.program import Value

TABLE = LoweringTable()

_KINDS = {
    "ReduceSum": "sum", "ReduceMean": "mean", "ReduceProd": "prod", "ReduceMax": "max", "ReduceMin": "min",
    "ReduceSumSquare": "sumsq", "ReduceL1": "l1", "ReduceL2": "l2", "ReduceLogSum": "logsum",
    "ReduceLogSumExp": "logsumexp",
}  # fmt: skip


def axes_of(ctx: LowerContext, op: Op, rank: int, place: int = 1) -> tuple[int, ...] | Refusal | None:
    """Normalised axes from the attribute or input ``place``; None where neither is given."""
    axes = op.attrs.get("axes")
    value = op.input(place)
    if axes is None and value is not None:
        found = ctx.symbols(value)
        if found is None or not all(isinstance(axis, int) for axis in found):
            return Refusal("the axes are not known at compile time")
        axes = tuple(int(axis) for axis in found)
    if axes is None:
        return None
    if any(not -rank <= axis < rank for axis in axes):
        return Refusal(f"axes {list(axes)} do not fit rank {rank}")
    return tuple(sorted({axis % rank for axis in axes}))


def _reduce(ctx: LowerContext, op: Op) -> Refusal | None:
    """Reduce* over any axes, with elementwise work before it in the kernel.

    Source: https://onnx.ai/onnx/operators/onnx__ReduceSum.html and its kin.
    """
    x = op.inputs[0]
    if x is None:
        return Refusal("no input")
    axes = axes_of(ctx, op, len(x.dims))
    if isinstance(axes, Refusal):
        return axes
    kind = _KINDS[op.op_type]
    if not axes:
        if op.attrs.get("noop_with_empty_axes", 0) and (axes is not None or op.input(1) is None):
            return _pointwise(ctx, op, kind)
        axes = tuple(range(len(x.dims)))
    if op.outputs[0].dtype in ("float16", "bfloat16"):
        op = widened(ctx, op)
    return reduce_over(ctx, op, kind, axes)


for _name in _KINDS:
    TABLE.op(_name, fuses=True)(_reduce)


def _pointwise(ctx: LowerContext, op: Op, kind: str) -> Refusal | None:
    """A reduction over no axes: what it does to single elements."""
    value = materialised(ctx, op)
    builder = ExprBuilder()
    x = builder.operand(0, value.dtype)
    if kind in ("sumsq",):
        result = builder.add(value.dtype, "mul", x, x)
    elif kind in ("l1", "l2"):
        result = builder.add(value.dtype, "abs", x)
    elif kind == "logsum":
        result = builder.add(value.dtype, "log", x)
    else:
        ctx.same(op, 0, value)
        return None if op.epilogue is None else Refusal("an epilogue after a reduction over no axes")
    if op.epilogue is not None:
        return Refusal("an epilogue after a reduction over no axes")
    emit_expr(ctx, op, 0, builder.build(result), [value])
    return None


def reduce_over(ctx: LowerContext, op: Op, kind: str, axes: tuple[int, ...]) -> Refusal | None:
    """Emit a reduction of the op's first operand over ``axes`` as output 0."""
    expr, operands = prologue_of(op)
    if expr.dtype not in POINTERS or (expr.dtype == "bool" and kind not in ("max", "min")):
        return Refusal(f"reduction of {expr.dtype} has no kernel")
    if expr.dtype not in FLOATS and kind == "l2":
        return _integer_norm(ctx, op, expr, operands, axes)
    if expr.dtype not in FLOATS and kind in ("logsum", "logsumexp"):
        return Refusal(f"{op.op_type} of {expr.dtype} has no kernel")
    output = with_epilogue(ctx, op, expr.dtype)
    if kind == "logsumexp":
        _log_sum_exp(ctx, expr, operands, axes, output)
    else:
        emit_reduce(ctx, kind, expr, operands, axes, output)
    finish(ctx, op, output)
    return None


def _integer_norm(
    ctx: LowerContext, op: Op, expr: Expr, operands: tuple[Value, ...], axes: tuple[int, ...]
) -> Refusal | None:
    """ReduceL2 of integers: the root of their sum of squares, rounded towards zero."""
    if op.epilogue is not None:
        return Refusal("an epilogue after ReduceL2 of integers")
    squares = ctx.temp(expr.dtype, op.outputs[0].dims)
    emit_reduce(ctx, "sumsq", expr, operands, axes, squares)
    builder = ExprBuilder()
    wide = builder.add("float64", "cast", builder.operand(0, expr.dtype))
    root = builder.add(expr.dtype, "cast", builder.add("float64", "sqrt", wide))
    emit_expr(ctx, op, 0, builder.build(root), [squares])
    return None


def emit_reduce(
    ctx: LowerContext,
    kind: str,
    expr: Expr,
    operands: tuple[Value, ...],
    axes: tuple[int, ...],
    output: Value,
) -> None:
    """One call of the ``reduce`` family: ``operands[0]`` has the full shape, the others broadcast to it."""
    full = operands[0]
    order = ctx.order_of(full) or tuple(range(len(full.dims)))
    essential = [dim for dim in order if full.dims[dim] != 1]
    inner = essential[-1] if essential else (order[-1] if order else None)
    mapped = map_operands(ctx, full.dims, order, operands, inner=inner)
    kept = len(full.dims) - len(axes)
    params = {
        "expr": expr.to_json(),
        "access": list(mapped.access),
        "kind": kind,
        "axes": list(axes),
        "inner": "reduced" if inner is None or inner in axes else "kept",
        "order": list(order),
        "kept": max(3, kept),
        "folded": max(3, len(axes)),
        "dtype": expr.dtype,
        "full": 0,
        "cost": expr_emit.flops(expr) + 1,
    }
    ctx.emit("reduce", params, mapped.values, [output])


def _log_sum_exp(
    ctx: LowerContext, expr: Expr, operands: tuple[Value, ...], axes: tuple[int, ...], output: Value
) -> None:
    """log(sum(exp(x))) as max + log(sum(exp(x - max))), which does not overflow."""
    full, dtype = operands[0], expr.dtype
    kept = [1 if dim in axes else extent for dim, extent in enumerate(full.dims)]
    top = ctx.temp(dtype, kept)
    emit_reduce(ctx, "max", expr, operands, axes, top)
    builder = ExprBuilder()
    numbers = [builder.add(kind, *step) for step, kind in zip(expr.steps, expr.dtypes, strict=True)]
    shift = builder.operand(len(operands), dtype)
    shifted = builder.add(dtype, "sub", numbers[expr.result], _finite(builder, shift, dtype))
    total = ctx.temp(dtype, kept)
    exponentials = builder.build(builder.add(dtype, "exp", shifted))
    emit_reduce(ctx, "logsum", exponentials, (*operands, top), axes, total)
    builder = ExprBuilder()
    log, shift = builder.operand(0, dtype), builder.operand(1, dtype)
    joined = builder.build(builder.add(dtype, "add", log, _finite(builder, shift, dtype)))
    total, top = (ctx.reshaped(value, output.dims) for value in (total, top))
    emit_map(
        ctx, joined, map_operands(ctx, output.dims, tuple(range(len(output.dims))), [total, top]), output
    )


def _finite(builder: ExprBuilder, step: int, dtype: str) -> int:
    """0 in place of an infinite maximum, whose difference to itself would be NaN."""
    return builder.add(dtype, "where", builder.add("bool", "isinf", step), builder.const(0.0, dtype), step)


@TABLE.op("GlobalAveragePool", fuses=True)
def global_average_pool(ctx: LowerContext, op: Op) -> Refusal | None:
    """Mean over all spatial dims of [N, C, ...], in whatever order the input lies."""
    return _global(ctx, op, "mean")


@TABLE.op("GlobalMaxPool", fuses=True)
def global_max_pool(ctx: LowerContext, op: Op) -> Refusal | None:
    """Maximum over all spatial dims of [N, C, ...]."""
    return _global(ctx, op, "max")


def _global(ctx: LowerContext, op: Op, kind: str) -> Refusal | None:
    x = op.inputs[0]
    if x is None or len(x.dims) < 3:
        return Refusal("global pooling needs [N, C, spatial...]")
    if op.outputs[0].dtype in ("float16", "bfloat16"):
        op = widened(ctx, op)
    return reduce_over(ctx, op, kind, tuple(range(2, len(x.dims))))


__all__ = ["TABLE", "axes_of", "emit_reduce", "reduce_over"]
