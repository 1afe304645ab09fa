"""The executable: NumPy in, XLA's programs in between, NumPy out."""

from __future__ import annotations

import threading
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import jax
import numpy as np
import onnx_ir as ir

from accelc.errors import FallbackError, LoweringError, UnsupportedError
from accelc.feeds import checked_feeds, selected
from accelc.inputs import model_inputs
from accelc.ir.shapes import dims_of
from accelc.target import Executable, MemorySummary, StepTime, TensorSpec
from accelc.targets.jax_xla.analysis import is_host_value
from accelc.targets.jax_xla.compiled_step import CompiledStep, Settings, Weights
from accelc.targets.jax_xla.partition import Partitioner, fallbacks, name_of
from accelc.targets.jax_xla.program import BodyStep, Constants, HostStep, JitStep, Program
from accelc.targets.jax_xla.program_run import HostFailure, ProgramRunner, on_host
from accelc.targets.jax_xla.runtime import threads_text
from accelc.targets.jax_xla.trace import RefusedNode

TOLERANCES = {"f32": 2e-5, "tf32": 4 * 2.0**-10, "f16": 4 * 2.0**-10, "bf16": 4 * 2.0**-7}
"""Error allowed to each precision, as a share of max|output|: a few of its rounding steps."""
MOST_NOTES = 5
"""Host steps that the summary names; all are in its facts."""
LARGE_RESULT = 1 << 18
"""Bytes from which on a result is handed over instead of copied."""
MOST_REFUSALS = 200
"""Nodes found not to be compilable one after the other; past this many the model is refused."""


@dataclass(frozen=True)
class _Plan:
    """A program, and what is said of it."""

    runner: ProgramRunner
    refused: dict[ir.Node, str]
    fallbacks: tuple[str, ...]
    facts: dict[str, Any]


class XlaExecutable(Executable):
    """A program of jitted functions. Safe to call from several threads at once.

    Args:
        model: The optimised graph, fused functions inlined.
        settings: Device, precision, lowerings.
        target_name: ``xla``, ``gpu`` or ``tpu``.
        strict: Refuse to run an op on the reference.
        refused: Nodes known not to be compilable, with the reason.
        ahead: Compile now what can be.
        threads: Threads of one call, as asked for.

    Raises:
        LoweringError: A node can neither be compiled nor run on the host.
        FallbackError: ``strict``, and an op has no lowering.
    """

    def __init__(
        self,
        model: ir.Model,
        settings: Settings,
        *,
        target_name: str,
        strict: bool,
        refused: Mapping[ir.Node, str] | None = None,
        ahead: bool = True,
        threads: int = 1,
    ) -> None:
        self.plain = model
        self.settings = settings
        self.target_name = target_name
        self.strict = strict
        self.threads = threads
        self.tolerance = TOLERANCES[settings.precision]
        self.given = model_inputs(model)
        self.inputs = tuple(_spec(value) for value in self.given)
        self.outputs = tuple(_spec(value) for value in model.graph.outputs)
        self._optional = frozenset(
            str(value.name) for value in self.given if isinstance(value.type, ir.OptionalType)
        )
        self.weights = Weights(Constants(), settings.device)
        self._lock = threading.RLock()
        self._adopt(self._plan(dict(refused or {})))
        if ahead:
            with jax.enable_x64(True), jax.default_device(settings.device):
                self.compile_ahead()

    @property
    def symbolic_inputs(self) -> tuple[ir.Value, ...]:
        """Inputs with free dims."""
        return tuple(v for v in self.given if not is_host_value(v) and _static_spec(v) is None)

    # ------------------------------------------------------------------ planning
    def _plan(self, refused: dict[ir.Node, str]) -> _Plan:
        """The program with ``refused`` nodes on the host."""
        partitioner = Partitioner(
            self.settings.table, self.plain.opset_imports, refused, self.weights.constants
        )
        program = partitioner.program(self.plain.graph, self.given)
        if partitioner.impossible:
            raise LoweringError(
                f"target '{self.target_name}' cannot lower {len(partitioner.impossible)} node(s)",
                where=[f"node {name_of(node)}" for node, _ in partitioner.impossible[:20]],
                why="; ".join(sorted({reason for _, reason in partitioner.impossible})),
            )
        listed = [f"{name_of(node)}: {reason}" for node, reason in fallbacks(program)]
        if self.strict and listed:
            raise FallbackError(
                f"{len(listed)} node(s) have no lowering on target '{self.target_name}'",
                where=[f"node {line}" for line in listed[:20]],
                fix="compile without --strict to run them on the reference",
            )
        runner = ProgramRunner(program, self.weights, self.settings)
        return _Plan(runner, refused, tuple(listed), _facts(program, self.settings, self.threads))

    def _adopt(self, plan: _Plan) -> None:
        """Run by another plan from now on; the summary, if there is one already, says so."""
        self.plan = plan
        self.fallbacks = plan.fallbacks
        told = dict(self.summary) if "target_facts" in getattr(self, "summary", {}) else None
        news = {"target_facts": plan.facts, "fallbacks": list(plan.fallbacks)}
        self.summary = plan.facts if told is None else {**told, **news}

    @property
    def runner(self) -> ProgramRunner:
        """What runs the program."""
        return self.plan.runner

    @property
    def refused(self) -> Mapping[ir.Node, str]:
        """Nodes that turned out not to be compilable, with the reason."""
        return self.plan.refused

    def compile_ahead(self) -> None:
        """Compile the first step now if the shapes of the inputs are known, which finds what XLA cannot hold."""
        while True:
            first = self.runner.runners[0] if self.runner.runners else None
            if not isinstance(first, CompiledStep) or first.step.statics:
                return
            specs = [_static_spec(value) for value in first.step.inputs]
            if any(spec is None for spec in specs):
                return
            try:
                first.compile_for(specs, {})
                return
            except RefusedNode as refusal:
                self._refuse(refusal)

    def _refuse(self, refusal: RefusedNode) -> None:
        """Plan again with a node on the host."""
        with self._lock:
            if refusal.node in self.refused or len(self.refused) >= MOST_REFUSALS:
                raise LoweringError(
                    f"target '{self.target_name}' cannot compile the model",
                    where=f"node {name_of(refusal.node)}",
                    why=refusal.why,
                ) from refusal
            refused = {**self.refused, refusal.node: refusal.why}
            self._adopt(self._plan(refused))

    # ------------------------------------------------------------------ calling
    def run(self, output_names: Sequence[str] | None, feeds: Mapping[str, Any]) -> list[np.ndarray]:
        """Run once; a call with new shapes compiles first. See Executable.run."""
        given = checked_feeds(self.inputs, feeds, self._optional)
        results = _results(self._run(given))
        return results if output_names is None else selected(self.outputs, results, output_names)

    def _run(self, given: Sequence[Any]) -> list[Any]:
        before = self.plan
        with jax.enable_x64(True), jax.default_device(self.settings.device):
            while True:
                try:
                    return self.runner.run(given)
                except RefusedNode as refusal:
                    self._refuse(refusal)
                except HostFailure as failure:
                    why = self.refused.get(failure.node)
                    if why is None or failure.node in before.refused:
                        raise failure.error from failure
                    with self._lock:  # these inputs are at fault, not the lowering
                        self._adopt(before)
                    raise UnsupportedError(
                        "the model cannot be computed on these inputs",
                        where=f"node {name_of(failure.node)}",
                        why=why,
                    ) from failure
                except jax.errors.JaxRuntimeError as error:
                    raise UnsupportedError(
                        "XLA failed on these inputs", why=" ".join(str(error).split())[:400]
                    ) from error

    def step_times(self, feeds: Mapping[str, Any], rounds: int = 5) -> list[StepTime]:
        """Steps in order; see Executable.step_times."""
        from accelc.targets.jax_xla.step_times import step_times

        given = checked_feeds(self.inputs, feeds, self._optional)
        self._run(given)
        with jax.enable_x64(True), jax.default_device(self.settings.device):
            return step_times(self.runner, given, rounds)

    # ------------------------------------------------------------------ memory, artifact
    @property
    def device_peak_bytes(self) -> int | None:
        """Most bytes in use so far on the device; None on the CPU, which does not tell."""
        stats = self.settings.device.memory_stats()
        return int(stats["peak_bytes_in_use"]) if stats and "peak_bytes_in_use" in stats else None

    @property
    def memory_plan(self) -> MemorySummary:
        """What XLA allocates for the step that takes most, of those compiled last; weights beside it."""
        peak = max((step.peak_bytes for step in self.runner.compiled_steps()), default=0)
        return MemorySummary(peak, 0, self.weights.nbytes)

    def payload(self, folder: Path) -> dict[str, Any]:
        """StableHLO of every jit step for every platform; see Executable.payload."""
        from accelc.targets.jax_xla.saved import write

        with jax.enable_x64(True), jax.default_device(self.settings.device):
            return write(self, folder)


class _Handed:
    """Memory of a result, which is the caller's from now on: to write to, and to free."""

    def __init__(self, array: np.ndarray) -> None:
        self.array = array
        self.__array_interface__ = {**array.__array_interface__, "data": (array.ctypes.data, False)}


def _results(values: Sequence[Any]) -> list[Any]:
    """Results of their own for the caller: they can be written to, and alias nothing.

    XLA makes every result in memory of its own, which nobody reads again: a large one is handed over, where a copy
    would take 3% of GPT-2's call.
    """
    handed: set[int] = set()
    results: list[Any] = []
    for value in values:
        found = on_host(value)
        if isinstance(found, np.ndarray) and found.dtype != object:
            large = found.nbytes >= LARGE_RESULT and found.dtype.kind in "biufc"
            ours = isinstance(value, jax.Array) and id(value) not in handed
            handed.add(id(value))
            found = np.asarray(_Handed(found)) if large and ours else found.copy()
        results.append(found)
    return results


def _spec(value: ir.Value) -> TensorSpec:
    plain = value.dtype is not None and not is_host_value(value)
    dtype = value.dtype.numpy() if plain and value.dtype is not None else np.dtype(object)
    return TensorSpec(str(value.name), dtype, dims_of(value) if plain or _is_text(value) else None)


def _is_text(value: ir.Value) -> bool:
    return value.dtype == ir.DataType.STRING and isinstance(value.type, ir.TensorType | None)


def _static_spec(value: ir.Value) -> jax.ShapeDtypeStruct | None:
    """Shape and dtype of a value if they are known before running."""
    dims = dims_of(value)
    if value.dtype is None or dims is None or is_host_value(value):
        return None
    shape = tuple(dim for dim in dims if isinstance(dim, int))
    return jax.ShapeDtypeStruct(shape, value.dtype.numpy()) if len(shape) == len(dims) else None


def _facts(program: Program, settings: Settings, threads: int) -> dict[str, Any]:
    """What the summary says of a program."""
    steps = [step for each in program.programs() for step in each.steps]
    functions = [step for step in steps if isinstance(step, JitStep)]
    hosted = [
        f"{name_of(step.node)}: {step.reason}" for step in steps if isinstance(step, HostStep | BodyStep)
    ]
    notes = [f"on the host between compiled functions: {line}" for line in hosted[:MOST_NOTES]]
    if len(hosted) > MOST_NOTES:
        notes.append(f"and {len(hosted) - MOST_NOTES} more on the host")
    if any(_static_spec(value) is None for value in program.inputs if not is_host_value(value)):
        notes.append("each new input shape is compiled on its first call")
    count = threads_text(threads) if settings.platform == "cpu" else ""
    if count and count != str(threads):
        notes.append(f"threads: {count}")
    return {
        "kernels": len(functions),
        "detail": str(settings.device),
        "platform": settings.platform,
        **({"threads": count} if count else {}),
        "compiled functions": len(functions),
        "nodes compiled": sum(len(step.nodes) for step in functions),
        "host steps": hosted,
        "notes": notes,
    }
