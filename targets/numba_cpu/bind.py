"""Binding: a region of a program made concrete for one set of shapes.

Dims are evaluated, each call's family gives its descriptor, live ranges are read off, and the arena is planned.
The result is one block of int64 words with a list of places where addresses go. Nothing is compiled here: a new
batch size or sequence length costs milliseconds.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np

from accelc.ir.dims import evaluate
from accelc.plan.arena import MemoryPlan
from accelc.targets.numba_cpu.isa import Isa
from accelc.targets.numba_cpu.kernels.base import GRAIN_NS, WORKSPACE, Address, Tensor
from accelc.targets.numba_cpu.kernels.registry import family
from accelc.targets.numba_cpu.program import Call, Program, SymbolCall
from accelc.targets.numba_cpu.region_memory import (
    ArenaBuffer,
    Placement,
    RegionMemory,
    Storage,
    last_uses,
    workspace_key,
)
from accelc.targets.numba_cpu.tensors import TensorTable, constant_tensors

STEP_WORDS = 8
"""int64 words of a row of the step table: see native_run.py."""
SHARED_GRAINS = 3
"""Steps of fewer grains (5 us each) run on one thread: handing work over and the other core's caches cost 2 us,
and what is won is half of the step at best."""
TEAM_GRAINS = 6
"""A region whose shared steps have fewer grains in all runs on one thread: it does not pay to wake another."""
BARRIER = 1
"""Flag of a step: wait until all threads are done with the steps before."""


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
        numbers: The step of the region behind each row of ``steps``.
        threads: Threads worth using: 1 if no step has work for two.
        shared_ms: Predicted time of the steps that threads share, on one of them.
        buffers: What the arena holds, and when.
        filled: Shape tensors, by root value: their elements are known now, and words point at them.
        flags: (word index, row of ``steps``) of the words that tell of an index out of range.
    """

    words: np.ndarray
    steps: np.ndarray
    arena_words: np.ndarray
    dynamic_words: list[tuple[int, int, int]]
    made: list[Storage]
    tensors: Mapping[int, Tensor]
    calls: list[Call]
    numbers: list[int]
    plan: MemoryPlan
    buffers: tuple[ArenaBuffer, ...]
    threads: int
    shared_ms: float
    filled: dict[int, np.ndarray] = field(default_factory=dict)
    flags: tuple[tuple[int, int], ...] = ()


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
        self.fixed = constant_tensors(program)

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
        return TensorTable(self.program, symbols).tensor(value)


class _RegionBinder:
    def __init__(self, binder: Binder, symbols: Mapping[str, int], external: frozenset[int]) -> None:
        self.binder = binder
        self.symbols = symbols
        self.table = TensorTable(binder.program, symbols, binder.fixed)
        self.words: list[int] = []
        self.addresses: list[tuple[int, int, int]] = []  # word, buffer key, byte offset
        self.rows: list[tuple[int, ...]] = []
        self.calls: list[Call] = []
        self.numbers: list[int] = []
        self.flags: list[tuple[int, int]] = []
        self.filled: dict[int, np.ndarray] = {}
        self.memory = RegionMemory(binder.program, binder.roots, external, self.filled, self.table)

    def run(self, first: int, steps: Sequence[Call | SymbolCall]) -> BoundRegion:
        tensor, memory = self.table.tensor, self.memory
        last_use = last_uses(steps, self.binder.roots)
        parallel_before = False
        for number, step in enumerate(steps):
            if isinstance(step, SymbolCall):
                self._fill(step)
                continue
            inputs = [tensor(value) if value >= 0 else None for value in step.inputs]
            outputs = [tensor(value) for value in step.outputs]
            binding = family(step.family).bind(step.params, inputs, outputs, self.binder.isa)
            memory.touch(step, number)
            if binding.tasks <= 0:
                continue
            parallel = self.binder.threads > 1 and binding.tasks >= SHARED_GRAINS * binding.grain
            grain = binding.grain if parallel else binding.tasks  # the caller alone runs it in one piece
            flags = BARRIER if parallel or parallel_before else 0
            parallel_before = parallel
            start = len(self.words)
            self._descriptor(binding.words, number)
            if binding.flag >= 0:
                self.flags.append((start + binding.flag, len(self.rows)))
            if binding.workspace_bytes:
                memory.workspace(number, binding.workspace_bytes, self.binder.threads)
            memory.merge_in_place(step, inputs, outputs, number, last_use)
            self.rows.append(
                (self.binder.functions[first + number], start, binding.tasks, grain, flags, 0, 0, 0)
            )
            self.calls.append(step)
            self.numbers.append(number)
        return self._finish(memory.place())

    def _fill(self, step: SymbolCall) -> None:
        tensor = self.table.tensor(step.output)
        elements = [evaluate(element, self.symbols) for element in step.elements]
        if np.dtype(tensor.dtype).kind in "iu":
            info = np.iinfo(tensor.dtype)
            span = int(info.max) - int(info.min) + 1
            elements = [(element - int(info.min)) % span + int(info.min) for element in elements]
        self.filled[step.output] = np.array(elements, dtype=tensor.dtype).reshape(tensor.shape)

    def _descriptor(self, words: Sequence[int | Address], number: int) -> None:
        roots, start = self.binder.roots, len(self.words)
        self.words += [0 if type(word) is Address else word for word in words]  # type: ignore[misc]
        for at, word in enumerate(words, start):
            if type(word) is Address:
                key = workspace_key(number) if word.value == WORKSPACE else roots[word.value]
                self.addresses.append((at, key, word.byte_offset))

    def _finish(self, placed: Placement) -> BoundRegion:
        words = np.array(self.words, dtype=np.int64)
        shared = sum(tasks / grain for _, _, tasks, grain, *_ in self.rows if grain < tasks)
        arena_words: list[int] = []
        dynamic: list[tuple[int, int, int]] = []
        for index, key, byte_offset in self.addresses:
            if key in placed.offsets:
                words[index] = placed.offsets[key] + byte_offset
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
            made=list(self.memory.made.values()),
            tensors=self.table.tensors,
            calls=self.calls,
            numbers=self.numbers,
            plan=placed.plan,
            buffers=placed.buffers,
            threads=self.binder.threads if shared >= TEAM_GRAINS else 1,
            shared_ms=shared * GRAIN_NS * 1e-6,
            filled=self.filled,
            flags=tuple(self.flags),
        )
