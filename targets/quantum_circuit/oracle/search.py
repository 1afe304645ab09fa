"""From a model and a property to a checked oracle and its search."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import onnx_ir as ir

from accelc.errors import LimitError, NumericsError, UnsupportedError, UsageError
from accelc.reference import Oracle as Reference
from accelc.targets.quantum_circuit.circuit import Circuit
from accelc.targets.quantum_circuit.oracle.grover import Plan, plan_search, search_circuit, simulate
from accelc.targets.quantum_circuit.oracle.lower import InputBits, input_bits, input_signals, lower
from accelc.targets.quantum_circuit.oracle.network import Linear, Network
from accelc.targets.quantum_circuit.oracle.properties import Property
from accelc.targets.quantum_circuit.oracle.simulate import MAX_INPUTS
from accelc.targets.quantum_circuit.oracle.synthesize import Oracle, synthesize
from accelc.targets.quantum_circuit.resources import resources

Runner = Callable[[Mapping[str, np.ndarray]], list[np.ndarray]]
"""Outputs of a model for its inputs by name."""
MAX_GATES = 5_000_000
"""A search of more gates is planned and simulated, but its circuit is not written out."""


@dataclass(frozen=True)
class ModelOracle:
    """A model's outputs as a reversible circuit.

    Args:
        oracle: The circuit; one output qubit per bit that the outputs depend on.
        inputs: How the model's inputs are made of the first qubits.
        outputs: Every element of the outputs as a Linear whose signals are the oracle's outputs, by position.
    """

    oracle: Oracle
    inputs: tuple[InputBits, ...]
    outputs: tuple[Linear, ...]

    def values(self) -> np.ndarray:
        """Outputs float64 [2**inputs, elements] of all inputs, by running the circuit bit-parallel."""
        bits = self.oracle.values()
        out = np.empty((1 << self.oracle.inputs, len(self.outputs)))
        for i, element in enumerate(self.outputs):
            out[:, i] = element.constant
            for place, coefficient in element.terms.items():
                out[:, i] += coefficient * bits[place]
        return out


def build_oracle(model: ir.Model, *, signs: bool = True, few_qubits: bool = False) -> ModelOracle:
    """A model of fixed shapes as a reversible circuit with clean ancillas.

    Args:
        model: An imported model.
        signs: Whether a bit of a float or signed input means -1 and 1, rather than 0 and 1.
        few_qubits: Fewer ancillas for about twice the Toffoli gates.

    Raises:
        UnsupportedError: An op without an exact form over bits.
    """
    inputs = input_bits(model, signs=signs)
    network = Network(_bit_count(inputs))
    tensors = lower(model, inputs, input_signals(network.inputs), network)
    elements = [Linear.of(x) for tensor in tensors for x in tensor.ravel()]
    wanted = sorted({signal for element in elements for signal in element.terms})
    place = {signal: i for i, signal in enumerate(wanted)}
    outputs = tuple(Linear(e.constant, {place[s]: c for s, c in e.terms.items()}) for e in elements)
    return ModelOracle(synthesize(network, wanted, few_qubits=few_qubits), inputs, outputs)


def _bit_count(inputs: tuple[InputBits, ...]) -> int:
    count = sum(made.size for made in inputs)
    if count == 0:
        raise UnsupportedError("the model has no inputs to search")
    if count > MAX_INPUTS:
        raise LimitError(f"the model has {count} input bits", why=f"at most {MAX_INPUTS} are searched here")
    return count


def check_oracle(
    built: ModelOracle, model: ir.Model, *, batched: ir.Model | None = None, most: int = 1 << 16
) -> tuple[np.ndarray, int]:
    """Compare the circuit with the reference: on all inputs, or ``most`` evenly spread ones if there are more.

    Args:
        built: The circuit.
        model: The model it was built from.
        batched: The same model with a free first dim wherever ``model`` has 1: many inputs go through it at once,
            and only those on which it differs through ``model``.
        most: Most inputs to compare.

    Returns:
        The circuit's outputs [2**inputs, elements] for all inputs, and how many inputs were compared.

    Raises:
        NumericsError: A value differs, an input changed or an ancilla was left: a bug in accelc.
    """
    values = built.values()
    numbers = np.unique(np.linspace(0, len(values) - 1, min(most, len(values)), dtype=np.int64))
    left = numbers
    if batched is not None:
        together = _reference_rows(reference_for(batched)[1], built, numbers)
        if together.shape == (len(numbers), values.shape[1]):
            left = numbers[(together != values[numbers]).any(axis=1)]
    name, reference = reference_for(model)
    for number in left:
        expected = _reference_rows(reference, built, np.array([number])).ravel()
        if not np.array_equal(expected, values[number]):
            bits = number >> np.arange(built.oracle.inputs) & 1
            raise NumericsError(
                f"the oracle differs from {name}",
                where="input bits " + "".join(map(str, bits)),
                why=f"expected {expected.tolist()}, found {values[number].tolist()}",
            )
    return values, len(numbers)


def reference_for(model: ir.Model) -> tuple[str, Runner]:
    """What runs the model: onnxruntime, or onnx.reference where that lacks a kernel (Where on bool)."""
    try:
        return "onnxruntime", Reference(model).run
    except UnsupportedError:
        from onnx.reference import ReferenceEvaluator

        evaluator = ReferenceEvaluator(ir.to_proto(model))
        return "onnx.reference", lambda feeds: list(evaluator.run(None, dict(feeds)))


def _reference_rows(run: Runner, built: ModelOracle, numbers: np.ndarray) -> np.ndarray:
    """Outputs float64 [numbers, elements] of the model for the assignments ``numbers``, stacked on axis 0."""
    bits = (numbers[:, None] >> np.arange(built.oracle.inputs) & 1).astype(bool)
    feeds = {made.name: made.decode(bits) for made in built.inputs}
    results = [np.asarray(result, np.float64) for result in run(feeds)]
    if any(result.size % len(numbers) for result in results):
        return np.empty((0, 0))  # not one row per input
    return np.concatenate([result.reshape(len(numbers), -1) for result in results], axis=1)


@dataclass(frozen=True)
class Search:
    """The outcome of looking for inputs with a property.

    Args:
        oracle: The circuit of the property; None where no input, or every one, has it.
        bits: Bits of the search; the model's inputs come first.
        marked: Where the property holds, bool [2**bits].
        plan: Rounds and probability of success; None where no input has the property.
        probabilities: Of measuring each assignment, float64 [2**bits]; None with ``plan``.
    """

    oracle: Oracle | None
    bits: int
    marked: np.ndarray
    plan: Plan | None
    probabilities: np.ndarray | None

    def circuit(self) -> Circuit | None:
        """The whole search; None where nothing needs to be searched, or it has more than ``MAX_GATES`` gates."""
        if self.oracle is None or self.plan is None:
            return None
        if (self.plan.iterations or 1) * 2 * len(self.oracle.forward) > MAX_GATES:
            return None
        return search_circuit(self.oracle, self.plan)

    def to_json(self) -> dict[str, Any]:
        """Counts, rounds, probability and resources as plain values."""
        circuit = self.circuit()
        plan = self.plan
        return {
            "bits": self.bits,
            "solutions": int(self.marked.sum()),
            "inputs_searched": len(self.marked),
            "iterations": None if plan is None else plan.iterations,
            "exact": plan is not None and plan.angle is not None,
            "success_probability": None if plan is None else self.success_probability(),
            "random_guess": float(self.marked.mean()),
            "oracle": None if self.oracle is None else self.oracle.resources(),
            "search": None if circuit is None else resources(circuit).to_json(),
        }

    def success_probability(self) -> float:
        """Of one run, from the simulated state."""
        return 0.0 if self.probabilities is None else float(self.probabilities[self.marked].sum())

    def sample(self, shots: int, seed: int) -> dict[str, int]:
        """Counts of measured bits, the model's first input element first; empty without solutions."""
        if self.probabilities is None:
            return {}
        weights = self.probabilities / self.probabilities.sum()
        drawn = np.random.default_rng(seed).choice(len(weights), shots, p=weights)
        numbers, counts = np.unique(drawn, return_counts=True)
        found = sorted(zip(counts.tolist(), numbers.tolist(), strict=True), key=lambda x: (-x[0], x[1]))
        return {f"{number:0{self.bits}b}"[::-1]: count for count, number in found}


def search(
    model: ir.Model,
    wanted: Property,
    *,
    signs: bool = True,
    few_qubits: bool = False,
    success: float = 0.95,
    outputs: np.ndarray | None = None,
) -> Search:
    """Search the inputs of a model for a property, the number of solutions counted by simulation.

    Args:
        model: An imported model of fixed shapes.
        wanted: The property.
        signs: See :func:`build_oracle`.
        few_qubits: See :func:`build_oracle`.
        success: Least probability of one run, in (0, 1].
        outputs: Of the model for all inputs [2**inputs, elements]: the oracle must mark what follows from them.

    Raises:
        UsageError: ``success`` is no probability, or the property does not fit the model.
        UnsupportedError: An op without an exact form over bits.
        NumericsError: The oracle marks other inputs than ``outputs`` say: a bug in accelc.
    """
    if not 0 < success <= 1:
        raise UsageError(f"--success {success} is not in (0, 1]")
    inputs = input_bits(model, signs=signs)
    count = _bit_count(inputs)
    bits = count + wanted.extra_bits(count)
    if bits > MAX_INPUTS:
        raise LimitError(f"the search has {bits} bits", why=f"at most {MAX_INPUTS} are searched here")
    network = Network(bits)
    value = wanted.build(model, inputs, network)
    oracle: Oracle | None = None
    marked = np.full(1 << bits, bool(value.constant))
    if (literal := value.literal()) is not None:
        made = synthesize(network, [literal.signal], few_qubits=few_qubits)
        oracle = made.complemented() if literal.negated else made
        marked = oracle.values()[0]
    if outputs is not None and not np.array_equal(marked, wanted.expected(outputs)):
        raise NumericsError("the oracle marks other inputs than the model's outputs say")
    solutions = int(marked.sum())
    if solutions == 0:
        return Search(oracle, bits, marked, None, None)
    plan = plan_search(solutions, len(marked), success)
    return Search(oracle, bits, marked, plan, simulate(marked, plan))
