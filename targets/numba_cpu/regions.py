"""Regions of a program: runs of kernel calls that are planned together, and what lives outside their arenas."""

from __future__ import annotations

from collections.abc import Sequence

from accelc.targets.numba_cpu.program import BodyCall, Call, HostCall, Program, SymbolCall

Region = list[Call | SymbolCall] | HostCall | BodyCall


def split(program: Program) -> list[tuple[int, Region]]:
    """(index of the first step, region) of every region."""
    regions: list[tuple[int, Region]] = []
    index = 0
    for region in program.regions():
        regions.append((index, region))
        index += len(region) if isinstance(region, list) else 1
    return regions or [(0, [])]


def external_values(program: Program, regions: Sequence[Region]) -> frozenset[int]:
    """Root values outside the arena: inputs, outputs, host values, and what more than one region touches."""
    outside = {v.id for v in program.values if v.kind in ("input", "output", "host")}
    seen: dict[int, int] = {}
    for number, region in enumerate(regions):
        for step in region if isinstance(region, list) else [region]:
            touched = (step.output,) if isinstance(step, SymbolCall) else step.inputs + step.outputs
            for value in touched:
                if value < 0:
                    continue
                root = program.root(value)
                if not isinstance(region, list) or seen.setdefault(root, number) != number:
                    outside.add(root)
    outside |= {program.root(value) for value in program.outputs}
    return frozenset(i for i in outside if program.values[i].kind != "constant")
