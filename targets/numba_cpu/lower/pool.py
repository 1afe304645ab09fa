"""Lowering of pooling: MaxPool, AveragePool, LpPool, and LRN, which pools over channels."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from accelc.ir.pass_base import Refusal
from accelc.targets.numba_cpu.kernels.expr import Expr, ExprBuilder
from accelc.targets.numba_cpu.kernels.text import FLOATS, VECTOR_FLOATS
from accelc.targets.numba_cpu.lower import dims as dim
from accelc.targets.numba_cpu.lower.context import LowerContext
from accelc.targets.numba_cpu.lower.elementwise import arranged, emit_map, map_operands
from accelc.targets.numba_cpu.lower.fusing import finish, materialised, with_epilogue
from accelc.targets.numba_cpu.lower.narrow import NARROW, also_narrow, in_dtype, is_narrow
from accelc.targets.numba_cpu.lower.same_pads import padded_input
from accelc.targets.numba_cpu.lower.shape_ops import emit_fill
from accelc.targets.numba_cpu.lower.table import LoweringTable, Op
from accelc.targets.numba_cpu.lower.vision import max_pool_indices
from accelc.targets.numba_cpu.program import Value, View

TABLE = LoweringTable()


@dataclass(frozen=True)
class Window:
    """A pooling window: extents, strides, dilations and leading pads of each spatial dim."""

    extents: tuple[int, ...]
    strides: tuple[int, ...]
    dilations: tuple[int, ...]
    pads: tuple[int, ...]
    ends: tuple[int, ...]


def window_of(op: Op, x: Value) -> Window | Refusal:
    """The window that the attributes describe; trailing pads follow from the output's shape."""
    rank = len(x.dims) - 2
    extents = tuple(int(k) for k in op.attrs.get("kernel_shape", ()))
    if not 1 <= rank <= 3 or len(extents) != rank:
        return Refusal(f"pooling over {rank} spatial dims has no kernel")
    strides = tuple(int(s) for s in op.attrs.get("strides", (1,) * rank))
    dilations = tuple(int(s) for s in op.attrs.get("dilations", (1,) * rank))
    pads = tuple(int(s) for s in op.attrs.get("pads", (0,) * 2 * rank))
    auto = op.attrs.get("auto_pad", "NOTSET")
    if auto in ("SAME_UPPER", "SAME_LOWER"):
        both: list[tuple[int, int]] = []
        for i in range(rank):
            size, reach = x.dims[2 + i], (extents[i] - 1) * dilations[i] + 1
            if not isinstance(size, int) and strides[i] != 1:
                return Refusal(f"{op.op_type} with auto_pad={auto} needs static spatial dims")
            steps = (-(-size // strides[i]) - 1) * strides[i] if isinstance(size, int) else 0
            total = max(0, steps + reach - size) if isinstance(size, int) else reach - 1
            small, large = total // 2, total - total // 2
            both.append((small, large) if auto == "SAME_UPPER" else (large, small))
        pads = (*(low for low, _ in both), *(high for _, high in both))
    elif auto == "VALID":
        pads = (0,) * 2 * rank
    if any(pad < 0 for pad in pads) or min((*extents, *strides, *dilations)) < 1:
        return Refusal("negative pads have no kernel")
    return Window(extents, strides, dilations, pads[:rank], pads[rank:])


def channels_last(rank: int) -> tuple[int, ...]:
    """Physical order with dim 1 innermost."""
    return (0, *range(2, rank), 1)


def emit_pool(
    ctx: LowerContext,
    kind: str,
    x: Value,
    window: Window,
    output: Value,
    *,
    count_pads: bool = False,
    p: int = 2,
) -> None:
    """One call of the ``pool`` family."""
    params = {
        "kind": kind,
        "dtype": x.dtype,
        "count_pads": count_pads,
        "p": p,
        "window": list(window.extents),
        "strides": list(window.strides),
        "dilations": list(window.dilations),
        "pads": list(window.pads),
        "ends": list(window.ends),
    }
    ctx.emit("pool", params, [x], [output])


def _pool(ctx: LowerContext, op: Op, kind: str, *, count_pads: bool = False, p: int = 2) -> Refusal | None:
    x = materialised(ctx, op)
    if x.dtype == "bool" or (kind != "max" and x.dtype not in FLOATS):
        return Refusal(f"{op.op_type} of {x.dtype} has no kernel")
    kernel = [int(k) for k in op.attrs.get("kernel_shape", ())]
    plain, wide = padded_input(ctx, op, x, kernel, _lowest(x.dtype) if kind == "max" else 0)
    window = window_of(plain, wide)
    if isinstance(window, Refusal):
        return window
    order = channels_last(len(x.dims))
    output = with_epilogue(ctx, op, x.dtype, order)
    uncounted = kind == "average" and wide is not x and not count_pads
    result = ctx.temp(x.dtype, output.dims, order) if uncounted else output
    counted = count_pads or uncounted
    emit_pool(ctx, kind, arranged(ctx, wide, order), window, result, count_pads=counted, p=p)
    if uncounted:
        _without_pads(ctx, op, x, result, output)
    finish(ctx, op, output)
    return None


def _without_pads(ctx: LowerContext, op: Op, x: Value, mean: Value, output: Value) -> None:
    """``mean`` over whole windows, divided by which share of each window is no pad: the mean of ones within zeros."""
    order = channels_last(len(x.dims))
    ones = ctx.temp(x.dtype, (1, 1, *x.dims[2:]), order)
    emit_fill(ctx, ones, 1.0)
    plain, wide = padded_input(ctx, op, ones, [int(k) for k in op.attrs["kernel_shape"]], 0.0)
    window = window_of(plain, wide)
    assert isinstance(window, Window)  # it was for x
    share = ctx.temp(x.dtype, (1, 1, *output.dims[2:]), order)
    emit_pool(ctx, "average", wide, window, share, count_pads=True)
    builder = ExprBuilder()
    quotient = builder.add(x.dtype, "div", builder.operand(0, x.dtype), builder.operand(1, x.dtype))
    emit_map(ctx, builder.build(quotient), map_operands(ctx, output.dims, order, [mean, share]), output)


def _lowest(dtype: str) -> float | int:
    """What no element is below."""
    return -np.inf if dtype in FLOATS else int(np.iinfo(dtype).min)


@TABLE.op("MaxPool", fuses=True)
def max_pool(ctx: LowerContext, op: Op) -> Refusal | None:
    """Maximum over a window; NaN propagates.

    Indices as second output have a scalar kernel.
    Source: https://onnx.ai/onnx/operators/onnx__MaxPool.html
    """
    if any(spec.name for spec in op.outputs[1:]):
        x = op.inputs[0]
        window = Refusal("no input") if x is None else window_of(op, x)
        if isinstance(window, Refusal):
            return window
        return max_pool_indices(ctx, op, window.extents, window.strides, window.dilations, window.pads)
    return _pool(ctx, op, "max")


@TABLE.op("AveragePool", fuses=True)
def average_pool(ctx: LowerContext, op: Op) -> Refusal | None:
    """Mean over a window, with or without the pads in the divisor.

    Source: https://onnx.ai/onnx/operators/onnx__AveragePool.html
    """
    return _pool(ctx, op, "average", count_pads=bool(op.attrs.get("count_include_pad", 0)))


@TABLE.op("LpPool", since=2, fuses=True)
def lp_pool(ctx: LowerContext, op: Op) -> Refusal | None:
    """(sum |x|^p)^(1/p) over a window; beyond p of 1 and 2 powers are kernels of their own.

    Source: https://onnx.ai/onnx/operators/onnx__LpPool.html
    """
    p = int(op.attrs.get("p", 2))
    if p in (1, 2):
        return _pool(ctx, op, "lp", p=p)
    if is_narrow(op):
        return in_dtype(ctx, op, lp_pool, "float32", NARROW)
    x = materialised(ctx, op)
    if x.dtype not in VECTOR_FLOATS or p < 1:
        return Refusal(f"LpPool of {x.dtype} with p = {p} has no kernel")
    window = window_of(op, x)
    if isinstance(window, Refusal):
        return window
    order = channels_last(len(x.dims))
    sums = ctx.temp(x.dtype, op.outputs[0].dims, order)
    emit_pool(ctx, "lp", power_of(ctx, x, float(p), order), window, sums, p=1)
    output = with_epilogue(ctx, op, x.dtype, order)
    emit_power(ctx, sums, 1 / p, output, order)
    finish(ctx, op, output)
    return None


def emit_power(ctx: LowerContext, x: Value, power: float, output: Value, order: tuple[int, ...]) -> None:
    """Write |x| ^ power."""
    builder = ExprBuilder()
    size = builder.add(x.dtype, "abs", builder.operand(0, x.dtype))
    expr = builder.build(builder.add(x.dtype, "pow", size, builder.const(power, x.dtype)))
    emit_map(ctx, expr, map_operands(ctx, x.dims, order, [x]), output)


def power_of(ctx: LowerContext, x: Value, power: float, order: tuple[int, ...]) -> Value:
    """|x| ^ power in a given order."""
    result = ctx.temp(x.dtype, x.dims, order)
    emit_power(ctx, x, power, result, order)
    return result


@TABLE.op("LRN")
@also_narrow
def lrn(ctx: LowerContext, op: Op) -> Refusal | None:
    """X / (bias + alpha / size * sum of x² over ``size`` channels) ^ beta.

    The root of the sum is an L2 pool along the channels, which are one spatial dim of [N, HW, C]: one pass, and no
    buffer of squares.
    Source: https://onnx.ai/onnx/operators/onnx__LRN.html
    """
    x = op.inputs[0]
    if x is None or len(x.dims) < 2 or x.dtype not in VECTOR_FLOATS:
        return Refusal("LRN needs float32 or float64 [N, C, ...]")
    x = ctx.ordered(x)
    size = int(op.attrs["size"])
    pixels = dim.product(x.dims[2:])
    flat = ctx.reshaped(x, (x.dims[0], x.dims[1], pixels))
    roots = ctx.temp(x.dtype, flat.dims)
    window = Window((size,), (1,), (1,), ((size - 1) // 2,), (size // 2,))
    source, target = ctx.permuted(flat, (0, 2, 1)), ctx.permuted(roots, (0, 2, 1))
    emit_pool(ctx, "lp", source, window, target, p=2)
    output = ctx.out(op, 0)
    norm = ctx.make_view(View(roots.id, "reshape"), x.dims)
    mapped = map_operands(ctx, x.dims, tuple(range(len(x.dims))), [x, norm])
    emit_map(ctx, _lrn_expr(op, x.dtype, size), mapped, output)
    return None


def _lrn_expr(op: Op, dtype: str, size: int) -> Expr:
    builder = ExprBuilder()
    value, norm = builder.operand(0, dtype), builder.operand(1, dtype)
    alpha, beta = float(op.attrs.get("alpha", 1e-4)), float(op.attrs.get("beta", 0.75))
    square = builder.add(dtype, "mul", norm, norm)
    scaled = builder.add(dtype, "mul", square, builder.const(alpha / size, dtype))
    scaled = builder.add(dtype, "add", scaled, builder.const(float(op.attrs.get("bias", 1.0)), dtype))
    # pow(s, -beta) as exp(-beta * log(s)): s is positive, and both have vector forms.
    power = builder.add(dtype, "mul", builder.add(dtype, "log", scaled), builder.const(-beta, dtype))
    return builder.build(builder.add(dtype, "mul", value, builder.add(dtype, "exp", power)))
