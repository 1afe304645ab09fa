"""Search for plans below the peak that first fit reached: capacities, restarts, time.

The buffers fall into parts that share no moment; a part whose peak is already low enough is left alone. For the
others the question is whether a plan fits a capacity, first at the goal, then between the goal and the best
plan. Each question is put to :mod:`accelc.plan.search_kernel` again and again with other preferences and more
steps, so that a bad early choice does not cost everything; one that ends without a plan is a proof.

Buffers are stacked from the bottom. The state of a search is, for each buffer that has no offset yet, the
least offset that it can still have. One step takes the lowest buffer of the section with the lowest floor and
branches: it lies at its least offset, or higher. Three facts keep the tree small:

* Any plan can be pushed down until each buffer lies at 0 or on top of another ("canonical"). So a buffer that
  does not lie at its least offset lies at or above the lowest top that a neighbour without an offset can still
  have: refusing an offset raises the least one, often by much, and if there is no such neighbour the plan fails.
* Of the buffers of a section (those alive together), the ones with a least offset of m or more need all their
  sizes above m. If that passes the capacity for any m, no plan is left (one machine with release dates).
* Sections that no buffer without an offset joins any more are searched one after the other, and a solved one
  is never searched again.

Sections where searches failed are looked at first among equals (weights that restarts keep). With FOCUS the
section that failed last is filled before all others until one of its buffers is placed: going back then ends
where the failure comes from, not at choices that have nothing to do with it.

Sources: canonical solutions, section inference and dynamic decomposition are those of M. D. Moffitt, "MiniMalloc:
A Lightweight Memory Allocator for Hardware-Accelerated Machine Learning", ASPLOS 2023; weights are those of
F. Boussemart et al., "Boosting Systematic Search by Weighting Constraints", ECAI 2004; focus is that of
C. Lecoutre et al., "Reasoning from Last Conflict(s) in Constraint Programming", Artificial Intelligence 2009.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import cache
from math import gcd, lcm
from typing import Any

import numpy as np

from accelc.plan import search_kernel as kernel
from accelc.plan.buffers import Buffer
from accelc.plan.sections import Interval, Sections, sections_of

Clock = Callable[[], float]

FIRST_STEPS = 500
"""Steps (placements, raises) before the first restart; each round of preferences gets half as many again."""
SLICE_STEPS = 500
"""Steps between two looks at the clock: some 10 ms."""


def improve(
    buffers: Sequence[Buffer],
    offsets: Sequence[int],
    goal: int,
    time_limit_s: float,
    alignment: int,
    clock: Clock,
) -> tuple[tuple[int, ...], int]:
    """Lower the peak of a plan to ``goal`` bytes, or as far as the time goes.

    Gaps in which a part of a buffer stays in use count as if all of it did, so with these a plan may be missed,
    and nothing is proven.

    Returns:
        Offsets, and a number of bytes that no plan can do without (0: nothing was proven).
    """
    _searcher()
    deadline = clock() + time_limit_s
    result = list(offsets)
    bound = 0
    parts = sorted(_parts(buffers, alignment), key=lambda part: part.peak(result))
    for number, part in enumerate(parts):
        if part.peak(result) <= goal or clock() >= deadline:
            continue
        share = clock() + (deadline - clock()) / (len(parts) - number)
        proven = part.minimise(result, goal, share, clock)
        if part.exact:
            bound = max(bound, proven)
            goal = max(goal, proven)  # the other parts need not be lower than this one can be
    return tuple(result), bound


@cache
def _searcher() -> Any:
    """The search, compiled by a first call; Numba keeps it beside this file or in the user's cache folder."""
    import numba

    options = {"nogil": True, "error_model": "numpy"}
    try:
        compiled = numba.njit(cache=True, **options)(kernel.search)
    except RuntimeError:  # no folder to keep it in
        compiled = numba.njit(**options)(kernel.search)
    one = np.ones(1, dtype=np.int64)
    problem = Problem.of([[(0, 0)]], one, one, [None])
    compiled(problem.start(1, one, one, 0, np.empty((100, 3), dtype=np.int64)), 1)
    return compiled


def _lives(buffer: Buffer) -> list[Interval]:
    """The intervals of steps in which a buffer needs its place; gaps with a window count as needed."""
    lives = []
    start = buffer.first
    for gap in buffer.gaps:
        if gap.window is None:
            if gap.first > start:
                lives.append((start, gap.first - 1))
            start = gap.last + 1
    if start <= buffer.last:
        lives.append((start, buffer.last))
    return lives


def _parts(buffers: Sequence[Buffer], alignment: int) -> Iterator[Part]:
    """Groups of buffers such that no two of different groups are needed at the same time."""
    lives = [_lives(buffer) if buffer.size else [] for buffer in buffers]
    alive = sorted((each[0][0], each[-1][1], i) for i, each in enumerate(lives) if each)
    group: list[int] = []
    end = 0
    for first, last, i in alive:
        if group and first > end:
            yield Part(buffers, group, [lives[j] for j in group], alignment)
            group = []
        end = max(end, last) if group else last
        group.append(i)
    if group:
        yield Part(buffers, group, [lives[j] for j in group], alignment)


class Part:
    """Buffers to place among themselves.

    Args:
        buffers: All buffers.
        ids: Those of this part.
        lives: Their intervals.
        alignment: Of the arena, in bytes.
    """

    def __init__(
        self, buffers: Sequence[Buffer], ids: list[int], lives: list[list[Interval]], alignment: int
    ) -> None:
        self.ids = ids
        self.lives = lives
        self.exact = all(gap.window is None for i in ids for gap in buffers[i].gaps)
        self.size = np.array([-(-buffers[i].size // alignment) * alignment for i in ids], dtype=np.int64)
        self.align = np.array([lcm(alignment, buffers[i].alignment) for i in ids], dtype=np.int64)
        self.fixed = [buffers[i].offset for i in ids]
        # Offsets are sums of sizes, rounded to alignments, so peaks differ by multiples of this.
        self.step = gcd(*self.size.tolist(), *self.align.tolist(), *(each for each in self.fixed if each))

    def peak(self, offsets: Sequence[int]) -> int:
        """Highest end of a buffer, in bytes."""
        return max(offsets[i] + int(size) for i, size in zip(self.ids, self.size, strict=True))

    def minimise(self, offsets: list[int], goal: int, deadline: float, clock: Clock) -> int:
        """Lower the peak to ``goal``, writing the offsets; the least number of bytes not proven impossible."""
        problem = Problem.of(self.lives, self.size, self.align, self.fixed)
        best = self.peak(offsets)
        bound = problem.used
        goal = low = max(bound, goal)
        share = (deadline - clock()) / 8
        first = True
        while best > goal and clock() < deadline:
            # Round down: capacities between two multiples of the step mean the same.
            capacity = low if first else low + (best - self.step - low) // 2 // self.step * self.step
            found = problem.fit(capacity, min(deadline, clock() + (4 * share if first else share)), clock)
            first = False
            if isinstance(found, np.ndarray):
                for i, offset in zip(self.ids, found.tolist(), strict=True):
                    offsets[i] = offset
                best = self.peak(offsets)
            elif found:
                bound = goal = low = capacity // self.step * self.step + self.step
            else:
                low = capacity + self.step
            if low >= best:  # what is left are capacities that took too long
                low = goal
                first = True
                share *= 2
        return bound


@dataclass(frozen=True, eq=False)
class Problem:
    """One part as the tables of the search, before a capacity is chosen.

    Args:
        state: To copy for each run.
        preferences: Ranks of the buffers, best first, to try in turn.
        used: The most bytes needed at one time.
    """

    state: kernel.State
    preferences: tuple[np.ndarray, ...]
    used: int

    @staticmethod
    def of(
        lives: list[list[Interval]], size: np.ndarray, align: np.ndarray, fixed: list[int | None]
    ) -> Problem:
        """The tables for buffers with these lives, sizes, alignments and fixed offsets."""
        sections = sections_of(lives)
        count = len(sections.members)
        rows = np.zeros((len(size), kernel.BUFFER_COLUMNS), dtype=np.int64)
        rows[:, kernel.SIZE], rows[:, kernel.ALIGN] = size, align
        rows[:, kernel.OFFSET] = -1
        rows[:, kernel.LIMIT] = [-1 if offset is None else offset for offset in fixed]
        table = np.zeros((count, kernel.SECTION_COLUMNS), dtype=np.int64)
        table[:, kernel.WEIGHT] = table[:, kernel.QUEUED] = 1
        table[:, kernel.QUEUE] = np.arange(count)
        lists = _fill_lists(rows, table, sections)
        table[:, kernel.TOTAL] = [int(size[each].sum()) for each in sections.members]
        table[:, kernel.COUNT] = [len(each) for each in sections.members]
        for ranges in sections.ranges:
            table[ranges[0][0] + 1 : ranges[-1][1], kernel.CUT] += 1
        _fill_least(rows, sections, fixed)
        parts = np.zeros((3 * count + 8, 4), dtype=np.int64)
        cells = np.zeros(kernel.CELLS, dtype=np.int64)
        parts[0] = 0, count, 0, -1
        cells[kernel.PARTS], cells[kernel.QUEUED_COUNT], cells[kernel.CONFLICT] = 1, count, -1
        trail = np.empty((0, 3), dtype=np.int64)
        choices = np.zeros((len(size) + 1, 4), dtype=np.int64)
        state = kernel.State(rows, table, lists, trail, choices, parts, cells)
        return Problem(state, _preferences(lives, rows, table, sections), int(table[:, kernel.TOTAL].max()))

    def fit(self, capacity: int, deadline: float, clock: Clock) -> np.ndarray | bool:
        """Offsets within ``capacity``; True if there are none, False if the time was up."""
        weights = np.ones(len(self.state.sections), dtype=np.int64)
        trail = np.empty((100 * (len(self.state.buffers) + 16), 3), dtype=np.int64)
        steps = FIRST_STEPS
        focus = 0
        while True:
            for ranks in self.preferences:
                state = self.start(capacity, ranks, weights, focus, trail)
                result = _run(state, steps, deadline, clock)
                if result == kernel.SOLVED:
                    return state.buffers[:, kernel.OFFSET]
                if result == kernel.IMPOSSIBLE:
                    return True
                if result == kernel.TRAIL_FULL:
                    trail = np.empty((2 * len(trail), 3), dtype=np.int64)
                if clock() >= deadline:
                    return False
                weights = state.sections[:, kernel.WEIGHT]
            steps += steps // 2
            focus = 1

    def start(
        self, capacity: int, ranks: np.ndarray, weights: np.ndarray, focus: int, trail: np.ndarray
    ) -> kernel.State:
        """A search at its beginning."""
        state = kernel.State(*(each.copy() for each in self.state))._replace(trail=trail)
        free = state.buffers[:, kernel.LIMIT] < 0
        state.buffers[free, kernel.LIMIT] = capacity - state.buffers[free, kernel.SIZE]
        state.buffers[:, kernel.RANK] = ranks
        state.sections[:, kernel.WEIGHT] = weights
        state.cells[kernel.CAPACITY] = capacity
        state.cells[kernel.FOCUS] = focus
        return state


def _run(state: kernel.State, steps: int, deadline: float, clock: Clock) -> int:
    """Search in slices, so that the deadline and Ctrl-C are met."""
    result = kernel.PAUSED
    while steps > 0 and result == kernel.PAUSED and clock() < deadline:
        result = _searcher()(state, min(steps, SLICE_STEPS))
        steps -= SLICE_STEPS
    return result


def _fill_lists(rows: np.ndarray, table: np.ndarray, sections: Sections) -> np.ndarray:
    """Ranges, neighbours and members one after the other; where each begins and ends goes to the tables."""
    lists: list[np.ndarray] = []
    length = 0

    def add(values: np.ndarray, where: np.ndarray, begin: int, end: int) -> None:
        nonlocal length
        lists.append(values)
        where[begin], where[end] = length, length + len(values)
        length += len(values)

    for i, ranges in enumerate(sections.ranges):
        add(np.array(ranges, dtype=np.int64).ravel(), rows[i], kernel.RANGES, kernel.RANGES_END)
    bounds = np.concatenate(lists).reshape(-1, 2)
    owners = np.repeat(np.arange(len(rows)), [len(ranges) for ranges in sections.ranges])
    for i, ranges in enumerate(sections.ranges):
        meets = np.zeros(len(owners), dtype=np.bool_)
        for first, end in ranges:
            meets |= (bounds[:, 0] < end) & (bounds[:, 1] > first)
        met = np.unique(owners[meets])
        add(met[met != i], rows[i], kernel.NEIGHBOURS, kernel.NEIGHBOURS_END)
    for s, members in enumerate(sections.members):
        add(members, table[s], kernel.MEMBERS, kernel.MEMBERS_END)
    return np.concatenate(lists)


def _fill_least(rows: np.ndarray, sections: Sections, fixed: list[int | None]) -> None:
    """Least offsets: those that are fixed, and of buffers that are the same in all each one above the last."""
    last: dict[tuple[object, ...], int] = {}
    rows[:, kernel.TWIN] = -1
    for i, offset in enumerate(fixed):
        if offset is not None:
            rows[i, kernel.LEAST] = rows[i, kernel.SUPPORT] = offset
            continue
        key = (sections.ranges[i], int(rows[i, kernel.SIZE]), int(rows[i, kernel.ALIGN]))
        if key in last:
            twin = last[key]
            align = rows[i, kernel.ALIGN]
            top = rows[twin, kernel.LEAST] + rows[twin, kernel.SIZE]
            rows[twin, kernel.TWIN], rows[i, kernel.LEAST] = i, -(-top // align) * align
        last[key] = i


def _preferences(
    lives: list[list[Interval]], rows: np.ndarray, table: np.ndarray, sections: Sections
) -> tuple[np.ndarray, ...]:
    """Ranks by length (L), area (A), size (S) and most bytes in use meanwhile (T), in several precedences."""
    size = rows[:, kernel.SIZE]
    length = np.array([each[-1][1] - each[0][0] + 1 for each in lives], dtype=np.int64)
    total = table[:, kernel.TOTAL]
    crowd = [max(int(total[first:end].max()) for first, end in ranges) for ranges in sections.ranges]
    keys = {"L": length, "A": size.astype(np.float64) * length, "S": size, "T": np.array(crowd)}
    ranks = []
    for order in ("LAT", "TAL", "TLA", "TSL", "SAT"):
        rank = np.empty(len(size), dtype=np.int64)
        rank[np.lexsort([-keys[key] for key in reversed(order)])] = np.arange(len(size))
        ranks.append(rank)
    return tuple(ranks)
