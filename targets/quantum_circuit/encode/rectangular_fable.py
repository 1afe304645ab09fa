"""FABLE on separate row and column registers, with free entries outside the matrix and short walks.

Against the published method: a matrix [M, N] is padded to powers of two of each side instead of to a square; entries
outside of it are chosen so that few Walsh coefficients remain; the coefficients are visited on a short path, open at
both ends because the rotated qubit is |0> before and after; and alpha is ``sqrt(M' N')`` times the largest entry.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from accelc.targets.quantum_circuit.circuit import Circuit
from accelc.targets.quantum_circuit.encode.base import (
    EXACT,
    BlockEncoding,
    Job,
    Prediction,
    padded,
    relative_error,
)
from accelc.targets.quantum_circuit.encode.compress import fewest, largest
from accelc.targets.quantum_circuit.encode.fable import hadamards
from accelc.targets.quantum_circuit.encode.multiplexed import rotations_at
from accelc.targets.quantum_circuit.encode.walsh import coefficients, interpolated, transform

_COMPLETIONS = 40  # rounds of choosing the free entries


@dataclass(frozen=True)
class RectangularFable:
    """Entries as rotations of one qubit controlled by separate registers of row and column."""

    name: str = "rectangular-fable"

    def predict(self, job: Job) -> Prediction | None:
        """One CX for each entry of the matrix, as the free ones cost nothing."""
        side = 1 << (job.row_bits + job.column_bits)
        alpha = np.sqrt(side) * float(np.max(np.abs(job.matrix)))
        kept = 1.0 if job.max_error <= EXACT else max(0.05, 1.0 - 2.5 * job.max_error**0.9)
        return Prediction(kept * job.matrix.size, alpha, 1e-5 * side * (1 if job.max_error <= EXACT else 40))

    def encode(self, job: Job) -> BlockEncoding:
        """The encoding with the fewest rotations found within the error."""
        rows, columns = 1 << job.row_bits, 1 << job.column_bits
        largest_entry = float(np.max(np.abs(job.matrix)))
        entries = job.matrix / largest_entry
        ways = [interpolated(np.arccos(np.clip(entries, -1.0, 1.0)))]
        if job.max_error > EXACT:
            found = _cut(entries, rows, columns, job.max_error * (1 - 1e-9))
            if found is not None and len(found[0]) < len(ways[0][0]):
                ways.append(found)
        alpha = float(np.sqrt(rows * columns)) * largest_entry
        # Fewer rotations may lie on a longer walk.
        return min(
            (self._emit(job, masks, values, alpha) for masks, values in ways), key=lambda made: made.cx
        )

    def _emit(self, job: Job, masks: np.ndarray, values: np.ndarray, alpha: float) -> BlockEncoding:
        column_qubits = range(job.column_bits)
        row_qubits = range(job.column_bits, job.column_bits + job.row_bits)
        ancilla = job.column_bits + job.row_bits
        middle = rotations_at(
            masks, 2 * values, ancilla, (*column_qubits, *row_qubits), is_zero_before=True, is_zero_after=True
        )
        circuit = Circuit(ancilla + 1, (*hadamards(row_qubits), *middle, *hadamards(column_qubits)))
        shape = (job.matrix.shape[0], job.matrix.shape[1])
        return BlockEncoding(shape, circuit, tuple(row_qubits), tuple(column_qubits), alpha, self.name)


def _cut(
    entries: np.ndarray, rows: int, columns: int, allowed: float
) -> tuple[np.ndarray, np.ndarray] | None:
    """The fewest coefficients within the error: masks and values."""
    best: dict[int, tuple[np.ndarray, np.ndarray]] = {}

    def error_of(count: int) -> float:
        error, places, values = _completed(entries, rows, columns, count)
        best[count] = places, values
        return error

    count = fewest(error_of, rows * columns, allowed)
    return None if count is None else best[count]


def _completed(
    entries: np.ndarray, rows: int, columns: int, count: int
) -> tuple[float, np.ndarray, np.ndarray]:
    """The best ``count`` coefficients found: the error, their masks and their values.

    Free entries start at the mean and are then set to what the cut coefficients give there, again and again
    (projections onto two sets, as in Papoulis' and Gerchberg's extrapolation).
    """
    height, width = entries.shape
    is_free = np.ones((rows, columns), dtype=bool)
    is_free[:height, :width] = False
    known = np.arccos(np.clip(padded(entries, rows, columns), -1.0, 1.0))
    angles = np.where(is_free, known[:height, :width].mean(), known)
    best: tuple[float, np.ndarray, np.ndarray] | None = None
    for _ in range(_COMPLETIONS if is_free.any() else 1):
        found = coefficients(angles.ravel())
        places = largest(found, count)
        kept = np.zeros_like(found)
        kept[places] = found[places]
        reached = transform(kept).reshape(rows, columns)
        error = relative_error(np.cos(reached)[:height, :width], entries)
        if best is None or error < best[0]:
            best = error, places, found[places]
        angles = np.where(is_free, reached, known)
    assert best is not None
    return best
