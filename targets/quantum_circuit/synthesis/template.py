"""Templates: a layer of Ry, then blocks of one CX and an Ry on each of its qubits.

Each block adds two angles, and real CX-and-Ry circuits cannot do better than two free angles for a CX; with the
pairs going round all the qubits, almost every template whose angles are as many as the matrix has free numbers
reaches it.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np

from accelc.targets.quantum_circuit.circuit import Circuit, Gate

# Below this (radians) a rotation is left out: far under what float64 resolves in a product of a thousand gates.
_NO_ANGLE = 1e-15


@dataclass(frozen=True)
class Template:
    """An ansatz: Ry on every qubit, then for each pair CX(control, target), Ry(control), Ry(target).

    Args:
        qubits: Number of qubits.
        pairs: (control, target) of each block, in order.
    """

    qubits: int
    pairs: tuple[tuple[int, int], ...]

    @property
    def size(self) -> int:
        """Number of angles: one for each qubit, two for each block."""
        return self.qubits + 2 * len(self.pairs)

    @cached_property
    def orders(self) -> np.ndarray:
        """For each block the basis states sorted by its control's, then its target's bit: int64 [blocks, 2**qubits].

        The states of one (control, target) value are neighbours there, so a block is one 4x4 product.
        """
        states = np.arange(2**self.qubits)
        known: dict[tuple[int, int], np.ndarray] = {}
        for pair in self.pairs:
            if pair not in known:
                control, target = pair
                key = ((states >> control) & 1) * 2 + ((states >> target) & 1)
                known[pair] = np.argsort(key, kind="stable")
        return np.array([known[pair] for pair in self.pairs], np.int64).reshape(-1, len(states))

    def gates(self, angles: np.ndarray) -> tuple[Gate, ...]:
        """The gates for given angles; rotations by zero are left out. Shapes: angles [size]."""
        out = [Gate("ry", (qubit,), float(angles[qubit])) for qubit in range(self.qubits)]
        for block, (control, target) in enumerate(self.pairs):
            at = self.qubits + 2 * block
            out.append(Gate("cx", (control, target)))
            out.append(Gate("ry", (control,), float(angles[at])))
            out.append(Gate("ry", (target,), float(angles[at + 1])))
        return tuple(gate for gate in out if gate.name == "cx" or abs(gate.angle) > _NO_ANGLE)

    def circuit(self, angles: np.ndarray) -> Circuit:
        """:meth:`gates` as a circuit."""
        return Circuit(self.qubits, self.gates(angles))


def round_robin(qubits: int, blocks: int) -> Template:
    """A template whose pairs go round all pairs of qubits, those of one round being disjoint (a 1-factorisation).

    Source: the circle method of scheduling tournaments.
    """
    players = qubits + qubits % 2
    ring = list(range(players))
    cycle = []
    for _ in range(players - 1):
        for k in range(players // 2):
            low, high = sorted((ring[k], ring[-1 - k]))
            if high < qubits:
                cycle.append((low, high))
        ring = [ring[0], ring[-1], *ring[1:-1]]
    return Template(qubits, tuple(cycle[k % len(cycle)] for k in range(blocks)) if cycle else ())


def blocks_for(free: int, qubits: int) -> int:
    """The least number of blocks whose template has at least ``free`` angles."""
    return max(0, -(-(free - qubits) // 2)) if qubits > 1 else 0
