"""Numbers of a program's values made tidy again after a change: a view's base has a smaller number than the view."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from accelc.targets.numba_cpu.program import Call, HostCall, Program, Step, SymbolCall


def renumber(program: Program) -> None:
    """Renumber the values of a program, in place, so that every base comes before its views. O(values)."""
    order = _bases_first(program)
    if order == list(range(len(program.values))):
        return
    new = {old: number for number, old in enumerate(order)}
    new[-1] = -1
    values = []
    for old in order:
        value = program.values[old]
        view = value.view and replace(value.view, base=new[value.view.base])
        values.append(replace(value, id=new[old], view=view))
    program.values = values
    program.steps = [_step(step, new) for step in program.steps]
    program.inputs = [new[i] for i in program.inputs]
    program.outputs = [new[i] for i in program.outputs]
    program.constants = {new[i]: array for i, array in program.constants.items()}
    program.strings = {new[i]: array for i, array in program.strings.items()}
    program.steering = {new[i]: dims for i, dims in program.steering.items()}
    program.packed = {new[i] for i in program.packed}
    program.optional = {new[i] for i in program.optional}


def _bases_first(program: Program) -> list[int]:
    order: list[int] = []
    placed = [False] * len(program.values)
    for value in range(len(program.values)):
        chain = []
        while value >= 0 and not placed[value]:
            placed[value] = True
            chain.append(value)
            view = program.values[value].view
            value = view.base if view is not None else -1
        order += reversed(chain)
    return order


def _step(step: Step, new: dict[int, int]) -> Step:
    if isinstance(step, SymbolCall):
        return replace(step, output=new[step.output])
    inputs, outputs = _all(step.inputs, new), _all(step.outputs, new)
    if isinstance(step, Call):
        return replace(step, inputs=inputs, outputs=outputs)
    if isinstance(step, HostCall):
        return replace(step, inputs=inputs, outputs=outputs)
    return replace(step, inputs=inputs, outputs=outputs)


def _all(values: Sequence[int], new: dict[int, int]) -> tuple[int, ...]:
    return tuple(new[value] for value in values)
