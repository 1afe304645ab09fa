"""A binary network as a reversible circuit: computed, copied out, uncomputed (Bennett, IBM J. Res. Dev. 17, 1973)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np

from accelc.errors import NumericsError
from accelc.targets.quantum_circuit.circuit import Circuit, Gate, inverse, without_pairs
from accelc.targets.quantum_circuit.oracle.arithmetic import node_gates
from accelc.targets.quantum_circuit.oracle.network import Choice, Network, Parity, Threshold
from accelc.targets.quantum_circuit.oracle.simulate import all_inputs, run, unpack
from accelc.targets.quantum_circuit.resources import resources


@dataclass(frozen=True)
class Oracle:
    """Bits of a network as functions of its inputs, exactly.

    Args:
        qubits: Inputs first, then ``outputs``, then ancillas.
        inputs: Number of input bits.
        outputs: Qubit of each wanted bit.
        forward: Gates that compute the outputs on zeros and leave values on the ancillas.
    """

    qubits: int
    inputs: int
    outputs: tuple[int, ...]
    forward: tuple[Gate, ...]

    @cached_property
    def circuit(self) -> Circuit:
        """The oracle: outputs are xored with their values; inputs stay, ancillas come back to 0."""
        kept = [gate for gate in self.forward if gate.target not in self.outputs]
        return Circuit(self.qubits, without_pairs((*self.forward, *inverse(kept))))

    def values(self) -> np.ndarray:
        """The outputs bool [outputs, 2**inputs] of every input, by running the whole circuit bit-parallel.

        Raises:
            NumericsError: An input changed or an ancilla is not back at 0: a bug in accelc.
        """
        after = run(self.circuit.gates, self.qubits, self.inputs)
        given = all_inputs(self.inputs)
        for qubit in set(range(self.qubits)) - set(self.outputs):
            if not np.array_equal(after[qubit], given[qubit] if qubit < self.inputs else given[0] * 0):
                raise NumericsError(f"qubit {qubit} of the oracle is not restored")
        return unpack(after[list(self.outputs)], self.inputs)

    def complemented(self) -> Oracle:
        """The oracle of the complements of all outputs."""
        flips = tuple(Gate("x", (qubit,)) for qubit in self.outputs)
        return Oracle(self.qubits, self.inputs, self.outputs, (*self.forward, *flips))

    def resources(self) -> dict[str, int | float]:
        """What the whole circuit needs, and in how many layers its Toffoli gates act."""
        return {**resources(self.circuit).to_json(), "toffoli_depth": self.circuit.depth("ccx")}


def synthesize(network: Network, wanted: Sequence[int], *, few_qubits: bool = False) -> Oracle:
    """The oracle of some signals of a network.

    Args:
        network: The network; what the wanted signals do not need is left out.
        wanted: Signals, one output qubit each.
        few_qubits: Bring every node's ancillas back to 0 at once and use them again: about twice the Toffoli gates.
    """
    needed = _needed(network, wanted)
    inner = {s for signal in needed for s in _operands(network, signal)}
    pool = _Pool(network.inputs + len(wanted))
    qubit_of: dict[int, int] = {signal: signal for signal in range(network.inputs)}
    outputs = tuple(range(network.inputs, network.inputs + len(wanted)))
    direct = {
        signal: output
        for signal, output in zip(wanted, outputs, strict=True)
        if signal >= network.inputs and signal not in inner
    }
    gates: list[Gate] = []
    for signal in needed:
        node = network.node(signal)
        if node is None:
            continue
        target = direct[signal] if signal in direct else pool.take()
        pool.lent.clear()
        step = node_gates(node, qubit_of, target, pool.take)
        operands = {qubit_of[s] for s in _operands(network, signal)}
        undone = [g for g in step if (g.target != target if few_qubits else g.target in operands)]
        gates += [*step, *inverse(undone)]
        if few_qubits:
            pool.give_back()
        qubit_of[signal] = target
    for signal, output in zip(wanted, outputs, strict=True):
        if direct.get(signal) != output:
            gates.append(Gate("cx", (qubit_of[signal], output)))
    return Oracle(pool.count, network.inputs, outputs, without_pairs(gates))


class _Pool:
    """Ancillas by number; those given back are lent again, lowest first."""

    def __init__(self, first: int) -> None:
        self.count = first
        self.free: list[int] = []
        self.lent: list[int] = []

    def take(self) -> int:
        if self.free:
            qubit = self.free.pop()
        else:
            qubit, self.count = self.count, self.count + 1
        self.lent.append(qubit)
        return qubit

    def give_back(self) -> None:
        self.free += sorted(self.lent, reverse=True)
        self.lent.clear()


def _operands(network: Network, signal: int) -> tuple[int, ...]:
    node = network.node(signal)
    if isinstance(node, Threshold):
        return tuple(literal.signal for literal in node.literals)
    if isinstance(node, Parity):
        return node.signals
    if isinstance(node, Choice):
        return (node.condition.signal, node.then.signal, node.otherwise.signal)
    return ()


def _needed(network: Network, wanted: Sequence[int]) -> list[int]:
    """Signals that the wanted ones depend on, in order; operands come before their nodes."""
    marked = set(wanted)
    for signal in range(network.inputs + len(network.nodes) - 1, network.inputs - 1, -1):
        if signal in marked:
            marked.update(_operands(network, signal))
    return sorted(marked)
