"""Small inputs that steer shapes: one specialised program for each of their values, behind a guard.

Axes, pads, repeats, scales and the like are attributes in all but name. Where a model takes them as inputs, a
target may have no kernel, because what it computes is not known before running. A call then tells: the inputs
become constants, the model is compiled again, and later calls with the same values use that program.
"""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import onnx_ir as ir

from accelc.errors import AccelcError, UnsupportedError
from accelc.inputs import model_inputs
from accelc.ir.shapes import dims_of, infer
from accelc.ir.walk import all_nodes, subgraphs_of
from accelc.plan.memory_map import MemoryMap
from accelc.target import Executable, MemorySummary, TensorSpec

MAX_PROGRAMS = 8
"""Programs made for one executable; further values run on the general program, if there is one."""
MAX_ELEMENTS = 64
"""A larger input is data, not a steering value."""
MAX_NODES = 1000
"""Nodes looked at on the way from an operand back to inputs."""

_REDUCTIONS = ("L1", "L2", "LogSum", "LogSumExp", "Max", "Mean", "Min", "Prod", "Sum", "SumSquare")
STEERING: Mapping[str, tuple[int, ...]] = {
    **{f"Reduce{kind}": (1,) for kind in _REDUCTIONS},
    "CenterCropPad": (1,),
    "Col2Im": (1, 2),
    "ConstantOfShape": (0,),
    "CumProd": (1,),
    "CumSum": (1,),
    "DFT": (1, 2),
    "Expand": (1,),
    "If": (0,),
    "MaxUnpool": (2,),
    "MelWeightMatrix": (0, 1, 2, 3, 4),
    "OneHot": (1,),
    "Pad": (1, 3),
    "Range": (0, 1, 2),
    "Reshape": (1,),
    "Resize": (1, 2, 3),
    "STFT": (1, 3),
    "Slice": (1, 2, 3, 4),
    "Split": (1,),
    "Squeeze": (1,),
    "Tile": (1,),
    "TopK": (1,),
    "Trilu": (1,),
    "Unsqueeze": (1,),
}
"""Operands that say how, not what, to compute, by op."""


def steering_inputs(model: ir.Model) -> tuple[str, ...]:
    """Names of small inputs (rank 0 or 1) from which steering operands are computed, in the model's order."""
    found: set[ir.Value] = set()
    seen: set[ir.Value] = set()
    inputs = set(model_inputs(model))
    work = [
        value
        for node in all_nodes(model.graph)
        if node.domain == ""
        for place in STEERING.get(node.op_type, ())
        if place < len(node.inputs) and (value := node.inputs[place]) is not None
    ]
    budget = MAX_NODES
    while work and budget:
        value = work.pop()
        if value in seen:
            continue
        seen.add(value)
        if value in inputs and _is_small(value):
            found.add(value)
        producer = value.producer()
        if producer is not None and producer.op_type not in ("Shape", "Size"):
            budget -= 1
            work.extend(operand for operand in producer.inputs if operand is not None)
            work.extend(value for graph in subgraphs_of(producer) for value in graph.outputs)
    return tuple(str(value.name) for value in model.graph.inputs if value in found)


def _is_small(value: ir.Value) -> bool:
    dims = dims_of(value)
    if dims is None or len(dims) > 1 or value.dtype is None or value.dtype == ir.DataType.STRING:
        return False
    return not dims or not isinstance(dims[0], int) or dims[0] <= MAX_ELEMENTS


def with_constants(model: ir.Model, values: Mapping[str, np.ndarray]) -> ir.Model:
    """A copy of ``model`` in which these inputs are constants; shapes are inferred anew."""
    from accelc.frontend.finish import forget_invented_dims  # only a compile needs the frontend

    copy = model.clone()
    for value in [value for value in copy.graph.inputs if str(value.name) in values]:
        copy.graph.inputs.remove(value)
        value.const_value = ir.tensor(values[str(value.name)], name=value.name)
        value.shape = ir.Shape(values[str(value.name)].shape)
        copy.graph.register_initializer(value)
    forget_invented_dims(copy)
    infer(copy)
    return copy


class SpecialisingExecutable(Executable):
    """An executable that compiles the model again for each set of steering values.

    Args:
        model: The imported model.
        names: Its steering inputs.
        build: Compiles a model.
        general: The program for any values; None if the target has none.
        refusal: Why there is none.
        target_name: As of the programs.
    """

    def __init__(
        self,
        model: ir.Model,
        names: Sequence[str],
        build: Callable[[ir.Model], Executable],
        general: Executable | None,
        refusal: AccelcError | None,
        target_name: str,
    ) -> None:
        self._source = model
        self._names = tuple(names)
        self._build = build
        self._general = general
        self._refusal = refusal
        self._programs: OrderedDict[tuple[Any, ...], Executable] = OrderedDict()
        self._last = general
        self._useless = False
        self._lock = threading.Lock()
        self.target_name = target_name
        self.inputs = tuple(_spec(value) for value in model_inputs(model))
        self.outputs = tuple(_spec(value) for value in model.graph.outputs)
        self.summary: Mapping[str, Any] = general.summary if general is not None else {}
        if general is not None:
            self.tolerance = general.tolerance
            self.model = general.model

    @property
    def fallbacks(self) -> tuple[str, ...]:  # type: ignore[override]
        """Ops of the program that ran last that have no kernel."""
        return self._last.fallbacks if self._last is not None else ()

    def run(self, output_names: Sequence[str] | None, feeds: Mapping[str, Any]) -> list[np.ndarray]:
        """Run once, compiling first if these steering values are new; see Executable.run."""
        program, feeds = self._ready(feeds)
        return program.run(output_names, feeds)

    def run_exactly(self, feeds: Mapping[str, Any]) -> list[np.ndarray]:
        """Run once as verification does; see Executable.run_exactly."""
        program, feeds = self._ready(feeds)
        return program.run_exactly(feeds)

    def call_facts(self) -> dict[str, Any]:
        """What the program that ran last tells; see Executable.call_facts."""
        return self._last.call_facts() if self._last is not None else {}

    def _ready(self, feeds: Mapping[str, Any]) -> tuple[Executable, Mapping[str, Any]]:
        """The program for these steering values, and what it takes."""
        program = self._program(feeds)
        self._last = program
        if program is not self._general:
            feeds = {name: feed for name, feed in feeds.items() if name not in self._names}
        return program, feeds

    def _program(self, feeds: Mapping[str, Any]) -> Executable:
        values = self._values(feeds)
        if values is None or self._useless:
            return self._any_values()
        key = tuple((array.shape, array.tobytes()) for array in values.values())
        with self._lock:
            if key in self._programs:
                return self._programs[key]
            if len(self._programs) >= MAX_PROGRAMS:
                if self._general is not None:
                    return self._general
                self._programs.popitem(last=False)
            try:
                program = self._build(with_constants(self._source, values))
            except AccelcError:
                if self._general is None:
                    raise
                self._useless = True
                return self._general
            if self._general is not None and len(program.fallbacks) >= len(self._general.fallbacks):
                self._useless = True  # what has no kernel has none for known values either
                return self._general
            self._programs[key] = program
            self.tolerance = max(self.tolerance, program.tolerance)
            self.model = self.model or program.model
            return program

    def _values(self, feeds: Mapping[str, Any]) -> dict[str, np.ndarray] | None:
        """The steering inputs of a call; None if one is missing, large, or not what the model declares."""
        specs = {spec.name: spec for spec in self.inputs}
        values = {}
        for name in self._names:
            given, spec = feeds.get(name), specs[name]
            array = np.asarray(given)
            rank = len(spec.shape) if spec.shape is not None else array.ndim
            if given is None or array.dtype != spec.dtype or array.ndim != rank or array.size > MAX_ELEMENTS:
                return None
            values[name] = np.ascontiguousarray(array).reshape(array.shape)
        return values

    def _any_values(self) -> Executable:
        if self._general is None:
            assert self._refusal is not None  # one of the two is there
            raise self._refusal
        return self._general

    @property
    def memory_plan(self) -> MemorySummary:
        """Memory of the program that ran last."""
        return self._last.memory_plan if self._last is not None else MemorySummary(0, 0, 0)

    def memory_map(self) -> MemoryMap | None:
        """The plan of the program that ran last."""
        return self._last.memory_map() if self._last is not None else None

    def payload(self, folder: Path) -> dict[str, Any]:
        """The general program, which runs any values.

        Raises:
            UnsupportedError: There is none.
        """
        if self._general is None:
            raise UnsupportedError(
                "the compiled model cannot be saved",
                where=[f"input {name}" for name in self._names],
                why="without the values of these inputs there is no program",
                fix="make them constants of the model",
            ) from self._refusal
        return self._general.payload(folder)


def _spec(value: ir.Value) -> TensorSpec:
    dtype = value.dtype.numpy() if value.dtype is not None else np.dtype(object)
    return TensorSpec(str(value.name), dtype, dims_of(value))
