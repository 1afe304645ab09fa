"""The memory of a region: live ranges of its arena buffers, results that take over a dead operand's, the plan.

Workspaces of kernels are buffers like any other, alive for one step.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from hashlib import sha256

from accelc.errors import ArtifactError
from accelc.plan.arena import Buffer, MemoryPlan, allocate, lower_bound, validate
from accelc.targets.numba_cpu.kernels.base import Tensor, itemsize
from accelc.targets.numba_cpu.program import Call, Program, SymbolCall
from accelc.targets.numba_cpu.tensors import TensorTable

ALIGNMENT = 64


@dataclass(frozen=True)
class ArenaBuffer:
    """One buffer of a planned region.

    Args:
        values: Root values that live in it, one after the other; empty for a workspace.
        size: Bytes.
        first: Step (of the region) that writes it first.
        last: Step that uses it last, inclusive.
        offset: Bytes from the start of the arena.
    """

    values: tuple[int, ...]
    size: int
    first: int
    last: int
    offset: int


@dataclass(frozen=True)
class Storage:
    """Memory outside the arena that a region writes: root value, dtype, shape."""

    value: int
    dtype: str
    shape: tuple[int, ...]


@dataclass(frozen=True)
class Placement:
    """Where everything in the arena lies: ``offsets`` by root value or workspace key."""

    plan: MemoryPlan
    offsets: Mapping[int, int]
    buffers: tuple[ArenaBuffer, ...]


class RegionMemory:
    """Collects what the steps of a region touch, in order; then plans.

    Args:
        program: The program.
        roots: Root value of every value.
        external: Root values outside the arena.
        filled: Root values whose elements are known at bind time; they are not in the arena.
        table: Shapes and strides.
    """

    def __init__(
        self,
        program: Program,
        roots: Sequence[int],
        external: frozenset[int],
        filled: Mapping[int, object],
        table: TensorTable,
    ) -> None:
        self.program = program
        self.roots = roots
        self.external = external
        self.filled = filled
        self.table = table
        self.made: dict[int, Storage] = {}
        self._first: dict[int, int] = {}
        self._last: dict[int, int] = {}
        self._sizes: dict[int, int] = {}
        self._merged: dict[int, int] = {}

    def touch(self, step: Call, number: int) -> None:
        """Record live ranges of arena values, and what is written outside the arena."""
        for value in step.inputs + step.outputs:
            if value < 0:
                continue
            root = self.roots[value]
            kind = self.program.values[root].kind
            if kind == "temp" and root not in self.external and root not in self.filled:
                if root not in self._first:
                    self._first[root] = number
                    self._sizes[root] = nbytes(self.table.tensor(root))
                self._last[root] = number
        for value in step.outputs:
            root = self.roots[value]
            if root in self.external and root not in self.made:
                tensor = self.table.tensor(root)
                self.made[root] = Storage(root, tensor.dtype, tensor.shape)

    def workspace(self, number: int, size: int, threads: int) -> None:
        """Scratch memory of one step: ``size`` bytes for each thread."""
        key = workspace_key(number)
        self._first[key] = self._last[key] = number
        self._sizes[key] = aligned(size) * threads

    def merge_in_place(
        self,
        step: Call,
        inputs: Sequence[Tensor | None],
        outputs: Sequence[Tensor],
        number: int,
        last_use: Mapping[int, int],
    ) -> None:
        """Let the output take over the memory of an input that dies here and has the same elements in place."""
        target = self.roots[step.outputs[0]] if len(outputs) == 1 else -1
        if not self._in_arena(target) or self._first.get(target) != number:
            return
        for root in takeovers(step, inputs, outputs):
            if (
                root in self._first
                and last_use.get(root) == number
                and root != target
                and self._sizes[root] == self._sizes[target]
            ):
                self._merged[target] = root
                return

    def _in_arena(self, root: int) -> bool:
        return root >= 0 and root not in self.external and self.program.values[root].kind == "temp"

    def place(self) -> Placement:
        """Plan the arena."""
        owner = {key: self._owner(key) for key in self._first}
        spans: dict[int, list[int]] = {}
        values: dict[int, list[int]] = {}
        for key, own in owner.items():
            span = spans.setdefault(own, [self._sizes[own], self._first[own], self._last[own]])
            span[1] = min(span[1], self._first[key])
            span[2] = max(span[2], self._last[key])
            if key >= 0:
                values.setdefault(own, []).append(key)
        keys = list(spans)
        wanted = [Buffer(size, first, last) for size, first, last in spans.values()]
        plan = planned(self.program.arenas, wanted)
        offset = dict(zip(keys, plan.offsets, strict=True))
        buffers = tuple(
            ArenaBuffer(tuple(values.get(key, ())), size, first, last, offset[key])
            for key, (size, first, last) in spans.items()
        )
        return Placement(plan, {key: offset[own] for key, own in owner.items()}, buffers)

    def _owner(self, key: int) -> int:
        while key in self._merged:
            key = self._merged[key]
        return key


def takeovers(step: Call, inputs: Sequence[Tensor | None], outputs: Sequence[Tensor]) -> list[int]:
    """Roots of operands whose memory the result may have if nobody needs them afterwards and sizes are equal."""
    if not step.inplace or len(outputs) != 1:
        return []
    out = outputs[0]
    found = []
    for index in step.inplace:
        source = inputs[index]
        if (
            source is not None
            and (source.shape, source.strides, source.offset) == (out.shape, out.strides, out.offset)
            and itemsize(source.dtype) == itemsize(out.dtype)
            and all(other is None or other.value != source.value or other == source for other in inputs)
        ):
            found.append(source.value)
    return found


def planned(known: Mapping[str, tuple[int, ...]], buffers: Sequence[Buffer]) -> MemoryPlan:
    """The plan that was found for these buffers when compiling, or a quick one.

    Raises:
        AccelcError: What was found is no plan for them.
    """
    offsets = known.get(digest(buffers)) if known else None
    if offsets is None:
        return allocate(buffers, alignment=ALIGNMENT)
    if len(offsets) != len(buffers):
        raise ArtifactError("a memory plan has another number of buffers", why=f"{len(offsets)} offsets")
    peak = max((offset + aligned(b.size) for offset, b in zip(offsets, buffers, strict=True)), default=0)
    plan = MemoryPlan(offsets, peak, lower_bound(buffers, alignment=ALIGNMENT))
    validate(buffers, plan)
    return plan


def digest(buffers: Sequence[Buffer]) -> str:
    """What tells buffers from others: sizes and live ranges, in order."""
    return sha256(repr([(b.size, b.first, b.last) for b in buffers]).encode()).hexdigest()[:32]


def workspace_key(number: int) -> int:
    """What stands for the workspace of step ``number`` among root values."""
    return -1 - number


def last_uses(steps: Sequence[Call | SymbolCall], roots: Sequence[int]) -> dict[int, int]:
    """The last step that reads each root value, or writes to it."""
    last: dict[int, int] = {}
    for number, step in enumerate(steps):
        if isinstance(step, Call):
            for value in step.inputs + step.outputs:
                if value >= 0:
                    last[roots[value]] = number
    return last


def nbytes(tensor: Tensor) -> int:
    """Bytes of a dense tensor."""
    return tensor.size * itemsize(tensor.dtype)


def aligned(size: int) -> int:
    """A size rounded up to whole cache lines."""
    return -(-size // ALIGNMENT) * ALIGNMENT
