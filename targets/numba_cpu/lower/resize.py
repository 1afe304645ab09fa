"""Lowering of Resize: one dim after the other, each as weighted sums of gathered positions.

Positions and weights are worked out here, so shapes must be static; only nearest by whole factors, where each
element just repeats, takes any shape.
Source: https://onnx.ai/onnx/operators/onnx__Resize.html
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from accelc.ir.pass_base import Refusal
from accelc.targets.numba_cpu.kernels.expr import ExprBuilder
from accelc.targets.numba_cpu.kernels.text import VECTOR_FLOATS
from accelc.targets.numba_cpu.lower.context import LowerContext
from accelc.targets.numba_cpu.lower.dims import mul
from accelc.targets.numba_cpu.lower.elementwise import arranged, emit_map, map_operands
from accelc.targets.numba_cpu.lower.movement import emit_copy, emit_gather
from accelc.targets.numba_cpu.lower.table import LoweringTable, Op
from accelc.targets.numba_cpu.program import Value, View

TABLE = LoweringTable()

MAX_REPEATS = 64
"""Largest factor that is made by repeating."""
Taps = list[tuple[np.ndarray, np.ndarray | None]]
"""For each tap: positions in the input, and weights; one tap without weights is a plain gather."""


def _place(mode: str, i: np.ndarray, size: int, out: int, scale: float) -> np.ndarray | None:
    """Position in the input of output position ``i``."""
    wanted = size * scale
    formulas: dict[str, Callable[[], np.ndarray]] = {
        "half_pixel": lambda: (i + 0.5) / scale - 0.5,
        "half_pixel_symmetric": lambda: size / 2 * (1 - out / wanted) + (i + 0.5) / scale - 0.5,
        "pytorch_half_pixel": lambda: (i + 0.5) / scale - 0.5 if out > 1 else i * 0.0,
        "align_corners": lambda: i * (size - 1) / (out - 1) if out > 1 else i * 0.0,
        "asymmetric": lambda: i / scale,
    }
    return formulas[mode]() if mode in formulas else None


def _nearest(mode: str, x: np.ndarray) -> np.ndarray:
    if mode == "round_prefer_floor":
        return np.asarray(np.ceil(x - 0.5))
    if mode == "round_prefer_ceil":
        return np.asarray(np.floor(x + 0.5))
    return np.asarray(np.floor(x) if mode == "floor" else np.ceil(x))


def _cubic(offset: np.ndarray, a: float) -> list[np.ndarray]:
    """Weights of the four neighbours (Keys 1981)."""
    weights = []
    for d in (1 + offset, offset, 1 - offset, 2 - offset):
        inner = ((a + 2) * d - (a + 3)) * d * d + 1
        outer = ((a * d - 5 * a) * d + 8 * a) * d - 4 * a
        weights.append(np.where(d <= 1, inner, outer))
    return weights


def _taps(op: Op, size: int, out: int, scale: float) -> Taps | Refusal:
    place = _place(
        op.attrs.get("coordinate_transformation_mode", "half_pixel"),
        np.arange(out, dtype=np.float64),
        size,
        out,
        scale,
    )
    if place is None:
        return Refusal("tf_crop_and_resize has no kernel")
    mode = op.attrs.get("mode", "nearest")
    limit = size - 1
    if mode == "nearest":
        near = _nearest(op.attrs.get("nearest_mode", "round_prefer_floor"), place)
        return [(np.clip(near, 0, limit).astype(np.int64), None)]
    base = np.floor(place)
    offset = place - base
    steps = [0, 1] if mode == "linear" else [-1, 0, 1, 2]
    weights = (
        [1 - offset, offset]
        if mode == "linear"
        else _cubic(offset, float(op.attrs.get("cubic_coeff_a", -0.75)))
    )
    positions = [base + step for step in steps]
    if mode == "cubic" and op.attrs.get("exclude_outside", 0):
        inside = [(p >= 0) & (p <= limit) for p in positions]
        weights = [np.where(ok, w, 0) for ok, w in zip(inside, weights, strict=True)]
        total = np.sum(weights, axis=0)
        weights = [w / total for w in weights]
    return [(np.clip(p, 0, limit).astype(np.int64), w) for p, w in zip(positions, weights, strict=True)]


@TABLE.op("Upsample", since=7)
@TABLE.op("Resize", since=10)
def resize(ctx: LowerContext, op: Op) -> Refusal | None:
    """Nearest, linear and cubic resizing of static shapes; nearest by whole factors of any shape.

    Refuses: antialiasing, tf_crop_and_resize, other resizing of dynamic shapes, linear and cubic of other dtypes
    than float32/64.
    """
    x = op.inputs[0]
    dims = op.outputs[0].dims
    if x is None:
        return Refusal("no input")
    factors = _repeats(ctx, op if op.version >= 11 else _old(op), x)
    if factors is not None:
        ctx.same(op, 0, _repeat(ctx, x, factors))
        return None
    if not all(isinstance(extent, int) for extent in (*x.dims, *dims)):
        return Refusal("Resize of a dynamic shape has no kernel, but for nearest by whole factors")
    if op.attrs.get("antialias", 0):
        return Refusal("antialiasing has no kernel")
    if op.attrs.get("mode", "nearest") != "nearest" and x.dtype not in VECTOR_FLOATS:
        return Refusal(f"{op.attrs.get('mode')} resizing of {x.dtype} has no kernel")
    if op.version < 11:
        op = _old(op)
    scales = _scales(ctx, op, x)
    if isinstance(scales, Refusal):
        return scales
    value = x
    axes = [axis for axis in range(len(dims)) if x.dims[axis] != dims[axis] or scales[axis] != 1.0]
    for axis in axes:
        taps = _taps(op, int(x.dims[axis]), int(dims[axis]), scales[axis])
        if isinstance(taps, Refusal):
            return taps
        resized = _resize_axis(ctx, value, axis, int(dims[axis]), taps)
        if isinstance(resized, Refusal):
            return resized
        value = resized
    ctx.same(op, 0, value)
    return None


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
        found = _taps(op, 2, 2 * factor, float(factor))
        if isinstance(found, Refusal) or not np.array_equal(found[0][0], np.arange(2 * factor) // factor):
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
    from dataclasses import replace

    inputs = (op.inputs[0], None, *op.inputs[1:])
    defaults = {"coordinate_transformation_mode": "asymmetric", "nearest_mode": "floor"}
    return replace(op, inputs=inputs, attrs={**op.attrs, **defaults})


def _scales(ctx: LowerContext, op: Op, x: Value) -> list[float] | Refusal:
    """Scale of each dim, as given, or from the sizes."""
    dims = op.outputs[0].dims
    axes = [int(axis) % len(dims) for axis in op.attrs.get("axes", range(len(dims)))]
    given = op.input(2)
    found = (
        np.asarray(op.attrs["scales"])
        if "scales" in op.attrs
        else None
        if given is None
        else ctx.array(given)
    )
    scales = [1.0] * len(dims)
    if found is not None and found.size:
        for axis, scale in zip(axes, found.reshape(-1), strict=True):
            scales[axis] = float(scale)
        return scales
    if op.input(3) is None:
        return Refusal("the scales are not known at compile time")
    if op.attrs.get("keep_aspect_ratio_policy", "stretch") != "stretch":
        ratios = [int(dims[axis]) / int(x.dims[axis]) for axis in axes]
        return Refusal(f"keeping the aspect ratio has no kernel (ratios {ratios})")
    for axis in axes:
        scales[axis] = int(dims[axis]) / int(x.dims[axis])
    return scales


def _resize_axis(ctx: LowerContext, value: Value, axis: int, out: int, taps: Taps) -> Value | Refusal:
    """One dim of ``value`` replaced by weighted sums of gathered positions, in the order that ``value`` lies in."""
    order = ctx.order_of(value) or tuple(range(len(value.dims)))
    inverse = [order.index(axis_) for axis_ in range(len(order))]
    # Seen in its physical order the value is row-major, so gathers move whole runs.
    source = ctx.permuted(arranged(ctx, value, order), order)
    place = order.index(axis)
    dims = [out if i == place else extent for i, extent in enumerate(source.dims)]
    parts: list[Value] = []
    for positions, _ in taps:
        index = ctx.model_constant(positions, f"{value.name}.positions{axis}")
        part = ctx.temp(value.dtype, dims)
        refusal = emit_gather(ctx, source, index, part, place)
        if refusal is not None:
            return refusal
        parts.append(part)
    if taps[0][1] is None:
        return ctx.permuted(parts[0], inverse)
    builder = ExprBuilder()
    operands: list[Value] = []
    total: int | None = None
    for part, (_, weights) in zip(parts, taps, strict=True):
        assert weights is not None
        shape = [-1] + [1] * (len(dims) - 1 - place)
        table = ctx.model_constant(weights.astype(value.dtype).reshape(shape), f"{value.name}.weights{axis}")
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
