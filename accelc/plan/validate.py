"""The check of a memory plan: a sweep over time that shares no code with what makes plans."""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Sequence

from accelc.errors import AccelcError
from accelc.plan.buffers import Buffer, MemoryPlan


def validate(buffers: Sequence[Buffer], plan: MemoryPlan) -> None:
    """Check that buffers lie within the arena, where they must, and never share a byte that both use.

    O(n log n) steps: among ranges that do not overlap, a new one can only meet those beside it.

    Raises:
        AccelcError: Names the buffer that lies wrongly, or two that overlap and the step.
    """
    if len(plan.offsets) != len(buffers):
        raise AccelcError(f"memory plan has {len(plan.offsets)} offsets for {len(buffers)} buffers")
    events: list[tuple[int, int, int, int, int]] = []  # step, 0 ends or 1 starts, buffer, bytes from, to
    for i, buffer in enumerate(buffers):
        offset = plan.offsets[i]
        if offset < 0 or (buffer.size and offset + buffer.size > plan.peak_bytes):
            raise AccelcError(f"memory plan puts buffer {i} outside the arena of {plan.peak_bytes} bytes")
        if offset % buffer.alignment or (buffer.offset is not None and offset != buffer.offset):
            raise AccelcError(f"memory plan puts buffer {i} at {offset}, where it must not lie")
        for first, last, start, end in _used(buffer):
            if start < end:
                events.append((first, 1, i, offset + start, offset + end))
                events.append((last + 1, 0, i, offset + start, offset + end))
    alive: list[tuple[int, int, int]] = []  # sorted by offset; never overlapping
    for step, starts, i, start, end in sorted(events):
        at = bisect_left(alive, (start, end, i))
        if not starts:
            del alive[at]
            continue
        for other in alive[max(0, at - 1) : at + 1]:
            if other[0] < end and start < other[1]:
                raise AccelcError(f"memory plan overlaps buffers {other[2]} and {i} at step {step}")
        alive.insert(at, (start, end, i))


def _used(buffer: Buffer) -> list[tuple[int, int, int, int]]:
    """(first step, last step, first byte, end) of all that a buffer uses."""
    used = []
    step = buffer.first
    for gap in buffer.gaps:
        used.append((step, gap.first - 1, 0, buffer.size))
        if gap.window is not None:
            used.append((gap.first, gap.last, *gap.window))
        step = gap.last + 1
    used.append((step, buffer.last, 0, buffer.size))
    return [each for each in used if each[0] <= each[1]]
