"""The executable: NumPy in, circuits and host steps in between, NumPy out."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import onnx_ir as ir

from accelc.errors import UsageError
from accelc.feeds import checked_feeds, selected
from accelc.inputs import model_inputs
from accelc.ir.cost import weight_bytes
from accelc.ir.editor import origin_of
from accelc.ir.reading import describe
from accelc.ir.shapes import dims_of
from accelc.target import Executable, MemorySummary, StepTime, TensorSpec
from accelc.targets.quantum_circuit.host import declared
from accelc.targets.quantum_circuit.product import CONFIDENCE, Product
from accelc.targets.quantum_circuit.program import Program, SegmentReading
from accelc.targets.quantum_circuit.readout import MOST_INPUTS, Readout, Shots, Statevector
from accelc.targets.quantum_circuit.segments import MOVE, REFERENCE, Segment

MOST_NOTES = 6
"""Circuits and host steps that the summary shows; all are in its facts."""
_ROUNDING = 2e-5
_ERROR_GROWTH = 10.0
"""How much larger than the circuits' own errors those of the outputs may be before verification complains."""


@dataclass(frozen=True)
class Settings:
    """How results are read, and what circuits were asked for.

    Args:
        shots: Measurements per input; 0 reads the state.
        seed: Of measurements, and of the search for circuits.
        encoding_error: Relative error allowed to each circuit's matrix.
        encoding_seconds: Time allowed to the search for each segment's circuits.
    """

    shots: int = 0
    seed: int = 0
    encoding_error: float = 1e-9
    encoding_seconds: float = 30.0

    @property
    def readout(self) -> Readout:
        """What reads results."""
        return Shots(self.shots) if self.shots else Statevector()


class QuantumExecutable(Executable):
    """A hybrid program, simulated. Safe to call from several threads at once.

    ``readings`` tells of the last call: for each segment, inputs in superposition, probability of success,
    entanglement, and with shots the 95% interval.

    Args:
        model: The optimised graph, fused functions inlined.
        program: The program.
        settings: How results are read.
    """

    target_name = "quantum"

    def __init__(self, model: ir.Model, program: Program, settings: Settings) -> None:
        self.plain = model
        self.program = program
        self.settings = settings
        self.inputs = tuple(_spec(value) for value in model_inputs(model))
        self.outputs = tuple(_spec(value) for value in model.graph.outputs)
        self._optional = frozenset(
            str(value.name) for value in model_inputs(model) if isinstance(value.type, ir.OptionalType)
        )
        self.readings: tuple[SegmentReading, ...] = ()
        self.fallbacks = tuple(
            f"{describe(step.node)}: {step.reason}"
            for step in program.cut.steps
            if not isinstance(step, Segment) and step.kind == REFERENCE
        )
        allowed = sum(product.error for _, product in self.circuits())
        self.tolerance = max(_ROUNDING, _ERROR_GROWTH * allowed)
        self.summary = _facts(self)

    def circuits(self) -> list[tuple[Segment, Product]]:
        """All circuits in order, each with its segment."""
        pairs = zip(self.program.cut.segments, self.program.products, strict=True)
        return [(segment, product) for segment, products in pairs for product in products]

    def run(self, output_names: Sequence[str] | None, feeds: Mapping[str, Any]) -> list[np.ndarray]:
        """Run once, read out as compiled; see Executable.run."""
        results = self._run(feeds, self.settings.readout)
        return results if output_names is None else selected(self.outputs, results, output_names)

    def run_exactly(self, feeds: Mapping[str, Any]) -> list[np.ndarray]:
        """Run once, reading the state; see Executable.run_exactly."""
        return self._run(feeds, Statevector())

    def run_measured(self, feeds: Mapping[str, Any], *, shots: int, seed: int = 0) -> list[np.ndarray]:
        """Run once with other shots than compiled for; ``readings`` tells of it.

        Raises:
            UsageError: ``shots`` is less than 1.
        """
        if shots < 1:
            raise UsageError(f"shots={shots} makes no sense", why="it is at least 1")
        return self._run(feeds, Shots(shots), seed)

    def intervals(
        self, feeds: Mapping[str, Any], *, shots: int, runs: int = 16, seed: int = 0
    ) -> list[tuple[np.ndarray, np.ndarray]]:
        """For each output, the mean of several runs, and the half width of one run's 95% interval, element by element.

        The widths are those that the runs show, so what measurements do to later layers is in them; the intervals in
        ``readings`` are of each segment alone. Outputs of integers come as float64.

        Raises:
            UsageError: ``shots`` is less than 1, or ``runs`` less than 2.
        """
        if runs < 2:
            raise UsageError(f"runs={runs} makes no sense", why="a spread needs at least 2")
        found = [self.run_measured(feeds, shots=shots, seed=seed + run) for run in range(runs)]
        samples = [np.stack([np.asarray(x, np.float64) for x in each]) for each in zip(*found, strict=True)]
        return [(each.mean(axis=0), CONFIDENCE * each.std(axis=0, ddof=1)) for each in samples]

    def _run(
        self,
        feeds: Mapping[str, Any],
        readout: Readout,
        seed: int | None = None,
        times: dict[int, float] | None = None,
    ) -> list[np.ndarray]:
        given = checked_feeds(self.inputs, feeds, self._optional)
        drawn = self.settings.seed if seed is None else seed
        results, readings = self.program.run(given, readout, drawn, times)
        self.readings = tuple(readings)
        pairs = zip(results, self.program.outputs, strict=True)
        return [_owned(declared(result, value.dtype), given) for result, value in pairs]

    def call_facts(self) -> dict[str, Any]:
        """How each circuit went in the last call; see Executable.call_facts."""
        readings = [
            {"segment": each.segment, "note": each.note, "circuits": [asdict(one) for one in each.readings]}
            for each in self.readings
        ]
        notes = [line for each in self.readings for line in _reading_lines(each)]
        return {"segments": readings, "notes": notes} if readings else {}

    def step_times(self, feeds: Mapping[str, Any], rounds: int = 5) -> list[StepTime]:
        """Steps in order, each with the median of its times; see Executable.step_times."""
        found: list[dict[int, float]] = []
        for _ in range(rounds):
            found.append({})
            self._run(feeds, self.settings.readout, times=found[-1])
        products = iter(self.program.products)
        steps = []
        for index, step in enumerate(self.program.cut.steps):
            ms = float(np.median([times[index] for times in found])) if found else None
            if isinstance(step, Segment):
                nodes, facts = step.map.nodes, _circuit_facts(step, next(products)[0])
                kernel = f"circuit {facts['method']}"
            else:
                nodes, facts, kernel = (step.node,), {"reason": step.reason}, f"host {step.node.op_type}"
            origin = tuple(dict.fromkeys(name for node in nodes for name in origin_of(node)))
            steps.append(StepTime(kernel, origin, ms, facts))
        return steps

    @property
    def memory_plan(self) -> MemorySummary:
        """The amplitudes kept of all circuits; a quantum computer needs none."""
        kept = sum(product.amplitudes.nbytes for _, product in self.circuits())
        return MemorySummary(kept, 0, weight_bytes(self.plain))

    def payload(self, folder: Path) -> dict[str, Any]:
        """Circuits as OpenQASM 3, and what is needed to read them back; see Executable.payload."""
        from accelc.targets.quantum_circuit.saved import write

        return write(self, folder)


def _owned(result: Any, given: Sequence[Any]) -> Any:
    """A result of its own for the caller, never one of the arrays given."""
    is_given = isinstance(result, np.ndarray) and any(np.shares_memory(result, x) for x in _arrays(given))
    return np.array(result) if is_given else result


def _arrays(given: Sequence[Any]) -> list[np.ndarray]:
    return [x for x in given if isinstance(x, np.ndarray) and x.dtype != object]


def _spec(value: ir.Value) -> TensorSpec:
    is_tensor = isinstance(value.type, ir.TensorType | None)
    plain = is_tensor and value.dtype not in (None, ir.DataType.STRING)
    dtype = value.dtype.numpy() if plain and value.dtype is not None else np.dtype(object)
    return TensorSpec(str(value.name), dtype, dims_of(value) if is_tensor else None)


def _circuit_facts(segment: Segment, product: Product) -> dict[str, Any]:
    ops = [node.op_type for node in segment.map.nodes]
    return {"segment": segment.name, "ops": ops, **product.facts()}


def _facts(exe: QuantumExecutable) -> dict[str, Any]:
    """What the summary says of a program."""
    circuits = [_circuit_facts(segment, product) for segment, product in exe.circuits()]
    hosted = [step for step in exe.program.cut.steps if not isinstance(step, Segment)]
    on_host = [f"{describe(step.node)}: {step.reason}" for step in hosted if step.kind != MOVE]
    notes = [_line(facts) for facts in circuits[:MOST_NOTES]]
    if len(circuits) > MOST_NOTES:
        notes.append(f"and {len(circuits) - MOST_NOTES} more circuits")
    notes += [f"on the host: {line}" for line in on_host[:MOST_NOTES]]
    if len(on_host) > MOST_NOTES:
        notes.append(f"and {len(on_host) - MOST_NOTES} more on the host")
    if circuits:
        notes.append("simulated; loading the inputs into amplitudes is not counted")
    read = f"{exe.settings.shots} shots per input" if exe.settings.shots else "statevector"
    return {
        "kernels": len(circuits),
        "detail": read,
        "qubits": max((facts["qubits"] for facts in circuits), default=0),
        "index_qubits_at_most": MOST_INPUTS.bit_length() - 1 + bool(exe.settings.shots),
        "circuits": circuits,
        "host steps": on_host,
        "moves": len(hosted) - len(on_host),
        "notes": notes,
    }


def _line(facts: Mapping[str, Any]) -> str:
    rows, columns = facts["shape"]
    shots = facts["shots_for_1_percent"]
    error = f", error {facts['error']:.1e}" if facts["error"] > 1e-7 else ""
    bias = "" if facts["bias"] == "none" else f", bias on the {facts['bias']}".replace("on the c", "in the c")
    return (
        f"{facts['segment']}: {rows}x{columns} {facts['method']}, {facts['qubits']} qubits, {facts['cx']} CX, "
        f"depth {facts['depth']}, {_round(facts['t'])} T{bias}\n"
        f"  alpha {facts['alpha_ratio']:.3g} of the norm{error}, success {facts['success_probability']:.2g}, "
        f"entanglement {facts['entanglement_bits']:.2f} bits, {_round(shots)} shots for 1%"
    )


def _reading_lines(reading: SegmentReading) -> list[str]:
    """A line for each circuit of a segment, or why there was none."""
    if reading.note:
        return [f"{reading.segment}: {reading.note}"]
    lines = []
    for one in reading.readings:
        entangled = (
            "" if math.isnan(one.entanglement_bits) else f", entanglement {one.entanglement_bits:.2f} bits"
        )
        drawn = f", {one.shots:,} shots, 95% within {one.half_width:.2g} (largest output {one.largest:.3g})"
        lines.append(
            f"{reading.segment}: {one.inputs} inputs side by side, {one.index_qubits} more qubits for them, "
            f"success {one.success:.2g}{entangled}{drawn if one.shots else ', read from the state'}"
        )
    return lines


def _round(count: float) -> str:
    """A count to two digits."""
    if not math.isfinite(count) or count < 100:
        return str(count)
    digits = 10 ** (int(math.log10(count)) - 1)
    return f"{round(count / digits) * digits:,}"
