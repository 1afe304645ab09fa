"""Reshape without copies where memory is not row-major: dims are cut and joined as they lie.

Old and new dims fall into *segments* of equal products: ``[N, C, H, W]`` as ``[N, G, C/G, H, W]`` has four, of which
one cuts C in two. Memory in any order of the old dims is memory in an order of the new ones if the old dims of every
segment lie next to each other. So a channel shuffle on channels-last memory is one copy of runs, not three.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from accelc.ir.dims import Dim
from accelc.targets.numba_cpu.lower.context import LowerContext
from accelc.targets.numba_cpu.lower.table import Op
from accelc.targets.numba_cpu.program import Dims, Value, View


@dataclass(frozen=True)
class Segment:
    """Old dims and the new dims that hold the same elements, both as ranges of indices."""

    old: range
    new: range


def segments(old: Sequence[Dim], new: Sequence[Dim]) -> list[Segment]:
    """The finest segments that are known; equal dims at both ends are segments, symbols between them join all."""
    head = 0
    while head < min(len(old), len(new)) and old[head] == new[head]:
        head += 1
    tail = 0
    while tail < min(len(old), len(new)) - head and old[len(old) - 1 - tail] == new[len(new) - 1 - tail]:
        tail += 1
    found = [Segment(range(i, i + 1), range(i, i + 1)) for i in range(head)]
    found += _middle(old, new, head, len(old) - tail, len(new) - tail)
    shift = len(new) - len(old)
    found += [
        Segment(range(i, i + 1), range(i + shift, i + shift + 1)) for i in range(len(old) - tail, len(old))
    ]
    return found


def _middle(old: Sequence[Dim], new: Sequence[Dim], start: int, old_end: int, new_end: int) -> list[Segment]:
    """Segments of what lies between equal dims."""
    ours = [dim for dim in old[start:old_end] if isinstance(dim, int) and dim > 0]
    theirs = [dim for dim in new[start:new_end] if isinstance(dim, int) and dim > 0]
    known = len(ours) == old_end - start and len(theirs) == new_end - start
    if not known or math.prod(ours) != math.prod(theirs):
        return (
            [Segment(range(start, old_end), range(start, new_end))] if old_end + new_end > 2 * start else []
        )
    found: list[Segment] = []
    i = j = 0
    while i < len(ours) or j < len(theirs):
        first, second, left, right = i, j, 1, 1
        while (first == i and second == j) or left != right:
            if (left <= right and i < len(ours)) or j == len(theirs):
                left *= ours[i]
                i += 1
            else:
                right *= theirs[j]
                j += 1
        found.append(Segment(range(start + first, start + i), range(start + second, start + j)))
    return found


def reshape_to_output(ctx: LowerContext, op: Op, value: Value) -> None:
    """Output 0 is ``value`` with other dims: a view where its order allows one, else of a copy."""
    dims = op.outputs[0].dims
    if value.dims == dims:
        ctx.same(op, 0, value)
        return
    order = ctx.order_of(value)
    if order is None and ctx.only_split(value, dims):
        ctx.view(op, 0, View(value.id, "reshape"))
        return
    found = segments(value.dims, dims)
    if order is not None and not ctx.is_dense(value):
        placed = _arranged(value.dims, found, order)
        lies_so = placed is not None
        if placed is None and _channels_last(value, order):
            placed = _brought_together(value.dims, found, order)
        if placed is not None and (lies_so or _channels_last_of(placed, dims)):
            _view(ctx, op, value, placed)
            return
    ctx.view(op, 0, View(ctx.ordered(value, ()).id, "reshape"))


def _view(ctx: LowerContext, op: Op, value: Value, placed: Sequence[Segment]) -> None:
    """Output 0 as a view of dense memory in which the segments lie in this order; copied to it if need be."""
    dims = op.outputs[0].dims
    old = [dim for segment in placed for dim in segment.old]
    new = [dim for segment in placed for dim in segment.new]
    base = ctx.permuted(ctx.ordered(value, old), old)
    flat = ctx.make_view(View(base.id, "reshape"), [dims[dim] for dim in new])
    ctx.view(op, 0, View(flat.id, "permute", perm=tuple(sorted(range(len(new)), key=new.__getitem__))))


def _arranged(dims: Dims, found: Sequence[Segment], order: Sequence[int]) -> list[Segment] | None:
    """The segments as memory in ``order`` holds them, outermost first; None if one does not lie together."""
    real = [dim for dim in order if dims[dim] != 1]
    placed = [segment for segment in found if all(dims[dim] == 1 for dim in segment.old)]
    owner = {dim: segment for segment in found for dim in segment.old}
    at = 0
    while at < len(real):
        segment = owner[real[at]]
        wanted = [dim for dim in segment.old if dims[dim] != 1]
        if real[at : at + len(wanted)] != wanted:
            return None
        placed.append(segment)
        at += len(wanted)
    return placed


def _brought_together(dims: Dims, found: Sequence[Segment], order: Sequence[int]) -> list[Segment]:
    """The segments where the innermost dim of each lies."""
    place = {dim: i for i, dim in enumerate(order)}
    return sorted(
        found, key=lambda segment: max((place[dim] for dim in segment.old if dims[dim] != 1), default=-1)
    )


def _channels_last(value: Value, order: Sequence[int]) -> bool:
    """Whether a value of an image's rank ends in something else than its last dim: convolutions leave it so."""
    real = [dim for dim in order if value.dims[dim] != 1]
    return len(order) >= 4 and len(real) > 1 and real[-1] != max(real)


def _channels_last_of(placed: Sequence[Segment], dims: Dims) -> bool:
    """Whether memory is channels-last for the new dims: what reads images wants that."""
    new = [dim for segment in placed for dim in segment.new if dims[dim] != 1]
    return len(dims) >= 4 and bool(new) and new[-1] == 1 and new[:-1] == sorted(new[:-1])
