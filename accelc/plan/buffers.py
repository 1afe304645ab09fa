"""Buffers to place in an arena, and the plan that says where each one lies."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from math import lcm
from typing import NamedTuple

import numpy as np

from accelc.errors import UsageError


@dataclass(frozen=True)
class Gap:
    """Steps within a buffer's life in which its memory, or a part of it, is free for others.

    Args:
        first: First step of the gap.
        last: Last step of the gap, inclusive.
        window: The bytes [low, high) of the buffer that stay in use; None if all are free.
    """

    first: int
    last: int
    window: tuple[int, int] | None = None


@dataclass(frozen=True)
class Buffer:
    """Memory that one value needs.

    Args:
        size: Bytes; 0 is allowed and takes no memory.
        first: Number of the first step that uses it.
        last: Number of the last step that uses it, inclusive.
        gaps: Steps in between in which it is not used, in order of time.
        offset: Where it must lie, if that is fixed.
        alignment: Its offset is a multiple of this (and of the arena's alignment).
    """

    size: int
    first: int
    last: int
    gaps: tuple[Gap, ...] = ()
    offset: int | None = None
    alignment: int = 1


@dataclass(frozen=True)
class MemoryPlan:
    """Offsets in one arena.

    Args:
        offsets: Byte offset of each buffer.
        peak_bytes: Size of the arena.
        lower_bound_bytes: No plan needs less: the most bytes alive at one step, or more if a search proved it.
    """

    offsets: tuple[int, ...]
    peak_bytes: int
    lower_bound_bytes: int

    @property
    def optimal(self) -> bool:
        """Whether no plan has a lower peak, as far as is proven."""
        return self.peak_bytes <= self.lower_bound_bytes


class Piece(NamedTuple):
    """Bytes [low, high) of a buffer in use in steps first..last."""

    first: int
    last: int
    low: int
    high: int


def pieces(buffer: Buffer, alignment: int) -> Iterator[Piece]:
    """What a buffer uses and when, sizes and windows rounded outward to ``alignment``; nothing if it is empty."""
    if not buffer.size:
        return
    high = -(-buffer.size // alignment) * alignment
    start = buffer.first
    for gap in buffer.gaps:
        if gap.first > start:
            yield Piece(start, gap.first - 1, 0, high)
        if gap.window is not None and gap.window[0] < gap.window[1]:
            low = gap.window[0] // alignment * alignment
            yield Piece(gap.first, gap.last, low, -(-gap.window[1] // alignment) * alignment)
        start = gap.last + 1
    if start <= buffer.last:
        yield Piece(start, buffer.last, 0, high)


def check(buffers: Sequence[Buffer], alignment: int) -> None:
    """Refuse what no plan can be made for: UsageError naming the buffer and the reason."""
    if alignment < 1:
        raise UsageError(f"the alignment of an arena is at least 1 byte, not {alignment}")
    for number, buffer in enumerate(buffers):
        reason = _objection(buffer, alignment)
        if reason:
            raise UsageError(f"buffer {number} cannot be planned", why=reason)


def _objection(buffer: Buffer, alignment: int) -> str:
    if buffer.size < 0:
        return f"its size is {buffer.size} bytes"
    if buffer.last < buffer.first:
        return f"it ends at step {buffer.last}, before it starts at {buffer.first}"
    if buffer.alignment < 1:
        return f"its alignment is {buffer.alignment} bytes"
    if buffer.offset is not None and (buffer.offset < 0 or buffer.offset % lcm(alignment, buffer.alignment)):
        multiple = lcm(alignment, buffer.alignment)
        return f"its offset is fixed at {buffer.offset}, which is no multiple of {multiple} from 0 up"
    end = buffer.first - 1
    for gap in buffer.gaps:
        if gap.first <= end or gap.last < gap.first or gap.last > buffer.last:
            return f"its gap of steps {gap.first} to {gap.last} is out of order or outside its life"
        if gap.window and not 0 <= gap.window[0] <= gap.window[1] <= buffer.size:
            return f"the window {gap.window} of a gap is not within its {buffer.size} bytes"
        end = gap.last
    return ""


@dataclass(frozen=True, eq=False)
class PieceTable:
    """All pieces as arrays (int64), in the order of their buffers.

    Args:
        first: First step of each piece.
        last: Last step.
        low: First byte within the buffer.
        high: End within the buffer.
        start: [buffers + 1] where the pieces of each buffer begin.
    """

    first: np.ndarray
    last: np.ndarray
    low: np.ndarray
    high: np.ndarray
    start: np.ndarray

    @staticmethod
    def of(buffers: Sequence[Buffer], alignment: int) -> PieceTable:
        """The pieces of ``buffers``."""
        rows: list[Piece] = []
        start = [0]
        for buffer in buffers:
            rows.extend(pieces(buffer, alignment))
            start.append(len(rows))
        table = np.array(rows, dtype=np.int64).reshape(-1, 4)
        first, last, low, high = (np.ascontiguousarray(column) for column in table.T)
        return PieceTable(first, last, low, high, np.array(start, dtype=np.int64))

    def totals(self) -> tuple[np.ndarray, np.ndarray]:
        """(steps at which the bytes in use change, bytes in use from then on), in order of time."""
        steps, where = np.unique(np.concatenate([self.first, self.last + 1]), return_inverse=True)
        change = np.zeros(len(steps), dtype=np.int64)
        size = self.high - self.low
        np.add.at(change, where, np.concatenate([size, -size]))
        return steps, np.cumsum(change)


def lower_bound(buffers: Sequence[Buffer], *, alignment: int = 64, table: PieceTable | None = None) -> int:
    """Largest sum of sizes alive at one step, or the least end of a single buffer, in bytes.

    ``table`` holds the pieces of the buffers, if there is one already.
    """
    used = (table or PieceTable.of(buffers, alignment)).totals()[1]
    ends = ((b.offset or 0) - (-b.size // alignment) * alignment for b in buffers if b.size)
    return max(int(used.max(initial=0)), max(ends, default=0))
