"""A sum of few outer products, selected by a register: for large matrices of low rank within the error.

The register is prepared with the roots of the singular values; for its state k the columns' qubits undo the preparation
of the k-th right vector and fresh row qubits prepare the k-th left one; the register's preparation is undone. About
``r (M + N)`` CX, and alpha is the sum of the singular values kept; with rank 1 that is the spectral norm.

Source: Childs, Wiebe, linear combinations of unitaries (2012); Mottonen et al., multiplexed state preparations (2004).
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from accelc.targets.quantum_circuit.circuit import Circuit, inverse
from accelc.targets.quantum_circuit.encode.base import BlockEncoding, Job, Prediction, bits
from accelc.targets.quantum_circuit.encode.state_tree import tree, tree_gates


@dataclass(frozen=True)
class LowRank:
    """Outer products of singular vectors under a multiplexor."""

    name: str = "low-rank"

    def predict(self, job: Job) -> Prediction | None:
        """``r (M + N)`` CX."""
        if job.matrix.size == 1:
            return None  # no rotation could hold a sign
        rows, columns = job.matrix.shape
        alpha = float(job.singular_values[: job.rank].sum())
        cx = job.rank * (rows + columns - 2) + 2 * (job.rank - 1)
        return Prediction(cx, alpha, 1e-4 * cx)

    def encode(self, job: Job) -> BlockEncoding:
        """The encoding; its error is that of the rank."""
        rows, columns, chosen = job.row_bits, job.column_bits, bits(job.rank)
        left, values, right = np.linalg.svd(job.matrix, full_matrices=False)
        left, values, right = left[:, : job.rank], values[: job.rank], right[: job.rank]
        # A side of one entry has no rotation for its sign: the other one takes it.
        signs = left[0] if len(left) == 1 else right[:, 0] if right.shape[1] == 1 else np.ones(job.rank)
        left, right = left * signs, right * signs[:, None]
        register = range(columns + rows, columns + rows + chosen)
        share = tree_gates(tree(np.sqrt(values)[:, None], list(register), ()))
        into_rows = tree_gates(tree(left, list(range(columns, columns + rows)), register))
        from_columns = inverse(tree_gates(tree(right.T, list(range(columns)), register)))
        gates = (*share, *from_columns, *into_rows, *inverse(share))
        return BlockEncoding(
            (job.matrix.shape[0], job.matrix.shape[1]),
            Circuit(max(1, columns + rows + chosen), gates),
            tuple(range(columns, columns + rows)),
            tuple(range(columns)),
            float(values.sum()),
            self.name,
        )
