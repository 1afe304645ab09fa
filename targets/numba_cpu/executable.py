"""The executable: checks inputs, finds the plan for their shapes, fills in addresses, makes one native call."""

from __future__ import annotations

import json
import threading
from collections import OrderedDict
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from accelc.errors import CallError
from accelc.ir.dims import unify
from accelc.target import Executable, MemorySummary, TargetOptions, TensorSpec
from accelc.targets.numba_cpu.bind import Binder, BoundRegion, numpy_dtype
from accelc.targets.numba_cpu.host_run import run_host
from accelc.targets.numba_cpu.isa import Isa
from accelc.targets.numba_cpu.kernel_store import KernelStore
from accelc.targets.numba_cpu.kernels.base import KernelSource, Tensor
from accelc.targets.numba_cpu.kernels.registry import family
from accelc.targets.numba_cpu.memory import CallMemory
from accelc.targets.numba_cpu.native_run import SOURCES, NativeRunner
from accelc.targets.numba_cpu.program import Call, HostCall, Program

WINOGRAD_TOLERANCE = 1e-4
"""Error allowed to a program with Winograd convolutions (DESIGN, Trust), as a share of max|output|."""
PLANS_KEPT = 64
"""Plans for different shapes that an executable remembers."""


class Plan:
    """The first region bound for one tuple of input shapes, and what a call of it needs, ready to use.

    Memory outside the arena is numbered: the program's inputs first, then what the region makes.
    """

    def __init__(
        self,
        region: BoundRegion,
        symbols: dict[str, int],
        inputs: Sequence[int],
        shapes: Mapping[int, tuple[int, ...]],
    ) -> None:
        self.shapes = shapes
        self.region = region
        self.symbols = symbols
        self.free: list[CallMemory] = []
        self.made = [(storage.shape, numpy_dtype(storage.dtype)) for storage in region.made]
        slot = {root: i for i, root in enumerate([*inputs, *(storage.value for storage in region.made)])}
        self.pointers = [
            (index, slot[root], offset) for index, root, offset in region.dynamic_words if root in slot
        ]
        self.slot = slot


class CpuExecutable(Executable):
    """A compiled program. Safe to call from several threads at once: each call has memory of its own."""

    target_name = "cpu"

    def __init__(self, program: Program, isa: Isa, store: KernelStore, options: TargetOptions) -> None:
        self.program = program
        self.isa = isa
        self.threads = max(1, options.threads)
        values = [program.values[i] for i in program.inputs]
        self.inputs = tuple(TensorSpec(v.name, numpy_dtype(v.dtype), v.dims) for v in values)
        self.outputs = tuple(
            TensorSpec(name, numpy_dtype(program.values[i].dtype), program.values[i].dims)
            for name, i in zip(program.output_names, program.outputs, strict=True)
        )
        self.summary: dict[str, Any] = {}
        if any(isinstance(step, Call) and step.family == "winograd" for step in program.steps):
            self.tolerance = WINOGRAD_TOLERANCE
        self._store = store
        self._functions = self._load_kernels(program, isa, store)
        self._runner = NativeRunner(store)
        self._constants = dict(program.constants)
        self._binder = Binder(
            program,
            isa,
            self._functions,
            {i: a.ctypes.data for i, a in self._constants.items()},
            self.threads,
        )
        self._regions = self._split(program)
        self._external = _external(program, [steps for _, steps in self._regions])
        self._plans: OrderedDict[tuple[Any, ...], list[Plan]] = OrderedDict()
        self._lock = threading.Lock()
        self._last: list[Plan] = []
        self._specs = [
            (spec.name, spec.dtype, i) for spec, i in zip(self.inputs, program.inputs, strict=True)
        ]
        self._simple = len(self._regions) == 1 and not isinstance(self._regions[0][1], HostCall)

    @staticmethod
    def _load_kernels(program: Program, isa: Isa, store: KernelStore) -> dict[int, int]:
        texts: dict[str, KernelSource] = {}
        sources = {}
        for i, step in enumerate(program.steps):
            if isinstance(step, Call):
                key = json.dumps([step.family, step.params], sort_keys=True)
                if key not in texts:
                    texts[key] = family(step.family).source(step.params, isa)
                sources[i] = texts[key]
        wanted = {source.digest: source for source in (*SOURCES, *sources.values())}
        store.require(list(wanted.values()))
        return {i: store.address(source) for i, source in sources.items()}

    @staticmethod
    def _split(program: Program) -> list[tuple[int, Any]]:
        """(index of the first step, region) of every region."""
        regions, index = [], 0
        for region in program.regions():
            regions.append((index, region))
            index += 1 if isinstance(region, HostCall) else len(region)
        return regions or [(0, [])]

    # ------------------------------------------------------------------ calling
    def run(self, output_names: Sequence[str] | None, feeds: Mapping[str, Any]) -> list[np.ndarray]:
        """Run once; see Executable.run."""
        arrays = []
        for name, dtype, _ in self._specs:
            array = feeds.get(name)
            if type(array) is not np.ndarray or array.dtype != dtype or not array.flags.c_contiguous:
                array = self._coerce(name, dtype, array)
            arrays.append(array)
        if len(feeds) != len(arrays):
            self._refuse_unknown(feeds)
        key = tuple([array.shape for array in arrays])
        plans = self._plans.get(key)
        if plans is None:
            plans = self._plan(key)
        results = self._run_simple(plans[0], arrays) if self._simple else self._run_regions(plans, arrays)
        return results if output_names is None else self._select(output_names, results)

    def _coerce(self, name: str, dtype: np.dtype[Any], given: Any) -> np.ndarray:
        """A contiguous array of the right dtype, or a CallError."""
        if given is None:
            raise CallError(
                f"input '{name}' is missing",
                why=f"the model takes {', '.join(repr(spec.name) for spec in self.inputs)}",
            )
        array = np.asarray(given, dtype=None if isinstance(given, np.ndarray | np.generic) else dtype)
        if array.dtype != dtype:
            raise CallError(
                f"input '{name}' has the wrong dtype",
                why=f"expected {dtype.name}, got {array.dtype.name}",
                fix=f"pass x.astype(np.{dtype.name})",
            )
        return np.ascontiguousarray(array).reshape(array.shape)

    def _refuse_unknown(self, feeds: Mapping[str, Any]) -> None:
        known = {spec.name for spec in self.inputs}
        unknown = [name for name in feeds if name not in known]
        raise CallError(
            f"the model has no input '{unknown[0]}'",
            why=f"its inputs are {', '.join(map(repr, sorted(known)))}",
        )

    def _select(self, names: Sequence[str], results: list[np.ndarray]) -> list[np.ndarray]:
        by_name = dict(zip(self.program.output_names, results, strict=True))
        missing = [name for name in names if name not in by_name]
        if missing:
            raise CallError(
                f"the model has no output '{missing[0]}'",
                why=f"its outputs are {', '.join(map(repr, by_name))}",
            )
        return [by_name[name] for name in names]

    # ------------------------------------------------------------------ planning
    def _plan(self, key: tuple[Any, ...]) -> list[Plan]:
        """Plan the first region for input shapes; later regions are planned when their shapes are known."""
        symbols: dict[str, int] = {}
        for spec, shape in zip(self.inputs, key, strict=True):
            unify(spec.shape or (), shape, symbols, name=f"input '{spec.name}'")
        with self._lock:
            if key in self._plans:
                return self._plans[key]
            first, steps = self._regions[0]
            region = self._bind(first, steps, symbols)
            shapes = {}
            if self._simple:  # else outputs may depend on symbols that host calls will define
                shapes = {value: self._binder.tensor(value, symbols).shape for value in self.program.outputs}
            plans = [Plan(region, symbols, self.program.inputs, shapes)]
            self._plans[key] = plans
            if len(self._plans) > PLANS_KEPT:
                self._plans.popitem(last=False)
            self._last = plans
            return plans

    def _bind(self, first: int, steps: Any, symbols: Mapping[str, int]) -> BoundRegion:
        return self._binder.bind(first, [] if isinstance(steps, HostCall) else steps, symbols, self._external)

    def plan_for(self, shapes: Mapping[str, Sequence[int]]) -> MemorySummary:
        """Plan for given input shapes without running; the memory it takes."""
        key = tuple(tuple(shapes[spec.name]) for spec in self.inputs)
        self._last = self._plans.get(key) or self._plan(key)
        return self.memory_plan

    @property
    def memory_plan(self) -> MemorySummary:
        """Memory of the shapes planned last; the declared shapes if they are static and nothing ran yet."""
        if not self._last and all(isinstance(d, int) for spec in self.inputs for d in spec.shape or ()):
            self._last = self._plan(tuple(spec.shape for spec in self.inputs))
        weights = sum(array.nbytes for array in self._constants.values())
        if not self._last:
            return MemorySummary(0, 0, weights)
        plan = self._last[0].region.plan
        return MemorySummary(plan.peak_bytes, plan.lower_bound_bytes, weights)

    # ------------------------------------------------------------------ running
    def _run_simple(self, plan: Plan, arrays: list[np.ndarray]) -> list[np.ndarray]:
        """One region, no host calls: the common case, kept short (about 4 µs around the native call)."""
        try:
            memory = plan.free.pop()
        except IndexError:
            memory = CallMemory(plan.region)
        arrays += [np.empty(shape, dtype) for shape, dtype in plan.made]
        bases = [array.__array_interface__["data"][0] for array in arrays]
        words = memory.words
        for index, slot, offset in plan.pointers:
            words[index] = bases[slot] + offset
        self._runner.run(memory.steps_address, memory.step_count, plan.region.threads)
        plan.free.append(memory)
        return [self._result(plan, arrays, value) for value in self.program.outputs]

    def _result(self, plan: Plan, arrays: list[np.ndarray], value: int) -> np.ndarray:
        root = self._binder.roots[value]
        if root in plan.slot:
            array = arrays[plan.slot[root]]
            return array if value == root else array.reshape(plan.shapes[value])
        if root in plan.region.filled:
            return plan.region.filled[root].copy()
        # No step writes it, so it has no elements
        return np.empty(plan.shapes[value], numpy_dtype(self.program.values[value].dtype))

    def _run_regions(self, plans: list[Plan], arrays: Sequence[np.ndarray]) -> list[np.ndarray]:
        """Regions and host calls in turn; symbols that host calls define are bound on the way."""
        stores = dict(zip(self.program.inputs, arrays, strict=True))
        symbols = dict(plans[0].symbols)
        for number, (first, steps) in enumerate(self._regions):
            if isinstance(steps, HostCall):
                self._run_host(steps, stores, symbols)
                continue
            region = plans[0].region if number == 0 else self._bind(first, steps, symbols)
            self._run_region(region, stores)
        return [np.asarray(self._read(value, stores, symbols), order="C") for value in self.program.outputs]

    def _run_region(self, region: BoundRegion, stores: dict[int, np.ndarray]) -> None:
        for storage in region.made:
            stores[storage.value] = np.empty(storage.shape, numpy_dtype(storage.dtype))
        stores.update((root, array) for root, array in region.filled.items() if root in self._external)
        memory = CallMemory(region)
        for index, root, offset in region.dynamic_words:
            memory.words[index] = stores[root].ctypes.data + offset
        self._runner.run(memory.steps_address, memory.step_count, region.threads)

    def _run_host(self, step: HostCall, stores: dict[int, np.ndarray], symbols: dict[str, int]) -> None:
        inputs = [None if value < 0 else self._read(value, stores, symbols) for value in step.inputs]
        for value, result in zip(step.outputs, run_host(step, inputs), strict=True):
            made = self.program.values[value]
            unify(made.dims, result.shape, symbols, name=f"output '{made.name}' of {step.op}")
            stores[value] = np.ascontiguousarray(result.astype(numpy_dtype(made.dtype), copy=False)).reshape(
                result.shape
            )

    def _read(self, value: int, stores: Mapping[int, np.ndarray], symbols: Mapping[str, int]) -> np.ndarray:
        """The array of a value that lies outside the arena."""
        root = self._binder.roots[value]
        base = stores[root] if root in stores else self._constants[root]
        tensor: Tensor = self._binder.tensor(value, symbols)
        return np.ndarray(
            tensor.shape,
            base.dtype,
            buffer=base,
            offset=tensor.offset * base.itemsize,
            strides=[stride * base.itemsize for stride in tensor.strides],
        )

    def payload(self, folder: Path) -> dict[str, Any]:
        """Write program and weights; see Executable.payload."""
        from accelc.targets.numba_cpu.saved import write

        return write(self, folder)


def _external(program: Program, regions: Sequence[Any]) -> frozenset[int]:
    """Root values outside the arena: inputs, outputs, host values, and what more than one region touches."""
    outside = {v.id for v in program.values if v.kind in ("input", "output", "host")}
    seen: dict[int, int] = {}
    for number, region in enumerate(regions):
        for step in [region] if isinstance(region, HostCall) else region:
            touched = (step.output,) if not isinstance(step, Call | HostCall) else step.inputs + step.outputs
            for value in touched:
                if value < 0:
                    continue
                root = program.root(value)
                if isinstance(region, HostCall) or seen.setdefault(root, number) != number:
                    outside.add(root)
    outside |= {program.root(value) for value in program.outputs}
    return frozenset(i for i in outside if program.values[i].kind != "constant")
