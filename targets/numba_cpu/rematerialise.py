"""A program within a memory limit: cheap values are computed again instead of kept (accelc.plan.recompute)."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

from accelc.errors import LimitError
from accelc.plan.recompute import Recomputation, recompute
from accelc.quantities import size_text
from accelc.target import MemoryCost
from accelc.targets.numba_cpu.call_flops import call_flops
from accelc.targets.numba_cpu.isa import Isa
from accelc.targets.numba_cpu.memory_map import plan_regions
from accelc.targets.numba_cpu.program import Call, Program, Step, SymbolCall, Value
from accelc.targets.numba_cpu.regions import external_values, split
from accelc.targets.numba_cpu.reorder import region_work
from accelc.targets.numba_cpu.tensors import TensorTable

_MOST_ATTEMPTS = 6
"""Goals tried below the limit where the arena comes out larger than the bytes alive at once."""


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
        LimitError: It cannot be met; says the least that was found.
    """
    planned = plan_regions(program, isa, symbols, threads)
    unlimited = max((region.plan.peak_bytes for region in planned), default=0)
    calls = flops = 0
    for number, region in enumerate(planned):
        if region.plan.peak_bytes > limit_bytes:
            found = _Limited(program, isa, symbols, threads, number).fit(limit_bytes, region.plan.peak_bytes)
            calls += len(found.runs) - len(region.calls)
            flops += found.flops
    return MemoryCost(limit_bytes, unlimited, calls, flops)


class _Limited:
    """One region that needs more memory than it may have."""

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

    def fit(self, limit: int, unlimited: int) -> Recomputation:
        """Change the program so that the region keeps the limit."""
        least, goal = unlimited, limit
        for _ in range(_MOST_ATTEMPTS):
            found, changed, peak = self._try(goal)
            least = min(least, peak)
            if peak <= limit:
                self.program.values, self.program.steps = changed.values, changed.steps
                return found
            if found.peak_bytes > goal:
                break
            goal -= peak - limit
        raise LimitError(
            f"the arena cannot be kept within {size_text(limit)}",
            why=f"it takes {size_text(unlimited)} ({unlimited} bytes) without a limit; the least found is "
            f"{size_text(self._least(least))} ({self._least(least)} bytes)",
            fix="raise --mem-limit, or compile for smaller inputs",
        )

    def _least(self, known: int) -> int:
        """The smallest arena that a search in steps of a fiftieth finds."""
        goal = known
        while True:
            found, _, peak = self._try(goal)
            known = min(known, peak)
            if found.peak_bytes > goal or goal <= 0:
                return known
            goal = min(goal, found.peak_bytes) * 49 // 50

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
        return [
            call_flops(
                call,
                [table.tensor(value) if value >= 0 else None for value in call.inputs],
                [table.tensor(value) for value in call.outputs],
            )
            for call in self.calls
        ]

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
