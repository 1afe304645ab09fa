"""Lowering of elementwise ops and clusters to the ``elementwise`` family."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from accelc.ir.pass_base import Refusal
from accelc.targets.numba_cpu.kernels import expr_emit
from accelc.targets.numba_cpu.kernels.base import itemsize
from accelc.targets.numba_cpu.kernels.expr import Expr, ExprBuilder
from accelc.targets.numba_cpu.kernels.text import POINTERS
from accelc.targets.numba_cpu.lower.context import LowerContext
from accelc.targets.numba_cpu.lower.table import LoweringTable, Op
from accelc.targets.numba_cpu.lower.to_expr import ELEMENTWISE, result_dtype, to_expr
from accelc.targets.numba_cpu.program import Dims, Value

__all__ = ["ELEMENTWISE", "TABLE", "emit_cluster", "map_operands", "result_dtype", "to_expr"]

TABLE = LoweringTable()


def scalar_of(ctx: LowerContext, value: Value) -> float | int | bool | None:
    """The number that a constant of one element holds."""
    array = ctx.array(value)
    if array is None or array.size != 1 or array.dtype.kind not in "biuf" or array.dtype.name not in POINTERS:
        return None
    return array.reshape(-1)[0].item()  # type: ignore[no-any-return]


def _elementwise(ctx: LowerContext, op: Op) -> Refusal | None:
    """One elementwise node; constants of one element become literals."""
    builder = ExprBuilder()
    operands: list[Value] = []
    args: list[int | None] = []
    # A literal of full rank may enlarge the result, which its operands then do not have the shape of.
    rank = len(op.outputs[0].dims)
    for value in op.inputs:
        if value is None:
            args.append(None)
            continue
        number = scalar_of(ctx, value)
        if number is not None and len(op.inputs) > 1 and len(value.dims) <= rank:
            args.append(builder.const(number, value.dtype))
        else:
            args.append(builder.operand(len(operands), value.dtype))
            operands.append(value)
    dtypes = [None if value is None else value.dtype for value in op.inputs]
    result = to_expr(op.op_type, op.attrs, dtypes, builder, args, op.outputs[0].dtype)
    if isinstance(result, Refusal):
        return result
    return emit_cluster(ctx, op, builder.build(result), operands)


for _name in sorted(ELEMENTWISE - {"Identity"}):
    TABLE.op(_name)(_elementwise)


@dataclass(frozen=True)
class Mapped:
    """Operands arranged for one walk over an output.

    Args:
        values: The operands, copied where they did not lie well.
        access: Access kind of each along the innermost dim (kernels/row_operands.py).
        loops: Outer loops that the kernel needs.
        flat: Whether everything is one run of elements.
    """

    values: tuple[Value, ...]
    access: tuple[str, ...]
    loops: int
    flat: bool


def output_order(ctx: LowerContext, dims: Dims, operands: Sequence[Value]) -> tuple[int, ...]:
    """The physical order to write in: that of the first operand of full shape that is no constant."""
    for value in operands:
        if value.dims == dims and value.kind != "constant" and (order := ctx.order_of(value)) is not None:
            return order
    return tuple(range(len(dims)))


def arranged(ctx: LowerContext, value: Value, order: Sequence[int]) -> Value:
    """``value`` dense in ``order``; constants are rearranged now, other values by a copy at run time."""
    array = ctx.array(value)
    if array is None or ctx.is_dense(value, order):
        return ctx.ordered(value, order)
    packed = ctx.model_constant(np.ascontiguousarray(array.transpose(order)), value.name)
    return ctx.permuted(packed, [list(order).index(dim) for dim in range(len(order))])


def map_operands(
    ctx: LowerContext,
    dims: Dims,
    order: Sequence[int],
    operands: Sequence[Value],
    *,
    inner: int | None = None,
) -> Mapped:
    """Arrange operands that broadcast to ``dims`` for a walk in ``order``.

    Args:
        ctx: The lowering context.
        dims: Dims of the output.
        order: Its physical order.
        operands: Values that broadcast to ``dims``.
        inner: The innermost dim of the walk; by default the last of ``order`` whose extent is not 1.
    """
    essential = [dim for dim in order if dims[dim] != 1]
    if inner is None:
        inner = essential[-1] if essential else None
    values, access, signatures = [], [], []
    for operand in operands:
        if operand.dims == dims and not ctx.is_dense(operand, order) and ctx.order_of(operand) is not None:
            operand = arranged(ctx, operand, order)
        values.append(operand)
        signature = _signature(ctx, operand, dims, essential)
        signatures.append(signature)
        access.append(_access(ctx, operand, dims, inner, signature, essential))
    groups = _groups(essential, signatures)
    flat = groups <= 1 and all(
        kind == "zero" or (kind == "unit" and value.dims == dims)
        for kind, value in zip(access, values, strict=True)
    )
    return Mapped(tuple(values), tuple(access), groups, flat)


def _signature(
    ctx: LowerContext, operand: Value, dims: Dims, essential: Sequence[int]
) -> tuple[str, ...] | None:
    """For each dim of the walk: ``f``ull, ``b``roadcast, or unknown; None if the operand lies in another order."""
    shift = len(dims) - len(operand.dims)
    letters = []
    for dim in essential:
        extent = 1 if dim < shift else operand.dims[dim - shift]
        letters.append("b" if extent == 1 else "f" if extent == dims[dim] else f"u{dim}")
    order = ctx.order_of(operand)
    if order is None:
        return None
    walked = [dim - shift for dim, letter in zip(essential, letters, strict=True) if letter != "b"]
    physical = [dim for dim in order if operand.dims[dim] != 1]
    return tuple(letters) if walked == physical else None


def _access(
    ctx: LowerContext,
    operand: Value,
    dims: Dims,
    inner: int | None,
    signature: tuple[str, ...] | None,
    essential: Sequence[int],
) -> str:
    shift = len(dims) - len(operand.dims)
    if all(extent == 1 for extent in operand.dims):
        return "zero"
    if inner is None or inner < shift:
        return "zero"
    extent = operand.dims[inner - shift]
    if extent == 1:
        return "zero"
    order = ctx.order_of(operand)
    last = [dim for dim in order or () if operand.dims[dim] != 1][-1:]
    return "unit" if extent == dims[inner] and last == [inner - shift] else "any"


def _groups(essential: Sequence[int], signatures: Sequence[tuple[str, ...] | None]) -> int:
    """Dims that remain when neighbours that every operand walks as one are merged."""
    if any(signature is None for signature in signatures):
        return len(essential)
    groups = 0
    before: tuple[str, ...] | None = None
    for i in range(len(essential)):
        column = tuple(signature[i] for signature in signatures if signature is not None)
        if column != before or any(letter.startswith("u") for letter in column):
            groups += 1
        before = column
    return groups


def emit_cluster(ctx: LowerContext, op: Op, expr: Expr, values: Sequence[Value]) -> Refusal | None:
    """Emit ``expr`` over ``values`` (operand ``k`` is ``values[k]``) as output 0 of ``op``."""
    spec = op.outputs[0]
    if expr.dtype != spec.dtype:
        return Refusal(f"the kernel gives {expr.dtype}, the model says {spec.dtype}")
    order = output_order(ctx, spec.dims, values)
    mapped = map_operands(ctx, spec.dims, order, values)
    output = ctx.out(op, 0, order)
    emit_map(ctx, expr, mapped, output)
    return None


def emit_map(ctx: LowerContext, expr: Expr, mapped: Mapped, output: Value) -> None:
    """One call of the ``elementwise`` family."""
    used = expr_emit.used_operands(expr)
    params = {
        "expr": expr.to_json(),
        "access": list(mapped.access),
        "loops": 0 if mapped.flat else max(3, mapped.loops),
        "cost": expr_emit.flops(expr),
    }
    roots = [ctx.program.root(value.id) for value in mapped.values]
    inplace = [
        k
        for k in used
        if mapped.access[k] == "unit"
        and mapped.values[k].dims == output.dims
        and itemsize(mapped.values[k].dtype) == itemsize(output.dtype)
        and all(roots[j] != roots[k] or mapped.values[j].id == mapped.values[k].id for j in used)
    ]
    inputs = [value if k in used else None for k, value in enumerate(mapped.values)]
    ctx.emit("elementwise", params, inputs, [output], inplace)
