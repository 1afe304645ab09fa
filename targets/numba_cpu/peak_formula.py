"""The memory peak as a function of the dims that stay free: the largest of a few polynomials."""

from __future__ import annotations

from collections.abc import Sequence

from accelc.ir.polynomial import Polynomial, largest, polynomial, product, total
from accelc.targets.numba_cpu.bind import BoundRegion
from accelc.targets.numba_cpu.kernels.base import itemsize
from accelc.targets.numba_cpu.program import Program
from accelc.targets.numba_cpu.region_memory import ArenaBuffer


def peak_formula(program: Program, regions: Sequence[BoundRegion]) -> list[Polynomial]:
    """Bytes alive at the steps where most are, for any sizes of the free dims.

    One of the polynomials is the maximum. Sizes are not rounded up to cache lines, workspaces count as at the
    shapes for which ``regions`` were planned, and the planner may need a little more than is alive.

    Args:
        program: The program.
        regions: Its regions, planned for some sizes.
    """
    found: dict[tuple[tuple[object, int], ...], Polynomial] = {}
    for region in regions:
        sizes = [_bytes(program, buffer) for buffer in region.buffers]
        starts: dict[int, list[int]] = {}
        for i, buffer in enumerate(region.buffers):
            starts.setdefault(buffer.first, []).append(i)
        alive: list[int] = []
        for step in sorted(starts):
            alive = [i for i in alive if region.buffers[i].last >= step] + starts[step]
            here = total(sizes[i] for i in alive)
            found[tuple(sorted(here.items()))] = here
    return largest(found.values())


def _bytes(program: Program, buffer: ArenaBuffer) -> Polynomial:
    if not buffer.values:
        return {(): buffer.size}
    value = program.values[buffer.values[0]]
    return product([{(): itemsize(value.dtype)}, *(polynomial(dim) for dim in value.dims)])
