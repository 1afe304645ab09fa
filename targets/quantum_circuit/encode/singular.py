"""U diag(s) V with both factors by numeric synthesis, of no more rank than the error asks for."""

from __future__ import annotations

import math
import time
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from accelc.targets.quantum_circuit.circuit import Circuit, Gate
from accelc.targets.quantum_circuit.encode.base import BlockEncoding, Job, Prediction, bits, padded, share_at
from accelc.targets.quantum_circuit.encode.multiplexed import merged_rotations, multiplexed_ry
from accelc.targets.quantum_circuit.synthesis.blocks import block
from accelc.targets.quantum_circuit.synthesis.cosine_sine import by_halves
from accelc.targets.quantum_circuit.synthesis.orthogonals import orthogonal

_LARGE = 6  # qubits of factors that take minutes
_HALVED_S = 10.0  # what a factor by quarters takes
_IMPROVE_S = 150.0  # a whole factor has 4% fewer CX than one by halves
_LEAST_LEAF = 3  # qubits of the smallest parts of a factor
_MARGIN = 0.9  # of the error is given out
_LEAST_ERROR = 1e-11  # of a factor
_WHOLE_QUBITS = 6  # of a factor that is found as a whole: larger ones are completed and halved


@dataclass(frozen=True)
class SingularValues:
    """``V`` on the columns' qubits, the singular values as rotations of one more qubit, ``U`` on the rows'.

    With rank r only the first r rows of ``V`` and columns of ``U`` are asked for. They meet on the ``bits(r)`` lowest
    qubits; the columns' others have to come out 0, and the rows take as many fresh ones. alpha is the spectral norm.
    """

    name: str = "singular"

    def predict(self, job: Job) -> Prediction | None:
        """Half a CX for each free number of the factors, and one for each singular value but one."""
        rank, max_error = _split(job)
        cx, seconds = 2.0 ** bits(rank) - 1, 0.0
        for side, count in zip(job.matrix.shape, _free_numbers(job, rank), strict=True):
            qubits = bits(side)
            if qubits <= _WHOLE_QUBITS:
                cx += 0.51 * count * share_at(max_error)
                is_halved = qubits >= _LARGE and 2 * rank > 2**qubits
                seconds += _HALVED_S if is_halved else 1e-3 * count + 1.5e-8 * count**3
            elif 2 * rank > 2**qubits:
                cx += 0.26 * 4**qubits
                seconds += 2.0 * 4 ** (qubits - 5)
            else:
                return None  # most of the factor would be made for nothing
        return Prediction(cx, job.norm, seconds)

    def encode(self, job: Job) -> BlockEncoding | None:
        """The encoding; None if a factor was not found in time."""
        rank, allowed = _split(job)
        best = None
        largest = max(job.row_bits, job.column_bits)
        if share_at(allowed) < 1 and largest >= _LARGE and 2 * job.rank <= 1 << largest:
            # Large factors with less than their numbers take many fits: have the sure ones first.
            half = replace(job, deadline=job.deadline - 0.4 * job.seconds_left)
            best = self._encoded(half, job.rank, max(_LEAST_ERROR, _MARGIN * _left(job, job.rank)))
        # Errors of the factors weigh by the singular values: where they do not even out, less has to do.
        for share in (1.0, 0.6, 0.3):
            found = self._encoded(job, rank, share * allowed)
            if found is None:
                break
            if found.error(job.matrix) <= job.max_error:
                return found if best is None or found.cx < best.cx else best
        return best

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
    best, least = (job.rank, max(_LEAST_ERROR, _MARGIN * _left(job, job.rank))), math.inf
    ranks = range(job.rank, len(job.singular_values) + 1)
    for rank in ranks if max(job.row_bits, job.column_bits) <= _WHOLE_QUBITS else ():
        allowed = max(_LEAST_ERROR, _MARGIN * _left(job, rank))
        cost = sum(_free_numbers(job, rank)) * share_at(allowed) + 2 ** (bits(rank) + 1)
        if cost < least:
            best, least = (rank, allowed), cost
    return best


def _left(job: Job, rank: int) -> float:
    """The error that a rank leaves to each of the two factors."""
    dropped = float(np.linalg.norm(job.singular_values[rank:]) / np.linalg.norm(job.singular_values))
    return math.sqrt(max(0.0, job.max_error**2 - dropped**2) / 2)


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
    """An isometry [M, N], or the transpose of one, as a block on that many qubits without a further one.

    Large ones are halved and halved again, which takes seconds and some percent more CX, then with larger parts,
    then found as a whole, as far as the time suffices.
    """
    if not qubits:
        return Circuit(0, ())
    deadline = time.monotonic() + limit_s
    settings: dict[str, Any] = {"max_error": max_error, "seed": job.seed, "cache": job.cache}
    found: list[Circuit | None] = []
    if qubits >= _LARGE and 2 * min(matrix.shape) > 1 << qubits:
        full = _completed(matrix, 1 << qubits)
        if qubits > _WHOLE_QUBITS:
            return orthogonal(full, time_limit_s=limit_s, **settings)
        for leaf_qubits in sorted({max(_LEAST_LEAF, qubits - 2), qubits - 1}):
            found.append(_halved(full, leaf_qubits, max_error, job, max(0.0, deadline - time.monotonic())))
            if found[-1] is not None:
                job.progress(f"singular: {found[-1].counts()['cx']} CX by halves, looking for fewer")
    rest_s = max(0.0, deadline - time.monotonic())
    if any(found) and share_at(max_error) == 1.0:
        rest_s = min(rest_s, _IMPROVE_S)
    if matrix.shape == (1 << qubits, 1 << qubits) and share_at(max_error) == 1.0:
        found.append(orthogonal(matrix, time_limit_s=rest_s, **settings))
    else:
        found.append(block(matrix, qubits, time_limit_s=rest_s, **settings))
    done = [circuit for circuit in found if circuit is not None]
    return min(done, key=lambda circuit: circuit.counts().get("cx", 0), default=None)


def _halved(
    matrix: np.ndarray, leaf_qubits: int, max_error: float, job: Job, limit_s: float
) -> Circuit | None:
    """An orthogonal matrix of determinant 1 by smaller ones on ``leaf_qubits``."""
    qubits = bits(len(matrix))
    deadline = time.monotonic() + limit_s
    each = max(max_error / 2 ** (qubits - leaf_qubits + 2), 1e-12)  # their errors add up

    def leaf(part: np.ndarray) -> tuple[Gate, ...] | None:
        left_s = max(0.0, deadline - time.monotonic())
        found = orthogonal(part, max_error=each, time_limit_s=left_s, seed=job.seed, cache=job.cache)
        return None if found is None else found.gates

    gates = by_halves(matrix, leaf_qubits, leaf)
    return None if gates is None else Circuit(qubits, gates)


def _completed(matrix: np.ndarray, size: int) -> np.ndarray:
    """An orthogonal matrix [size, size] of determinant 1 that begins with an isometry, or with the transpose of one."""
    rows, columns = matrix.shape
    if rows < columns:
        return _completed(matrix.T, size).T
    full = np.linalg.qr(padded(matrix, size, columns), mode="complete")[0]
    full[:, :columns] = padded(matrix, size, columns)
    if columns < size and np.linalg.slogdet(full)[0] < 0:
        full[:, -1] *= -1
    return full
