"""Lowering of Conv."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from accelc.ir.dims import Dim
from accelc.ir.pass_base import Refusal
from accelc.targets.numba_cpu.kernels.conv import MAX_SPATIAL
from accelc.targets.numba_cpu.kernels.packing import pack_convolution, pack_depthwise, pack_panels
from accelc.targets.numba_cpu.kernels.tiles import choose_tile
from accelc.targets.numba_cpu.kernels.winograd import pack_winograd
from accelc.targets.numba_cpu.lower import dims as arith
from accelc.targets.numba_cpu.lower.context import LowerContext
from accelc.targets.numba_cpu.lower.narrow import also_narrow
from accelc.targets.numba_cpu.lower.pack_weights import packed_depthwise, packed_panels
from accelc.targets.numba_cpu.lower.products import (
    Finish,
    check_dtype,
    finish,
    inplace,
    scaled_sum,
    unit_dims,
)
from accelc.targets.numba_cpu.lower.same_pads import padded_input
from accelc.targets.numba_cpu.lower.table import LoweringTable, Op
from accelc.targets.numba_cpu.lower.winograd import choose_filtering
from accelc.targets.numba_cpu.program import Value

TABLE = LoweringTable()


@TABLE.op("Conv", since=1, fuses=True)
@also_narrow
def conv(ctx: LowerContext, op: Op) -> Refusal | None:
    """Convolution, grouped and depthwise ones included.

    Shapes: X ``[N, C, spatial...]`` (1 to 3 spatial dims), W ``[OC, C/group, kernel...]``, B ``[OC]``.
    Dtypes: float32, float64; float16 and bfloat16 in float32. The result is channels-last in memory.
    Source: https://onnx.ai/onnx/operators/onnx__Conv.html
    """
    dtype = check_dtype(op)
    if isinstance(dtype, Refusal):
        return dtype
    x, weight, bias = op.inputs[0], op.inputs[1], op.input(2)
    assert x is not None
    assert weight is not None
    array = ctx.array(weight)
    shape = tuple(extent for extent in weight.dims if isinstance(extent, int))
    if len(shape) != len(weight.dims):
        return Refusal("Conv with weights of a shape that is not known at compile time")
    rank = len(x.dims) - 2
    if not 1 <= rank <= MAX_SPATIAL:
        return Refusal(f"Conv with {rank} spatial dims: kernels take 1 to {MAX_SPATIAL}")
    op, x = padded_input(ctx, op, x, shape[2:], 0.0)
    window = _window(op, x, shape[2:])
    if isinstance(window, Refusal):
        return window
    order = (0, *range(2, rank + 2), 1)
    added: tuple[Value, ...] = ()
    if bias is not None:
        added = (ctx.reshaped(bias, (1, shape[0], *(1,) * rank)),)
    end = finish(ctx, op, dtype, 1, order, scaled_sum(dtype, 1.0, 1.0 if added else None), added)
    if isinstance(end, Refusal):
        return end
    groups = int(op.attrs.get("group", 1))
    if groups > 1 and groups == shape[0] and shape[1] == 1 and rank <= 2:
        _depthwise(ctx, op, x, array, window, order, end)
    else:
        _dense(ctx, op, x, array, shape, window, order, end, groups)
    return None


class _Window:
    """Kernel, strides, dilations and pads of a convolution, one entry for each spatial dim."""

    def __init__(
        self,
        kernel: Sequence[int],
        strides: Sequence[int],
        dilations: Sequence[int],
        before: Sequence[int],
        after: Sequence[int],
    ) -> None:
        self.kernel = list(kernel)
        self.strides = list(strides)
        self.dilations = list(dilations)
        self.before = list(before)
        self.after = list(after)

    @property
    def padded(self) -> bool:
        """Whether there are any pads."""
        return any(self.before) or any(self.after)

    @property
    def pointwise(self) -> bool:
        """Whether every output pixel reads just its own input pixel."""
        return not self.padded and all(k == 1 for k in self.kernel) and all(s == 1 for s in self.strides)

    def params(self) -> dict[str, Any]:
        """As call parameters."""
        return {"kernel": self.kernel, "strides": self.strides, "dilations": self.dilations}


def _window(op: Op, x: Value, kernel: Sequence[int]) -> _Window | Refusal:
    """Attributes of a convolution, auto_pad resolved."""
    rank = len(kernel)
    strides = [int(s) for s in op.attrs.get("strides", (1,) * rank)]
    dilations = [int(d) for d in op.attrs.get("dilations", (1,) * rank)]
    pads = [int(p) for p in op.attrs.get("pads", (0,) * (2 * rank))]
    auto = op.attrs.get("auto_pad", "NOTSET") or "NOTSET"
    before, after = pads[:rank], pads[rank:]
    if auto == "VALID":
        before, after = [0] * rank, [0] * rank
    elif auto in ("SAME_UPPER", "SAME_LOWER"):
        for i, (k, s, d) in enumerate(zip(kernel, strides, dilations, strict=True)):
            total = _same_padding(x.dims[2 + i], (int(k) - 1) * d + 1, s)
            if total is None:
                return Refusal(
                    f"auto_pad={auto} with stride {s} needs a static extent, dim {2 + i} is {x.dims[2 + i]}"
                )
            small = total // 2
            before[i], after[i] = (small, total - small) if auto == "SAME_UPPER" else (total - small, small)
    if any(p < 0 for p in (*before, *after)):
        return Refusal(f"Conv with negative pads {pads}")
    return _Window([int(k) for k in kernel], strides, dilations, before, after)


def _same_padding(extent: Dim, reach: int, stride: int) -> int | None:
    """Zeros that make ceil(extent / stride) windows fit; None if that depends on a symbol."""
    if stride == 1:
        return reach - 1
    if not isinstance(extent, int):
        return None
    return max(0, (-(-extent // stride) - 1) * stride + reach - extent)


def _dense(
    ctx: LowerContext,
    op: Op,
    x: Value,
    array: np.ndarray | None,
    shape: tuple[int, ...],
    window: _Window,
    order: Sequence[int],
    end: Finish,
    groups: int,
) -> None:
    """An implicit matrix product, grouped or not."""
    dtype = op.outputs[0].dtype
    outputs = shape[0]
    tile = choose_tile(ctx.isa, dtype, outputs // groups)
    params: dict[str, Any] = {"dtype": dtype, "mr": tile.mr, "nv": tile.nv, **end.params}
    weight = op.inputs[1]
    assert weight is not None
    plain = groups == 1 and all(step == 1 for step in (*window.strides, *window.dilations))
    m = choose_filtering(
        op.outputs[0].dims, shape[1], window.kernel, plain and dtype == "float32", tile.lanes
    )
    panels: np.ndarray | None = None
    if m is not None and array is not None:
        panels = pack_winograd(array, m, tile.nr)
        params["m"] = m
        height, width = op.outputs[0].dims[2:]
        assert isinstance(height, int)
        assert isinstance(width, int)
        source = _padded(ctx, x, window, order, (-(-height // m) * m + 2, -(-width // m) * m + 2))
        family = "winograd"
    elif window.pointwise and groups == 1:
        if array is not None:
            panels = pack_panels(array.reshape(outputs, -1).T, tile.nr)
        params |= {"axis": 1, "a": "strided", "b": "packed"}
        source = x if 1 in unit_dims(ctx, x) else ctx.ordered(x, order)
        family = "gemm"
    else:
        if array is not None:
            panels = pack_convolution(array, groups, tile.nr)
        params |= {"groups": groups, **window.params()}
        source = _padded(ctx, x, window, order)
        family = "conv"
    if panels is None:
        packed = packed_panels(ctx, weight, shape, groups, tile.nr)
    else:
        packed = ctx.constant(panels, f"{weight.name}.packed")
    out = ctx.out(op, 0, order)
    ctx.emit(
        family,
        params,
        [source, packed, *end.operands],
        [out],
        inplace=inplace(ctx, op, end, (source,), order),
    )


def _depthwise(
    ctx: LowerContext,
    op: Op,
    x: Value,
    array: np.ndarray | None,
    window: _Window,
    order: Sequence[int],
    end: Finish,
) -> None:
    """One filter for each channel: vectors run over channels."""
    source = x if 1 in unit_dims(ctx, x) else ctx.ordered(x, order)
    weight = op.inputs[1]
    assert weight is not None
    if array is None:
        packed = packed_depthwise(ctx, weight, [int(extent) for extent in weight.dims])
    else:
        packed = ctx.constant(pack_depthwise(array), f"{weight.name}.packed")
    params = {"dtype": op.outputs[0].dtype, "pads": window.before, **window.params(), **end.params}
    out = ctx.out(op, 0, order)
    ctx.emit(
        "depthwise",
        params,
        [source, packed, *end.operands],
        [out],
        inplace=inplace(ctx, op, end, (source,), order),
    )


def _padded(
    ctx: LowerContext, x: Value, window: _Window, order: Sequence[int], whole: Sequence[Dim] | None = None
) -> Value:
    """The input, channels adjacent, with its zeros around it; ``whole`` sets the spatial extents with zeros."""
    spatial = whole or [
        arith.add(dim, before + after)
        for dim, before, after in zip(x.dims[2:], window.before, window.after, strict=True)
    ]
    padded = tuple(spatial) != x.dims[2:]
    if not padded and 1 in unit_dims(ctx, x):
        return x
    channels = x.dims[1]
    if isinstance(channels, int) and channels > 8 and 1 not in unit_dims(ctx, x):
        # Many channels: the blocked transposing copy is faster than gathering.
        x = ctx.ordered(x, order)
        if not padded:
            return x
    out = ctx.temp(x.dtype, (*x.dims[:2], *spatial), order, f"{x.name}.padded")
    flat = ctx.is_dense(x, order)
    ctx.emit("pad_copy", {"dtype": x.dtype, "pads": window.before, "flat": flat}, [x], [out])
    return out
