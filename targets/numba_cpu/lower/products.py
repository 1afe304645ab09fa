"""What lowerings of matrix products and convolutions share: layouts of operands, and their epilogues."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from accelc.ir.dims import Dim
from accelc.ir.pass_base import Refusal
from accelc.targets.numba_cpu.kernels.expr import Expr, ExprBuilder
from accelc.targets.numba_cpu.kernels.tiles import DTYPES, SCALAR, VECTOR, fits
from accelc.targets.numba_cpu.lower.context import LowerContext
from accelc.targets.numba_cpu.lower.table import Op
from accelc.targets.numba_cpu.program import Value


def unit_dims(ctx: LowerContext, value: Value) -> frozenset[int]:
    """Dims of ``value`` that are known to have unit stride whatever the symbols are.

    The innermost dim of the storage has it, and the one outside it too where the innermost has extent 1. Dims of
    static extent 1 count as well: nothing ever steps along them.
    """
    chain: list[Value] = []
    base = value
    while base.view is not None:
        chain.append(base)
        base = ctx.program.values[base.view.base]
    unit = _innermost(base, base.order or tuple(range(len(base.dims))))
    for step in reversed(chain):
        view = step.view
        assert view is not None
        if view.kind == "reshape":
            unit = _innermost(step, tuple(range(len(step.dims))))
        elif view.kind == "permute":
            unit = frozenset(i for i, dim in enumerate(view.perm) if dim in unit)
        elif view.kind == "slice" and view.step != 1:
            unit -= {view.axis}
        elif view.kind not in ("slice",):
            return frozenset()
    return unit | {i for i, dim in enumerate(value.dims) if dim == 1}


def _innermost(value: Value, order: Sequence[int]) -> frozenset[int]:
    unit: set[int] = set()
    for dim in reversed(order):
        unit.add(dim)
        if value.dims[dim] != 1:
            break
    return frozenset(unit)


@dataclass(frozen=True)
class Finish:
    """The epilogue of a kernel call: its parameters and operands."""

    params: dict[str, Any]
    operands: tuple[Value, ...]


def finish(
    ctx: LowerContext,
    op: Op,
    dtype: str,
    axis: int,
    order: Sequence[int],
    inner: Expr | None,
    added: Sequence[Value],
) -> Finish | Refusal:
    """The epilogue parameters of a product.

    Args:
        ctx: Where copies of operands that lie badly go.
        op: The node; its fused epilogue comes after ``inner``.
        dtype: Dtype of the product.
        axis: Column dim of the result.
        order: Physical order of the result.
        inner: What the op itself adds after the product (bias, scale), or None.
        added: Operands 1.. of ``inner``.
    """
    expr = inner
    if op.epilogue is not None:
        expr = op.epilogue if inner is None else compose(inner, len(added), op.epilogue)
    if expr is None or expr.is_identity:
        return Finish({}, ())
    if not fits(expr, dtype):
        return Refusal(f"the fused epilogue is no vector code of {dtype} throughout")
    dims = op.outputs[0].dims
    kinds, values = [], []
    for operand in (*added, *op.epilogue_operands):
        missing = len(dims) - len(operand.dims)
        aligned: tuple[Dim, ...] = (1,) * missing + operand.dims
        problem = _operand_problem(aligned, dims, axis)
        if missing < 0 or problem:
            return Refusal(f"epilogue operand {operand.name}: {problem or 'more dims than the result'}")
        if order and missing == 0 and sum(dim != 1 for dim in aligned) > 1:
            # Pixels must have one stride: the result's own order gives it.
            operand = ctx.ordered(operand, order)
        column = axis % len(dims) if dims else 0
        if not dims or aligned[column] == 1:
            kinds.append(SCALAR)
        else:
            kinds.append(VECTOR)
            if column - missing not in unit_dims(ctx, operand):
                operand = ctx.ordered(operand, ())
        values.append(operand)
    return Finish({"epilogue": expr.to_json(), "kinds": kinds}, tuple(values))


def inplace(
    ctx: LowerContext, op: Op, end: Finish, others: Sequence[Value], order: Sequence[int]
) -> tuple[int, ...]:
    """Inputs whose memory the result may take: operands that lie just as it does, read right before each store.

    ``others`` are the product's own operands: what overlaps them is still read while the result is written.
    """
    taken = {ctx.program.root(value.id) for value in others}
    roots = [ctx.program.root(value.id) for value in end.operands]
    return tuple(
        2 + k
        for k, value in enumerate(end.operands)
        if value.dims == op.outputs[0].dims
        and value.view is None
        and roots[k] not in taken
        and roots.count(roots[k]) == 1
        and ctx.is_dense(value, order)
    )


def _operand_problem(aligned: Sequence[Dim], dims: Sequence[Dim], axis: int) -> str:
    """Why an operand of these dims does not broadcast to the result as kernels need; empty if it does."""
    for own, dim in zip(aligned, dims, strict=False):
        if own not in (1, dim):
            return f"extent {own} against {dim}"
    if axis == 1 and len(dims) > 3:
        spatial = [own for own, dim in zip(aligned[2:], dims[2:], strict=True) if dim != 1]
        if any(own == 1 for own in spatial) and any(own != 1 for own in spatial):
            return "it varies along some spatial dims only"
    return ""


def compose(inner: Expr, added: int, outer: Expr) -> Expr:
    """``outer`` after ``inner``: outer's operand 0 is inner's result, its operand k is operand ``k + added``."""
    builder = ExprBuilder()
    result = _append(builder, inner, None, 0)
    return builder.build(_append(builder, outer, result, added))


def _append(builder: ExprBuilder, expr: Expr, first: int | None, shift: int) -> int:
    """Add ``expr`` to a builder; operand 0 is step ``first`` if given, other operands move up by ``shift``."""
    places: list[int] = []
    for step, dtype in zip(expr.steps, expr.dtypes, strict=True):
        if step[0] == "in":
            k = step[1]
            places.append(
                first if k == 0 and first is not None else builder.operand(k + shift if k else 0, dtype)
            )
        elif step[0] == "const":
            places.append(builder.add(dtype, *step))
        else:
            places.append(builder.add(dtype, step[0], *(places[arg] for arg in step[1:])))
    return places[expr.result]


def scaled_sum(dtype: str, alpha: float, beta: float | None) -> Expr | None:
    """``alpha * x + beta * y`` of operands 0 and 1; without y if ``beta`` is None; None if that is x."""
    if alpha == 1.0 and beta is None:
        return None
    builder = ExprBuilder()
    total = builder.operand(0, dtype)
    if alpha != 1.0:
        total = builder.add(dtype, "mul", total, builder.const(float(alpha), dtype))
    if beta is not None:
        term = builder.operand(1, dtype)
        if beta != 1.0:
            term = builder.add(dtype, "mul", term, builder.const(float(beta), dtype))
        total = builder.add(dtype, "add", total, term)
    return builder.build(total)


def check_dtype(op: Op) -> str | Refusal:
    """The dtype of a product, if kernels have it."""
    dtype = op.outputs[0].dtype
    if dtype not in DTYPES:
        return Refusal(f"{op.op_type} of {dtype}: kernels take {' and '.join(DTYPES)}")
    if op.prologue is not None:
        return Refusal(f"{op.op_type} takes no fused prologue")
    return dtype


def as_float(array: np.ndarray, dtype: str) -> np.ndarray:
    """``array`` in the kernel's dtype."""
    return np.asarray(array, dtype=np.dtype(dtype))
