"""Which chains to do strip by strip, and in how many strips, so that a region keeps a memory limit."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace

from accelc.errors import CallError
from accelc.targets.numba_cpu.bind import BoundRegion
from accelc.targets.numba_cpu.isa import Isa
from accelc.targets.numba_cpu.memory_map import plan_regions
from accelc.targets.numba_cpu.program import Call, Program, Step
from accelc.targets.numba_cpu.regions import external_values, split
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
    """The steps of the region with one more chain in strips."""

    program: Program
    steps: list[Step]
    keys: list[int]
    region: BoundRegion
    flops: int


class StripSearch:
    """Puts chains of one region into strips, the cheapest for what it brings first.

    Args:
        program: The program.
        isa: What kernels are made for.
        symbols: Sizes of the symbols.
        threads: Threads of a call.
        number: Which of the regions with kernel calls.
    """

    def __init__(
        self, program: Program, isa: Isa, symbols: Mapping[str, int], threads: int, number: int
    ) -> None:
        self.isa, self.symbols, self.threads, self.number = isa, symbols, threads, number
        regions = split(program)
        self.external = set(external_values(program, [steps for _, steps in regions]))
        self.first, steps = [(f, s) for f, s in regions if isinstance(s, list)][number]
        self.size = len(steps)
        self.whole = program.steps
        region = plan_regions(program, isa, symbols, threads)[number]
        self.now = _Change(program, list(steps), list(range(len(steps))), region, 0)
        calls = [step for step in steps if isinstance(step, Call)]
        self.free_flops = _FREE_SHARE * flops_of(program, TensorTable(program, symbols), calls) + 1

    def run(self, goal: int) -> None:
        """Change the program until at most ``goal`` bytes are alive at once, or nothing brings it nearer."""
        for _ in range(_MOST_CHANGES):
            if self.now.region.plan.lower_bound_bytes <= goal:
                return
            best = self._best(goal)
            if best is None:
                return
            self.now = best

    @property
    def program(self) -> Program:
        """The program as changed so far."""
        return self.now.program

    @property
    def flops(self) -> int:
        """Operations added so far."""
        return self.now.flops

    @property
    def peak_bytes(self) -> int:
        """The region's arena now."""
        return self.now.region.plan.peak_bytes

    def _best(self, goal: int) -> _Change | None:
        """The change that costs least for what it brings."""
        before = _excess(self.now, goal)
        chains = chains_through(self.program, self.now.steps, self._scarce(), self.external)
        tried: list[tuple[float, int, Chain, _Change]] = []

        def attempt(pairs: Iterable[tuple[Chain, int]]) -> None:
            for chain, count in pairs:
                change = self._change(chain, count)
                gain = before - _excess(change, goal) if change is not None else 0.0
                if change is not None and gain > 0 and self._lower(change):
                    cost = (change.flops - self.now.flops + self.free_flops) / gain
                    tried.append((cost, len(tried), chain, change))

        attempt((chain, _FIRST_COUNT) for chain in chains[:_MOST_CHAINS])
        tried.sort(key=lambda item: item[:2])
        attempt([(item[2], count) for item in tried[:_BEST_CHAINS] for count in _COUNTS])
        return min(tried, key=lambda item: item[:2])[3] if tried else None

    def _lower(self, change: _Change) -> bool:
        return change.region.plan.lower_bound_bytes <= self.now.region.plan.lower_bound_bytes

    def _scarce(self) -> set[int]:
        """Values alive where most bytes are."""
        region = self.now.region
        alive = _alive(region)
        top = max(alive, key=lambda step: alive[step], default=0)
        return {root for b in region.buffers if b.first <= top <= b.last for root in b.values}

    def _change(self, chain: Chain, count: int) -> _Change | None:
        """The program with a chain in strips; None if that cannot be."""
        now = self.now
        program = replace(now.program, values=list(now.program.values))
        table = TensorTable(program, self.symbols)
        calls = [step for number in chain.steps if isinstance(step := now.steps[number], Call)]
        try:
            made = Strips(program, table, calls, count).make()
            if made is None:
                return None
            keys = list(_keys(now.keys, chain, len(made)))
            steps = list(spliced(now.steps, chain, made))
            program.steps = [*self.whole[: self.first], *steps, *self.whole[self.first + self.size :]]
            region = plan_regions(program, self.isa, self.symbols, self.threads)[self.number]
            flops = now.flops + flops_of(program, table, made) - flops_of(program, table, calls)
        except CallError:  # a family does not take such slices
            return None
        return _Change(program, steps, keys, region, flops)


def _keys(keys: Sequence[int], chain: Chain, made: int) -> Iterable[int]:
    """The step of the original region behind each step, as ``spliced`` orders them."""
    gone = set(chain.steps)
    for number, key in enumerate(keys):
        if number == chain.steps[-1]:
            yield from (keys[chain.steps[i % len(chain.steps)]] for i in range(made))
        elif number not in gone:
            yield key


def _alive(region: BoundRegion) -> dict[int, int]:
    """Bytes alive from the steps at which that changes."""
    changes: dict[int, int] = {}
    for buffer in region.buffers:
        changes[buffer.first] = changes.get(buffer.first, 0) + buffer.size
        changes[buffer.last + 1] = changes.get(buffer.last + 1, 0) - buffer.size
    alive: dict[int, int] = {}
    now = 0
    for step in sorted(changes):
        now += changes[step]
        alive[step] = now
    return alive


def _excess(change: _Change, goal: int) -> float:
    """How far memory is above the goal, summed over the steps of the original region."""
    alive = _alive(change.region)
    worst: dict[int, int] = {}
    now = 0
    for step, key in enumerate(change.keys):
        now = alive.get(step, now)
        worst[key] = max(worst.get(key, 0), now)
    return float(sum((size - goal) ** 2 for size in worst.values() if size > goal))
