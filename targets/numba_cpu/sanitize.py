"""Debug mode ``--sanitize``: every step is watched for writes outside its results and reads of dead memory.

Steps run one by one. Memory that holds no value is filled with ones, which every float type reads as NaN. Behind
each step, every byte that is not an element of its results or its workspace must be as it was: in the arena, in
arrays outside it, and in guard zones around both. Operands and results that hold the poison come from memory that
is dead or was never written. The plan itself is checked first. A run takes two passes over all memory per step.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from accelc.errors import MemoryFaultError
from accelc.plan.arena import Buffer, validate
from accelc.targets.numba_cpu.bind import STEP_WORDS, BoundRegion
from accelc.targets.numba_cpu.kernels.base import Tensor, itemsize
from accelc.targets.numba_cpu.memory import CallMemory, aligned_bytes
from accelc.targets.numba_cpu.native_run import Native
from accelc.targets.numba_cpu.program import Call, Program
from accelc.targets.numba_cpu.runner import Plan

GUARD_BYTES = 4096
"""Bytes of the zones before and behind the arena and each array; larger than a vector, a tile's row, a page."""
POISON = 0xFF
_ROW_BYTES = 8 * STEP_WORDS
_MOST_LISTED = 3
_NO_VALUE = "a dead buffer, or elements that nothing wrote"
_FLOATS = ("float16", "bfloat16", "float32", "float64")


@dataclass(eq=False)
class _Area:
    """Memory that is watched: ``raw`` with its guards; the contents start at ``start``."""

    name: str
    raw: np.ndarray
    start: int = 0
    kept: np.ndarray = field(default_factory=lambda: np.empty(0, np.uint8))

    def remember(self) -> None:
        """Note the contents, to be compared with those behind a step."""
        self.kept = self.raw.copy()

    def changed(self, allowed: np.ndarray | None) -> np.ndarray:
        """Places (in bytes from the start of the contents) that were changed and should not have been."""
        if np.array_equal(self.raw, self.kept):
            return np.empty(0, np.int64)
        different = self.raw != self.kept
        if allowed is not None:
            different &= ~allowed
        return np.flatnonzero(different) - self.start


class SanitizedPlan(Plan):
    """A plan whose steps are watched. See Plan."""

    def run(self, arrays: list[Any], native: Native) -> None:
        """Run step by step; see Plan.run.

        Raises:
            MemoryFaultError: A step wrote outside its results, or read memory that holds no value.
        """
        arrays += [self._guarded(shape, dtype) for shape, dtype in self.made]
        memory = CallMemory(self.region, guard_bytes=GUARD_BYTES)
        self.point(memory, arrays)
        watch = _Watch(self, memory, arrays)
        for row in range(memory.step_count):
            watch.before(row)
            native.run(memory.steps_address + row * _ROW_BYTES, 1, self.region.threads)
            watch.behind(row)
        self.check(memory)

    @staticmethod
    def _guarded(shape: tuple[int, ...], dtype: np.dtype[Any]) -> np.ndarray:
        """An array between guard zones, all poison."""
        size = int(np.prod(shape, dtype=np.int64)) * dtype.itemsize
        raw = aligned_bytes(size + 2 * GUARD_BYTES)
        raw[:] = POISON
        return raw[GUARD_BYTES : GUARD_BYTES + size].view(dtype).reshape(shape)


class _Watch:
    """Watches the steps of one run of a region."""

    def __init__(self, plan: SanitizedPlan, memory: CallMemory, arrays: list[Any]) -> None:
        self.program: Program = plan.program
        self.region: BoundRegion = plan.region
        memory.whole[:] = POISON
        self.arena = _Area("the arena", memory.whole, GUARD_BYTES)
        self.areas = [self.arena]
        self.outside: dict[int, _Area] = {}
        made = set(plan.made_roots)
        for root, slot in plan.slot.items():
            array = arrays[slot]
            if isinstance(array, np.ndarray) and array.dtype != object and array.size:
                guard = GUARD_BYTES if root in made else 0
                name = f"'{self.program.values[root].name}'"
                self.outside[root] = _Area(name, _bytes_around(array, guard), guard)
        self.areas += self.outside.values()
        validate([Buffer(b.size, b.first, b.last) for b in self.region.buffers], self.region.plan)
        self.offsets = {root: b.offset for b in self.region.buffers for root in b.values}
        given = {self.region.tensors[v] for call in self.region.calls for v in call.inputs if v >= 0}
        # Inputs with just this NaN in them would look like poison: then values are not judged.
        self.judged = True
        self.judged = not any(self._poisoned(t) for t in given if t.value in plan.sources)
        self.workspaces = {b.first: b for b in self.region.buffers if not b.values}

    def before(self, row: int) -> None:
        """Note what all memory holds; the operands of the next step must all be there."""
        for area in self.areas:
            area.remember()
        call = self.region.calls[row]
        for value in call.inputs:
            if value >= 0 and self._poisoned(self.region.tensors[value]):
                name = self.program.values[value].name
                raise _fault(call, f"it reads '{name}' where no value is", _NO_VALUE)

    def behind(self, row: int) -> None:
        """Check a step that has run, and poison what nobody needs any more."""
        call, number = self.region.calls[row], self.region.numbers[row]
        allowed = self._allowed(call, number)
        for area in self.areas:
            wrong = area.changed(allowed.get(id(area)))
            if wrong.size:
                raise self._stray(call, area, wrong, number)
        for value in call.outputs:
            if self._poisoned(self.region.tensors[value]):
                name = self.program.values[value].name
                raise _fault(call, f"its result '{name}' comes from memory that holds no value", _NO_VALUE)
        last = self.region.numbers[row + 1] - 1 if row + 1 < len(self.region.numbers) else 1 << 62
        for buffer in self.region.buffers:
            if number <= buffer.last <= last:
                place = self.arena.start + buffer.offset
                self.arena.raw[place : place + buffer.size] = POISON

    def _allowed(self, call: Call, number: int) -> dict[int, np.ndarray]:
        """The bytes that a step may write, by area."""
        masks: dict[int, np.ndarray] = {}
        for value in call.outputs:
            tensor = self.region.tensors[value]
            found = self._place(tensor)
            if found is not None:
                area, offset = found
                mask = masks.setdefault(id(area), np.zeros(len(area.raw), bool))
                _elements(mask.view(np.uint8), tensor, area.start + offset)[...] = 1
        if (buffer := self.workspaces.get(number)) is not None:
            mask = masks.setdefault(id(self.arena), np.zeros(len(self.arena.raw), bool))
            mask[self.arena.start + buffer.offset :][: buffer.size] = True
        return masks

    def _place(self, tensor: Tensor) -> tuple[_Area, int] | None:
        """The area that a tensor's storage is in, and where that starts; None for constants."""
        if tensor.value in self.offsets:
            return self.arena, self.offsets[tensor.value]
        area = self.outside.get(tensor.value)
        return None if area is None else (area, 0)

    def _poisoned(self, tensor: Tensor) -> bool:
        found = self._place(tensor)
        if found is None or tensor.dtype not in _FLOATS or not tensor.size or not self.judged:
            return False
        area, offset = found
        elements = _elements(area.raw, tensor, area.start + offset)
        return bool((elements == POISON).all(axis=-1).any())

    def _stray(self, call: Call, area: _Area, wrong: np.ndarray, number: int) -> MemoryFaultError:
        first, last = int(wrong[0]), int(wrong[-1])
        where = f"{len(wrong)} bytes between {first} and {last} of {area.name} changed"
        if area is self.arena:
            victims = list(dict.fromkeys(self._holders(wrong, number)))
            where += f": {', '.join(victims[:_MOST_LISTED])}" if victims else ": no buffer is there"
        return _fault(call, "it wrote outside its results", where)

    def _holders(self, places: np.ndarray, number: int) -> Iterator[str]:
        """Names of the buffers alive at these places; guards and dead memory are called so."""
        for place in places[:: max(1, len(places) // 16)].tolist():
            for buffer in self.region.buffers:
                inside = buffer.offset <= place < buffer.offset + buffer.size
                if inside and buffer.first <= number <= buffer.last:
                    names = [self.program.values[root].name for root in buffer.values]
                    yield f"'{names[-1]}'" if names else "a workspace"
                    break
            else:
                yield "dead memory" if 0 <= place < self.region.plan.peak_bytes else "the guard zone"


def _fault(call: Call, what: str, why: str) -> MemoryFaultError:
    nodes: Iterable[str] = call.origin or ("of no node of the model",)
    return MemoryFaultError(
        f"kernel {call.family} broke the memory plan: {what}",
        where=[f"node {name}" for name in nodes],
        why=why,
        fix="this is a bug in accelc; please report it with the model",
    )


def _bytes_around(array: np.ndarray, guard: int) -> np.ndarray:
    """The bytes of a row-major array and of the guards that lie around it."""
    if not guard:
        return array.reshape(-1).view(np.uint8)
    whole = array
    while isinstance(whole.base, np.ndarray) and whole.nbytes < array.nbytes + 2 * guard:
        whole = whole.base
    start = array.__array_interface__["data"][0] - whole.__array_interface__["data"][0] - guard
    return whole.reshape(-1).view(np.uint8)[start : start + array.nbytes + 2 * guard]


def _elements(raw: np.ndarray, tensor: Tensor, start: int) -> np.ndarray:
    """The bytes of a tensor's elements within ``raw``, one more dim at the end."""
    size = itemsize(tensor.dtype)
    if not tensor.size:
        return np.empty((*tensor.shape, size), np.uint8)
    first = start + tensor.offset * size
    return np.lib.stride_tricks.as_strided(
        raw[first:],
        shape=(*tensor.shape, size),
        strides=(*[stride * size for stride in tensor.strides], 1),
    )
