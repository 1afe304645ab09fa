"""Lowering of MatMul and Gemm of integers, which the float kernels of these ops leave to it."""

from __future__ import annotations

from dataclasses import replace

from accelc.ir.pass_base import Refusal
from accelc.targets.numba_cpu.kernels.expr import ExprBuilder
from accelc.targets.numba_cpu.kernels.integer_matmul import MAX_BATCH
from accelc.targets.numba_cpu.kernels.text import INTEGERS
from accelc.targets.numba_cpu.lower.context import LowerContext
from accelc.targets.numba_cpu.lower.fusing import emit_expr
from accelc.targets.numba_cpu.lower.table import Op, OutSpec
from accelc.targets.numba_cpu.program import Value


def integer_matmul(ctx: LowerContext, op: Op) -> Refusal | None:
    """A @ B for any integer dtype; refuses fused work (the cluster is inlined then)."""
    a, b = op.inputs[0], op.inputs[1]
    assert a is not None
    assert b is not None
    if op.epilogue is not None or op.prologue is not None:
        return Refusal(f"{op.op_type} of {a.dtype} takes no fused work")
    dims = list(op.outputs[0].dims)
    # As matrices: a vector is a row on the left and a column on the right.
    if len(a.dims) == 1:
        a = ctx.reshaped(a, (1, *a.dims))
        dims.insert(len(dims) - (len(b.dims) > 1), 1)
    if len(b.dims) == 1:
        b = ctx.reshaped(b, (*b.dims, 1))
        dims.append(1)
    out = ctx.out(op, 0)
    target = out if len(dims) == len(out.dims) else ctx.reshaped(out, dims)
    if len(dims) - 2 > MAX_BATCH:
        return Refusal(f"a product of rank {len(dims)} has no kernel")
    ctx.emit("integer_matmul", {"dtype": out.dtype, "batch": len(dims) - 2}, [a, b], [target])
    return None


def integer_gemm(ctx: LowerContext, op: Op) -> Refusal | None:
    """Alpha * A' @ B' + beta * C of integers, for whole alpha and beta."""
    a, b, c = op.inputs[0], op.inputs[1], op.input(2)
    assert a is not None
    assert b is not None
    alpha, beta = float(op.attrs.get("alpha", 1.0)), float(op.attrs.get("beta", 1.0))
    if not alpha.is_integer() or not beta.is_integer():
        return Refusal("Gemm of integers with broken alpha or beta has no kernel")
    a = ctx.permuted(a, (1, 0)) if op.attrs.get("transA", 0) else a
    b = ctx.permuted(b, (1, 0)) if op.attrs.get("transB", 0) else b
    spec = op.outputs[0]
    plain = replace(op, inputs=(a, b), attrs={})
    if alpha == 1.0 and (c is None or beta == 0.0):
        return integer_matmul(ctx, plain)
    inner = OutSpec(f"{spec.name}.product", spec.dtype, spec.dims)
    refusal = integer_matmul(ctx, replace(plain, outputs=(inner,)))
    if refusal is not None:
        return refusal
    builder = ExprBuilder()
    total = builder.add(
        spec.dtype, "mul", builder.operand(0, spec.dtype), builder.const(int(alpha), spec.dtype)
    )
    operands: list[Value] = [ctx.by_name[inner.name]]
    if c is not None and beta != 0.0:
        term = builder.add(
            spec.dtype, "mul", builder.operand(1, spec.dtype), builder.const(int(beta), spec.dtype)
        )
        total = builder.add(spec.dtype, "add", total, term)
        operands.append(c)
    emit_expr(ctx, op, 0, builder.build(total), operands)
    return None


def is_integer(op: Op) -> bool:
    """Whether an op's result is of integers."""
    return op.outputs[0].dtype in INTEGERS


__all__ = ["integer_gemm", "integer_matmul", "is_integer"]
