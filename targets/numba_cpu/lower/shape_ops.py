"""Lowering of ops that only say how elements lie: views, symbolic shapes, constants. No kernel runs for them."""

from __future__ import annotations

import numpy as np

from accelc.ir.pass_base import Refusal
from accelc.targets.numba_cpu.kernels.base import itemsize
from accelc.targets.numba_cpu.kernels.expr import ExprBuilder
from accelc.targets.numba_cpu.kernels.text import POINTERS
from accelc.targets.numba_cpu.lower import dims as dim
from accelc.targets.numba_cpu.lower.context import LowerContext
from accelc.targets.numba_cpu.lower.elementwise import emit_map, map_operands
from accelc.targets.numba_cpu.lower.reshaping import reshape_to_output
from accelc.targets.numba_cpu.lower.table import LoweringTable, Op
from accelc.targets.numba_cpu.program import Dims, Value, View

TABLE = LoweringTable()


@TABLE.op("Identity")
def identity(ctx: LowerContext, op: Op) -> Refusal | None:
    """The operand itself."""
    if op.inputs[0] is None:
        return Refusal("no input")
    ctx.same(op, 0, op.inputs[0])
    return None


@TABLE.op("Dropout", since=7)
def dropout(ctx: LowerContext, op: Op) -> Refusal | None:
    """Inference: the operand itself, and a mask that keeps everything. Refuses: training mode."""
    training = op.input(2)
    known = None if training is None else ctx.array(training)
    if training is not None and (known is None or bool(known.any())):
        return Refusal("training mode has no kernel")
    if op.outputs[1:] and op.outputs[1].name:
        if op.outputs[1].dtype != "bool":  # before opset 10
            return Refusal("a mask that is not boolean has no kernel")
        emit_fill(ctx, ctx.out(op, 1), True)
    return identity(ctx, op)


def _reshape(ctx: LowerContext, op: Op) -> Refusal | None:
    """Same elements, other dims; inference knows the output's.

    A size of the target that comes out as 0 at run time is 0 here. ONNX, without allowzero, would copy the operand's
    size at that place, which fits an empty tensor only by accident: onnxruntime mostly fails there.
    """
    if op.inputs[0] is None:
        return Refusal("no input")
    if 0 in op.inputs[0].dims and dim.product(op.outputs[0].dims) != 0:
        return Refusal("a reshape of an empty tensor to a shape that is not known to be empty")
    reshape_to_output(ctx, op, op.inputs[0])
    return None


for _name in ("Reshape", "Flatten", "Squeeze", "Unsqueeze"):
    TABLE.op(_name)(_reshape)


@TABLE.op("Transpose")
def transpose(ctx: LowerContext, op: Op) -> Refusal | None:
    """Dims permuted: a view, whatever the operand's order."""
    x = op.inputs[0]
    if x is None:
        return Refusal("no input")
    rank = len(x.dims)
    perm = tuple(int(p) for p in op.attrs.get("perm", range(rank - 1, -1, -1)))
    if sorted(perm) != list(range(rank)):
        return Refusal(f"perm {list(perm)} is no permutation of {rank} dims")
    ctx.view(op, 0, View(x.id, "permute", perm=perm))
    return None


@TABLE.op("Shape")
def shape(ctx: LowerContext, op: Op) -> Refusal | None:
    """Dims of the operand from ``start`` to ``end``, filled in at bind time."""
    x = op.inputs[0]
    if x is None:
        return Refusal("no input")
    rank = len(x.dims)
    start, end = (int(op.attrs.get(name, default)) for name, default in (("start", 0), ("end", rank)))
    start, end = (min(max(i + rank if i < 0 else i, 0), rank) for i in (start, end))
    ctx.symbolic_out(op, 0, x.dims[start:end])
    return None


@TABLE.op("Size")
def size(ctx: LowerContext, op: Op) -> Refusal | None:
    """Number of elements, filled in at bind time."""
    if op.inputs[0] is None:
        return Refusal("no input")
    ctx.symbolic_out(op, 0, (dim.product(op.inputs[0].dims),))
    return None


@TABLE.op("ConstantOfShape")
def constant_of_shape(ctx: LowerContext, op: Op) -> Refusal | None:
    """One value everywhere: a kernel without operands."""
    value = op.attrs.get("value", np.zeros(1, np.float32))
    array = np.asarray(value)
    spec = op.outputs[0]
    if array.size != 1 or array.dtype.name not in POINTERS or spec.dtype not in POINTERS:
        return Refusal(f"a constant of {array.dtype.name} has no kernel")
    emit_fill(ctx, ctx.out(op, 0), array.reshape(-1)[0].item())
    return None


def emit_fill(ctx: LowerContext, output: Value, number: float | int | bool) -> None:
    """Write one number everywhere."""
    builder = ExprBuilder()
    expr = builder.build(builder.const(number, output.dtype))
    emit_map(ctx, expr, map_operands(ctx, output.dims, output.order or range(len(output.dims)), []), output)


@TABLE.op("EyeLike", since=9)
def eye_like(ctx: LowerContext, op: Op) -> Refusal | None:
    """A constant if the shape is static."""
    dims, dtype = op.outputs[0].dims, op.outputs[0].dtype
    if not all(isinstance(extent, int) for extent in dims) or len(dims) != 2:
        return Refusal("EyeLike of a dynamic shape has no kernel")
    rows, columns = (int(extent) for extent in dims)
    if rows * columns > 1 << 20:
        return Refusal("EyeLike of over a million elements has no kernel")
    array = np.eye(rows, columns, int(op.attrs.get("k", 0)), dtype=np.dtype(dtype))
    ctx.same(op, 0, ctx.model_constant(array, op.outputs[0].name))
    return None


def _space(ctx: LowerContext, op: Op) -> Refusal | None:
    """DepthToSpace and SpaceToDepth as reshape, permute, reshape: at most one copy."""
    x = op.inputs[0]
    if x is None or len(x.dims) != 4:
        return Refusal(f"{op.op_type} needs [N, C, H, W]")
    n, c, h, w = x.dims
    b = int(op.attrs["blocksize"])
    split: Dims
    perm: tuple[int, ...]
    if b < 1:
        return Refusal(f"blocksize {b}")
    if op.op_type == "DepthToSpace":
        depth = dim.floordiv(c, b * b)
        if op.attrs.get("mode", "DCR") == "DCR":
            split, perm = (n, b, b, depth, h, w), (0, 3, 4, 1, 5, 2)
        else:
            split, perm = (n, depth, b, b, h, w), (0, 1, 4, 2, 5, 3)
    else:
        split = (n, c, dim.floordiv(h, b), b, dim.floordiv(w, b), b)
        perm = (0, 3, 5, 1, 2, 4) if op.attrs.get("mode", "DCR") == "DCR" else (0, 1, 3, 5, 2, 4)
    moved = ctx.permuted(ctx.reshaped(x, split), perm)
    reshape_to_output(ctx, op, moved)
    return None


for _name in ("DepthToSpace", "SpaceToDepth"):
    TABLE.op(_name)(_space)


@TABLE.op("BitCast", since=26)
def bit_cast(ctx: LowerContext, op: Op) -> Refusal | None:
    """The same bytes under another dtype of the same size: a copy."""
    x = op.inputs[0]
    if x is None or itemsize(x.dtype) != itemsize(op.outputs[0].dtype):
        return Refusal("BitCast between dtypes of different sizes has no kernel")
    ctx.emit("copy", ctx.copy_params(x.dtype), [x], [ctx.out(op, 0)])
    return None


__all__ = ["TABLE", "emit_fill"]
