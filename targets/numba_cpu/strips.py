"""Chains of calls done strip by strip: what lies between them is only ever a few rows high.

A chain is a run of calls, each the only reader of the one before. Done for some rows of its last result at a time,
its intermediates need a fraction of their memory; where windows overlap, a few rows of them are computed twice.
This is patch-based inference (Lin et al., "MCUNetV2: Memory-Efficient Patch-based Inference for Tiny Deep
Learning", NeurIPS 2021) along one dim.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import TypeVar

from accelc.targets.numba_cpu.call_flops import call_flops
from accelc.targets.numba_cpu.kernels.base import Tensor
from accelc.targets.numba_cpu.program import Call, Program, Step, Value, View
from accelc.targets.numba_cpu.row_ranges import ROWS, Range, RowNeeds, row_axis, row_needs, row_unit
from accelc.targets.numba_cpu.tensors import TensorTable

Item = TypeVar("Item")

_LONGEST = 6
"""Calls of a chain."""
_ROW_UNIT = 4
"""Strips are so many rows high, or a multiple: whole tiles of every family."""


@dataclass(frozen=True)
class Chain:
    """Numbers of steps; the result of each but the last is read by the next alone."""

    steps: tuple[int, ...]


def chains_through(program: Program, steps: Sequence[Step], roots: set[int], fixed: set[int]) -> list[Chain]:
    """Chains in which one of ``roots`` lies between two calls.

    Args:
        program: The program.
        steps: Its steps.
        roots: Values that take memory where it is scarce.
        fixed: Values outside the arena.
    """
    after = _followers(program, steps, fixed)
    before = {follower: number for number, follower in after.items()}
    found: dict[tuple[int, ...], None] = {}
    for number in after:
        step = steps[number]
        assert isinstance(step, Call)
        if step.outputs[0] not in roots:
            continue
        line = [number, after[number]]
        while line[0] in before and len(line) < 2 * _LONGEST:
            line.insert(0, before[line[0]])
        while line[-1] in after and len(line) < 3 * _LONGEST:
            line.append(after[line[-1]])
        at = line.index(number)
        for first in range(max(0, at - _LONGEST + 2), at + 1):
            for last in range(at + 1, min(len(line), first + _LONGEST)):
                found[tuple(line[first : last + 1])] = None
    return [Chain(numbers) for numbers in found]


def _followers(program: Program, steps: Sequence[Step], fixed: set[int]) -> dict[int, int]:
    """For each call the only one that reads its result, and reads it directly."""
    readers: dict[int, list[tuple[int, int]]] = {}
    writers: dict[int, list[int]] = {}
    for number, step in enumerate(steps):
        if not isinstance(step, Call):
            continue
        for value in step.inputs:
            if value >= 0:
                readers.setdefault(program.root(value), []).append((number, value))
        for value in step.outputs:
            writers.setdefault(program.root(value), []).append(number)
    after: dict[int, int] = {}
    for root, found in readers.items():
        whole = program.values[root].kind == "temp" and root not in fixed and writers.get(root)
        if whole and len(found) == 1 and found[0][1] == root and len(writers[root]) == 1:
            writer = steps[writers[root][0]]
            assert isinstance(writer, Call)
            if writer.outputs == (root,):
                after[writers[root][0]] = found[0][0]
    return after


class Strips:
    """Makes the strips of one chain; new values are added to ``program``.

    Args:
        program: Changed: its values grow.
        table: Shapes of its values.
        calls: The chain.
        count: Strips.
    """

    def __init__(self, program: Program, table: TensorTable, calls: Sequence[Call], count: int) -> None:
        self.program = program
        self.table = table
        self.calls = calls
        self.count = count

    def make(self) -> list[Call] | None:
        """The calls, strip after strip; None if the chain cannot be done so."""
        result = self.table.tensor(self.calls[-1].outputs[0])
        if len(result.shape) != 4:
            return None
        rows = result.shape[ROWS]
        height = -(-rows // self.count)
        height = -(-height // _ROW_UNIT) * _ROW_UNIT
        if height >= rows:
            return None
        made: list[Call] = []
        for first in range(0, rows, height):
            strip = self._strip((first, min(first + height, rows)))
            if strip is None:
                return None
            made += strip
        return made

    def _strip(self, wanted: Range) -> list[Call] | None:
        """The chain for rows ``wanted`` of its result: needs from the last call to the first, then calls."""
        spans: list[Range] = []
        needs: list[RowNeeds] = []
        for place in range(len(self.calls) - 1, -1, -1):
            call = self.calls[place]
            inputs, output = self._operands(call)
            unit, rows = row_unit(call), output.shape[ROWS] if len(output.shape) == 4 else 0
            wanted = (wanted[0] // unit * unit, min(rows, -(-wanted[1] // unit) * unit))
            found = row_needs(call, inputs, output, wanted) if rows else None
            if found is None:
                return None
            spans.insert(0, wanted)
            needs.insert(0, found)
            if place:
                link = call.inputs.index(self.calls[place - 1].outputs[0])
                if found.inputs[link] is None:
                    return None
                wanted = found.inputs[link] or wanted
        made = []
        given: tuple[Value, Range] | None = None
        for place, (call, span, found) in enumerate(zip(self.calls, spans, needs, strict=True)):
            inputs_made = []
            for k, value in enumerate(call.inputs):
                part = found.inputs[k]
                if value < 0 or part is None:
                    inputs_made.append(value)
                elif place and given is not None and value == self.calls[place - 1].outputs[0]:
                    shifted = (part[0] - given[1][0], part[1] - given[1][0])
                    inputs_made.append(self._slice(given[0].id, ROWS, shifted))
                else:
                    axis = row_axis(self.table.tensor(value), self._rows_of(call, k))
                    inputs_made.append(self._slice(value, ROWS if axis is None else axis, part))
            target = self._target(place, call, span)
            given = (target, span)
            made.append(
                replace(call, inputs=tuple(inputs_made), outputs=(target.id,), params=dict(found.params))
            )
        return made

    def _rows_of(self, call: Call, operand: int) -> int:
        """Rows of the tensor along which an operand runs: its own for the first, else the result's."""
        tensor = self.table.tensor(call.inputs[operand] if operand == 0 else call.outputs[0])
        return tensor.shape[ROWS]

    def _operands(self, call: Call) -> tuple[list[Tensor | None], Tensor]:
        inputs = [self.table.tensor(value) if value >= 0 else None for value in call.inputs]
        return inputs, self.table.tensor(call.outputs[0])

    def _target(self, place: int, call: Call, span: Range) -> Value:
        """Rows of the last result, or an intermediate just high enough."""
        value = self.program.values[call.outputs[0]]
        if place == len(self.calls) - 1:
            return self.program.values[self._slice(value.id, ROWS, span)]
        dims = tuple(span[1] - span[0] if i == ROWS else dim for i, dim in enumerate(value.dims))
        return self._add(replace(value, name=f"{value.name}.rows{span[0]}", dims=dims))

    def _slice(self, value: int, axis: int, part: Range) -> int:
        whole = self.program.values[value]
        if part == (0, whole.dims[axis]):
            return value
        dims = tuple(part[1] - part[0] if i == axis else dim for i, dim in enumerate(whole.dims))
        name = f"{whole.name}.rows{part[0]}"
        view = View(value, "slice", axis=axis, start=part[0])
        return self._add(Value(0, name, whole.dtype, dims, "view", (), view)).id

    def _add(self, value: Value) -> Value:
        value = replace(value, id=len(self.program.values))
        self.program.values.append(value)
        return value


def flops_of(table: TensorTable, calls: Sequence[Call]) -> int:
    """Operations of some calls."""
    return sum(
        call_flops(
            call,
            [table.tensor(value) if value >= 0 else None for value in call.inputs],
            [table.tensor(value) for value in call.outputs],
        )
        for call in calls
    )


def spliced(items: Sequence[Item], chain: Chain, made: Sequence[Item]) -> Iterator[Item]:
    """What goes with each step, with that of a chain's steps replaced, at the place of its last."""
    gone = set(chain.steps)
    for number, item in enumerate(items):
        if number == chain.steps[-1]:
            yield from made
        elif number not in gone:
            yield item
