"""What is done to a lowered program before it is loaded: fewer copies, an order that needs less memory, a limit."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from accelc.errors import CallError, UnsupportedError, UsageError
from accelc.ir.dims import Dim, symbols_in
from accelc.target import MemoryCost
from accelc.targets.numba_cpu.elide_copies import elide_copies
from accelc.targets.numba_cpu.isa import Isa
from accelc.targets.numba_cpu.memory_map import plan_regions
from accelc.targets.numba_cpu.program import Program, SymbolCall
from accelc.targets.numba_cpu.regions import split
from accelc.targets.numba_cpu.rematerialise import rematerialise
from accelc.targets.numba_cpu.renumber import renumber
from accelc.targets.numba_cpu.reorder import reorder

_SIZES = (64, 33, 16, 8, 224, 7)
"""Sizes tried for dims that stay free; memory is compared at the first two at which all regions can be planned. A size
of 1 tells nothing: strides do not matter along it."""


def improve(program: Program, isa: Isa, threads: int) -> None:
    """Improve a program and its bodies, in place. A program whose regions no sample fits stays as it is."""
    for each in program.programs():
        samples = sample_sizes(each, isa, threads)
        if not samples:
            continue
        elide_copies(each, isa, samples, threads)
        reorder(each, isa, samples, threads)
        renumber(each)


def limit_memory(program: Program, isa: Isa, threads: int, limit_bytes: int) -> MemoryCost:
    """Keep the arenas of a program and its bodies within a limit, in place.

    Raises:
        LimitError: The limit cannot be met.
        UsageError: Sizes are not known before running, so nothing can be promised.
    """
    costs = []
    for each in program.programs():
        if any(symbols_in(dim) for dim in _dims(each)):
            raise UsageError(
                "a memory limit needs shapes that are known when compiling",
                why=f"free are {', '.join(sorted({n for dim in _dims(each) for n in symbols_in(dim)})[:5])}",
                fix="give each a size, as in --dim batch=1",
            )
        costs.append(rematerialise(each, isa, {}, threads, limit_bytes))
        renumber(each)
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
