"""What buffers have to do with each other: the moments that matter, and who is alive then.

A *section* is a set of buffers alive at the same time that no other moment's set contains: only these
restrict a plan, and there are at most as many as buffers.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

Interval = tuple[int, int]
"""First and last step, both included."""


@dataclass(frozen=True, eq=False)
class Sections:
    """Sections in order of time.

    Args:
        members: Buffers of each section.
        ranges: For each buffer, the ranges [first, end) of sections that it is in.
    """

    members: tuple[np.ndarray, ...]
    ranges: tuple[tuple[Interval, ...], ...]


def sections_of(lives: Sequence[Sequence[Interval]]) -> Sections:
    """Sections of buffers given by the intervals in which they are alive. O(n log n + members)."""
    events = sorted(
        event
        for buffer, intervals in enumerate(lives)
        for first, last in intervals
        for event in ((2 * first, buffer), (2 * last + 1, buffer))
    )
    alive: dict[int, None] = {}
    members: list[np.ndarray] = []
    # Sections a buffer entered at and is in since; a section is closed when somebody leaves after one came.
    ranges: list[list[Interval]] = [[] for _ in lives]
    since: dict[int, int] = {}
    grown = False
    for moment, buffer in events:
        if moment % 2 == 0:
            alive[buffer] = None
            since[buffer] = len(members)
            grown = True
            continue
        if grown:
            members.append(np.fromiter(alive, np.int64, len(alive)))
            grown = False
        del alive[buffer]
        if since[buffer] < len(members):
            ranges[buffer].append((since[buffer], len(members)))
    return Sections(tuple(members), tuple(tuple(each) for each in ranges))
