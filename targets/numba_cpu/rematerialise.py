"""A program within a memory limit: chains are done in strips, and cheap values are computed again instead of kept.

See strips.py for the first and accelc.plan.recompute for the second; both only ever add calls.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

from accelc.errors import LimitError
from accelc.plan.recompute import Recomputation, recompute
from accelc.quantities import size_text
from accelc.target import MemoryCost
from accelc.targets.numba_cpu.isa import Isa
from accelc.targets.numba_cpu.memory_map import plan_regions
from accelc.targets.numba_cpu.program import Call, Program, Step, SymbolCall, Value
from accelc.targets.numba_cpu.regions import external_values, split
from accelc.targets.numba_cpu.reorder import region_work
from accelc.targets.numba_cpu.strip_search import StripSearch
from accelc.targets.numba_cpu.strips import flops_of
from accelc.targets.numba_cpu.tensors import TensorTable

_MOST_ATTEMPTS = 6
"""Goals tried below the limit where the arena comes out larger than the bytes alive at once."""
_GOALS = (1.0, 0.93, 0.8, 0.6, 0.0)
"""Shares of the limit that strips aim at, in turn: a lower goal sees more than the highest step."""


class MemoryLimitError(LimitError):
    """A memory limit cannot be met; ``least_bytes`` is the smallest arena that was found."""

    def __init__(self, limit_bytes: int, unlimited_bytes: int, least_bytes: int) -> None:
        self.least_bytes = least_bytes
        super().__init__(
            f"the arena cannot be kept within {size_text(limit_bytes)}",
            why=f"it takes {size_text(unlimited_bytes)} ({unlimited_bytes} bytes) without a limit; the least found is "
            f"{size_text(least_bytes)} ({least_bytes} bytes)",
            fix="raise --mem-limit, or compile for smaller inputs",
        )


def rematerialise(
    program: Program, isa: Isa, symbols: Mapping[str, int], threads: int, limit_bytes: int
) -> MemoryCost:
    """Change a program, in place, so that the arena of each region has at most ``limit_bytes``.

    Args:
        program: The program; values must be renumbered afterwards.
        isa: What kernels are made for.
        symbols: Sizes of the symbols.
        threads: Threads of a call.
        limit_bytes: The limit.

    Raises:
        MemoryLimitError: It cannot be met; says the least that was found.
    """
    planned = plan_regions(program, isa, symbols, threads)
    unlimited = max((region.plan.peak_bytes for region in planned), default=0)
    calls, flops = len(program.steps), 0
    for number, region in enumerate(planned):
        if region.plan.peak_bytes > limit_bytes:
            flops += _keep_within(program, isa, symbols, threads, number, limit_bytes, region.plan.peak_bytes)
    return MemoryCost(limit_bytes, unlimited, len(program.steps) - calls, flops)


def _keep_within(
    program: Program,
    isa: Isa,
    symbols: Mapping[str, int],
    threads: int,
    number: int,
    limit: int,
    unlimited: int,
) -> int:
    """Change one region; the operations that adds. Strips come first, they cost next to nothing."""
    least = unlimited
    for share in _GOALS:
        search = StripSearch(program, isa, symbols, threads, number)
        search.run(int(limit * share))
        found, flops = search.program(), search.flops
        peak = plan_regions(found, isa, symbols, threads)[number].plan.peak_bytes
        if peak > limit:
            runs = _Runs(found, isa, symbols, threads, number)
            changed, added, lower = runs.least(limit)
            if lower < peak:
                found, flops, peak = changed, flops + added, lower
        least = min(least, peak)
        if peak <= limit:
            program.values, program.steps = found.values, found.steps
            return flops
    raise MemoryLimitError(limit, unlimited, least)


class _Runs:
    """One region whose values are to be computed again."""

    def __init__(
        self, program: Program, isa: Isa, symbols: Mapping[str, int], threads: int, number: int
    ) -> None:
        self.program, self.isa, self.symbols, self.threads = program, isa, symbols, threads
        self.number = number
        regions = split(program)
        external = external_values(program, [steps for _, steps in regions])
        found = [(first, steps) for first, steps in regions if isinstance(steps, list)]
        self.first, self.steps = found[number]
        self.work = region_work(program, isa, [symbols], threads, self.steps, external)
        self.calls = [step for step in self.steps if isinstance(step, Call)]

    def least(self, limit: int) -> tuple[Program, int, int]:
        """A program within the limit, or the one nearest to it that was found; operations added, its arena."""
        goal = limit
        best: tuple[Program, int, int] | None = None
        for _ in range(_MOST_ATTEMPTS):
            found, changed, peak = self._try(goal)
            if best is None or peak < best[2]:
                best = (changed, found.flops, peak)
            if peak <= limit or found.peak_bytes > goal:
                break
            goal = min(goal - (peak - limit), found.peak_bytes * 49 // 50)
        assert best is not None  # there is at least one attempt
        return best

    def _try(self, goal: int) -> tuple[Recomputation, Program, int]:
        """What a goal leads to: the runs, the program with them, its arena in this region."""
        works, sizes = self.work.works[0], self.work.sizes[0]
        found = recompute(works, sizes, self._writers(), self._flops(), goal)
        changed = self._with(found)
        planned = plan_regions(changed, self.isa, self.symbols, self.threads)
        return found, changed, planned[self.number].plan.peak_bytes

    def _writers(self) -> list[int]:
        """The call that makes each buffer, if it alone writes to it and writes to nothing else."""
        ids = {root: i for i, root in enumerate(self.work.roots)}
        writers: dict[int, list[int]] = {}
        for number, call in enumerate(self.calls):
            for value in call.outputs:
                buffer = ids.get(self.program.root(value), -1)
                writers.setdefault(buffer, []).append(number if len(call.outputs) == 1 else -1)
        return [found[0] if len(found := writers.get(i, [])) == 1 else -1 for i in range(len(ids))]

    def _flops(self) -> list[int]:
        table = TensorTable(self.program, self.symbols)
        return [flops_of(table, [call]) for call in self.calls]

    def _with(self, found: Recomputation) -> Program:
        """The program with these runs; values that are made again are values of their own."""
        changed = replace(self.program, values=list(self.program.values))
        again: dict[int, int] = {}
        for number, buffer in enumerate(found.copies, len(self.work.roots)):
            value = self.program.values[self.work.roots[buffer]]
            again[number] = _added(changed, replace(value, name=f"{value.name}.again"))
        views: dict[tuple[int, int], int] = {}
        made: list[Step] = [step for step in self.steps if isinstance(step, SymbolCall)]
        for run in found.runs:
            call = self.calls[run.step]
            moved = {
                self.work.roots[old]: again[new]
                for old, new in zip(self.work.works[0][run.step].touches, run.touches, strict=True)
                if old != new
            }
            if moved:
                inputs = tuple(_moved(changed, value, moved, views) for value in call.inputs)
                outputs = tuple(_moved(changed, value, moved, views) for value in call.outputs)
                call = replace(call, inputs=inputs, outputs=outputs)
            made.append(call)
        end = self.first + len(self.steps)
        changed.steps = [*self.program.steps[: self.first], *made, *self.program.steps[end:]]
        return changed


def _added(program: Program, value: Value) -> int:
    program.values.append(replace(value, id=len(program.values)))
    return len(program.values) - 1


def _moved(program: Program, value: int, moved: Mapping[int, int], views: dict[tuple[int, int], int]) -> int:
    """A value, or the same view of the storage that takes its root's place."""
    if value < 0 or (root := program.root(value)) not in moved:
        return value
    chain = []
    while (view := program.values[value].view) is not None:
        chain.append(value)
        value = view.base
    place = moved[root]
    for each in reversed(chain):
        key = (each, moved[root])
        if key not in views:
            old = program.values[each]
            assert old.view is not None
            views[key] = _added(program, replace(old, view=replace(old.view, base=place)))
        place = views[key]
    return place
