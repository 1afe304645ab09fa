"""Grover's search with a known number of solutions: plain, or exact by one more qubit that thins them out."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from accelc.targets.quantum_circuit.circuit import Circuit, Gate, inverse, without_pairs
from accelc.targets.quantum_circuit.oracle.synthesize import Oracle


@dataclass(frozen=True)
class Plan:
    """How often to iterate.

    Args:
        iterations: Rounds of oracle and reflection.
        angle: Ry angle of the thinning qubit, in radians; None for the plain search.
        probability: Of measuring a solution.
    """

    iterations: int
    angle: float | None
    probability: float


def success(iterations: int, fraction: float) -> float:
    """Probability of a solution after plain rounds: sin((2k + 1) asin(sqrt(fraction)))**2 (quant-ph/9605034)."""
    return math.sin((2 * iterations + 1) * math.asin(math.sqrt(fraction))) ** 2


def plan_search(marked: int, total: int, wanted: float) -> Plan:
    """The fewest plain rounds that succeed with probability ``wanted``, else the exact search.

    The exact search lowers the fraction of solutions by a qubit turned by Ry, so that a whole number of rounds
    meets it with certainty (Brassard, Hoyer, Mosca, Tapp, quant-ph/0005055, theorem 4).

    Args:
        marked: Number of solutions, at least 1.
        total: Number of states.
        wanted: Probability, in [0, 1].
    """
    fraction = marked / total
    theta = math.asin(math.sqrt(fraction))
    most = math.ceil(math.pi / (4 * theta))
    likely = min(most, max(0, round((math.asin(math.sqrt(wanted)) / theta - 1) / 2)))
    for rounds in range(max(0, likely - 1), most + 1):
        if success(rounds, fraction) >= min(wanted, 1.0 - 1e-12) or marked == total:
            return Plan(rounds, None, success(rounds, fraction))
    rounds = math.ceil((math.pi / (2 * theta) - 1) / 2)
    kept = math.sin(math.pi / (2 * (2 * rounds + 1))) ** 2 / fraction
    return Plan(rounds, 2 * math.asin(math.sqrt(min(1.0, kept))), 1.0)


def simulate(marked: np.ndarray, plan: Plan) -> np.ndarray:
    """Probability float64 [2**n] of each input after the search, from its statevector over the inputs.

    The clean oracle is a phase on ``marked`` bool [2**n], so that no ancilla needs amplitudes; inputs that are all
    marked, or all not, have the same amplitude at every step, so that one number stands for them. Exact.
    """
    keep = 1.0 if plan.angle is None else math.sin(plan.angle / 2)
    solutions = int(marked.sum())
    members = np.array([len(marked) - solutions, solutions], np.float64)
    thin = np.array([math.sqrt(max(0.0, 1 - keep * keep)), keep]) / math.sqrt(len(marked))
    start = np.repeat(thin[:, None], 2, axis=1)  # thinning qubit, then whether marked
    state = start.copy()
    for _ in range(plan.iterations):
        state[1, 1] *= -1
        state = 2 * float((start * state * members).sum()) * start - state
    return np.asarray((state**2).sum(axis=0)[marked.astype(np.intp)])


def search_circuit(oracle: Oracle, plan: Plan) -> Circuit:
    """The whole search on an oracle of one output; measure the first ``oracle.inputs`` qubits.

    The oracle is computed, its output's sign taken, and uncomputed; ancillas are shared with the reflection.
    """
    (output,) = oracle.outputs
    searched = list(range(oracle.inputs))
    qubits = oracle.qubits
    start = [Gate("h", (qubit,)) for qubit in searched]
    phase = Gate("z", (output,))
    if plan.angle is not None:
        searched.append(qubits)
        start.append(Gate("ry", (qubits,), plan.angle))
        phase = Gate("cz", (output, qubits))
        qubits += 1
    spare = list(range(oracle.inputs, oracle.qubits))
    missing = max(0, len(searched) - 2 - len(spare))
    spare += range(qubits, qubits + missing)
    flips = [Gate("x", (qubit,)) for qubit in searched]
    reflection = [*inverse(start), *flips, *_all_ones_phase(searched, spare), *flips, *start]
    round_gates = [*oracle.forward, phase, *inverse(oracle.forward), *reflection]
    gates = [*start, *(gate for _ in range(plan.iterations) for gate in round_gates)]
    return Circuit(qubits + missing, without_pairs(gates))


def _all_ones_phase(qubits: list[int], spare: list[int]) -> list[Gate]:
    """-1 where all qubits are 1: a ladder of products on clean spare qubits, undone after."""
    if len(qubits) == 1:
        return [Gate("z", (qubits[0],))]
    product, ladder = qubits[0], []
    for qubit, ancilla in zip(qubits[1:-1], spare, strict=False):
        ladder.append(Gate("ccx", (product, qubit, ancilla)))
        product = ancilla
    return [*ladder, Gate("cz", (product, qubits[-1])), *reversed(ladder)]
