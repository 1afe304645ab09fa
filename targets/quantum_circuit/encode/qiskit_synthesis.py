"""Orthogonal matrices as circuits by Qiskit's quantum Shannon decomposition: always works, any size."""

from __future__ import annotations

import cmath
import math
from typing import TYPE_CHECKING

import numpy as np

from accelc.errors import UnsupportedError
from accelc.targets.quantum_circuit.circuit import Gate

if TYPE_CHECKING:
    from qiskit import QuantumCircuit

_NOTHING = 1e-14


def by_qiskit(matrix: np.ndarray) -> tuple[tuple[Gate, ...], float]:
    """Gates RZ, RY, CX whose unitary, times ``exp(1j * phase)``, is the matrix; and the phase.

    Shapes: matrix [2**n, 2**n], orthogonal or unitary; the gates act on qubits 0 to n - 1.

    Raises:
        UnsupportedError: Qiskit is not installed.
    """
    if len(matrix) == 1:
        return (), cmath.phase(complex(matrix[0, 0]))
    try:
        from qiskit.circuit import QuantumCircuit
        from qiskit.synthesis.unitary.qsd import qs_decomposition
    except ImportError as error:
        raise UnsupportedError(
            "Qiskit is not installed", why=str(error), fix="pip install 'accelc[quantum]'"
        ) from error
    circuit: QuantumCircuit
    if len(matrix) == 2:
        circuit = QuantumCircuit(1)
        circuit.unitary(matrix, [0])
    else:
        circuit = qs_decomposition(matrix)
    return _translated(circuit)


def _translated(circuit: QuantumCircuit) -> tuple[tuple[Gate, ...], float]:
    """RZ, RY, CX for a circuit of CX and gates on one qubit: those between two CX become three rotations."""
    pending = [np.eye(2, dtype=complex) for _ in range(circuit.num_qubits)]
    gates: list[Gate] = []
    phase = float(circuit.global_phase)
    for instruction in circuit.data:
        qubits = tuple(circuit.find_bit(qubit).index for qubit in instruction.qubits)
        if len(qubits) == 1:
            pending[qubits[0]] = instruction.operation.to_matrix() @ pending[qubits[0]]
            continue
        if instruction.operation.name != "cx":
            raise UnsupportedError(f"Qiskit's synthesis gave a gate {instruction.operation.name!r}")
        for qubit in qubits:
            phase += _flush(pending, qubit, gates)
        gates.append(Gate("cx", qubits))
    for qubit in range(circuit.num_qubits):
        phase += _flush(pending, qubit, gates)
    return tuple(gates), phase


def _flush(pending: list[np.ndarray], qubit: int, gates: list[Gate]) -> float:
    """Emit the matrix that waits on the qubit as RZ(c), RY(b), RZ(a); the phase that is left."""
    matrix = pending[qubit]
    pending[qubit] = np.eye(2, dtype=complex)
    phase = cmath.phase(complex(np.linalg.det(matrix))) / 2
    special = matrix * cmath.exp(-1j * phase)
    middle = 2 * math.atan2(abs(special[1, 0]), abs(special[0, 0]))
    both = cmath.phase(complex(special[1, 1])) if abs(special[1, 1]) > _NOTHING else 0.0
    apart = cmath.phase(complex(special[1, 0])) if abs(special[1, 0]) > _NOTHING else 0.0
    # special[1, 1] = exp(i (a + c) / 2) cos(b / 2), special[1, 0] = exp(i (a - c) / 2) sin(b / 2)
    for name, angle in (("rz", both - apart), ("ry", middle), ("rz", both + apart)):
        if abs(angle) > _NOTHING:
            gates.append(Gate(name, (qubit,), angle))
    return phase
