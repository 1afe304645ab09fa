"""Fewer bytes at the peak by computing values again: which results to drop across the peak, and what that costs.

Greedy: among the buffers that lie idle where more than the limit is alive, the one whose recomputation costs the
fewest operations per byte and step that comes below the limit is dropped after its last use before the peak, and
the steps that make it run again before its next use. Operands of those that are gone by then live longer or are
made again in turn. This is the eager form of the trade of Chen et al., "Training Deep Nets with Sublinear Memory
Cost" (2016), for inference graphs.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

from accelc.plan.order import Work, alive_bytes

_DEEPEST = 12
"""Steps that may run again for one value."""
_MOST_CANDIDATES = 48
"""Idle buffers tried for one step, largest first."""
_MOST_CHANGES = 400
_KEPT_SHARES = (0.0, 0.5, 1e9)
"""Operands of a dropped value that are gone live on if they have at most so much of its bytes."""


@dataclass(frozen=True)
class Run:
    """One run of a step: ``touches`` are the buffers it uses, place by place as in the step's own ``Work``."""

    step: int
    touches: tuple[int, ...]


@dataclass(frozen=True)
class Recomputation:
    """Steps in a new order, some more than once.

    Args:
        runs: The runs in order.
        copies: For each buffer added, the buffer of the program whose value it holds again; numbers continue
            those of the program's buffers.
        flops: Operations added.
        peak_bytes: The most bytes alive at one run.
    """

    runs: tuple[Run, ...]
    copies: tuple[int, ...]
    flops: int
    peak_bytes: int


def recompute(
    works: Sequence[Work],
    sizes: Sequence[int],
    writers: Sequence[int],
    flops: Sequence[int],
    limit_bytes: int,
) -> Recomputation:
    """Runs whose peak is at most ``limit_bytes``, or as far below the given one as this search gets.

    Args:
        works: The steps in order; ``after`` is not looked at: a step runs again only where its operands are.
        sizes: Bytes of each buffer.
        writers: For each buffer the only step that writes it, if it makes all of it at once; else -1.
        flops: Operations of each step.
        limit_bytes: The goal.
    """
    search = _Search(works, sizes, writers, flops, limit_bytes)
    for _ in range(_MOST_CHANGES):
        if max(search.alive, default=0) <= limit_bytes or not search.improve():
            break
    return search.result()


@dataclass(frozen=True)
class _Change:
    runs: list[Run]
    copies: list[int]
    flops: int
    alive: list[int]


class _Search:
    def __init__(
        self,
        works: Sequence[Work],
        sizes: Sequence[int],
        writers: Sequence[int],
        flops: Sequence[int],
        limit: int,
    ) -> None:
        self.works, self.writers, self.step_flops, self.limit = works, writers, flops, limit
        self.own_sizes = list(sizes)
        self.runs = [Run(step, work.touches) for step, work in enumerate(works)]
        self.copies: list[int] = []
        self.flops = 0
        self.alive = self._alive(self.runs, self.copies)

    def result(self) -> Recomputation:
        """What was found."""
        return Recomputation(tuple(self.runs), tuple(self.copies), self.flops, max(self.alive, default=0))

    def improve(self) -> bool:
        """Make the best single change; False if none brings memory nearer to the limit."""
        first, last = self._spans(self.runs)
        top = max(range(len(self.alive)), key=self.alive.__getitem__)
        busy = set(self.runs[top].touches)
        idle = [b for b in first if first[b] < top < last[b] and b not in busy and self._size(b)]
        idle.sort(key=lambda b: (-self._size(b), b))
        best: tuple[float, int, _Change] | None = None
        before = self._excess(self.alive)
        changes = (
            (buffer, self._drop(buffer, keep, top, last))
            for buffer in idle[:_MOST_CANDIDATES]
            for keep in _KEPT_SHARES
        )
        for buffer, change in changes:
            if change is None:
                continue
            gain = before - self._excess(change.alive)
            if gain <= 0 or max(change.alive) > self.alive[top]:
                continue
            key = ((change.flops - self.flops + 1) / gain, buffer)
            if best is None or key < best[:2]:
                best = (*key, change)
        if best is None:
            return False
        change = best[2]
        self.runs, self.copies, self.flops, self.alive = (
            change.runs,
            change.copies,
            change.flops,
            change.alive,
        )
        return True

    def _excess(self, alive: Sequence[int]) -> float:
        """How far memory is above the limit, steps with more of it counting more."""
        return float(sum((now - self.limit) ** 2 for now in alive if now > self.limit))

    def _drop(self, buffer: int, kept_share: float, top: int, last: dict[int, int]) -> _Change | None:
        """The program without ``buffer`` across run ``top``: it is made again before its next use."""
        place = next(i for i in range(top + 1, len(self.runs)) if buffer in self.runs[i].touches)
        copies = list(self.copies)
        made: list[Run] = []
        new = self._again(buffer, place, kept_share * self._size(buffer), last, copies, made)
        if new is None:
            return None
        runs = self.runs[:place] + made
        for run in self.runs[place:]:
            touches = tuple(new[buffer] if b == buffer else b for b in run.touches)
            runs.append(replace(run, touches=touches) if touches != run.touches else run)
        flops = self.flops + sum(self.step_flops[run.step] for run in made)
        return _Change(runs, copies, flops, self._alive(runs, copies))

    def _again(
        self,
        buffer: int,
        place: int,
        kept_bytes: float,
        last: dict[int, int],
        copies: list[int],
        made: list[Run],
    ) -> dict[int, int] | None:
        """Add the runs that make ``buffer`` again before run ``place``; the new buffers by the old ones.

        Operands that are gone by then are made again too, unless they have at most ``kept_bytes``, or cannot be:
        then they live on.
        """
        new: dict[int, int] = {}
        pending = [(buffer, False)]
        while pending:
            wanted, ready = pending.pop()
            if wanted in new:
                continue
            step = self.writers[self._original(wanted)]
            if step < 0 or len(made) >= _DEEPEST or len(pending) > 4 * _DEEPEST:
                return None
            run = next(r for r in self.runs if r.step == step and wanted in r.touches)
            if ready:
                copies.append(self._original(wanted))
                new[wanted] = len(self.own_sizes) + len(copies) - 1
                made.append(Run(step, tuple(new.get(b, b) for b in run.touches)))
                continue
            pending.append((wanted, True))
            for operand in run.touches:
                gone = operand != wanted and last[operand] < place and operand not in new
                writer = self.writers[self._original(operand)]
                if gone and writer >= 0 and self._size(operand) > kept_bytes:
                    pending.append((operand, False))
        return new

    def _original(self, buffer: int) -> int:
        count = len(self.own_sizes)
        return buffer if buffer < count else self.copies[buffer - count]

    def _size(self, buffer: int) -> int:
        return self.own_sizes[self._original(buffer)]

    def _spans(self, runs: Sequence[Run]) -> tuple[dict[int, int], dict[int, int]]:
        first: dict[int, int] = {}
        last: dict[int, int] = {}
        for place, run in enumerate(runs):
            for buffer in run.touches:
                first.setdefault(buffer, place)
                last[buffer] = place
        return first, last

    def _alive(self, runs: Sequence[Run], copies: Sequence[int]) -> list[int]:
        sizes = self.own_sizes + [self.own_sizes[original] for original in copies]
        made = []
        for run in runs:
            work = self.works[run.step]
            now = dict(zip(work.touches, run.touches, strict=True))
            pairs = tuple((now[result], now[operand]) for result, operand in work.takes_over)
            made.append(Work(run.touches, (), work.scratch, pairs))
        return alive_bytes(made, sizes, range(len(made)))
