"""The memory plan of a program as plain data: for pictures, reports and ``accelc inspect --memory``."""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections.abc import Mapping, Sequence

from accelc.errors import CallError, UnsupportedError
from accelc.ir.polynomial import polynomial_text
from accelc.plan.memory_map import MapBuffer, MapStep, MemoryMap
from accelc.targets.numba_cpu.bind import Binder, BoundRegion
from accelc.targets.numba_cpu.isa import Isa
from accelc.targets.numba_cpu.peak_formula import peak_formula
from accelc.targets.numba_cpu.program import Program, Value
from accelc.targets.numba_cpu.region_memory import ArenaBuffer
from accelc.targets.numba_cpu.regions import external_values, split


class _NoFunctions(dict[int, int]):
    """Addresses of kernels that are not loaded: a plan does not need them."""

    def __missing__(self, key: int) -> int:
        return 0


def plan_regions(
    program: Program, isa: Isa, symbols: Mapping[str, int], threads: int = 1
) -> list[BoundRegion]:
    """Plan a program's regions without loading kernels or weights.

    Regions whose shapes depend on more than ``symbols`` (on what a host call makes) are left out.

    Raises:
        CallError: Shapes do not fit, and no region can be planned.
        UnsupportedError: A size is missing, and no region can be planned.
    """
    constants = dict.fromkeys((v.id for v in program.values if v.kind == "constant"), 0)
    binder = Binder(program, isa, _NoFunctions(), constants, threads)
    regions = split(program)
    external = external_values(program, [steps for _, steps in regions])
    bound: list[BoundRegion] = []
    problem: CallError | UnsupportedError | None = None
    for first, steps in regions:
        if isinstance(steps, list):
            try:
                bound.append(binder.bind(first, steps, symbols, external))
            except (CallError, UnsupportedError) as error:
                problem = error
    if problem is not None and not bound:
        raise problem
    return bound


def memory_map(program: Program, regions: Sequence[BoundRegion], symbols: Mapping[str, int]) -> MemoryMap:
    """What lies where in the arenas of planned regions, one region after the other in time."""
    steps: list[MapStep] = []
    buffers: list[MapBuffer] = []
    parts: list[int] = []
    for region in regions:
        parts.append(len(steps))
        for buffer in region.buffers:
            placed = _buffer(program, region, buffer, len(steps))
            if placed is not None:
                buffers.append(placed)
        steps += [MapStep(call.family, call.origin) for call in region.calls]
    return MemoryMap(
        tuple(steps),
        tuple(buffers),
        max((region.plan.peak_bytes for region in regions), default=0),
        max((region.plan.lower_bound_bytes for region in regions), default=0),
        tuple(parts) or (0,),
        dict(symbols),
        _formula(program, regions),
    )


def _formula(program: Program, regions: Sequence[BoundRegion]) -> tuple[str, ...]:
    found = peak_formula(program, regions)
    return tuple(map(polynomial_text, found)) if any(set(each) - {()} for each in found) else ()


def _buffer(program: Program, region: BoundRegion, buffer: ArenaBuffer, shift: int) -> MapBuffer | None:
    """A buffer with its steps counted in rows of the step table; None if no row uses it."""
    first = bisect_left(region.numbers, buffer.first)
    last = bisect_right(region.numbers, buffer.last) - 1
    if last < first:
        return None
    call = region.calls[first]
    values = [program.values[root] for root in buffer.values]
    return MapBuffer(
        ", ".join(value.name for value in values) or "workspace",
        call.family if values else "workspace",
        ", ".join(dict.fromkeys(_type(region, value) for value in values)),
        call.origin,
        shift + first,
        shift + last,
        buffer.offset,
        buffer.size,
    )


def _type(region: BoundRegion, value: Value) -> str:
    shape = region.tensors[value.id].shape
    return f"{value.dtype}[{','.join(map(str, shape))}]"
