"""Which chains to do strip by strip, and in how many strips, so that a region keeps a memory limit."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace

from accelc.errors import CallError
from accelc.plan.order import Work, alive_bytes
from accelc.targets.numba_cpu.isa import Isa
from accelc.targets.numba_cpu.program import Call, Program, Step, SymbolCall
from accelc.targets.numba_cpu.region_memory import aligned, nbytes
from accelc.targets.numba_cpu.regions import external_values, split
from accelc.targets.numba_cpu.reorder import call_work
from accelc.targets.numba_cpu.strips import Chain, Strips, chains_through, flops_of, spliced
from accelc.targets.numba_cpu.tensors import TensorTable

_COUNTS = (2, 3, 8, 16)
"""Numbers of strips tried for the chains that do best with ``_FIRST_COUNT``."""
_FIRST_COUNT = 4
_MOST_CHAINS, _BEST_CHAINS = 32, 4
_MOST_CHANGES = 64
_FREE_SHARE = 1e-3
"""Changes that add less than this share of a region's operations count as equally cheap."""


@dataclass(frozen=True)
class _Change:
    """The region with one more chain in strips.

    ``steps`` are its calls, ``works`` the same for the scheduler, ``keys`` the call of the given region behind each.
    """

    program: Program
    table: TensorTable
    steps: list[Step]
    works: list[Work]
    keys: list[int]
    sizes: dict[int, int]
    alive: list[int]
    flops: int

    @property
    def most(self) -> int:
        """The most bytes alive at once."""
        return max(self.alive, default=0)


class StripSearch:
    """Puts chains of one region into strips, the cheapest for what it brings first.

    Args:
        program: The program.
        isa: What kernels are made for.
        symbols: Sizes of the symbols.
        threads: Threads of a call.
        number: Which of the regions with kernel calls.

    Raises:
        CallError: Shapes do not fit.
    """

    def __init__(
        self, program: Program, isa: Isa, symbols: Mapping[str, int], threads: int, number: int
    ) -> None:
        self.isa, self.threads = isa, threads
        regions = split(program)
        self.external = set(external_values(program, [steps for _, steps in regions]))
        self.first, given = [(f, s) for f, s in regions if isinstance(s, list)][number]
        self.whole, self.size = program.steps, len(given)
        self.fills: list[Step] = [step for step in given if isinstance(step, SymbolCall)]
        self.external |= {step.output for step in given if isinstance(step, SymbolCall)}
        table = TensorTable(program, symbols)
        calls = [step for step in given if isinstance(step, Call)]
        works = [self._work(program, call, table) for call in calls]
        sizes = self._sizes(works, table, {})
        alive = alive_bytes(works, sizes, range(len(works)))
        self.now = _Change(program, table, [*calls], works, list(range(len(calls))), sizes, alive, 0)
        self.free_flops = _FREE_SHARE * flops_of(table, calls) + 1

    def _work(self, program: Program, call: Call, table: TensorTable) -> Work:
        def in_arena(root: int) -> bool:
            return program.values[root].kind == "temp" and root not in self.external

        return call_work(call, table, self.isa, self.threads, in_arena)

    @staticmethod
    def _sizes(works: Iterable[Work], table: TensorTable, known: Mapping[int, int]) -> dict[int, int]:
        sizes = dict(known)
        for work in works:
            for root in work.touches:
                if root not in sizes:
                    sizes[root] = aligned(nbytes(table.tensor(root)))
        return sizes

    def run(self, goal: int) -> None:
        """Change the program until at most ``goal`` bytes are alive at once, or nothing brings it nearer."""
        for _ in range(_MOST_CHANGES):
            if self.now.most <= goal:
                return
            best = self._best(goal)
            if best is None:
                return
            self.now = best

    def program(self) -> Program:
        """The program as changed so far."""
        end = self.first + self.size
        steps = [*self.whole[: self.first], *self.fills, *self.now.steps, *self.whole[end:]]
        return replace(self.now.program, steps=steps)

    @property
    def flops(self) -> int:
        """Operations added so far."""
        return self.now.flops

    def _best(self, goal: int) -> _Change | None:
        """The change that costs least for what it brings."""
        before = _excess(self.now, goal)
        chains = chains_through(self.now.program, self.now.steps, self._scarce(), self.external)
        tried: list[tuple[float, int, Chain, _Change]] = []

        def attempt(pairs: Iterable[tuple[Chain, int]]) -> None:
            for chain, count in pairs:
                change = self._change(chain, count)
                gain = before - _excess(change, goal) if change is not None else 0.0
                if change is not None and gain > 0 and change.most <= self.now.most:
                    cost = (change.flops - self.now.flops + self.free_flops) / gain
                    tried.append((cost, len(tried), chain, change))

        attempt((chain, _FIRST_COUNT) for chain in chains[:_MOST_CHAINS])
        tried.sort(key=lambda item: item[:2])
        attempt([(item[2], count) for item in tried[:_BEST_CHAINS] for count in _COUNTS])
        return min(tried, key=lambda item: item[:2])[3] if tried else None

    def _scarce(self) -> set[int]:
        """Values alive where most bytes are."""
        now = self.now
        top = now.alive.index(now.most)
        before = {root for work in now.works[: top + 1] for root in work.touches}
        return before & {root for work in now.works[top:] for root in work.touches}

    def _change(self, chain: Chain, count: int) -> _Change | None:
        """The region with a chain in strips; None if that cannot be."""
        now = self.now
        program = replace(now.program, values=list(now.program.values))
        table = now.table.copy(program)
        calls = [step for number in chain.steps if isinstance(step := now.steps[number], Call)]
        try:
            made = Strips(program, table, calls, count).make()
            if made is None:
                return None
            fresh = [self._work(program, call, table) for call in made]
        except CallError:  # a family does not take such slices
            return None
        works = list(spliced(now.works, chain, fresh))
        keys = [now.keys[chain.steps[i % len(calls)]] for i in range(len(made))]
        sizes = self._sizes(fresh, table, now.sizes)
        return _Change(
            program,
            table,
            list(spliced(now.steps, chain, made)),
            works,
            list(spliced(now.keys, chain, keys)),
            sizes,
            alive_bytes(works, sizes, range(len(works))),
            now.flops + flops_of(table, made) - flops_of(table, calls),
        )


def _excess(change: _Change, goal: int) -> float:
    """How far memory is above the goal, summed over the calls of the given region."""
    worst: dict[int, int] = {}
    for key, alive in zip(change.keys, change.alive, strict=True):
        worst[key] = max(worst.get(key, 0), alive)
    return float(sum((size - goal) ** 2 for size in worst.values() if size > goal))
