"""The executable: checks inputs, finds the plan for their shapes, fills in addresses, makes one native call."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from accelc.errors import CallError
from accelc.plan.memory_map import MemoryMap
from accelc.target import Executable, MemoryCost, MemorySummary, StepTime, TargetOptions, TensorSpec
from accelc.targets.numba_cpu.isa import Isa
from accelc.targets.numba_cpu.kernel_store import KernelStore
from accelc.targets.numba_cpu.kernels.base import KernelSource
from accelc.targets.numba_cpu.kernels.registry import family
from accelc.targets.numba_cpu.memory_map import memory_map
from accelc.targets.numba_cpu.native_run import SOURCES, NativeRunner
from accelc.targets.numba_cpu.program import Call, Dims, HostCall, Program, Value
from accelc.targets.numba_cpu.runner import Plan, ProgramRunner
from accelc.targets.numba_cpu.tensors import numpy_dtype

WINOGRAD_TOLERANCE = 1e-4
"""Error allowed to a program with Winograd convolutions (DESIGN, Trust), as a share of max|output|."""


class CpuExecutable(Executable):
    """A compiled program. Safe to call from several threads at once: each call has memory of its own."""

    target_name = "cpu"

    def __init__(
        self,
        program: Program,
        isa: Isa,
        store: KernelStore,
        options: TargetOptions,
        memory_cost: MemoryCost | None = None,
    ) -> None:
        self.program = program
        self.memory_cost = memory_cost
        self.isa = isa
        self.threads = max(1, options.threads)
        values = [program.values[i] for i in program.inputs]
        self.inputs = tuple(TensorSpec(v.name, numpy_dtype(v.dtype), _shape(v)) for v in values)
        self.outputs = tuple(
            TensorSpec(name, numpy_dtype(program.values[i].dtype), _shape(program.values[i]))
            for name, i in zip(program.output_names, program.outputs, strict=True)
        )
        self.summary: dict[str, Any] = {}
        programs = program.programs()
        self.calls = [step for each in programs for step in each.steps if isinstance(step, Call)]
        if any(step.family == "winograd" for step in self.calls):
            self.tolerance = WINOGRAD_TOLERANCE
        self.fallbacks = tuple(
            f"{', '.join(step.origin)} ({step.op}): {step.reason}"
            for each in programs
            for step in each.steps
            if isinstance(step, HostCall) and step.kind == "reference"
        )
        functions = self._load_kernels(store)
        self._functions, self._native = functions, NativeRunner(store)
        self._main = ProgramRunner(program, isa, functions, self._native, self.threads, _plan_type(options))
        arrays = {id(array): array.nbytes for each in programs for array in each.constants.values()}
        self._weight_bytes = sum(arrays.values())
        self._specs = [(spec.name, spec.dtype) for spec in self.inputs]

    def _load_kernels(self, store: KernelStore) -> dict[int, int]:
        """The address of the kernel of every call, by the call's id; missing ones are compiled together."""
        texts: dict[str, KernelSource] = {}
        sources = {}
        for step in self.calls:
            key = json.dumps([step.family, step.params], sort_keys=True)
            if key not in texts:
                texts[key] = family(step.family).source(step.params, self.isa)
            sources[id(step)] = texts[key]
        wanted = {source.digest: source for source in (*SOURCES, *sources.values())}
        store.require(list(wanted.values()))
        return {i: store.address(source) for i, source in sources.items()}

    # ------------------------------------------------------------------ calling
    def run(self, output_names: Sequence[str] | None, feeds: Mapping[str, Any]) -> list[np.ndarray]:
        """Run once; see Executable.run."""
        results = self._main.run(self._arrays(feeds))
        return results if output_names is None else self._select(output_names, results)

    def step_times(self, feeds: Mapping[str, Any], rounds: int = 5) -> list[StepTime]:
        """Every kernel call with its least time of ``rounds`` runs; see Executable.step_times."""
        from accelc.targets.numba_cpu.step_times import TimingRunner, step_times

        timing = TimingRunner(self._native)
        runner = ProgramRunner(self.program, self.isa, self._functions, timing, self.threads)
        return step_times(runner, timing, self._arrays(feeds), rounds)

    def _arrays(self, feeds: Mapping[str, Any]) -> list[Any]:
        """The inputs in order, row-major, of the declared dtypes."""
        arrays = []
        for name, dtype in self._specs:
            array = feeds.get(name)
            if type(array) is not np.ndarray or array.dtype != dtype or not array.flags.c_contiguous:
                array = self._any(feeds, name) if dtype.hasobject else self._coerce(name, dtype, array)
            arrays.append(array)
        if len(feeds) != len(arrays) and not feeds.keys() <= {name for name, _ in self._specs}:
            self._refuse_unknown(feeds)
        return arrays

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

    def _any(self, feeds: Mapping[str, Any], name: str) -> Any:
        """An input of strings (an object array), a sequence (a list) or an optional (None for none)."""
        given = feeds.get(name)
        if given is None:
            optional = {self.program.values[i].name for i in self.program.optional}
            if name not in optional:
                raise CallError(f"input '{name}' is missing")
            return None
        if isinstance(given, list | tuple) and not any(isinstance(item, str) for item in given):
            return [_text(np.asarray(item)) for item in given]
        return _text(np.asarray(given))

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
    def plan_for(self, shapes: Mapping[str, Sequence[int]]) -> MemorySummary:
        """Plan for given input shapes without running; the memory it takes.

        Where values steer shapes, and behind host calls, plans are made by calls only.
        """
        key = tuple(tuple(shapes[spec.name]) for spec in self.inputs)
        if not self.program.steering:
            self._main.last = self._main.plans.get(key) or self._main.plan(key)
        return self.memory_plan

    @property
    def memory_plan(self) -> MemorySummary:
        """Memory of the shapes planned last; the declared shapes if they are static and nothing ran yet."""
        main = self._main
        static = all(s.shape is not None and all(isinstance(d, int) for d in s.shape) for s in self.inputs)
        if main.last is None and static and not self.program.steering:
            main.last = main.plan(tuple(spec.shape for spec in self.inputs))
        if main.last is None:
            return MemorySummary(0, 0, self._weight_bytes, self.memory_cost)
        plan = main.last.region.plan
        return MemorySummary(plan.peak_bytes, plan.lower_bound_bytes, self._weight_bytes, self.memory_cost)

    @property
    def arena_bytes(self) -> int:
        """Bytes of all arenas that calls so far have made and that are kept for later ones."""
        return sum(memory.whole.nbytes for plan in self._main.all_plans() for memory in plan.free)

    def memory_map(self) -> MemoryMap | None:
        """What lies where for the shapes planned last; see Executable.memory_map."""
        planned = self._main.planned() if self.memory_plan.peak_bytes else []
        symbols = self._main.last.symbols if planned and self._main.last is not None else {}
        return memory_map(self.program, planned, symbols) if planned else None

    def payload(self, folder: Path) -> dict[str, Any]:
        """Write program and weights; see Executable.payload."""
        from accelc.targets.numba_cpu.saved import write

        return write(self, folder)


def _plan_type(options: TargetOptions) -> type[Plan]:
    if not options.sanitize:
        return Plan
    from accelc.targets.numba_cpu.sanitize import SanitizedPlan

    return SanitizedPlan


def _shape(value: Value) -> Dims | None:
    return None if value.dtype == "object" else value.dims


def _text(array: np.ndarray) -> np.ndarray:
    """Arrays of str are object arrays throughout; others stay as they are."""
    return array.astype(object) if array.dtype.kind in "US" else array
