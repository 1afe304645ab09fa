"""Columns prepared as states by multiplexed rotations, their norms by one more tree: alpha is the Frobenius norm.

The column's number controls a tree of rotations that prepares the column, normalised, on the rows' qubits; the tree
that prepares the norms is then undone on the columns' qubits. No further qubit. The other way round, rows as states,
is the inverse of the transposed matrix' circuit; the smaller one is taken.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from accelc.targets.quantum_circuit.circuit import Circuit, Gate, inverse
from accelc.targets.quantum_circuit.encode.base import (
    EXACT,
    BlockEncoding,
    Job,
    Prediction,
    bits,
    relative_error,
)
from accelc.targets.quantum_circuit.encode.compress import fewest
from accelc.targets.quantum_circuit.encode.state_tree import Level, amplitudes, tree, tree_gates


@dataclass(frozen=True)
class FrobeniusMultiplexor:
    """States for columns (or rows), selected by a multiplexor."""

    name: str = "multiplexor"

    def predict(self, job: Job) -> Prediction | None:
        """About one CX for each entry."""
        if job.matrix.size == 1:
            return None  # no rotation could hold a sign
        kept = 1.0 if job.max_error <= EXACT else 0.8
        return Prediction(kept * job.matrix.size, float(np.linalg.norm(job.matrix)), 1e-4 * job.matrix.size)

    def encode(self, job: Job) -> BlockEncoding | None:
        """The encoding with the fewest rotations within the error, of both ways round."""
        row_bits, column_bits = job.row_bits, job.column_bits
        by_columns = _prepared(job.matrix, job.max_error)
        by_rows = _prepared(job.matrix.T, job.max_error)
        ways = [(by_columns, column_bits, 0)]
        ways.append((None if by_rows is None else inverse(by_rows), 0, row_bits))
        found = [
            BlockEncoding(
                (job.matrix.shape[0], job.matrix.shape[1]),
                Circuit(max(1, row_bits + column_bits), gates),
                tuple(range(row_at, row_at + row_bits)),
                tuple(range(column_at, column_at + column_bits)),
                float(np.linalg.norm(job.matrix)),
                self.name,
            )
            for gates, row_at, column_at in ways
            if gates is not None
        ]
        return min(found, key=lambda encoding: encoding.cx, default=None)


def _prepared(matrix: np.ndarray, max_error: float) -> tuple[Gate, ...] | None:
    """Gates of the columns' states and norms, cut to the error; columns in the low qubits."""
    column_bits = bits(matrix.shape[1])
    norms = (
        matrix[0] if len(matrix) == 1 else np.linalg.norm(matrix, axis=0)
    )  # one row: its signs have no other place
    states = tree(matrix, list(range(column_bits, column_bits + bits(matrix.shape[0]))), range(column_bits))
    weights = tree(norms[:, None], list(range(column_bits)), ())
    if max_error > EXACT:
        magnitudes = np.sort(
            np.concatenate([[0.0], *(np.abs(level.values) for level in (*states, *weights))])
        )[::-1]

        def error_of(count: int) -> float:
            least = magnitudes[count - 1]
            found = _read([level.above(least) for level in states], [level.above(least) for level in weights])
            found = np.linalg.norm(norms) * found[: matrix.shape[0], : matrix.shape[1]]
            return relative_error(found, matrix)

        count = fewest(error_of, len(magnitudes), max_error * (1 - 1e-9))
        if count is None:
            return None
        least = magnitudes[count - 1]
        states, weights = [level.above(least) for level in states], [level.above(least) for level in weights]
    return (*tree_gates(states), *inverse(tree_gates(weights)))


def _read(states: list[Level], weights: list[Level]) -> np.ndarray:
    """The matrix over its Frobenius norm, padded, that the rotations give: [M', N']."""
    norms = amplitudes(weights, np.ones((1, 1)))
    return amplitudes(states, norms.T)
