"""``auto_pad`` of SAME_UPPER and SAME_LOWER where the pads depend on a size that is known only at run time."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from accelc.ir.dims import Dim
from accelc.targets.numba_cpu.lower import dims as dim
from accelc.targets.numba_cpu.lower.context import LowerContext
from accelc.targets.numba_cpu.lower.movement import emit_copy, sliced
from accelc.targets.numba_cpu.lower.shape_ops import emit_fill
from accelc.targets.numba_cpu.lower.table import Op
from accelc.targets.numba_cpu.program import Value


def padded_input(
    ctx: LowerContext, op: Op, x: Value, kernel: Sequence[int], number: float | int
) -> tuple[Op, Value]:
    """The op without automatic pads, and its input with ``number`` around it; both as they are if pads are static.

    Args:
        ctx: The context.
        op: A convolution or a pool.
        x: Its input, [N, C, spatial...].
        kernel: Extents of the window.
        number: What a pad holds.

    Source: https://onnx.ai/onnx/operators/onnx__Conv.html, ``auto_pad``.
    """
    rank = len(kernel)
    strides = [int(s) for s in op.attrs.get("strides", (1,) * rank)]
    dilations = [int(d) for d in op.attrs.get("dilations", (1,) * rank)]
    auto = op.attrs.get("auto_pad", "NOTSET")
    known = all(isinstance(size, int) or s == 1 for size, s in zip(x.dims[2:], strides, strict=True))
    if auto not in ("SAME_UPPER", "SAME_LOWER") or known:
        return op, x
    dims: list[Dim] = list(x.dims)
    starts: list[Dim] = [0, 0]
    for i, (k, s, d) in enumerate(zip(kernel, strides, dilations, strict=True)):
        size = x.dims[2 + i]
        reach = dim.add(dim.mul(dim.sub(dim.ceildiv(size, s), 1), s), (k - 1) * d + 1)
        total = (k - 1) * d if s == 1 else dim.maximum(0, dim.sub(reach, size))
        dims[2 + i] = dim.add(size, total)
        starts.append(dim.floordiv(total if auto == "SAME_UPPER" else dim.add(total, 1), 2))
    order = (0, *range(2, rank + 2), 1)
    whole = ctx.temp(x.dtype, dims, order)
    emit_fill(ctx, whole, number)
    inner = whole
    for axis, start in enumerate(starts):
        if dims[axis] != x.dims[axis]:
            inner = sliced(ctx, inner, axis, start, x.dims[axis])
    emit_copy(ctx, x, inner)
    return replace(op, attrs={**op.attrs, "auto_pad": "VALID"}), whole
