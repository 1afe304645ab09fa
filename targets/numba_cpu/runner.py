"""Running one program: its regions are planned per shapes and run natively, with host and body calls between.

The main program of an executable and the bodies of its If, Loop and Scan each have a runner.
"""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np

from accelc.errors import CallError
from accelc.ir.dims import evaluate, is_symbol, symbols_in, unify
from accelc.targets.numba_cpu.bind import Binder, BoundRegion
from accelc.targets.numba_cpu.body_run import run_body
from accelc.targets.numba_cpu.host_run import run_host
from accelc.targets.numba_cpu.isa import Isa
from accelc.targets.numba_cpu.memory import CallMemory, address
from accelc.targets.numba_cpu.native_run import Native
from accelc.targets.numba_cpu.program import BodyCall, Call, HostCall, Program, SymbolCall, Value
from accelc.targets.numba_cpu.regions import Region, external_values, split
from accelc.targets.numba_cpu.team_choice import LONGEST_MS, TeamChoice
from accelc.targets.numba_cpu.tensors import numpy_dtype

PLANS_KEPT = 64
"""Plans for different shapes that a program, and each of its regions, remembers."""


class Plan:
    """A region bound for one set of shapes, and what a call of it needs, ready to use.

    Memory outside the arena is numbered: ``sources`` first (root values), then what the region makes.
    """

    def __init__(
        self,
        program: Program,
        region: BoundRegion,
        sources: Sequence[int],
        symbols: dict[str, int],
        shapes: Mapping[int, tuple[int, ...]],
    ) -> None:
        self.program = program
        self.region = region
        self.sources = tuple(sources)
        self.symbols = symbols
        self.shapes = shapes
        self.free: list[CallMemory] = []
        self.made = [(storage.shape, numpy_dtype(storage.dtype)) for storage in region.made]
        self.made_roots = [storage.value for storage in region.made]
        self.slot = {root: i for i, root in enumerate([*sources, *self.made_roots])}
        pointers: dict[int, list[tuple[int, int]]] = {}
        for index, root, offset in region.dynamic_words:
            if root in self.slot:
                pointers.setdefault(self.slot[root], []).append((index, offset))
        self.pointers = list(pointers.items())
        brief = region.threads > 1 and region.shared_ms < LONGEST_MS
        self.choice = TeamChoice(region.threads) if brief else None

    def run(self, arrays: list[Any], native: Native) -> None:
        """Run on the arrays of ``sources``; what the region makes is appended to ``arrays``."""
        arrays += [np.empty(shape, dtype) for shape, dtype in self.made]
        try:
            memory = self.free.pop()
        except IndexError:
            memory = CallMemory(self.region)
        self.point(memory, arrays)
        if self.choice is not None:
            self.choice.run(native, memory.steps_address, memory.step_count)
        else:
            native.run(memory.steps_address, memory.step_count, self.region.threads)
        if self.region.flags:
            self.check(memory)
        self.free.append(memory)

    def check(self, memory: CallMemory) -> None:
        """Raise CallError if a kernel met an index out of range; it read or wrote the nearest element instead."""
        for index, row in self.region.flags:
            if memory.words[index]:
                raise CallError(
                    "an index is out of range",
                    where=f"node {', '.join(self.region.calls[row].origin) or '?'}",
                    fix="check the indices among the inputs",
                )

    def point(self, memory: CallMemory, arrays: list[Any]) -> None:
        """Fill in the addresses of the arrays outside the arena."""
        words = memory.words
        for slot, places in self.pointers:
            base = address(arrays[slot])
            for index, offset in places:
                words[index] = base + offset


class ProgramRunner:
    """Runs one program. Safe to call from several threads at once: each call has memory of its own.

    Args:
        program: The program; its bodies get runners too.
        isa: What the kernels were made for.
        functions: Address of the kernel of each call, by the calls' ``id`` (they live as long as the program).
        native: Runs step tables.
        threads: Threads of one call.
        plan_type: How planned regions run.
    """

    def __init__(
        self,
        program: Program,
        isa: Isa,
        functions: Mapping[int, int],
        native: Native,
        threads: int,
        plan_type: type[Plan] = Plan,
    ) -> None:
        self.program = program
        self.bodies = [
            ProgramRunner(body, isa, functions, native, threads, plan_type) for body in program.bodies
        ]
        self._plan_type = plan_type
        self.plans: OrderedDict[tuple[Any, ...], Plan] = OrderedDict()
        self.regions = split(program)
        self.simple = len(self.regions) == 1 and isinstance(self.regions[0][1], list)
        self.last: Plan | None = None
        self.binder = Binder(
            program,
            isa,
            {i: functions[id(step)] for i, step in enumerate(program.steps) if isinstance(step, Call)},
            {i: array.ctypes.data for i, array in program.constants.items()},
            threads,
        )
        self._native = native
        self._lock = threading.Lock()
        self._external = external_values(program, [steps for _, steps in self.regions])
        self._known: OrderedDict[tuple[Any, ...], dict[str, int]] = OrderedDict()
        self._region_plans: list[OrderedDict[tuple[Any, ...], Plan]] = [OrderedDict() for _ in self.regions]
        self._needs = [] if self.simple else [self._need(steps) for _, steps in self.regions]
        self._steering = [(program.inputs.index(i), i) for i in program.steering]
        self._direct = {v.id for v in program.values if v.view is None and not v.order}

    # ------------------------------------------------------------------ calling
    def key(self, arrays: Sequence[Any]) -> tuple[Any, ...]:
        """What a plan depends on: shapes, and values that steer shapes."""
        key = tuple([getattr(array, "shape", None) for array in arrays])
        if self._steering:
            key += tuple([arrays[position].tobytes() for position, _ in self._steering])
        return key

    def run(self, arrays: list[Any]) -> list[Any]:
        """Results for inputs in order; arrays are row-major and of the declared dtypes.

        Raises:
            CallError: Shapes do not fit.
        """
        key = self.key(arrays)
        if not self.simple:
            symbols = self._known.get(key)
            return self._run_regions(arrays, dict(self._bound(key, arrays) if symbols is None else symbols))
        plan = self.plans.get(key)
        if plan is None:
            plan = self.plan(key, arrays)
        arrays = list(arrays)
        plan.run(arrays, self._native)
        return [self._result(plan, arrays, value) for value in self.program.outputs]

    def plan(self, key: tuple[Any, ...], arrays: Sequence[Any] = ()) -> Plan:
        """The plan of the first region for input shapes."""
        symbols = self._bound(key, arrays)
        if not self.simple:
            first = next((n for n, (_, steps) in enumerate(self.regions) if isinstance(steps, list)), None)
            if first == 0:
                return self._region_plan(0, symbols)
            region = self.binder.bind(0, [], symbols, self._external)
            return self._plan_type(self.program, region, (), symbols, {})
        with self._lock:
            if key not in self.plans:
                region = self.binder.bind(0, self.regions[0][1], symbols, self._external)  # type: ignore[arg-type]
                shapes = {i: self.binder.tensor(i, symbols).shape for i in self.program.outputs}
                self.plans[key] = self.last = self._plan_type(
                    self.program, region, self.program.inputs, symbols, shapes
                )
                _trim(self.plans)
            return self.plans[key]

    def all_plans(self) -> list[Plan]:
        """Plans made so far, of all regions in order."""
        return [*self.plans.values(), *(plan for plans in self._region_plans for plan in plans.values())]

    def planned(self) -> list[BoundRegion]:
        """The regions as planned last, in order."""
        if self.simple:
            return [self.last.region] if self.last is not None else []
        return [next(reversed(plans.values())).region for plans in self._region_plans if plans]

    def _bound(self, key: tuple[Any, ...], arrays: Sequence[Any]) -> dict[str, int]:
        """Symbols that the inputs' shapes, and values that steer, define."""
        symbols: dict[str, int] = {}
        for i, shape in zip(self.program.inputs, key, strict=False):
            value = self.program.values[i]
            if shape is not None and value.dtype != "object":
                unify(value.dims, shape, symbols, name=f"input '{value.name}'")
        if arrays:
            for position, i in self._steering:
                _steer(self.program, i, arrays[position], symbols)
        with self._lock:
            self._known[key] = symbols
            _trim(self._known)
        return symbols

    def _result(self, plan: Plan, arrays: list[Any], value: int) -> Any:
        root = self.binder.roots[value]
        if root in plan.slot:
            array = arrays[plan.slot[root]]
            return array if value == root else array.reshape(plan.shapes[value])
        if root in plan.region.filled:
            return plan.region.filled[root].copy()
        if root in self.program.constants:
            return self.program.constants[root].reshape(plan.shapes[value])
        if root in self.program.strings:
            return self.program.strings[root]
        # No step writes it, so it has no elements
        return np.empty(plan.shapes[value], numpy_dtype(self.program.values[value].dtype))

    # ------------------------------------------------------------------ several regions
    def _run_regions(self, arrays: Sequence[Any], symbols: dict[str, int]) -> list[Any]:
        """Regions, host and body calls in turn; symbols that they define are bound on the way."""
        stores = dict(zip(self.program.inputs, arrays, strict=True))
        for number, (_, steps) in enumerate(self.regions):
            if isinstance(steps, list):
                plan = self._region_plan(number, symbols)
                memory = [stores[root] for root in plan.sources]
                plan.run(memory, self._native)
                stores.update(zip(plan.made_roots, memory[len(plan.sources) :], strict=True))
                stores.update((r, a) for r, a in plan.region.filled.items() if r in self._external)
                continue
            inputs = [None if value < 0 else self._read(value, stores, symbols) for value in steps.inputs]
            results = self._call(steps, inputs)
            for value, result in zip(steps.outputs, results, strict=True):
                if value >= 0:
                    stores[value] = self._take(self.program.values[value], result, steps.op, symbols)
        return [self._read(value, stores, symbols, tidy=True) for value in self.program.outputs]

    def _call(self, step: HostCall | BodyCall, inputs: list[Any]) -> list[Any]:
        return run_host(step, inputs) if isinstance(step, HostCall) else run_body(step, self.bodies, inputs)

    @staticmethod
    def _take(made: Value, result: Any, op: str, symbols: dict[str, int]) -> Any:
        """A result of a host or body call as the value it is to be; its symbols are bound."""
        if made.dtype == "object":
            return result
        if not isinstance(result, np.ndarray):
            raise CallError(
                f"output '{made.name}' of {op} is no tensor", why=f"it is {type(result).__name__}"
            )
        if op in ("Loop", "Scan") and result.size == 0 and result.ndim == len(made.dims):
            # Of no iteration the body cannot tell the shape; the graph around it may
            result = result.reshape(_known_shape(made, result.shape, symbols))
        unify(made.dims, result.shape, symbols, name=f"output '{made.name}' of {op}")
        dtype = numpy_dtype(made.dtype)
        if result.dtype == dtype and result.flags.c_contiguous:
            return result
        return np.ascontiguousarray(result.astype(dtype, copy=False)).reshape(result.shape)

    def _region_plan(self, number: int, symbols: Mapping[str, int]) -> Plan:
        names, sources = self._needs[number]
        key = tuple([symbols.get(name) for name in names])
        plans = self._region_plans[number]
        plan = plans.get(key)
        if plan is None:
            first, steps = self.regions[number]
            with self._lock:
                region = self.binder.bind(first, steps, symbols, self._external)  # type: ignore[arg-type]
                made = {storage.value for storage in region.made}
                roots = [r for r in sources if r not in made and r not in region.filled]
                used = {root for _, root, _ in region.dynamic_words}
                sources = [root for root in roots if root in used]
                plan = self._plan_type(self.program, region, sources, {}, {})
                plans[key] = self.last = plan
                _trim(plans)
        return plan

    def _need(self, steps: Region) -> tuple[list[str], list[int]]:
        """Symbols that the shapes in a region depend on, and the root values outside the arena that it touches."""
        names: dict[str, None] = {}
        roots: dict[int, None] = {}
        for step in steps if isinstance(steps, list) else ():
            if isinstance(step, SymbolCall):
                touched: tuple[int, ...] = (step.output,)
                names.update((name, None) for dim in step.elements for name in symbols_in(dim))
            else:
                touched = step.inputs + step.outputs
            for value in touched:
                for each in _chain(self.program, value):
                    dims = each.dims if each.view is None else (*each.dims, each.view.start)
                    names.update((name, None) for dim in dims for name in symbols_in(dim))
                if value >= 0 and (root := self.binder.roots[value]) in self._external:
                    roots[root] = None
        return list(names), list(roots)

    def _read(
        self, value: int, stores: Mapping[int, Any], symbols: Mapping[str, int], *, tidy: bool = False
    ) -> Any:
        """The array of a value that lies outside the arena; row-major if ``tidy``."""
        if value in self._direct and value in stores:
            return stores[value]
        root = self.binder.roots[value]
        if root in self.program.strings:
            return self.program.strings[root]
        base = stores[root] if root in stores else self.program.constants.get(root)
        tensor = self.binder.tensor(value, symbols)
        if base is None:  # no step writes it, so it has no elements
            return np.empty(tensor.shape, numpy_dtype(tensor.dtype))
        array = np.ndarray(
            tensor.shape,
            base.dtype,
            buffer=base,
            offset=tensor.offset * base.itemsize,
            strides=[stride * base.itemsize for stride in tensor.strides],
        )
        return np.asarray(array, order="C") if tidy else array


def _known_shape(made: Value, shape: tuple[int, ...], symbols: Mapping[str, int]) -> tuple[int, ...]:
    """The shape of an empty result with the dims that are known; as it is if it would not be empty then."""
    known = tuple(
        evaluate(dim, symbols) if symbols_in(dim) <= symbols.keys() else extent
        for dim, extent in zip(made.dims, shape, strict=True)
    )
    return known if 0 in known else shape


def _steer(program: Program, value: int, array: np.ndarray, symbols: dict[str, int]) -> None:
    """Bind the names among the elements of an input that steers shapes."""
    for dim, element in zip(program.steering[value], array.reshape(-1).tolist(), strict=True):
        if isinstance(dim, str) and is_symbol(dim):
            symbols.setdefault(dim, int(element))


def _chain(program: Program, value: int) -> Iterator[Value]:
    """A value and the values it is a view of."""
    while value >= 0:
        found = program.values[value]
        yield found
        value = found.view.base if found.view is not None else -1


def _trim(plans: OrderedDict[Any, Any]) -> None:
    while len(plans) > PLANS_KEPT:
        plans.popitem(last=False)
