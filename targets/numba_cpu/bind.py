"""Binding: a region of a program made concrete for one set of shapes.

Dims are evaluated, each call's family gives its descriptor, live ranges are read off, and the arena is planned.
The result is one block of int64 words with a list of places where addresses go. Nothing is compiled here: a new
batch size or sequence length costs milliseconds.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from math import prod
from typing import Any

import numpy as np

from accelc.errors import CallError
from accelc.ir.dims import evaluate
from accelc.plan.arena import Buffer, MemoryPlan, allocate
from accelc.targets.numba_cpu.isa import Isa
from accelc.targets.numba_cpu.kernels.base import WORKSPACE, Address, Tensor, itemsize
from accelc.targets.numba_cpu.kernels.registry import family
from accelc.targets.numba_cpu.program import Call, Program, SymbolCall, Value, View

STEP_WORDS = 8
"""int64 words of a row of the step table: see native_run.py."""
BARRIER = 1
"""Flag of a step: wait until all threads are done with the steps before."""
ALIGNMENT = 64


@dataclass(frozen=True)
class Storage:
    """Memory outside the arena that a region reads or writes: root value, dtype, shape, bytes."""

    value: int
    dtype: str
    shape: tuple[int, ...]


@dataclass(eq=False)
class BoundRegion:
    """A region for given shapes, without addresses.

    Args:
        words: Descriptors of all calls; address words hold byte offsets into what they point at.
        steps: Step table; the descriptor column holds word indexes.
        arena_words: Indexes of words that point into the arena.
        dynamic_words: (word index, root value, byte offset) of words that point at per-call memory.
        made: Storage outside the arena that the region writes: outputs, values that later regions read.
        tensors: Operands by value id, for whoever reads results.
        calls: The call behind each row of ``steps``.
        threads: Threads worth using: 1 if no step has work for two.
        filled: Shape tensors, by root value: their elements are known now, and words point at them.
    """

    words: np.ndarray
    steps: np.ndarray
    arena_words: np.ndarray
    dynamic_words: list[tuple[int, int, int]]
    made: list[Storage]
    tensors: Mapping[int, Tensor]
    calls: list[Call]
    plan: MemoryPlan
    threads: int
    filled: dict[int, np.ndarray] = field(default_factory=dict)


class Binder:
    """Binds regions of one program.

    Args:
        program: The program.
        isa: What the kernels were made for.
        functions: Address of the kernel of each call, by the call's index in ``program.steps``.
        constants: Address of each constant, by value id.
        threads: Threads that a call may use; workspaces are made for that many.
    """

    def __init__(
        self,
        program: Program,
        isa: Isa,
        functions: Mapping[int, int],
        constants: Mapping[int, int],
        threads: int,
    ) -> None:
        self.program = program
        self.isa = isa
        self.functions = functions
        self.constants = constants
        self.threads = threads
        self.roots = [program.root(value.id) for value in program.values]

    def bind(
        self,
        first: int,
        steps: Sequence[Call | SymbolCall],
        symbols: Mapping[str, int],
        external: frozenset[int],
    ) -> BoundRegion:
        """Bind ``steps``, which start at index ``first`` of the program.

        Args:
            first: Index of the region's first step in ``program.steps``.
            steps: The region.
            symbols: Sizes of the symbols known so far.
            external: Root values that live outside the arena: inputs, outputs, what other regions touch.

        Raises:
            CallError: Extents do not fit together.
        """
        return _RegionBinder(self, symbols, external).run(first, steps)

    def tensor(self, value: int, symbols: Mapping[str, int]) -> Tensor:
        """Shape and strides of one value for these symbols."""
        return _RegionBinder(self, symbols, frozenset()).tensor(value)


class _RegionBinder:
    def __init__(self, binder: Binder, symbols: Mapping[str, int], external: frozenset[int]) -> None:
        self.binder = binder
        self.program = binder.program
        self.symbols = symbols
        self.external = external
        self.extents: dict[str, int] = {}
        self.tensors: dict[int, Tensor] = {}
        self.words: list[int] = []
        self.addresses: list[tuple[int, int, int]] = []  # word, buffer key, byte offset
        self.rows: list[tuple[int, ...]] = []
        self.calls: list[Call] = []
        self.first: dict[int, int] = {}
        self.last: dict[int, int] = {}
        self.sizes: dict[int, int] = {}
        self.filled: dict[int, np.ndarray] = {}
        self.made: dict[int, Storage] = {}
        self.merged: dict[int, int] = {}

    def run(self, first: int, steps: Sequence[Call | SymbolCall]) -> BoundRegion:
        last_use = self._last_uses(steps)
        parallel_before = False
        for number, step in enumerate(steps):
            if isinstance(step, SymbolCall):
                self._fill(step)
                continue
            inputs = [self.tensor(value) if value >= 0 else None for value in step.inputs]
            outputs = [self.tensor(value) for value in step.outputs]
            binding = family(step.family).bind(step.params, inputs, outputs, self.binder.isa)
            if binding.tasks <= 0:
                self._touch(step, number)
                continue
            parallel = self.binder.threads > 1 and binding.tasks >= 2 * binding.grain
            flags = BARRIER if parallel or parallel_before else 0
            parallel_before = parallel
            start = len(self.words)
            self._descriptor(binding.words, number)
            self._touch(step, number)
            if binding.workspace_bytes:
                key = -1 - number
                self.first[key] = self.last[key] = number
                self.sizes[key] = _aligned(binding.workspace_bytes) * self.binder.threads
            self._merge_in_place(step, inputs, outputs, number, last_use)
            self.rows.append(
                (self.binder.functions[first + number], start, binding.tasks, binding.grain, flags, 0, 0, 0)
            )
            self.calls.append(step)
        return self._finish()

    # ------------------------------------------------------------------ tensors
    def tensor(self, value: int) -> Tensor:
        """The operand for a value; views are resolved from their base upwards."""
        if value in self.tensors:
            return self.tensors[value]
        chain = []
        current = value
        while current not in self.tensors:
            chain.append(current)
            view = self.program.values[current].view
            if view is None:
                break
            current = view.base
        for each in reversed(chain):
            self.tensors[each] = self._make(self.program.values[each])
        return self.tensors[value]

    def _make(self, value: Value) -> Tensor:
        view = value.view
        if view is not None and view.kind == "permute":
            base = self.tensors[view.base]
            return Tensor(
                base.value,
                base.dtype,
                tuple([base.shape[dim] for dim in view.perm]),
                tuple([base.strides[dim] for dim in view.perm]),
                base.offset,
            )
        shape = self.shape(value)
        if view is None:
            return Tensor(value.id, value.dtype, shape, _strides(shape, value.order))
        base = self.tensors[view.base]
        if view.kind == "reshape":
            if prod(shape) != base.size:
                raise CallError(
                    f"'{value.name}' cannot be reshaped", why=f"from {list(base.shape)} to {list(shape)}"
                )
            return Tensor(base.value, base.dtype, shape, _strides(shape, ()), base.offset)
        return self._slice(value, view, base, shape)

    def _slice(self, value: Value, view: View, base: Tensor, shape: tuple[int, ...]) -> Tensor:
        strides = list(base.strides)
        start = evaluate(view.start, self.symbols)
        extent, count = base.shape[view.axis], shape[view.axis]
        last = start + (count - 1) * view.step
        if count > 0 and not (0 <= start < extent and 0 <= last < extent):
            raise CallError(
                f"slice '{value.name}' is out of range",
                why=f"elements {start} to {last} of axis {view.axis}, which has {extent}",
            )
        offset = base.offset + start * strides[view.axis]
        strides[view.axis] *= view.step
        return Tensor(base.value, base.dtype, shape, tuple(strides), offset)

    def shape(self, value: Value) -> tuple[int, ...]:
        """Concrete dims of a value."""
        return tuple([dim if isinstance(dim, int) else self._extent(dim) for dim in value.dims])

    def _extent(self, dim: str) -> int:
        """An expression's number; few different ones occur in a program, and exact arithmetic takes a while."""
        known = self.extents.get(dim)
        if known is None:
            known = self.extents[dim] = evaluate(dim, self.symbols)
        return known

    # ------------------------------------------------------------------ steps
    def _fill(self, step: SymbolCall) -> None:
        tensor = self.tensor(step.output)
        elements = [evaluate(element, self.symbols) for element in step.elements]
        if np.dtype(tensor.dtype).kind in "iu":
            info = np.iinfo(tensor.dtype)
            span = int(info.max) - int(info.min) + 1
            elements = [(element - int(info.min)) % span + int(info.min) for element in elements]
        self.filled[step.output] = np.array(elements, dtype=tensor.dtype).reshape(tensor.shape)

    def _descriptor(self, words: Sequence[int | Address], number: int) -> None:
        roots = self.binder.roots
        for word in words:
            if isinstance(word, Address):
                key = -1 - number if word.value == WORKSPACE else roots[word.value]
                self.addresses.append((len(self.words), key, word.byte_offset))
                self.words.append(0)
            else:
                self.words.append(word)

    def _touch(self, step: Call, number: int) -> None:
        """Record live ranges of arena values, and what is written outside the arena."""
        for value in step.inputs + step.outputs:
            if value < 0:
                continue
            root = self.binder.roots[value]
            kind = self.program.values[root].kind
            if kind == "temp" and root not in self.external and root not in self.filled:
                if root not in self.first:
                    self.first[root] = number
                    self.sizes[root] = _nbytes(self.tensor(root))
                self.last[root] = number
        for value in step.outputs:
            root = self.binder.roots[value]
            if root in self.external and root not in self.made:
                tensor = self.tensor(root)
                self.made[root] = Storage(root, tensor.dtype, tensor.shape)

    def _last_uses(self, steps: Sequence[Call | SymbolCall]) -> dict[int, int]:
        last: dict[int, int] = {}
        for number, step in enumerate(steps):
            if isinstance(step, Call):
                for value in step.inputs:
                    if value >= 0:
                        last[self.binder.roots[value]] = number
        return last

    def _merge_in_place(
        self,
        step: Call,
        inputs: Sequence[Tensor | None],
        outputs: Sequence[Tensor],
        number: int,
        last_use: Mapping[int, int],
    ) -> None:
        """Let the output take over the memory of an input that dies here and has the same elements in place."""
        if not step.inplace or len(outputs) != 1:
            return
        out = outputs[0]
        target = self.binder.roots[step.outputs[0]]
        if (
            target in self.external
            or self.program.values[target].kind != "temp"
            or self.first[target] != number
        ):
            return
        for index in step.inplace:
            source = inputs[index]
            if source is None or (source.shape, source.strides, source.offset) != (
                out.shape,
                out.strides,
                out.offset,
            ):
                continue
            root = source.value
            usable = (
                root in self.first
                and last_use.get(root) == number
                and root != target
                and self.sizes[root] == self.sizes[target]
                and itemsize(source.dtype) == itemsize(out.dtype)
                and all(other is None or other.value != root or other == source for other in inputs)
            )
            if usable:
                self.merged[target] = root
                return

    # ------------------------------------------------------------------ memory
    def _finish(self) -> BoundRegion:
        owner = {key: self._owner(key) for key in self.first}
        spans: dict[int, list[int]] = {}
        for key, own in owner.items():
            span = spans.setdefault(own, [self.sizes[own], self.first[own], self.last[own]])
            span[1] = min(span[1], self.first[key])
            span[2] = max(span[2], self.last[key])
        keys = list(spans)
        plan = allocate([Buffer(*spans[key]) for key in keys], alignment=ALIGNMENT)
        offset = dict(zip(keys, plan.offsets, strict=True))
        words = np.array(self.words, dtype=np.int64)
        arena_words: list[int] = []
        dynamic: list[tuple[int, int, int]] = []
        for index, key, byte_offset in self.addresses:
            if key in owner:
                words[index] = offset[owner[key]] + byte_offset
                arena_words.append(index)
            elif key in self.filled:
                words[index] = self.filled[key].ctypes.data + byte_offset
            elif key in self.binder.constants:
                words[index] = self.binder.constants[key] + byte_offset
            else:
                dynamic.append((index, key, byte_offset))
        return BoundRegion(
            words=words,
            steps=np.array(self.rows, dtype=np.int64).reshape(len(self.rows), STEP_WORDS),
            arena_words=np.array(arena_words, dtype=np.int64),
            dynamic_words=dynamic,
            made=list(self.made.values()),
            tensors=self.tensors,
            calls=self.calls,
            plan=plan,
            threads=self.binder.threads if any(row[2] >= 2 * row[3] for row in self.rows) else 1,
            filled=self.filled,
        )

    def _owner(self, key: int) -> int:
        while key in self.merged:
            key = self.merged[key]
        return key


def _strides(shape: Sequence[int], order: Sequence[int]) -> tuple[int, ...]:
    """Strides in elements of dense storage: dim ``order[0]`` is the outermost; row-major if empty."""
    strides = [1] * len(shape)
    step = 1
    for dim in reversed(order or range(len(shape))):
        strides[dim] = step
        step *= max(shape[dim], 1)
    return tuple(strides)


def _nbytes(tensor: Tensor) -> int:
    return tensor.size * itemsize(tensor.dtype)


def _aligned(size: int) -> int:
    return -(-size // ALIGNMENT) * ALIGNMENT


def numpy_dtype(name: str) -> np.dtype[Any]:
    """The NumPy dtype of a name in a program; ml_dtypes' names included."""
    try:
        return np.dtype(name)
    except TypeError:
        import ml_dtypes

        found: np.dtype[Any] = np.dtype(getattr(ml_dtypes, name))
        return found
