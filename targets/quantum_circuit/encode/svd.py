"""U diag(s) V by Qiskit's synthesis: the fallback that takes every matrix."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from accelc.targets.quantum_circuit.circuit import Circuit, Gate
from accelc.targets.quantum_circuit.encode.base import BlockEncoding, Job, Prediction, padded
from accelc.targets.quantum_circuit.encode.multiplexed import multiplexed_ry
from accelc.targets.quantum_circuit.encode.qiskit_synthesis import by_qiskit


@dataclass(frozen=True)
class SingularValuesByQiskit:
    """``V`` on the columns' qubits, the singular values as rotations of one more qubit, then ``U`` on the rows'.

    Exact; alpha is the spectral norm. Rows and columns share their low qubits, so that with M < N the other
    qubits of the columns have to come out 0, which leaves the right rows of ``V``. The phases that Qiskit's synthesis
    leaves become one rotation of the further qubit, which is |0> at that time.
    """

    name: str = "svd"

    def predict(self, job: Job) -> Prediction | None:
        """About 23/48 of 4**n CX for each factor."""
        cx = sum(_predicted(bits) for bits in (job.row_bits, job.column_bits))
        shared = min(job.row_bits, job.column_bits)
        return Prediction(cx + 2**shared - 1, job.norm, 4e-5 * (4**job.row_bits + 4**job.column_bits))

    def encode(self, job: Job) -> BlockEncoding:
        """The encoding; always exact."""
        rows, columns = job.row_bits, job.column_bits
        left, values, right = np.linalg.svd(padded(job.matrix, 1 << rows, 1 << columns))
        shared, ancilla = min(rows, columns), max(rows, columns)
        cosines = np.clip(values / values[0], 0.0, 1.0)
        first, first_phase = by_qiskit(right)
        last, last_phase = by_qiskit(left)
        middle = multiplexed_ry(
            2 * np.arccos(cosines), ancilla, range(shared), is_zero_before=True, is_zero_after=True
        )
        phase = Gate("rz", (ancilla,), -2 * (first_phase + last_phase))
        gates = (*((phase,) if abs(phase.angle) > 1e-14 else ()), *first, *middle, *last)
        circuit = Circuit(ancilla + 1, gates)
        return BlockEncoding(
            job.matrix.shape, circuit, tuple(range(rows)), tuple(range(columns)), job.norm, self.name
        )


def _predicted(bits: int) -> float:
    """CX of Qiskit's decomposition of an orthogonal matrix on that many qubits."""
    return 0.0 if bits < 2 else 23 / 48 * 4**bits - 1.5 * 2**bits + 4 / 3
