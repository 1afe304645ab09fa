"""The whole matrix at once by numeric synthesis: near the least number of CX that its free numbers need."""

from __future__ import annotations

from dataclasses import dataclass

from accelc.targets.quantum_circuit.encode.base import BlockEncoding, Job, Prediction, bits, share_at
from accelc.targets.quantum_circuit.synthesis.blocks import block

_MOST = 4200  # free numbers: the Jacobian's square has to fit the memory and its factors the time


@dataclass(frozen=True)
class Numeric:
    """The leading block of a template of RY and CX that is fitted to the matrix; alpha is the spectral norm.

    Rows and columns that the template has beyond the matrix are free, so a rectangle needs no more than its own
    numbers. There is no further qubit where the rows and columns together fit the states.
    """

    name: str = "numeric"

    def predict(self, job: Job) -> Prediction | None:
        """Half a CX for each free number."""
        qubits = _qubits(job)
        if job.matrix.size > _MOST:
            return None
        free = _free_numbers(job)
        if free > _MOST:
            return None
        cx = 0.51 * (free * share_at(job.max_error) - qubits)
        return Prediction(max(0.0, cx), job.norm, 1e-3 * free + 3e-7 * free**3)

    def encode(self, job: Job) -> BlockEncoding | None:
        """The encoding within the error; None if it was not reached in time."""
        qubits = _qubits(job)
        circuit = block(
            job.matrix / job.norm,
            qubits,
            max_error=job.max_error,
            time_limit_s=job.seconds_left,
            seed=job.seed,
            cache=job.cache,
        )
        if circuit is None:
            return None
        rows, columns = job.matrix.shape
        return BlockEncoding(
            (rows, columns),
            circuit,
            tuple(range(job.row_bits)),
            tuple(range(job.column_bits)),
            job.norm,
            self.name,
        )


def _free_numbers(job: Job) -> int:
    """Dimension of the matrices of this shape and rank with as many singular values equal to the norm."""
    rows, columns = job.matrix.shape
    ones = int((job.singular_values > job.norm * (1 - 1e-10)).sum())
    free: int = rows * columns - (rows - job.rank) * (columns - job.rank) - ones * (ones + 1) // 2
    return free


def _qubits(job: Job) -> int:
    """Least that hold the matrix as a block: its complement takes more rows and columns, less those of norm 1."""
    rows, columns = job.matrix.shape
    ones = int((job.singular_values > job.norm * (1 - 1e-10)).sum())
    return max(1, bits(max(rows, columns)), bits(rows + columns - ones))
