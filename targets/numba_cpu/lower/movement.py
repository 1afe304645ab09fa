"""Lowering of ops that move elements: slices, joins, indices, repetition, padding."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from accelc.ir.pass_base import Refusal
from accelc.targets.numba_cpu.kernels.base import itemsize
from accelc.targets.numba_cpu.kernels.text import POINTERS
from accelc.targets.numba_cpu.lower import dims as dim
from accelc.targets.numba_cpu.lower.context import LowerContext
from accelc.targets.numba_cpu.lower.elementwise import output_order, scalar_of
from accelc.targets.numba_cpu.lower.shape_ops import emit_fill
from accelc.targets.numba_cpu.lower.table import LoweringTable, Op
from accelc.targets.numba_cpu.program import Dims, SymbolCall, Value, View

TABLE = LoweringTable()
Dim = int | str


def emit_copy(ctx: LowerContext, source: Value, target: Value) -> None:
    """Copy ``source``, broadcast if need be, into ``target``, which may be a view."""
    ctx.emit("copy", ctx.copy_params(source.dtype), [source], [target])


def sliced(ctx: LowerContext, value: Value, axis: int, start: Dim, extent: Dim, step: int = 1) -> Value:
    """A view of ``extent`` elements of one dim."""
    dims = [extent if i == axis else old for i, old in enumerate(value.dims)]
    return ctx.make_view(View(value.id, "slice", axis=axis, start=start, step=step), dims)


def axis_of(op: Op, rank: int, default: int = 0) -> int | Refusal:
    """The attribute ``axis``, counted from the front."""
    axis = int(op.attrs.get("axis", default))
    return axis % rank if -rank <= axis < rank else Refusal(f"axis {axis} does not fit rank {rank}")


def ints_of(ctx: LowerContext, op: Op, i: int, name: str) -> tuple[Dim, ...] | None:
    """Integers from input ``i``, or from attribute ``name`` as older opsets have it; None if not known."""
    value = op.input(i)
    if value is not None:
        return ctx.symbols(value)
    found = op.attrs.get(name)
    return None if found is None else tuple(int(x) for x in found)


# ---------------------------------------------------------------------- slices and joins
@TABLE.op("Slice")
def slice_op(ctx: LowerContext, op: Op) -> Refusal | None:
    """A view of each sliced dim.

    Refuses: starts that are not known before running, or whose sign is not.
    Source: https://onnx.ai/onnx/operators/onnx__Slice.html
    """
    x = op.inputs[0]
    if x is None:
        return Refusal("no input")
    starts = ints_of(ctx, op, 1, "starts")
    if starts is None:
        return Refusal("the starts of the slice are not known before running")
    axes = ints_of(ctx, op, 3, "axes") if op.input(3) is not None or "axes" in op.attrs else None
    steps = ints_of(ctx, op, 4, "steps") if op.input(4) is not None else (1,) * len(starts)
    axes = tuple(range(len(starts))) if axes is None else axes
    if steps is None or not all(isinstance(i, int) for i in (*axes, *steps)):
        return Refusal("axes or steps of the slice are not known before running")
    value, rank = x, len(x.dims)
    for start, axis, step in zip(starts, axes, steps, strict=True):
        place = int(axis) % rank
        first = _first(start, x.dims[place], int(step))
        if isinstance(first, Refusal):
            return first
        extent = op.outputs[0].dims[place]
        if int(step) == 1 and extent == value.dims[place]:
            continue
        value = sliced(ctx, value, place, first, extent, int(step))
    ctx.same(op, 0, value)
    return None


def _first(start: Dim, extent: Dim, step: int) -> Dim | Refusal:
    """The first element that a slice takes."""
    if step == 0:
        return Refusal("a slice with step 0")
    if isinstance(start, str):
        if "-" in start or step < 0:
            return Refusal(f"the sign of the slice's start {start} is not known")
        return dim.minimum(start, extent)
    if start < 0:
        place = dim.add(extent, start) if start >= -(2**31) else 0
        low = dim.maximum(place, 0)
        return low
    last = extent if step > 0 else dim.sub(extent, 1)
    if isinstance(last, int):
        return max(0, min(start, last))
    return 0 if start == 0 else dim.maximum(dim.minimum(start, last), 0)


@TABLE.op("Split")
def split(ctx: LowerContext, op: Op) -> Refusal | None:
    """Views, one after the other along ``axis``."""
    x = op.inputs[0]
    if x is None:
        return Refusal("no input")
    axis = axis_of(op, len(x.dims))
    if isinstance(axis, Refusal):
        return axis
    start: Dim = 0
    for i, spec in enumerate(op.outputs):
        extent = spec.dims[axis] if spec.name else None
        if extent is None:
            sizes = ints_of(ctx, op, 1, "split")
            if sizes is None:
                return Refusal("sizes of unused outputs are not known")
            extent = sizes[i]
        else:
            ctx.same(op, i, sliced(ctx, x, axis, start, extent))
        start = dim.add(start, extent)
    return None


@TABLE.op("Concat")
def concat(ctx: LowerContext, op: Op) -> Refusal | None:
    """Each operand is copied into its slice of the output."""
    inputs = [value for value in op.inputs if value is not None]
    spec = op.outputs[0]
    axis = axis_of(op, len(spec.dims), 1)
    if isinstance(axis, Refusal):
        return axis
    if len(inputs) == 1:
        ctx.same(op, 0, inputs[0])
        return None
    largest = next((value for value in inputs if value.kind != "constant"), inputs[0])
    output = ctx.out(op, 0, output_order(ctx, largest.dims, [largest]))
    start: Dim = 0
    for value in inputs:
        extent = value.dims[axis]
        if extent != 0:
            emit_copy(ctx, value, sliced(ctx, output, axis, start, extent))
        start = dim.add(start, extent)
    return None


# ---------------------------------------------------------------------- repetition
@TABLE.op("Expand")
def expand(ctx: LowerContext, op: Op) -> Refusal | None:
    """A broadcasting copy."""
    x = op.inputs[0]
    if x is None:
        return Refusal("no input")
    if x.dims == op.outputs[0].dims:
        ctx.same(op, 0, x)
        return None
    emit_copy(ctx, x, ctx.out(op, 0))
    return None


@TABLE.op("Tile", since=6)
def tile(ctx: LowerContext, op: Op) -> Refusal | None:
    """A broadcasting copy from [1, d0, 1, d1, ...] to [r0, d0, r1, d1, ...]."""
    x, repeats = op.inputs[0], ints_of(ctx, op, 1, "repeats")
    if x is None or repeats is None or len(repeats) != len(x.dims):
        return Refusal("the repeats are not known before running")
    output = ctx.out(op, 0)
    if not x.dims:
        emit_copy(ctx, x, output)
        return None
    source = ctx.reshaped(x, [part for extent in x.dims for part in (1, extent)])
    wanted = [part for count, extent in zip(repeats, x.dims, strict=True) for part in (count, extent)]
    emit_copy(ctx, source, ctx.make_view(View(output.id, "reshape"), wanted))
    return None


# ---------------------------------------------------------------------- indices
def index_operand(ctx: LowerContext, value: Value | None) -> Value | Refusal:
    """An index tensor, row-major."""
    if value is None or value.dtype not in ("int32", "int64"):
        return Refusal("indices are int32 or int64")
    return ctx.ordered(value)


def emit_gather(
    ctx: LowerContext,
    x: Value,
    index: Value,
    output: Value,
    axis: int,
    batch: int = 0,
    *,
    parts: bool = False,
) -> Refusal | None:
    """One call of the ``gather`` family."""
    size = itemsize(x.dtype)
    if size not in (1, 2, 4, 8):
        return Refusal(f"{x.dtype} has no gather kernel")
    params = {"itemsize": size, "index": index.dtype, "axis": axis, "batch": batch, "parts": parts}
    ctx.emit("gather", params, [ctx.ordered(x), index], [output])
    return None


@TABLE.op("Gather")
def gather(ctx: LowerContext, op: Op) -> Refusal | None:
    """Runs along ``axis``; a constant scalar index is a view.

    Indices out of range are an error (kernels/gather.py).
    """
    x, given = op.inputs[0], op.input(1)
    index = index_operand(ctx, given)
    if x is None or isinstance(index, Refusal):
        return index if isinstance(index, Refusal) else Refusal("no input")
    axis = axis_of(op, len(x.dims))
    if isinstance(axis, Refusal):
        return axis
    return emit_gather(ctx, x, index, ctx.out(op, 0), axis)


@TABLE.op("GatherND", since=11)
def gather_nd(ctx: LowerContext, op: Op) -> Refusal | None:
    """Runs found by several indices each."""
    x, index = op.inputs[0], index_operand(ctx, op.input(1))
    if x is None or isinstance(index, Refusal):
        return index if isinstance(index, Refusal) else Refusal("no input")
    batch = int(op.attrs.get("batch_dims", 0))
    return emit_gather(ctx, x, index, ctx.out(op, 0), batch, batch, parts=True)


@TABLE.op("GatherElements", since=11)
def gather_elements(ctx: LowerContext, op: Op) -> Refusal | None:
    """Single elements along ``axis``."""
    x, index = op.inputs[0], index_operand(ctx, op.input(1))
    if x is None or isinstance(index, Refusal):
        return index if isinstance(index, Refusal) else Refusal("no input")
    axis = axis_of(op, len(x.dims)) if x.dims else Refusal("GatherElements of a scalar")
    if isinstance(axis, Refusal) or itemsize(x.dtype) > 8 or len(x.dims) > 8:
        return (
            axis if isinstance(axis, Refusal) else Refusal(f"{x.dtype} of rank {len(x.dims)} has no kernel")
        )
    params = {"itemsize": itemsize(x.dtype), "index": index.dtype, "axis": axis}
    ctx.emit("gather_at", params, [x, index], [ctx.out(op, 0)])
    return None


# ---------------------------------------------------------------------- padding
@TABLE.op("Pad")
def pad(ctx: LowerContext, op: Op) -> Refusal | None:
    """Constant, edge, reflect or wrap padding, as copies of slices; negative pads cut.

    Refuses: pads that are not known before running.
    Source: https://onnx.ai/onnx/operators/onnx__Pad.html
    """
    x = op.inputs[0]
    if x is None:
        return Refusal("no input")
    rank = len(x.dims)
    pads = ints_of(ctx, op, 1, "pads")
    axes = ints_of(ctx, op, 3, "axes") if op.input(3) is not None else tuple(range(rank))
    if pads is None or axes is None or not all(isinstance(i, int) for i in (*pads, *axes)):
        return Refusal("the pads are not known before running")
    before, after = [0] * rank, [0] * rank
    for i, axis in enumerate(axes):
        before[int(axis) % rank], after[int(axis) % rank] = int(pads[i]), int(pads[i + len(axes)])
    value = x
    for axis in range(rank):
        cut_low, cut_high = max(0, -before[axis]), max(0, -after[axis])
        if cut_low or cut_high:
            extent = dim.sub(value.dims[axis], cut_low + cut_high)
            value = sliced(ctx, value, axis, cut_low, extent)
    before, after = [max(0, p) for p in before], [max(0, p) for p in after]
    if not any(before) and not any(after):
        ctx.same(op, 0, value)
        return None
    mode = op.attrs.get("mode", "constant")
    if mode == "constant":
        return _pad_constant(ctx, op, value, before)
    return _pad_mirrored(ctx, op, value, before, after, str(mode))


def _pad_constant(ctx: LowerContext, op: Op, value: Value, before: Sequence[int]) -> Refusal | None:
    given = op.input(2)
    number: float | int | bool | None = op.attrs.get("value", 0)
    if value.dtype not in POINTERS:
        return Refusal(f"padding of {value.dtype} has no kernel")
    if given is not None and (number := scalar_of(ctx, given)) is None:
        output = ctx.out(op, 0, output_order(ctx, value.dims, [value]))
        emit_copy(ctx, ctx.reshaped(given, ()), output)
    else:
        output = ctx.out(op, 0, output_order(ctx, value.dims, [value]))
        kind = np.dtype(value.dtype) if value.dtype != "bfloat16" else np.dtype(np.float32)
        emit_fill(ctx, output, kind.type(number or 0).item())
    target = output
    for axis, start in enumerate(before):
        if target.dims[axis] != value.dims[axis]:
            target = sliced(ctx, target, axis, start, value.dims[axis])
    emit_copy(ctx, value, target)
    return None


def _pad_mirrored(
    ctx: LowerContext, op: Op, value: Value, before: Sequence[int], after: Sequence[int], mode: str
) -> Refusal | None:
    """One dim after the other: the middle, then what lies before and after it."""
    padded = [axis for axis in range(len(value.dims)) if before[axis] or after[axis]]
    for axis in padded:
        extent, low, high = value.dims[axis], before[axis], after[axis]
        if mode not in ("edge", "reflect", "wrap"):
            return Refusal(f"padding mode {mode} has no kernel")
        far = not isinstance(extent, int) or max(low, high) > extent - (mode == "reflect")
        dims: Dims = tuple(dim.add(old, low + high) if i == axis else old for i, old in enumerate(value.dims))
        if mode != "edge" and far:
            target = ctx.out(op, 0) if axis == padded[-1] else ctx.temp(value.dtype, dims)
            refusal = emit_gather(ctx, value, _pad_places(ctx, extent, low, high, mode), target, axis)
            if refusal is not None:
                return refusal
            value = target
            continue
        order = output_order(ctx, value.dims, [value])
        target = ctx.out(op, 0, order) if axis == padded[-1] else ctx.temp(value.dtype, dims, order)
        emit_copy(ctx, value, sliced(ctx, target, axis, low, extent))
        sides = ((low, 0, True), (high, dim.add(extent, low), False))
        for count, start, front in sides:
            if count:
                source = _mirror(ctx, value, axis, count, mode, front)
                emit_copy(ctx, source, sliced(ctx, target, axis, start, count))
        value = target
    return None


def _pad_places(ctx: LowerContext, extent: Dim, low: int, high: int, mode: str) -> Value:
    """Positions of the elements of a padded dim, for pads that may reach around it more than once."""
    sizes, places = ctx.temp("int64", (1,)), ctx.temp("int64", (dim.add(extent, low + high),))
    ctx.program.steps.append(SymbolCall((extent,), sizes.id))
    params = {"kind": "pad_places", "dtype": "int64", "mode": mode, "before": low}
    ctx.emit("irregular", params, [sizes], [places])
    return places


def _mirror(ctx: LowerContext, value: Value, axis: int, count: int, mode: str, front: bool) -> Value:
    """The elements that go before (``front``) or after ``value``; one that is repeated for ``edge``."""
    extent = value.dims[axis]
    if mode == "edge":
        return sliced(ctx, value, axis, 0 if front else dim.sub(extent, 1), 1)
    if mode == "wrap":
        return sliced(ctx, value, axis, dim.sub(extent, count) if front else 0, count)
    return sliced(ctx, value, axis, count if front else dim.sub(extent, 2), count, -1)
