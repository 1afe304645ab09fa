"""Packing of weights that are known only at run time, as views and copies (kernels/packing.py has the layouts)."""

from __future__ import annotations

from collections.abc import Sequence

from accelc.targets.numba_cpu.lower.context import LowerContext
from accelc.targets.numba_cpu.lower.movement import emit_copy, sliced
from accelc.targets.numba_cpu.lower.shape_ops import emit_fill
from accelc.targets.numba_cpu.program import Value


def packed_panels(ctx: LowerContext, weight: Value, shape: Sequence[int], groups: int, nr: int) -> Value:
    """Weights ``[OC, IC/groups, kernel...]`` (of this static shape) as panels ``[groups * P, K, nr]``.

    Depth runs over kernel dims, then input channels, as in ``pack_convolution``.
    """
    outputs, channels = shape[:2]
    per_group = outputs // groups
    taps = 1
    for extent in shape[2:]:
        taps *= extent
    panels = -(-per_group // nr)
    depth = taps * channels
    parts = ctx.permuted(ctx.reshaped(weight, (groups, per_group, channels, taps)), (0, 3, 2, 1))
    wide = ctx.temp(weight.dtype, (groups, taps, channels, panels * nr))
    if panels * nr != per_group:
        emit_fill(ctx, wide, 0.0)
    emit_copy(ctx, parts, sliced(ctx, wide, 3, 0, per_group))
    split = ctx.reshaped(wide, (groups, depth, panels, nr))
    dense = ctx.ordered(ctx.permuted(split, (0, 2, 1, 3)))
    return ctx.reshaped(dense, (groups * panels, depth, nr))


def packed_depthwise(ctx: LowerContext, weight: Value, shape: Sequence[int]) -> Value:
    """Weights ``[C, 1, kernel...]`` of a depthwise convolution as ``[taps, C]``."""
    taps = 1
    for extent in shape[2:]:
        taps *= extent
    return ctx.ordered(ctx.permuted(ctx.reshaped(weight, (shape[0], taps)), (1, 0)))
