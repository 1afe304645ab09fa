"""Lowerings of MatMul and Gemm."""

from __future__ import annotations

from typing import Any

import numpy as np

from accelc.ir.pass_base import Refusal
from accelc.targets.numba_cpu.kernels.packing import pack_panels
from accelc.targets.numba_cpu.kernels.tiles import choose_tile
from accelc.targets.numba_cpu.lower.context import LowerContext
from accelc.targets.numba_cpu.lower.integer_products import integer_gemm, integer_matmul, is_integer
from accelc.targets.numba_cpu.lower.narrow import also_narrow
from accelc.targets.numba_cpu.lower.products import check_dtype, finish, inplace, scaled_sum, unit_dims
from accelc.targets.numba_cpu.lower.table import LoweringTable, Op
from accelc.targets.numba_cpu.program import Value

TABLE = LoweringTable()


@TABLE.op("MatMul", since=1, fuses=True)
@also_narrow
def matmul(ctx: LowerContext, op: Op) -> Refusal | None:
    """A @ B as NumPy's matmul: batch dims broadcast, vectors allowed.

    Shapes: A ``[..., M, K]`` or ``[K]``, B ``[..., K, N]`` or ``[K]``.
    Dtypes: float32, float64; float16 and bfloat16 in float32; integers.
    Source: https://onnx.ai/onnx/operators/onnx__MatMul.html
    """
    if is_integer(op):
        return integer_matmul(ctx, op)
    dtype = check_dtype(op)
    if isinstance(dtype, Refusal):
        return dtype
    a, b = op.inputs[0], op.inputs[1]
    assert a is not None
    assert b is not None
    params: dict[str, Any] = {"a_vector": len(a.dims) == 1, "b_vector": len(b.dims) == 1}
    array = ctx.array(b)
    if len(b.dims) == 1:
        array = None if array is None else array.reshape(-1, 1)
        b = ctx.reshaped(b, (b.dims[0], 1)) if array is None else b
    return _product(ctx, op, dtype, a, b, array, params, 1.0, None, 1.0)


@TABLE.op("Gemm", since=7, fuses=True)
@also_narrow
def gemm(ctx: LowerContext, op: Op) -> Refusal | None:
    """Alpha * A' @ B' + beta * C.

    Shapes: A ``[M, K]`` (``[K, M]`` if transA), B ``[K, N]`` (``[N, K]`` if transB), C broadcast to ``[M, N]``.
    Dtypes: float32, float64; float16 and bfloat16 in float32; integers. With ``beta`` 0 nothing of C is read.
    Source: https://onnx.ai/onnx/operators/onnx__Gemm.html
    """
    if is_integer(op):
        return integer_gemm(ctx, op)
    dtype = check_dtype(op)
    if isinstance(dtype, Refusal):
        return dtype
    a, b, c = op.inputs[0], op.inputs[1], op.input(2)
    assert a is not None
    assert b is not None
    alpha, beta = float(op.attrs.get("alpha", 1.0)), float(op.attrs.get("beta", 1.0))
    array = ctx.array(b)
    if op.attrs.get("transA", 0):
        a = ctx.permuted(a, (1, 0))
    if op.attrs.get("transB", 0):
        array = None if array is None else array.T
        b = ctx.permuted(b, (1, 0)) if array is None else b
    if beta == 0.0:
        c = None
    return _product(ctx, op, dtype, a, b, array, {}, alpha, c, beta)


def _product(
    ctx: LowerContext,
    op: Op,
    dtype: str,
    a: Value,
    b: Value,
    array: np.ndarray | None,
    params: dict[str, Any],
    alpha: float,
    c: Value | None,
    beta: float,
) -> Refusal | None:
    """Emit alpha * a @ b + beta * c; ``array`` holds b if it is constant (``[..., K, N]``)."""
    packed = array is not None and array.size == array.shape[-1] * array.shape[-2]
    if packed and array is not None and len(array.shape) > 2 and len(a.dims) < len(array.shape):
        # B's leading ones give C more dims than A has.
        packed = False
    name = b.name
    width = b.dims[-1] if array is None else int(array.shape[-1])
    tile = choose_tile(ctx.isa, dtype, width if isinstance(width, int) else None)
    key = (b.id, tile.nr, alpha, None if array is None else array.strides)
    if packed and array is not None and alpha != 1.0:
        array, alpha = (array.astype(np.float64) * alpha).astype(dtype), 1.0
    inner = scaled_sum(dtype, alpha, None if c is None else beta)
    end = finish(ctx, op, dtype, -1, (), inner, () if c is None else (c,))
    if isinstance(end, Refusal):
        return end
    if packed and array is not None:
        matrix = array.reshape(array.shape[-2:])
        kind, b = (
            "packed",
            ctx.once(key, lambda: ctx.constant(pack_panels(matrix, tile.nr), f"{name}.packed")),
        )
    else:
        kind = "rows" if len(b.dims) - 1 in unit_dims(ctx, b) else "any"
    a, rows = _left(ctx, a)
    out = ctx.out(op)
    call = {
        "dtype": dtype,
        "mr": tile.mr,
        "nv": tile.nv,
        "axis": -1,
        "a": rows,
        "b": kind,
        **params,
        **end.params,
    }
    ctx.emit("gemm", call, [a, b, *end.operands], [out], inplace=inplace(ctx, op, end, (a, b), ()))
    return None


def _left(ctx: LowerContext, a: Value) -> tuple[Value, str]:
    """A in a form that kernels read, and which: rows of adjacent elements, or adjacent rows."""
    unit = unit_dims(ctx, a)
    rank = len(a.dims)
    if rank - 1 in unit:
        return a, "strided"
    if rank >= 2 and rank - 2 in unit:
        return a, "columns"
    return ctx.ordered(a, ()), "strided"
