"""FABLE: entries as rotations of one qubit, controlled by the row and the column. The published baseline.

Source: Camps, Van Beeumen, "FABLE: fast approximate quantum circuits for block-encodings" (2022): the matrix is padded
to a square, the Walsh coefficients of the angles are cut by magnitude, the Gray code is walked in its order, and CX
between rotations that were dropped cancel in pairs.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from accelc.targets.quantum_circuit.circuit import Circuit, Gate
from accelc.targets.quantum_circuit.encode.base import (
    EXACT,
    BlockEncoding,
    Job,
    Prediction,
    padded,
    relative_error,
)
from accelc.targets.quantum_circuit.encode.compress import fewest, largest
from accelc.targets.quantum_circuit.encode.multiplexed import rotations_at
from accelc.targets.quantum_circuit.encode.tour import gray_rank
from accelc.targets.quantum_circuit.encode.walsh import coefficients, transform

_NOTHING = 1e-14


@dataclass(frozen=True)
class Fable:
    """The method as published, on ``2 n + 1`` qubits; alpha is N times the largest entry."""

    name: str = "fable"

    def predict(self, job: Job) -> Prediction | None:
        """N**2 CX: what is cut at an error saves few of them."""
        side = 1 << max(job.row_bits, job.column_bits)
        return Prediction(side * side, side * float(np.max(np.abs(job.matrix))), 1e-5 * side * side)

    def encode(self, job: Job) -> BlockEncoding | None:
        """The encoding with the fewest rotations within the error."""
        bits = max(job.row_bits, job.column_bits)
        side = 1 << bits
        largest_entry = float(np.max(np.abs(job.matrix)))
        square = padded(job.matrix, side, side) / largest_entry
        found = coefficients(np.arccos(np.clip(square, -1.0, 1.0)).ravel())
        rows, columns = job.matrix.shape

        def error_of(count: int) -> float:
            kept = np.zeros_like(found)
            places = largest(found, count)
            kept[places] = found[places]
            entries = np.cos(transform(kept)).reshape(side, side)[:rows, :columns]
            return relative_error(entries, square[:rows, :columns])

        exact = int(np.count_nonzero(np.abs(found) > _NOTHING))
        count = exact if job.max_error <= EXACT else fewest(error_of, exact, job.max_error * (1 - 1e-9))
        if count is None or error_of(count) > max(job.max_error, EXACT):
            return None
        places = largest(found, count)
        column_qubits, row_qubits, ancilla = range(bits), range(bits, 2 * bits), 2 * bits
        order = np.argsort(gray_rank(places, 2 * bits))
        controls = (*column_qubits, *row_qubits)
        middle = rotations_at(places, 2 * found[places], ancilla, controls, order=order)
        gates = (*hadamards(row_qubits), *middle, *hadamards(column_qubits))
        circuit = Circuit(2 * bits + 1, gates)
        alpha = side * largest_entry
        return BlockEncoding(
            job.matrix.shape, circuit, tuple(row_qubits), tuple(column_qubits), alpha, self.name
        )


def hadamards(qubits: Sequence[int]) -> tuple[Gate, ...]:
    """H on each of the qubits."""
    return tuple(Gate("h", (qubit,)) for qubit in qubits)
