"""Lowering of ops that find or use positions: ArgMax, TopK, CumSum, Scatter*, OneHot, Trilu, Range."""

from __future__ import annotations

import numpy as np

from accelc.ir.dims import Dim
from accelc.ir.pass_base import Refusal
from accelc.targets.numba_cpu.kernels.base import itemsize
from accelc.targets.numba_cpu.kernels.expr import ExprBuilder
from accelc.targets.numba_cpu.kernels.text import POINTERS
from accelc.targets.numba_cpu.lower.context import LowerContext
from accelc.targets.numba_cpu.lower.elementwise import emit_map, map_operands
from accelc.targets.numba_cpu.lower.movement import axis_of, emit_copy, index_operand, sliced
from accelc.targets.numba_cpu.lower.table import LoweringTable, Op
from accelc.targets.numba_cpu.program import SymbolCall, Value

TABLE = LoweringTable()


def places(ctx: LowerContext, extent: Dim, tail: int, name: str) -> Value:
    """0, 1, 2, ... up to ``extent``, followed by ``tail`` dims of 1; a constant if the extent is known."""
    if isinstance(extent, int):
        return ctx.model_constant(
            np.arange(extent, dtype=np.int64).reshape([-1] + [1] * tail), f"{name}.places"
        )
    start, step = (ctx.model_constant(np.array(n, np.int64), f"{name}.{n}") for n in (0, 1))
    row = ctx.temp("int64", (extent,), (), f"{name}.places")
    ctx.emit("iota", {"dtype": "int64"}, [start, step], [row])
    return ctx.reshaped(row, (extent, *(1,) * tail))


def _lined(op: Op, default: int) -> tuple[Value, int] | Refusal:
    """The operand of an op along lines, and its axis."""
    x = op.inputs[0]
    if x is None or x.dtype not in POINTERS or x.dtype == "bool" or not 1 <= len(x.dims) <= 9:
        return Refusal(f"{op.op_type} of this dtype or rank has no kernel")
    axis = axis_of(op, len(x.dims), default)
    return axis if isinstance(axis, Refusal) else (x, axis)


def _arg_reduce(ctx: LowerContext, op: Op) -> Refusal | None:
    """Position of the largest or smallest element along one axis."""
    found = _lined(op, 0)
    if isinstance(found, Refusal):
        return found
    x, axis = found
    params = {
        "dtype": x.dtype,
        "axis": axis,
        "largest": op.op_type == "ArgMax",
        "last": bool(op.attrs.get("select_last_index", 0)),
    }
    ctx.emit("arg_reduce", params, [x], [ctx.out(op, 0)])
    return None


for _name in ("ArgMax", "ArgMin"):
    TABLE.op(_name)(_arg_reduce)


@TABLE.op("CumSum", since=11)
def cum_sum(ctx: LowerContext, op: Op) -> Refusal | None:
    """Running sum along an axis that is known at compile time."""
    x, given = op.inputs[0], op.input(1)
    axis = None if given is None else ctx.symbols(given)
    if x is None or axis is None or len(axis) != 1 or not isinstance(axis[0], int):
        return Refusal("the axis is not known at compile time")
    if x.dtype not in POINTERS or x.dtype == "bool" or not -len(x.dims) <= axis[0] < len(x.dims):
        return Refusal(f"CumSum of {x.dtype} along axis {axis[0]} has no kernel")
    params = {
        "dtype": x.dtype,
        "axis": axis[0] % len(x.dims),
        "exclusive": bool(op.attrs.get("exclusive", 0)),
        "reverse": bool(op.attrs.get("reverse", 0)),
    }
    ctx.emit("cumulate", params, [x], [ctx.out(op, 0)])
    return None


@TABLE.op("TopK", since=1)
def top_k(ctx: LowerContext, op: Op) -> Refusal | None:
    """The k largest or smallest, always in order."""
    found = _lined(op, -1)
    if isinstance(found, Refusal):
        return found
    x, axis = found
    params = {"dtype": x.dtype, "axis": axis, "largest": bool(op.attrs.get("largest", 1))}
    dims = op.outputs[0].dims if op.outputs[0].name else op.outputs[1].dims
    values = ctx.out(op, 0) if op.outputs[0].name else ctx.temp(x.dtype, dims)
    second = len(op.outputs) > 1 and op.outputs[1].name
    places = ctx.out(op, 1) if second else ctx.temp("int64", dims)
    ctx.emit("top_k", params, [x], [values, places])
    return None


def _scatter(ctx: LowerContext, op: Op) -> Refusal | None:
    """A copy of the data, then the updates in order."""
    x, updates = op.inputs[0], op.input(2)
    index = index_operand(ctx, op.input(1))
    if x is None or updates is None or isinstance(index, Refusal):
        return index if isinstance(index, Refusal) else Refusal("no input")
    if x.dtype not in POINTERS or len(x.dims) > 8 or not x.dims:
        return Refusal(f"{op.op_type} of {x.dtype}, rank {len(x.dims)} has no kernel")
    reduction = op.attrs.get("reduction", "none")
    if reduction != "none" and x.dtype == "bool":
        return Refusal("a reduction of bool has no kernel")
    axis = 0 if op.op_type == "ScatterND" else axis_of(op, len(x.dims))
    if isinstance(axis, Refusal):
        return axis
    output = ctx.out(op, 0)
    emit_copy(ctx, x, output)
    params = {"dtype": x.dtype, "index": index.dtype, "reduction": reduction, "axis": axis}
    if op.op_type == "ScatterND":
        _emit_in_place(ctx, "scatter", params, [index, ctx.ordered(updates)], output)
    else:
        _emit_in_place(ctx, "scatter_at", params, [index, updates], output)
    return None


def _emit_in_place(
    ctx: LowerContext, family: str, params: dict[str, object], inputs: list[Value], output: Value
) -> None:
    """A call that changes what its output already holds; the output is an input too, so that it is kept."""
    ctx.emit(family, params, [*inputs, output], [output])


for _name, _since in (("ScatterElements", 11), ("ScatterND", 11), ("Scatter", 9)):
    TABLE.op(_name, since=_since)(_scatter)


@TABLE.op("OneHot", since=9)
def one_hot(ctx: LowerContext, op: Op) -> Refusal | None:
    """``on`` where the position along a new axis equals the index, else ``off``."""
    index, values = op.inputs[0], op.input(2)
    dims, rank = op.outputs[0].dims, len(op.outputs[0].dims)
    if index is None or values is None or index.dtype not in POINTERS or values.dtype not in POINTERS:
        return Refusal("OneHot of these dtypes has no kernel")
    axis = axis_of(op, rank, -1)
    if isinstance(axis, Refusal):
        return axis
    iota = places(ctx, dims[axis], rank - 1 - axis, op.outputs[0].name)
    depth = ctx.temp("int64", ())
    ctx.program.steps.append(SymbolCall((dims[axis],), depth.id))
    spread = ctx.reshaped(index, (*index.dims[:axis], 1, *index.dims[axis:]))
    builder = ExprBuilder()
    step, place = builder.operand(0, index.dtype), builder.operand(1, "int64")
    if index.dtype != "int64":
        step = builder.add("int64", "cast", step)
    below = builder.add("bool", "lt", step, builder.const(0, "int64"))
    wrapped = builder.add("int64", "add", step, builder.operand(4, "int64"))
    step = builder.add("int64", "where", below, wrapped, step)
    hit = builder.add("bool", "eq", step, place)
    on, off = builder.operand(2, values.dtype), builder.operand(3, values.dtype)
    expr = builder.build(builder.add(values.dtype, "where", hit, on, off))
    flat = ctx.ordered(values)
    operands = [spread, iota, sliced(ctx, flat, 0, 1, 1), sliced(ctx, flat, 0, 0, 1), depth]
    emit_map(ctx, expr, map_operands(ctx, dims, range(rank), operands), ctx.out(op, 0))
    return None


@TABLE.op("Trilu", since=14)
def trilu(ctx: LowerContext, op: Op) -> Refusal | None:
    """The upper or lower triangle of each matrix."""
    x, k = op.inputs[0], op.input(1)
    if x is None or len(x.dims) < 2 or itemsize(x.dtype) > 8:
        return Refusal("Trilu of this dtype or rank has no kernel")
    if k is None:
        k = ctx.model_constant(np.zeros(1, np.int64), f"{op.outputs[0].name}.k")
    params = {"itemsize": itemsize(x.dtype), "side": "upper" if op.attrs.get("upper", 1) else "lower"}
    ctx.emit("triangle", params, [ctx.ordered(x), k], [ctx.out(op, 0)])
    return None


@TABLE.op("Range", since=11)
def range_op(ctx: LowerContext, op: Op) -> Refusal | None:
    """Start, start + delta, ...; the length is known from shape inference."""
    start, delta = op.inputs[0], op.input(2)
    if start is None or delta is None or start.dtype not in POINTERS:
        return Refusal("Range of this dtype has no kernel")
    ctx.emit("iota", {"dtype": start.dtype}, [start, delta], [ctx.out(op, 0)])
    return None
