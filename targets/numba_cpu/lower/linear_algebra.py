"""Lowering of Det, ReverseSequence, Hardmax, GlobalLpPool and CumProd."""

from __future__ import annotations

from accelc.ir.pass_base import Refusal
from accelc.targets.numba_cpu.kernels.base import itemsize
from accelc.targets.numba_cpu.kernels.expr import Expr, ExprBuilder
from accelc.targets.numba_cpu.kernels.text import BY_ITEMSIZE, POINTERS, VECTOR_FLOATS
from accelc.targets.numba_cpu.lower import dims as arith
from accelc.targets.numba_cpu.lower.context import LowerContext
from accelc.targets.numba_cpu.lower.fusing import emit_expr
from accelc.targets.numba_cpu.lower.indexing import places
from accelc.targets.numba_cpu.lower.movement import axis_of
from accelc.targets.numba_cpu.lower.narrow import also_narrow, cast_any
from accelc.targets.numba_cpu.lower.pool import emit_power, power_of
from accelc.targets.numba_cpu.lower.reduce import emit_reduce, reduce_over
from accelc.targets.numba_cpu.lower.table import LoweringTable, Op

TABLE = LoweringTable()


@TABLE.op("Det", since=11)
@also_narrow
def det(ctx: LowerContext, op: Op) -> Refusal | None:
    """Determinants of square matrices by elimination with row pivots.

    Source: https://onnx.ai/onnx/operators/onnx__Det.html
    """
    x = op.inputs[0]
    if x is None or x.dtype not in VECTOR_FLOATS or len(x.dims) < 2:
        return Refusal("Det needs float32 or float64 matrices")
    batch = arith.product(x.dims[:-2])
    source = ctx.reshaped(x, (batch, *x.dims[-2:]))
    scratch = ctx.temp(x.dtype, source.dims)
    target = ctx.reshaped(ctx.out(op, 0), (batch,))
    ctx.emit("irregular", {"kind": "det", "dtype": x.dtype}, [source], [target, scratch])
    return None


@TABLE.op("ReverseSequence", since=10)
def reverse_sequence(ctx: LowerContext, op: Op) -> Refusal | None:
    """The first elements of each sequence backwards, the others as they are.

    Source: https://onnx.ai/onnx/operators/onnx__ReverseSequence.html
    """
    x, lens = op.inputs[0], op.inputs[1]
    if x is None or lens is None or itemsize(x.dtype) not in BY_ITEMSIZE or len(x.dims) < 2:
        return Refusal("ReverseSequence of this dtype or rank has no kernel")
    axes = (int(op.attrs.get("batch_axis", 1)), int(op.attrs.get("time_axis", 0)))
    if sorted(axes) != [0, 1]:
        return Refusal(f"batch_axis and time_axis are {axes}, not 0 and 1")
    dims = (*x.dims[:2], arith.product(x.dims[2:]))
    params = {
        "kind": "reverse_sequence",
        "dtype": BY_ITEMSIZE[itemsize(x.dtype)],
        "batch_first": axes[0] == 0,
    }
    inputs = [ctx.reshaped(x, dims), ctx.ordered(cast_any(ctx, lens, "int64"))]
    ctx.emit("irregular", params, inputs, [ctx.reshaped(ctx.out(op, 0), dims)])
    return None


@TABLE.op("Hardmax", since=13)
@also_narrow
def hardmax(ctx: LowerContext, op: Op) -> Refusal | None:
    """1 at the first maximum along an axis, 0 elsewhere.

    Source: https://onnx.ai/onnx/operators/onnx__Hardmax.html
    """
    x = op.inputs[0]
    if x is None or x.dtype not in VECTOR_FLOATS or not 1 <= len(x.dims) <= 9:
        return Refusal("Hardmax of this dtype or rank has no kernel")
    axis = axis_of(op, len(x.dims), -1)
    if isinstance(axis, Refusal):
        return axis
    top = ctx.temp("int64", [1 if i == axis else size for i, size in enumerate(x.dims)])
    params = {"dtype": x.dtype, "axis": axis, "largest": True, "last": False, "may_be_empty": True}
    ctx.emit("arg_reduce", params, [x], [top])
    iota = places(ctx, x.dims[axis], len(x.dims) - 1 - axis, op.outputs[0].name)
    builder = ExprBuilder()
    hit = builder.add("bool", "eq", builder.operand(0, "int64"), builder.operand(1, "int64"))
    emit_expr(ctx, op, 0, builder.build(builder.add(x.dtype, "cast", hit)), [top, iota])
    return None


@TABLE.op("GlobalLpPool", since=2)
@also_narrow
def global_lp_pool(ctx: LowerContext, op: Op) -> Refusal | None:
    """(sum |x|^p)^(1/p) over all spatial dims; beyond p of 1 and 2 powers are kernels of their own.

    Source: https://onnx.ai/onnx/operators/onnx__GlobalLpPool.html
    """
    x, p = op.inputs[0], int(op.attrs.get("p", 2))
    if x is None or len(x.dims) < 3 or p < 1 or x.dtype not in VECTOR_FLOATS:
        return Refusal(f"GlobalLpPool with p = {p} has no kernel")
    axes, order = tuple(range(2, len(x.dims))), tuple(range(len(x.dims)))
    if p in (1, 2):
        return reduce_over(ctx, op, f"l{p}", axes)
    sums = ctx.temp(x.dtype, op.outputs[0].dims)
    powers = power_of(ctx, x, float(p), order)
    emit_reduce(ctx, "sum", Expr.identity(x.dtype), (powers,), axes, sums)
    emit_power(ctx, sums, 1 / p, ctx.out(op, 0), order)
    return None


@TABLE.op("CumProd", since=26)
def cum_prod(ctx: LowerContext, op: Op) -> Refusal | None:
    """Running product along an axis that is known at compile time.

    Source: https://onnx.ai/onnx/operators/onnx__CumProd.html
    """
    x, given = op.inputs[0], op.input(1)
    axis = None if given is None else ctx.symbols(given)
    if x is None or axis is None or len(axis) != 1 or not isinstance(axis[0], int):
        return Refusal("the axis is not known at compile time")
    if x.dtype not in POINTERS or x.dtype == "bool" or not -len(x.dims) <= axis[0] < len(x.dims):
        return Refusal(f"CumProd of {x.dtype} along axis {axis[0]} has no kernel")
    params = {
        "dtype": x.dtype,
        "axis": axis[0] % len(x.dims),
        "exclusive": bool(op.attrs.get("exclusive", 0)),
        "reverse": bool(op.attrs.get("reverse", 0)),
        "product": True,
    }
    ctx.emit("cumulate", params, [x], [ctx.out(op, 0)])
    return None
