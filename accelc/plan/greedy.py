"""Offsets by first fit: buffers in some order, each at the lowest place that is free while it lives.

By size, large ones first, is the strategy of TensorFlow Lite's planner (Pisarchyk and Lee, "Efficient Memory
Management for Deep Neural Net Inference", 2020, section 5.2); where it misses the bound others may not.
"""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from math import lcm

import numpy as np

from accelc.plan.buffers import Buffer, PieceTable

PLACEMENTS = 1000
"""Buffers placed, over all orders, that are quick: 1,000 take some 15 ms."""
SCANNED = 1500
"""Pieces up to which lists are as fast as arrays."""


def first_fit(
    buffers: Sequence[Buffer], table: PieceTable, bound: int, alignment: int, deadline: float
) -> tuple[int, ...]:
    """Offsets with the lowest peak of several orders; stops at the first that reaches ``bound``.

    O(n²) word operations in NumPy for each order. Until ``deadline`` (of ``time.monotonic``) all orders are tried;
    then only as many as are quick, and a second one for up to some thousand buffers.
    """
    best: np.ndarray | None = None
    lowest = 0
    for number, order in enumerate(_orders(buffers, table)):
        quick = (number + 1) * len(buffers) <= (PLACEMENTS if number > 1 else 10 * PLACEMENTS)
        if number and not quick and time.monotonic() >= deadline:
            break
        offsets, peak = _place(buffers, table, order, alignment)
        if best is None or peak < lowest:
            best, lowest = offsets, peak
        if lowest <= bound:
            break
    return () if best is None else tuple(best.tolist())


def _orders(buffers: Sequence[Buffer], table: PieceTable) -> Iterator[np.ndarray]:
    """Orders to try; buffers whose offset is fixed come first in each."""
    if not buffers:
        return
    size = np.array([b.size for b in buffers], dtype=np.int64)
    first = np.array([b.first for b in buffers], dtype=np.int64)
    length = np.array([b.last - b.first + 1 for b in buffers], dtype=np.int64)
    free = np.array([b.offset is None for b in buffers])
    yield np.lexsort((first, -length, -size, free))
    yield np.lexsort((first, -(size.astype(np.float64) * length), free))
    crowd = _crowd(first, length, table)
    yield np.lexsort((first, -size, -crowd, free))
    yield np.lexsort((first, -size, -length, free))
    yield np.lexsort((first, -length, -crowd, free))


def _crowd(first: np.ndarray, length: np.ndarray, table: PieceTable) -> np.ndarray:
    """The most bytes in use at a step of each buffer's life."""
    steps, used = table.totals()
    if not len(steps):
        return np.zeros(len(first), dtype=np.int64)
    begin = np.maximum(np.searchsorted(steps, first, side="right") - 1, 0)
    end = np.searchsorted(steps, first + length - 1, side="right")
    bounds = np.stack([begin, np.maximum(end, begin + 1)], axis=1).ravel()
    return np.asarray(np.maximum.reduceat(np.append(used, 0), bounds)[::2])


def _place(
    buffers: Sequence[Buffer], table: PieceTable, order: np.ndarray, alignment: int
) -> tuple[np.ndarray, int]:
    """Offsets of first fit in one order, and the peak."""
    offsets = np.zeros(len(buffers), dtype=np.int64)
    placed: _Scan | _Arrays = _Scan(table) if len(table.first) <= SCANNED else _Arrays(table)
    start = table.start.tolist()
    peak = 0
    for i in order.tolist():
        a, b = start[i], start[i + 1]
        offset = buffers[i].offset
        if offset is None:
            offset = 0 if a == b else placed.lowest(a, b, lcm(alignment, buffers[i].alignment))
        offsets[i] = offset
        if a < b:
            placed.put(a, b, offset)
            peak = max(peak, offset + -(-buffers[i].size // alignment) * alignment)
    return offsets, peak


class _Scan:
    """The pieces placed so far as a list: the fastest way while there are few."""

    def __init__(self, table: PieceTable) -> None:
        columns = (table.first, table.last, table.low, table.high)
        self._pieces = list(zip(*(column.tolist() for column in columns), strict=True))
        self._placed: list[tuple[int, int, int, int]] = []

    def put(self, a: int, b: int, offset: int) -> None:
        """Place the pieces a..b of one buffer."""
        for first, last, low, high in self._pieces[a:b]:
            self._placed.append((first, last, offset + low, offset + high))

    def lowest(self, a: int, b: int, multiple: int) -> int:
        """Lowest multiple where the pieces a..b of one buffer meet none of the placed ones."""
        taken: list[tuple[int, int]] = []
        for first, last, low, high in self._pieces[a:b]:
            # An offset strictly between these two makes the pieces overlap.
            taken += [
                (bottom - high, top - low)
                for begin, end, bottom, top in self._placed
                if begin <= last and end >= first
            ]
        taken.sort()
        place = 0
        for above, below in taken:
            if place <= above:
                break
            if below > place:
                place = -(-below // multiple) * multiple
        return place


class _Arrays:
    """As ``_Scan``, for thousands of pieces."""

    def __init__(self, table: PieceTable) -> None:
        self._table = table
        self._all = np.empty((4, len(table.first)), dtype=np.int64)
        self._top = 0

    def put(self, a: int, b: int, offset: int) -> None:
        """See ``_Scan``."""
        table, end = self._table, self._top + b - a
        new = self._all[:, self._top : end]
        new[0], new[1] = table.first[a:b], table.last[a:b]
        new[2], new[3] = offset + table.low[a:b], offset + table.high[a:b]
        self._top = end

    def lowest(self, a: int, b: int, multiple: int) -> int:
        """See ``_Scan``."""
        table, placed = self._table, self._all[:, : self._top]
        above, below = [], []
        for piece in range(a, b):
            meets = np.flatnonzero((placed[0] <= table.last[piece]) & (placed[1] >= table.first[piece]))
            above.append(placed[2, meets] - table.high[piece])
            below.append(placed[3, meets] - table.low[piece])
        starts = np.concatenate(above) if b - a > 1 else above[0]
        ends = np.concatenate(below) if b - a > 1 else below[0]
        if not len(starts):
            return 0
        order = np.argsort(starts)
        reach = np.maximum.accumulate(ends[order])
        places = np.zeros(len(reach) + 1, dtype=np.int64)
        np.maximum(reach, 0, out=places[1:])
        places += -places % multiple
        free = np.flatnonzero(places[:-1] <= starts[order])
        return int(places[free[0]] if len(free) else places[-1])
