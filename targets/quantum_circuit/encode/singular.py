"""U diag(s) V with both factors by numeric synthesis, of no more rank than the error asks for."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from accelc.targets.quantum_circuit.circuit import Circuit, Gate
from accelc.targets.quantum_circuit.encode.base import BlockEncoding, Job, Prediction, bits, share_at
from accelc.targets.quantum_circuit.encode.multiplexed import merged_rotations, multiplexed_ry
from accelc.targets.quantum_circuit.synthesis.blocks import block
from accelc.targets.quantum_circuit.synthesis.orthogonals import orthogonal

_MARGIN = 0.9  # of the error is given out
_LEAST_ERROR = 1e-11  # of a factor
_MOST_QUBITS = 6  # of a factor: what numeric synthesis does in minutes


@dataclass(frozen=True)
class SingularValues:
    """``V`` on the columns' qubits, the singular values as rotations of one more qubit, ``U`` on the rows'.

    With rank r only the first r rows of ``V`` and columns of ``U`` are asked for. They meet on the ``bits(r)`` lowest
    qubits; the columns' others have to come out 0, and the rows take as many fresh ones. alpha is the spectral norm.
    """

    name: str = "singular"

    def predict(self, job: Job) -> Prediction | None:
        """Half a CX for each free number of the factors, and one for each singular value but one."""
        if max(job.row_bits, job.column_bits) > _MOST_QUBITS:
            return None
        rank, max_error = _split(job)
        free = [count * share_at(max_error) for count in _free_numbers(job, rank)]
        cx = 0.51 * sum(free) + 2 ** bits(rank) - 1
        return Prediction(cx, job.norm, sum(1e-3 * count + 1.5e-8 * count**3 for count in free))

    def encode(self, job: Job) -> BlockEncoding | None:
        """The encoding; None if a factor was not found in time."""
        rank, allowed = _split(job)
        # Errors of the factors weigh by the singular values: where they do not even out, less has to do.
        for share in (1.0, 0.6, 0.3):
            found = self._encoded(job, rank, share * allowed)
            if found is None or found.error(job.matrix) <= job.max_error:
                return found
        return None

    def _encoded(self, job: Job, rank: int, max_error: float) -> BlockEncoding | None:
        """The encoding with a rank, and factors within an error."""
        rows, columns, shared = job.row_bits, job.column_bits, bits(rank)
        left, values, right = np.linalg.svd(job.matrix, full_matrices=False)
        left, cosines, right = _turned(left[:, :rank], values[:rank] / values[0], right[:rank])
        job.progress(f"singular: rank {rank}, V on {columns} qubits")
        first = _factor(right, columns, max_error, job, 0.6 * job.seconds_left)
        if first is None:
            return None
        job.progress(f"singular: U on {rows} qubits")
        last = _factor(left, rows, max_error, job, job.seconds_left)
        if last is None:
            return None
        row_qubits = (*range(min(rows, shared)), *range(columns, columns + rows - shared))
        ancilla = columns + rows - shared
        angles = np.full(1 << shared, math.pi)
        angles[:rank] = 2 * np.arccos(np.clip(cosines, -1.0, 1.0))
        middle = multiplexed_ry(angles, ancilla, range(shared), is_zero_before=True, is_zero_after=True)
        moved = (
            Gate(gate.name, tuple(row_qubits[q] for q in gate.qubits), gate.angle) for gate in last.gates
        )
        gates = merged_rotations((*first.gates, *middle, *moved))
        circuit = Circuit(max(1, ancilla + bool(middle)), gates)
        shape = (job.matrix.shape[0], job.matrix.shape[1])
        return BlockEncoding(shape, circuit, row_qubits, tuple(range(columns)), job.norm, self.name)


def _free_numbers(job: Job, rank: int) -> tuple[int, int]:
    """Of the two factors of that rank."""
    rows, columns = job.matrix.shape
    gauge = rank * (rank + 1) // 2
    return rank * rows - gauge, rank * columns - gauge


def _split(job: Job) -> tuple[int, float]:
    """The rank, and the error left to each factor, that need the fewest numbers: a lower rank leaves less error."""
    values = job.singular_values
    tail = np.append(np.sqrt(np.cumsum(values[::-1] ** 2))[::-1], 0.0) / np.linalg.norm(values)
    best = job.rank, max(_LEAST_ERROR, _MARGIN * job.max_error)
    least = math.inf
    for rank in range(job.rank, len(values) + 1):
        left = max(0.0, job.max_error**2 - float(tail[rank]) ** 2)
        allowed = max(_LEAST_ERROR, _MARGIN * math.sqrt(left / 2))
        cost = sum(_free_numbers(job, rank)) * share_at(allowed) + 2 ** (bits(rank) + 1)
        if cost < least:
            best, least = (rank, allowed), cost
    return best


def _turned(
    left: np.ndarray, cosines: np.ndarray, right: np.ndarray
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Signs moved from factors that fill their qubits with determinant -1 into the least singular value."""
    left, cosines, right = left.copy(), cosines.copy(), right.copy()
    for factor, vector in ((left, left[:, -1]), (right, right[-1])):
        size = len(factor)
        is_full = factor.shape == (size, size) and size & (size - 1) == 0 and size > 1
        if is_full and np.linalg.slogdet(factor)[0] < 0:
            vector *= -1
            cosines[-1] *= -1
    if len(left) == 1:  # no gates on no qubits: its sign goes over to the other factor
        right *= left[0, 0]
        left = np.ones((1, 1))
    elif right.shape[1] == 1:
        left *= right[0, 0]
        right = np.ones((1, 1))
    return left, cosines, right


def _factor(matrix: np.ndarray, qubits: int, max_error: float, job: Job, limit_s: float) -> Circuit | None:
    """An isometry [M, N], or the transpose of one, as a block on that many qubits without a further one."""
    if not qubits:
        return Circuit(0, ())
    if matrix.shape == (1 << qubits, 1 << qubits) and share_at(max_error) == 1.0:
        return orthogonal(matrix, max_error=max_error, time_limit_s=limit_s, seed=job.seed, cache=job.cache)
    return block(matrix, qubits, max_error=max_error, time_limit_s=limit_s, seed=job.seed, cache=job.cache)
