"""A jit step with the programs that XLA made of it: one for every shape, dtype and known value it was called with."""

from __future__ import annotations

import contextlib
import threading
from collections import Counter, OrderedDict
from collections.abc import Hashable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import jax
import numpy as np
import onnx_ir as ir

from accelc.errors import UnsupportedError
from accelc.targets.jax_xla.export import Form, stored_program
from accelc.targets.jax_xla.hoist import Split, split
from accelc.targets.jax_xla.program import Constants, JitStep, Program
from accelc.targets.jax_xla.reorder import reordered
from accelc.targets.jax_xla.table import LoweringTable
from accelc.targets.jax_xla.trace import Tracer, as_array

MAX_ENTRIES = 64
"""Compiled forms kept for one step; the one not used for the longest time goes first."""

Key = tuple[Any, ...]


@dataclass(frozen=True)
class Settings:
    """What all steps of an executable share.

    Args:
        table: The lowerings.
        device: Where it runs.
        platform: ``cpu``, ``cuda``, ``rocm`` or ``tpu``.
        precision: Of products and convolutions.
        threads: That a call takes on a CPU; None if nobody knows.
    """

    table: LoweringTable
    device: jax.Device
    platform: str
    precision: str
    threads: int | None = None


@dataclass
class Weights:
    """Constants on the device, each placed once however many steps read it."""

    constants: Constants
    device: jax.Device
    placed: dict[ir.Value, jax.Array] = field(default_factory=dict)
    prepared: dict[Hashable, jax.Array] = field(default_factory=dict)
    """What compiled functions take in place of weights (hoist.py)."""

    def on_device(self, value: ir.Value) -> jax.Array:
        """The array of a weight where it is computed with."""
        if value not in self.placed:
            self.placed[value] = jax.device_put(self.constants.array(value), self.device)
        return self.placed[value]

    def passing(self, value: ir.Value) -> jax.Array:
        """The array of a weight to work on once; it is not kept."""
        if value in self.placed:
            return self.placed[value]
        array: jax.Array = jax.device_put(self.constants.array(value), self.device)
        return array

    @property
    def nbytes(self) -> int:
        """Bytes of all weights placed, as they are or prepared."""
        return sum(array.nbytes for array in (*self.placed.values(), *self.prepared.values()))


@dataclass(frozen=True)
class Entry:
    """One compiled form: the function, its weights, what it was made for, and values known while tracing."""

    call: Any
    weights: Sequence[jax.Array]
    inputs: tuple[jax.ShapeDtypeStruct, ...]
    statics: Mapping[ir.Value, np.ndarray]
    known: Mapping[ir.Value, np.ndarray]


class StepFunction:
    """The Python function that JAX traces for a jit step; pure."""

    def __init__(
        self,
        step: JitStep,
        program: Program,
        constants: Constants,
        settings: Settings,
        statics: Mapping[ir.Value, np.ndarray],
    ) -> None:
        self.step = step
        self.program = program
        self.constants = constants
        self.settings = settings
        self.statics = dict(statics)
        self.kept = tuple(value for value in step.inputs if value not in step.donated)
        self.freed = tuple(value for value in step.inputs if value in step.donated)
        self.known: dict[ir.Value, np.ndarray] = {}

    def __call__(
        self, weights: Sequence[Any], kept: Sequence[Any], freed: Sequence[Any], key: Any = None
    ) -> list[jax.Array]:
        """Results of the step's outputs, in order."""
        step = self.step
        values: dict[ir.Value, Any] = dict(self.statics)
        values.update(zip(step.weights, weights, strict=True))
        values.update(zip(self.kept, kept, strict=True))
        values.update(zip(self.freed, freed, strict=True))
        tracer = Tracer(
            self.settings.table,
            self.program.opsets,
            self.constants,
            self.program.static,
            self.settings.platform,
            self.settings.precision,
            None if key is None else jax.random.wrap_key_data(key),
        )
        tracer.run(step.nodes, values)
        self.known = {value: values[value] for value in step.static_outputs}
        return [as_array(tracer.value(value, values)) for value in step.outputs]


class CompiledStep:
    """Calls a jit step, compiling it first where shapes or known values are new."""

    def __init__(self, step: JitStep, program: Program, weights: Weights, settings: Settings) -> None:
        self.step = step
        self.program = program
        self.weights = weights
        self.settings = settings
        self.entries: OrderedDict[Key, Entry] = OrderedDict()
        self.last: Entry | None = None
        self.exported: tuple[Form, ...] = ()
        """StableHLO from an artifact, tried before the nodes are traced."""
        self._lock = threading.Lock()

    def function(self, statics: Mapping[ir.Value, np.ndarray]) -> StepFunction:
        """What JAX traces for these known values."""
        return StepFunction(self.step, self.program, self.weights.constants, self.settings, statics)

    def run(self, values: dict[ir.Value, Any]) -> None:
        """Run once, putting outputs and known values into ``values``."""
        step = self.step
        statics = {value: np.asarray(values[value]) for value in step.statics} if step.statics else {}
        inputs = [values[value] for value in step.inputs]
        key = self.key(inputs, statics)
        entry = self.entries.get(key)
        if entry is None:
            with self._lock:
                entry = self.entries.get(key) or self._compile(key, inputs, statics)
        if entry is not self.last:
            self.last = entry
            with contextlib.suppress(KeyError):  # another thread may have dropped it just now
                self.entries.move_to_end(key)
        kept, freed = inputs, []
        if step.donated:
            kept = [values[value] for value in step.inputs if value not in step.donated]
            freed = [values[value] for value in step.inputs if value in step.donated]
        results = entry.call(entry.weights, kept, freed, *self._draw())
        values.update(zip(step.outputs, results, strict=True))
        values.update(entry.known)

    def key(self, inputs: Sequence[Any], statics: Mapping[ir.Value, np.ndarray]) -> Key:
        """What decides which compiled form is called."""
        shapes = tuple((x.shape, x.dtype) for x in inputs)
        if not statics:
            return shapes
        return shapes, tuple((x.shape, x.dtype, x.tobytes()) for x in statics.values())

    def _draw(self) -> tuple[np.ndarray, ...]:
        """A fresh random key, if the step takes one."""
        return (np.random.SeedSequence().generate_state(2),) if self.step.random else ()

    def compile_for(self, inputs: Sequence[Any], statics: Mapping[ir.Value, np.ndarray]) -> Entry:
        """Compile ahead of a call; ``inputs`` need shapes and dtypes only."""
        key = self.key(inputs, statics)
        with self._lock:
            self.last = self.entries.get(key) or self._compile(key, inputs, statics)
        return self.last

    def _compile(self, key: Key, inputs: Sequence[Any], statics: Mapping[ir.Value, np.ndarray]) -> Entry:
        specs = tuple(jax.ShapeDtypeStruct(x.shape, x.dtype) for x in inputs)
        lowered, weights, known = self._stored(specs, statics) or self._traced(specs, statics)
        try:
            call = lowered.compile()
        except jax.errors.JaxRuntimeError as error:
            raise UnsupportedError(
                "XLA cannot compile the model", why=" ".join(str(error).split())[:400]
            ) from error
        entry = self.entries[key] = Entry(call, weights, specs, dict(statics), known)
        if len(self.entries) > MAX_ENTRIES:
            self.entries.popitem(last=False)
        return entry

    def parts(
        self, inputs: Sequence[jax.ShapeDtypeStruct], statics: Mapping[ir.Value, np.ndarray]
    ) -> tuple[Split, Mapping[ir.Value, np.ndarray]]:
        """The function made from the nodes, its work on weights apart, and the values known while tracing."""
        function, weights = self.function(statics), self.step.weights
        jaxpr = jax.jit(function).trace(*self.specs(inputs)).jaxpr
        if self.settings.platform == "cpu" and all(isinstance(n, int) for x in inputs for n in x.shape):
            jaxpr = reordered(jaxpr, len(weights), one_thread=self.settings.threads == 1)
        return split(jaxpr, len(weights), weights), function.known

    def _traced(
        self, inputs: Sequence[jax.ShapeDtypeStruct], statics: Mapping[ir.Value, np.ndarray]
    ) -> tuple[Any, list[jax.Array], Mapping[ir.Value, np.ndarray]]:
        """The function made from the nodes, lowered; the weights it takes; the values known while tracing."""
        parts, known = self.parts(inputs, statics)
        others = self.specs(inputs)[1:]
        donated = donations(others[1], parts.jaxpr.out_avals)
        lowered = jax.jit(parts.main, donate_argnums=donated).lower(parts.shapes(), *others)
        values, held = self.step.weights, self.weights
        weights = parts.prepared(
            lambda i: held.on_device(values[i]),
            lambda i: np.asarray(held.constants.array(values[i])),
            lambda array: jax.device_put(array, held.device),
            held.prepared,
        )
        return lowered, weights, known

    def _stored(
        self, inputs: Sequence[jax.ShapeDtypeStruct], statics: Mapping[ir.Value, np.ndarray]
    ) -> tuple[Any, list[jax.Array], Mapping[ir.Value, np.ndarray]] | None:
        """The function that an artifact holds for these shapes and known values, lowered, and its weights."""
        for form in self.exported:
            if not _fits(form, inputs, list(statics.values())):
                continue
            exported, prepare = (
                stored_program(programs[self.settings.platform])
                for programs in (form.programs, form.prepares)
            )
            if exported is None or prepare is None:
                continue
            shapes = jax.eval_shape(prepare.call, self.specs(inputs)[0])
            others = self.specs(inputs)[1:]
            try:
                made = jax.eval_shape(exported.call, shapes, *others)
                lowered = jax.jit(exported.call, donate_argnums=donations(others[1], made)).lower(
                    shapes, *others
                )
            except ValueError:  # the sizes given break what the form was made for
                continue
            known = dict(zip(self.step.static_outputs, form.known, strict=True))
            return lowered, self._stored_weights(form, prepare), known
        return None

    def _stored_weights(self, form: Form, prepare: jax.export.Exported) -> list[jax.Array]:
        """The weights that a stored form takes, made once however many shapes it is compiled for."""
        names = [(id(form), i) for i in range(len(prepare.out_avals))]
        if not all(name in self.weights.prepared for name in names):
            made = jax.jit(prepare.call)([self.weights.passing(value) for value in self.step.weights])
            self.weights.prepared.update(zip(names, made, strict=True))
        return [self.weights.prepared[name] for name in names]

    @property
    def peak_bytes(self) -> int:
        """What XLA allocates for one call of the form used last, weights aside; 0 if it does not tell."""
        stats = self.last.call.memory_analysis() if self.last is not None else None
        if self.last is None or stats is None:
            return 0
        weights = sum(array.nbytes for array in self.last.weights)
        inputs = max(stats.argument_size_in_bytes - weights, 0)
        return int(inputs + stats.output_size_in_bytes + stats.temp_size_in_bytes - stats.alias_size_in_bytes)

    def specs(self, inputs: Sequence[Any]) -> tuple[Any, ...]:
        """Shapes and dtypes of all arguments of the step's function."""
        step = self.step
        shapes = {
            value: jax.ShapeDtypeStruct(x.shape, x.dtype)
            for value, x in zip(step.inputs, inputs, strict=True)
        }
        arrays = [np.asarray(self.weights.constants.array(value)) for value in step.weights]
        weights = [jax.ShapeDtypeStruct(x.shape, x.dtype) for x in arrays]
        kept = [shapes[value] for value in step.inputs if value not in step.donated]
        freed = [shapes[value] for value in step.inputs if value in step.donated]
        key = (jax.ShapeDtypeStruct((2,), np.uint32),) if step.random else ()
        return (weights, kept, freed, *key)


def donations(freed: Sequence[Any], results: Sequence[Any]) -> tuple[int, ...]:
    """Which argument of a step's function is given up: the freed inputs, if results take all of their places."""
    places = Counter((x.shape, x.dtype) for x in results)
    places.subtract(Counter((x.shape, x.dtype) for x in freed))
    return (2,) if freed and all(count >= 0 for count in places.values()) else ()


def _fits(form: Form, inputs: Sequence[jax.ShapeDtypeStruct], statics: Sequence[np.ndarray]) -> bool:
    """Whether a stored form is for these inputs; the sizes of symbols are checked by the form itself."""
    if len(form.takes) != len(inputs) or len(form.statics) != len(statics):
        return False
    for (dtype, dims), x in zip(form.takes, inputs, strict=True):
        if dtype != x.dtype or len(dims) != len(x.shape):
            return False
        for dim, size in zip(dims, x.shape, strict=True):
            if (isinstance(dim, int) and dim != size) or (not isinstance(dim, int) and size == 0):
                return False
    return all(
        a.dtype == b.dtype and a.shape == b.shape and a.tobytes() == b.tobytes()
        for a, b in zip(form.statics, statics, strict=True)
    )
