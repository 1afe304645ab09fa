"""What lowerings do with the elementwise work fused around their op when their kernel does not take it."""

from __future__ import annotations

from dataclasses import replace

from accelc.targets.numba_cpu.kernels.expr import Expr, ExprBuilder
from accelc.targets.numba_cpu.lower.context import LowerContext
from accelc.targets.numba_cpu.lower.elementwise import emit_map, map_operands, output_order
from accelc.targets.numba_cpu.lower.table import Op
from accelc.targets.numba_cpu.program import Value


def prologue_of(op: Op) -> tuple[Expr, tuple[Value, ...]]:
    """The expression that an op really reads, and its operands; the first has the full shape."""
    x = op.inputs[0]
    assert x is not None
    if op.prologue is None:
        return Expr.identity(x.dtype), (x,)
    return op.prologue, (x, *op.prologue_operands)


def materialised(ctx: LowerContext, op: Op) -> Value:
    """The op's first operand, its prologue done by a kernel of its own."""
    expr, operands = prologue_of(op)
    if expr.is_identity:
        return operands[0]
    full = operands[0]
    order = output_order(ctx, full.dims, operands)
    result = ctx.temp(expr.dtype, full.dims, order, f"{full.name}.prologue")
    emit_map(ctx, expr, map_operands(ctx, full.dims, order, operands), result)
    return result


def with_epilogue(ctx: LowerContext, op: Op, dtype: str, order: tuple[int, ...] = ()) -> Value:
    """Where an op that takes no epilogue writes: its output, or a temporary that ``finish`` reads."""
    if op.epilogue is None:
        return ctx.out(op, 0, order)
    return ctx.temp(dtype, op.outputs[0].dims, order, f"{op.outputs[0].name}.raw")


def finish(ctx: LowerContext, op: Op, raw: Value) -> None:
    """Apply the epilogue to ``raw``, which ``with_epilogue`` gave; nothing if there is none."""
    if op.epilogue is None:
        return
    operands = (raw, *op.epilogue_operands)
    spec = op.outputs[0]
    order = output_order(ctx, spec.dims, operands)
    emit_map(ctx, op.epilogue, map_operands(ctx, spec.dims, order, operands), ctx.out(op, 0, order))


def cast_value(ctx: LowerContext, value: Value, dtype: str) -> Value:
    """``value`` in another dtype, in the same order."""
    if value.dtype == dtype:
        return value
    builder = ExprBuilder()
    expr = builder.build(builder.add(dtype, "cast", builder.operand(0, value.dtype)))
    order = ctx.order_of(value) or tuple(range(len(value.dims)))
    result = ctx.temp(dtype, value.dims, order, f"{value.name}.{dtype}")
    emit_map(ctx, expr, map_operands(ctx, value.dims, order, [value]), result)
    return result


def emit_expr(ctx: LowerContext, op: Op, i: int, expr: Expr, operands: list[Value]) -> None:
    """Output ``i`` of ``op`` as an elementwise kernel."""
    spec = op.outputs[i]
    order = output_order(ctx, spec.dims, operands)
    emit_map(ctx, expr, map_operands(ctx, spec.dims, order, operands), ctx.out(op, i, order))


def widened(ctx: LowerContext, op: Op) -> Op:
    """``op`` with its float16 or bfloat16 work done in float32: inputs are cast, the result is cast back.

    Kernels on rows are written for float32 and float64.
    """
    narrow = op.outputs[0].dtype
    inputs = tuple(
        value
        if value is None or value.dtype not in ("float16", "bfloat16")
        else cast_value(ctx, value, "float32")
        for value in (materialised(ctx, op), *op.inputs[1:])
    )
    builder = ExprBuilder()
    wide = builder.operand(0, "float32")
    back = builder.build(builder.add(narrow, "cast", wide))
    if op.epilogue is None:
        return replace(op, inputs=inputs, prologue=None, prologue_operands=(), epilogue=back)
    # The epilogue reads the narrow result: its operand 0 becomes a cast of the wide one.
    steps = [("in", 0), ("cast", 0)]
    dtypes = ["float32", narrow]
    shift = len(steps)
    number: dict[int, int] = {}
    for i, (step, dtype) in enumerate(zip(op.epilogue.steps, op.epilogue.dtypes, strict=True)):
        if step == ("in", 0):
            number[i] = 1
            continue
        moved = step if step[0] in ("in", "const") else (step[0], *(number[arg] for arg in step[1:]))
        number[i] = len(steps)
        steps.append(moved)
        dtypes.append(dtype)
    assert shift == 2
    epilogue = Expr(tuple(steps), tuple(dtypes), number[op.epilogue.result])
    return replace(op, inputs=inputs, prologue=None, prologue_operands=(), epilogue=epilogue)
