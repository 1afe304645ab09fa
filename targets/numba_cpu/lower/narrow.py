"""float16 and bfloat16 work done in float32: operands are widened, results narrowed, by kernels or at compile time."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from accelc.ir.pass_base import Refusal
from accelc.targets.numba_cpu.kernels.expr import ExprBuilder
from accelc.targets.numba_cpu.lower.context import LowerContext
from accelc.targets.numba_cpu.lower.fusing import cast_value, emit_expr
from accelc.targets.numba_cpu.lower.table import Lowering, Op
from accelc.targets.numba_cpu.program import Value

NARROW = ("float16", "bfloat16")


def is_narrow(op: Op) -> bool:
    """Whether an op reads or writes float16 or bfloat16."""
    return any(value is not None and value.dtype in NARROW for value in op.inputs) or any(
        spec.dtype in NARROW for spec in op.outputs
    )


def cast_any(ctx: LowerContext, value: Value, dtype: str) -> Value:
    """``value`` in another dtype; constants are converted now."""
    array = ctx.array(value)
    if array is None or dtype == value.dtype:
        return cast_value(ctx, value, dtype)
    return ctx.model_constant(np.asarray(array).astype(np.dtype(dtype)), f"{value.name}.{dtype}")


def in_dtype(
    ctx: LowerContext, op: Op, rule: Lowering, dtype: str, narrow: tuple[str, ...]
) -> Refusal | None:
    """``rule`` on operands of the dtypes ``narrow`` cast to ``dtype``; its results are cast back.

    Refuses: work fused around the op (the cluster is inlined then).
    """
    if op.prologue is not None or op.epilogue is not None:
        return Refusal(f"{op.op_type} of {'/'.join(narrow)} takes no fused work")
    inputs = tuple(
        value if value is None or value.dtype not in narrow else cast_any(ctx, value, dtype)
        for value in op.inputs
    )
    outputs = tuple(
        replace(spec, name=f"{spec.name}.wide", dtype=dtype) if spec.name and spec.dtype in narrow else spec
        for spec in op.outputs
    )
    refusal = rule(ctx, replace(op, inputs=inputs, outputs=outputs))
    if refusal is not None:
        return refusal
    for i, (spec, wide) in enumerate(zip(op.outputs, outputs, strict=True)):
        if wide is not spec:
            result = ctx.by_name[wide.name]
            builder = ExprBuilder()
            expr = builder.build(builder.add(spec.dtype, "cast", builder.operand(0, dtype)))
            emit_expr(ctx, op, i, expr, [result])
    return None


def also_narrow(rule: Lowering) -> Lowering:
    """``rule``, which takes float32, for float16 and bfloat16 too."""

    def lower(ctx: LowerContext, op: Op) -> Refusal | None:
        return in_dtype(ctx, op, rule, "float32", NARROW) if is_narrow(op) else rule(ctx, op)

    lower.__doc__ = rule.__doc__
    return lower


__all__ = ["NARROW", "also_narrow", "cast_any", "in_dtype", "is_narrow"]
