"""What is done to a lowered program before it is loaded: fewer copies, an order that needs less memory, a limit."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace

from accelc.errors import CallError, UnsupportedError, UsageError
from accelc.ir.dims import Dim, symbols_in
from accelc.plan.arena import Buffer, allocate
from accelc.target import MemoryCost
from accelc.targets.numba_cpu.elide_copies import elide_copies
from accelc.targets.numba_cpu.isa import Isa
from accelc.targets.numba_cpu.memory_map import plan_regions
from accelc.targets.numba_cpu.program import Program, SymbolCall
from accelc.targets.numba_cpu.region_memory import ALIGNMENT, digest
from accelc.targets.numba_cpu.regions import split
from accelc.targets.numba_cpu.rematerialise import MemoryLimitError, rematerialise
from accelc.targets.numba_cpu.renumber import renumber
from accelc.targets.numba_cpu.reorder import reorder

_SIZES = (64, 33, 16, 8, 224, 7)
"""Sizes tried for dims that stay free; memory is compared at the first two at which all regions can be planned. A size
of 1 tells nothing: strides do not matter along it."""
_GOOD_ENOUGH = 1.005
"""Arenas up to this share of the bytes alive at once are not searched for better ones."""
_SEARCH_SECONDS = 10.0
"""Far more than the search takes where it ends at all (under a second), so that a busy machine changes nothing."""


def improve(program: Program, isa: Isa, threads: int, *, always_join: bool = False) -> None:
    """Improve a program and its bodies, in place. A program whose regions no sample fits stays as it is.

    Args:
        program: The program.
        isa: What kernels are made for.
        threads: Threads of a call.
        always_join: Joins are written in place even where the joined buffer lives so long that more is needed.
    """
    for each in program.programs():
        samples = sample_sizes(each, isa, threads)
        if not samples:
            continue
        elide_copies(each, isa, samples, threads, always=always_join)
        reorder(each, isa, samples, threads)
        renumber(each)
        search_arenas(each, isa, samples, threads)


def search_arenas(program: Program, isa: Isa, samples: Sequence[Mapping[str, int]], threads: int) -> None:
    """Search for a better plan of each region whose quick one is well above the bound; keep what is found.

    Plans for other sizes or threads, made when the program runs, are quick ones. A search that runs out of time is
    forgotten: it might end elsewhere the next time, and equal inputs give equal artifacts.
    """
    program.arenas = {}
    for symbols in samples:
        for region in plan_regions(program, isa, symbols, threads):
            if region.plan.peak_bytes <= _GOOD_ENOUGH * region.plan.lower_bound_bytes:
                continue
            buffers = [Buffer(b.size, b.first, b.last) for b in region.buffers]
            found = allocate(buffers, alignment=ALIGNMENT, time_limit_s=_SEARCH_SECONDS)
            if found.optimal and found.peak_bytes < region.plan.peak_bytes:
                program.arenas[digest(buffers)] = found.offsets


def improve_within(program: Program, isa: Isa, threads: int, limit_bytes: int) -> tuple[Program, MemoryCost]:
    """As ``improve``, with the arenas of the program and its bodies kept within a limit.

    Two ways are tried, with joins written in place where that needs no more memory, and everywhere: a joined buffer
    lives long, but once it is there its parts can be made in strips. The one that adds fewer operations is taken.

    Returns:
        The program (``program`` itself stays as it is), and what the limit costs.

    Raises:
        MemoryLimitError: The limit cannot be met.
        UsageError: Sizes are not known before running, so nothing can be promised.
    """
    found: list[tuple[Program, MemoryCost]] = []
    problems: list[MemoryLimitError] = []
    for always_join in (False, True):
        variant = _copy(program)
        improve(variant, isa, threads, always_join=always_join)
        if not always_join:
            unlimited = max(_arena(each, isa, threads) for each in variant.programs())
        try:
            cost = _limit(variant, isa, threads, limit_bytes)
        except MemoryLimitError as error:
            problems.append(error)
            continue
        found.append((variant, replace(cost, unlimited_bytes=unlimited)))
        if cost.recomputed_calls == 0:
            break
    if not found:
        raise MemoryLimitError(limit_bytes, unlimited, min(error.least_bytes for error in problems))
    return min(found, key=lambda pair: (pair[1].recomputed_flops, pair[1].recomputed_calls))


def _arena(program: Program, isa: Isa, threads: int) -> int:
    _check_static(program)
    return max((r.plan.peak_bytes for r in plan_regions(program, isa, {}, threads)), default=0)


def _check_static(program: Program) -> None:
    if free := sorted({name for dim in _dims(program) for name in symbols_in(dim)}):
        raise UsageError(
            "a memory limit needs shapes that are known when compiling",
            why=f"free are {', '.join(free[:5])}",
            fix="give each a size, as in --dim batch=1",
        )


def _copy(program: Program) -> Program:
    """A copy that can be changed; nesting of bodies is bounded by the import."""
    return replace(
        program,
        values=list(program.values),
        steps=list(program.steps),
        bodies=[_copy(body) for body in program.bodies],
    )


def _limit(program: Program, isa: Isa, threads: int, limit_bytes: int) -> MemoryCost:
    costs = []
    for each in program.programs():
        costs.append(rematerialise(each, isa, {}, threads, limit_bytes))
        renumber(each)
        search_arenas(each, isa, [{}], threads)
    return MemoryCost(
        limit_bytes,
        max(cost.unlimited_bytes for cost in costs),
        sum(cost.recomputed_calls for cost in costs),
        sum(cost.recomputed_flops for cost in costs),
    )


def sample_sizes(program: Program, isa: Isa, threads: int) -> list[dict[str, int]]:
    """Sizes for the free symbols at which every region can be planned; one empty dict if there are none."""
    names = sorted({name for dim in _dims(program) for name in symbols_in(dim)})
    regions = sum(isinstance(steps, list) for _, steps in split(program))
    found: list[dict[str, int]] = []
    for size in _SIZES if names else (1,):
        symbols = {name: size + (i % 3 if size > 1 else 0) for i, name in enumerate(names)}
        if _fits(program, isa, symbols, threads, regions):
            found.append(symbols)
        if len(found) == 2:
            break
    return found


def _fits(program: Program, isa: Isa, symbols: Mapping[str, int], threads: int, regions: int) -> bool:
    try:
        return len(plan_regions(program, isa, symbols, threads)) == regions
    except (CallError, UnsupportedError):
        return False


def _dims(program: Program) -> Iterator[Dim]:
    for value in program.values:
        yield from value.dims
        if value.view is not None:
            yield value.view.start
    for step in program.steps:
        if isinstance(step, SymbolCall):
            yield from step.elements
