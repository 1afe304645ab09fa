"""Lowering of Resize: one dim after the other, each as weighted sums of gathered positions.

The tables of positions and weights are constants where the sizes are known, and made by a small kernel where they
are not. Nearest by whole factors, where each element just repeats, is one copy.
Source: https://onnx.ai/onnx/operators/onnx__Resize.html
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from accelc.ir.dims import Dim
from accelc.ir.pass_base import Refusal
from accelc.ir.resize_rule import kept_ratio
from accelc.targets.host_ops.resize import CROP, Resizing
from accelc.targets.numba_cpu.kernels.expr import ExprBuilder
from accelc.targets.numba_cpu.kernels.resize_text import TAPS
from accelc.targets.numba_cpu.kernels.text import VECTOR_FLOATS
from accelc.targets.numba_cpu.lower.context import LowerContext
from accelc.targets.numba_cpu.lower.dims import mul
from accelc.targets.numba_cpu.lower.elementwise import arranged, emit_map, map_operands
from accelc.targets.numba_cpu.lower.movement import emit_copy, emit_gather, sliced
from accelc.targets.numba_cpu.lower.narrow import also_narrow
from accelc.targets.numba_cpu.lower.table import LoweringTable, Op
from accelc.targets.numba_cpu.program import SymbolCall, Value, View

TABLE = LoweringTable()

MAX_REPEATS = 64
"""Largest factor that is made by repeating."""
MAX_TAPS = 32
"""Widest filter that is made of as many gathers; a wider one smooths by a factor of 8 or more."""


@dataclass(frozen=True)
class Tap:
    """One neighbour along an axis: its position, and how much it counts (None: it is the result)."""

    positions: Value
    weights: Value | None


@TABLE.op("Upsample", since=7)
@TABLE.op("Resize", since=10)
@also_narrow
def resize(ctx: LowerContext, op: Op) -> Refusal | None:
    """Nearest, linear and cubic resizing.

    Refuses: tf_crop_and_resize; dynamic shapes with antialiasing or a kept aspect ratio; scales or sizes that are not
    known before running; linear and cubic of integers. Those run in NumPy.
    """
    x = op.inputs[0]
    dims = op.outputs[0].dims
    if x is None:
        return Refusal("no input")
    if op.version < 11:
        op = _old(op)
    factors = _repeats(ctx, op, x)
    if factors is not None:
        ctx.same(op, 0, _repeat(ctx, x, factors))
        return None
    how = Resizing.of(op.attrs)
    if how.place == CROP:
        return Refusal(f"{CROP} has no kernel")
    if how.mode != "nearest" and x.dtype not in VECTOR_FLOATS:
        return Refusal(f"{how.mode} resizing of {x.dtype} has no kernel")
    scales = _scales(ctx, op, x)
    if isinstance(scales, Refusal):
        return scales
    value = x
    for axis, scale in enumerate(scales):
        if x.dims[axis] == dims[axis] and scale in (None, 1.0):
            continue
        taps = _taps(ctx, how, value, axis, dims[axis], scale)
        resized = taps if isinstance(taps, Refusal) else _resize_axis(ctx, value, axis, dims[axis], taps)
        if isinstance(resized, Refusal):
            return resized
        value = resized
    ctx.same(op, 0, value)
    return None


def _taps(
    ctx: LowerContext, how: Resizing, value: Value, axis: int, out: Dim, scale: float | None
) -> list[Tap] | Refusal:
    """The neighbours along one axis; without a ``scale`` it is the ratio of the sizes."""
    size, dtype = value.dims[axis], value.dtype
    if isinstance(size, int) and isinstance(out, int):
        if size < 1:
            return Refusal("Resize of a tensor without elements")
        table = how.taps(size, out, out / size if scale is None else scale)
        if len(table.positions) > MAX_TAPS:
            return Refusal(f"a filter of {len(table.positions)} taps has no kernel")
        weights = table.weights if table.weights is not None else [None] * len(table.positions)
        return [
            Tap(
                ctx.model_constant(positions, f"{value.name}.positions{axis}"),
                None
                if share is None
                else ctx.model_constant(share.astype(dtype), f"{value.name}.weights{axis}"),
            )
            for positions, share in zip(table.positions, weights, strict=True)
        ]
    if how.antialias:
        return Refusal("antialiasing of a dynamic shape has no kernel")
    kind = dtype if dtype in VECTOR_FLOATS else "float32"
    params = {
        "kind": "resize_taps",
        "dtype": kind,
        "mode": how.mode,
        "place": how.place,
        "rounding": how.rounding,
        "exclude_outside": how.exclude_outside,
        "scale": scale or 0.0,
        "cubic_a": how.cubic_a,
    }
    count = TAPS[how.mode]
    sizes = ctx.temp("int64", (1,))
    ctx.program.steps.append(SymbolCall((size,), sizes.id))
    weights_table, places = ctx.temp(kind, (count, out)), ctx.temp("int64", (count, out))
    ctx.emit("irregular", params, [sizes], [weights_table, places])
    rows = [
        [ctx.reshaped(sliced(ctx, t, 0, k, 1), (out,)) for k in range(count)] for t in (places, weights_table)
    ]
    return [Tap(row, None if count == 1 else share) for row, share in zip(*rows, strict=True)]


def _repeats(ctx: LowerContext, op: Op, x: Value) -> list[int] | None:
    """How often each element repeats along each dim, if that is all that the Resize does."""
    place = op.attrs.get("coordinate_transformation_mode", "half_pixel")
    if op.attrs.get("mode", "nearest") != "nearest" or place not in ("half_pixel", "asymmetric"):
        return None
    given = op.input(2)
    scales = op.attrs["scales"] if "scales" in op.attrs else None if given is None else ctx.array(given)
    if scales is None or np.size(scales) == 0:
        return None
    factors = [1] * len(x.dims)
    axes = op.attrs.get("axes", range(len(x.dims)))
    for axis, scale in zip(axes, np.asarray(scales, dtype=np.float64).reshape(-1), strict=True):
        if not (scale.is_integer() and 1 <= scale <= MAX_REPEATS):
            return None
        factors[int(axis) % len(x.dims)] = int(scale)
    for factor in factors:
        # Two elements tell: the pattern of positions is the same for each.
        found = Resizing.of(op.attrs).taps(2, 2 * factor, float(factor))
        if not np.array_equal(found.positions[0], np.arange(2 * factor) // factor):
            return None
    return factors


def _repeat(ctx: LowerContext, x: Value, factors: list[int]) -> Value:
    """Each element repeated along each dim, in the order that ``x`` lies in: one broadcasting copy."""
    order = ctx.order_of(x) or tuple(range(len(x.dims)))
    source = ctx.permuted(arranged(ctx, x, order), order)
    counts = [factors[dim] for dim in order]
    wide = [(extent, count) for extent, count in zip(source.dims, counts, strict=True)]
    result = ctx.temp(x.dtype, [mul(extent, count) for extent, count in wide])
    apart = ctx.reshaped(source, [part for extent, _ in wide for part in (extent, 1)])
    target = ctx.make_view(View(result.id, "reshape"), [part for pair in wide for part in pair])
    emit_copy(ctx, apart, target)
    return ctx.permuted(result, [order.index(dim) for dim in range(len(order))])


def _old(op: Op) -> Op:
    """Opset 7 to 10: asymmetric positions, rounded down."""
    inputs = (op.inputs[0], None, *op.inputs[1:])
    defaults = {"coordinate_transformation_mode": "asymmetric", "nearest_mode": "floor"}
    return replace(op, inputs=inputs, attrs={**op.attrs, **defaults})


def _scales(ctx: LowerContext, op: Op, x: Value) -> list[float | None] | Refusal:
    """Scale of each dim as given; None where it is the ratio of the sizes."""
    dims = op.outputs[0].dims
    axes = [int(axis) % len(dims) for axis in op.attrs.get("axes", range(len(dims)))]
    given = op.input(2)
    found = op.attrs.get("scales", None if given is None else ctx.array(given))
    scales: list[float | None] = [1.0] * len(dims)
    if found is not None and np.size(found):
        for axis, scale in zip(axes, np.asarray(found).reshape(-1), strict=True):
            scales[axis] = float(scale)
        return scales
    sizes = op.input(3)
    if sizes is None:
        return Refusal("the scales are not known at compile time")
    kept: float | None = None
    policy = op.attrs.get("keep_aspect_ratio_policy", "stretch")
    if policy != "stretch":
        wanted, extents = ctx.array(sizes), [x.dims[axis] for axis in axes]
        if wanted is None or not all(isinstance(extent, int) for extent in extents):
            return Refusal("keeping the aspect ratio of a dynamic shape has no kernel")
        kept, _ = kept_ratio([int(size) for size in wanted], [int(extent) for extent in extents], policy)
    for axis in axes:
        scales[axis] = kept
    return scales


def _resize_axis(ctx: LowerContext, value: Value, axis: int, out: Dim, taps: list[Tap]) -> Value | Refusal:
    """One dim of ``value`` replaced by weighted sums of gathered positions, in the order that ``value`` lies in."""
    order = ctx.order_of(value) or tuple(range(len(value.dims)))
    inverse = [order.index(axis_) for axis_ in range(len(order))]
    # Seen in its physical order the value is row-major, so gathers move whole runs.
    source = ctx.permuted(arranged(ctx, value, order), order)
    place = order.index(axis)
    dims = [out if i == place else extent for i, extent in enumerate(source.dims)]
    parts: list[Value] = []
    for tap in taps:
        part = ctx.temp(value.dtype, dims)
        refusal = emit_gather(ctx, source, tap.positions, part, place)
        if refusal is not None:
            return refusal
        parts.append(part)
    if taps[0].weights is None:
        return ctx.permuted(parts[0], inverse)
    builder = ExprBuilder()
    operands: list[Value] = []
    total: int | None = None
    for part, tap in zip(parts, taps, strict=True):
        assert tap.weights is not None
        table = ctx.reshaped(tap.weights, (out, *(1,) * (len(dims) - 1 - place)))
        k = len(operands)
        term = builder.add(
            value.dtype, "mul", builder.operand(k, value.dtype), builder.operand(k + 1, value.dtype)
        )
        total = term if total is None else builder.add(value.dtype, "add", total, term)
        operands += [part, table]
    assert total is not None
    result = ctx.temp(value.dtype, dims)
    emit_map(ctx, builder.build(total), map_operands(ctx, tuple(dims), range(len(dims)), operands), result)
    return ctx.permuted(result, inverse)
