"""An order of steps with a low memory peak: exact between articulation points where that is affordable, else a beam.

A step that no dependence jumps over splits the program: the steps before it and those after it can be ordered on
their own. Only the part with the highest peak is worth reordering, then the next, until one cannot be lowered.
Within a part, states are sets of finished steps; of two ways to the same set the one with the lower peak is kept,
which is dynamic programming over the down-sets, exact unless a level is cut to the beam's width.

Source: the dynamic programming is that of SERENITY (Ahn et al., "Ordering Chaos: Memory-Aware Scheduling of
Irregularly Wired Neural Networks for Edge Devices", MLSys 2020), the parts its divide-and-conquer.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

_BUDGET = 60_000
"""Expansions of states for one program, about 8 µs each."""
_WIDEST = 4_000
"""States kept of one level."""
_CANDIDATES, _FEW_CANDIDATES, _LONG = 24, 8, 500
"""Steps tried next from one state, those just made ready first; fewer in parts longer than ``_LONG``."""


@dataclass(frozen=True)
class Work:
    """One step as the scheduler sees it.

    Args:
        touches: Buffers that it reads or writes, each once. A buffer is alive from the first step that touches it
            to the last.
        after: Steps that must come before it, by number; all smaller than its own number.
        scratch: Bytes that it needs besides.
        takes_over: (result, operand) buffers of the same size: the result lies in the operand's memory where the
            step is the first to touch the one and the last to touch the other.
    """

    touches: tuple[int, ...]
    after: tuple[int, ...] = ()
    scratch: int = 0
    takes_over: tuple[tuple[int, int], ...] = ()


Sizes = Sequence[int] | Mapping[int, int]
"""Bytes of each buffer."""


def alive_bytes(works: Sequence[Work], sizes: Sizes, order: Sequence[int]) -> list[int]:
    """Bytes alive while each step runs, by place in ``order``."""
    first: dict[int, int] = {}
    last: dict[int, int] = {}
    for place, number in enumerate(order):
        for buffer in works[number].touches:
            first.setdefault(buffer, place)
            last[buffer] = place
    result = []
    alive = 0
    for place, number in enumerate(order):
        work = works[number]
        fresh = [buffer for buffer in work.touches if first[buffer] == place]
        dying = [buffer for buffer in work.touches if last[buffer] == place]
        shared = _shared(work, fresh, dying, sizes)
        alive += sum(sizes[buffer] for buffer in fresh)
        result.append(alive - shared + work.scratch)
        alive -= sum(sizes[buffer] for buffer in dying)
    return result


def _shared(work: Work, fresh: Sequence[int], dying: Sequence[int], sizes: Sizes) -> int:
    """Bytes that a result takes over from an operand; one result does."""
    for result, operand in work.takes_over:
        if result in fresh and operand in dying:
            return sizes[result]
    return 0


def memory_order(works: Sequence[Work], sizes: Sequence[int]) -> list[int]:
    """An order of the steps whose peak is not above that of the given order; that order itself where it is as good.

    Args:
        works: The steps in a valid order.
        sizes: Bytes of each buffer; 0 for memory that does not count.

    Returns:
        Numbers of the steps. Time is near-linear in the steps: states are bounded.
    """
    order = list(range(len(works)))
    parts = [_Part(works, sizes, start, stop) for start, stop in _parts(works)]
    alive = alive_bytes(works, sizes, order)
    _enter(parts, works, sizes)
    peaks = [max(alive[part.start : part.stop]) for part in parts]
    budget = _BUDGET
    done: set[int] = set()
    while parts:
        top = max(range(len(parts)), key=lambda i: peaks[i])
        if top in done or budget <= 0:
            break
        done.add(top)
        floor = max((peak for i, peak in enumerate(peaks) if i != top), default=0)
        part = parts[top]
        found, spent = part.search(peaks[top], floor, budget)
        budget -= spent
        if found is not None:
            order[part.start : part.stop] = found
            peaks[top] = max(alive_bytes(works, sizes, order)[part.start : part.stop])
    return order


def _parts(works: Sequence[Work]) -> list[tuple[int, int]]:
    """Runs of steps that can be ordered on their own; each ends with a step that no dependence jumps over."""
    reach = [0] * (len(works) + 1)  # +1 where a dependence starts to jump over places, -1 where it lands
    for number, work in enumerate(works):
        if work.after:
            nearest = min(work.after)
            if number - nearest > 1:
                reach[nearest + 1] += 1
                reach[number] -= 1
    parts = []
    start = over = 0
    for number in range(len(works)):
        over += reach[number]
        if over == 0:
            parts.append((start, number + 1))
            start = number + 1
    if start < len(works):
        parts.append((start, len(works)))
    return parts


def _enter(parts: Sequence[_Part], works: Sequence[Work], sizes: Sequence[int]) -> None:
    """Tell each part which of its buffers are alive before and after it, and how many bytes are at its start."""
    first: dict[int, int] = {}
    last: dict[int, int] = {}
    for number, work in enumerate(works):
        for buffer in work.touches:
            first.setdefault(buffer, number)
            last[buffer] = number
    changes = [0] * (len(works) + 1)
    for buffer, number in first.items():
        changes[number] += sizes[buffer]
        changes[last[buffer] + 1] -= sizes[buffer]
    alive = place = 0
    for part in parts:
        while place < part.start:
            alive += changes[place]
            place += 1
        starting = sum(sizes[b] for b in part.touchers if first[b] == part.start)
        part.entry = alive + changes[part.start] - starting
        part.before = {b for b in part.touchers if first[b] < part.start}
        part.later = {b for b in part.touchers if last[b] >= part.stop}


@dataclass(slots=True)
class _State:
    """A set of finished steps and the best way there."""

    mask: int
    peak: int
    alive: int
    ready: tuple[int, ...]
    step: int
    previous: _State | None


class _Part:
    """Steps ``start`` to ``stop``; bits of masks are numbers from ``start``."""

    def __init__(self, works: Sequence[Work], sizes: Sequence[int], start: int, stop: int) -> None:
        self.start, self.stop = start, stop
        self.sizes = sizes
        self.works = works[start:stop]
        self.entry = 0
        self.before: set[int] = set()
        self.later: set[int] = set()
        self.touchers: dict[int, int] = {}
        self.needs = [0] * len(self.works)
        self.users: list[list[int]] = [[] for _ in self.works]
        for i, work in enumerate(self.works):
            for buffer in work.touches:
                self.touchers[buffer] = self.touchers.get(buffer, 0) | 1 << i
            for number in work.after:
                if number >= start:
                    self.needs[i] |= 1 << (number - start)
                    self.users[number - start].append(i)

    def search(self, peak: int, floor: int, budget: int) -> tuple[list[int] | None, int]:
        """An order with a peak below ``peak``, and the expansions spent; peaks up to ``floor`` are as good as it."""
        count = len(self.works)
        most = _CANDIDATES if count <= _LONG else _FEW_CANDIDATES
        ready = tuple(i for i in range(count) if not self.needs[i])
        level = [_State(0, 0, self.entry, ready, -1, None)]
        spent = 0
        for depth in range(count):
            found: dict[int, _State] = {}
            for state in level:
                if state.previous is not None:
                    state.ready = self._ready(state)
                for step in state.ready[:most]:
                    spent += 1
                    made = self._extend(state, step, peak)
                    if made is None:
                        continue
                    known = found.get(made.mask)
                    if known is None or made.peak < known.peak:
                        found[made.mask] = made
            if not found:
                return None, spent
            branching = max(1, min(most, max(len(state.ready) for state in level)))
            width = max(1, min(_WIDEST, (budget - spent) // (branching * (count - depth))))
            level = sorted(found.values(), key=lambda s: (max(s.peak, floor), s.alive, s.step))[:width]
        return self._path(level[0]), spent

    def _ready(self, state: _State) -> tuple[int, ...]:
        """Steps that may come next: those that the last one made ready before the others, which are in order."""
        assert state.previous is not None
        fresh = [i for i in self.users[state.step] if not self.needs[i] & ~state.mask]
        return (*fresh, *[i for i in state.previous.ready if i != state.step])

    def _extend(self, state: _State, step: int, peak: int) -> _State | None:
        """The state after one more step; None if that reaches ``peak``."""
        work = self.works[step]
        mask = state.mask | 1 << step
        fresh, dying = [], []
        for buffer in work.touches:
            touchers = self.touchers[buffer]
            if not touchers & state.mask and buffer not in self.before:
                fresh.append(buffer)
            if not touchers & ~mask and buffer not in self.later:
                dying.append(buffer)
        alive = state.alive + sum([self.sizes[b] for b in fresh])
        now = alive + work.scratch - (_shared(work, fresh, dying, self.sizes) if work.takes_over else 0)
        if now >= peak:
            return None
        alive -= sum([self.sizes[b] for b in dying])
        return _State(mask, max(state.peak, now), alive, (), step, state)

    def _path(self, state: _State) -> list[int]:
        steps = []
        at: _State | None = state
        while at is not None and at.step >= 0:
            steps.append(self.start + at.step)
            at = at.previous
        return steps[::-1]
