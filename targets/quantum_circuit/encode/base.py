"""What an encoding yields, and what every method of encoding answers."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Protocol

import numpy as np

from accelc.targets.quantum_circuit.circuit import Circuit
from accelc.targets.quantum_circuit.encode.readback import read_block

EXACT = 1e-9  # a relative error that counts as none: below it methods do not approximate
_FITTED = 1e-3  # below it leaving anything out is not worth a try
_TWO_QUBIT_COST = {"cx": 1, "cz": 1, "ccx": 6}  # in CX; a Toffoli by the textbook circuit


@dataclass(frozen=True)
class BlockEncoding:
    """A circuit that holds a matrix ``A`` [M, N] in a block of its unitary ``U``.

    With column ``j`` in binary (little-endian) on ``column_qubits`` and every other qubit 0 as input, and row ``i``
    on ``row_qubits`` and every other qubit 0 as output, ``alpha * <i|U|j> = A[i, j]``. Rows and columns may share
    qubits.

    Args:
        shape: M and N.
        circuit: The circuit of ``U``.
        row_qubits: Where rows are read, least significant bit first.
        column_qubits: Where columns are put, least significant bit first.
        alpha: The factor, positive; at least the spectral norm of ``A`` up to the error.
        method: Name of the encoding that made it.
    """

    shape: tuple[int, int]
    circuit: Circuit
    row_qubits: tuple[int, ...]
    column_qubits: tuple[int, ...]
    alpha: float
    method: str

    @property
    def cx(self) -> int:
        """Gates on two qubits, in CX."""
        counts = self.circuit.counts()
        return sum(cost * counts.get(name, 0) for name, cost in _TWO_QUBIT_COST.items())

    def size(self, norm: float) -> float:
        """CX times alpha over the spectral norm of the matrix: what a result of given accuracy costs grows with it."""
        return self.cx * self.alpha / norm if norm else float(self.cx)

    def decoded(self) -> np.ndarray:
        """The matrix that the circuit really holds, float64 [M, N]: its gates are applied to every column."""
        return self.alpha * read_block(self.circuit, self.row_qubits, self.column_qubits, self.shape)

    def error(self, matrix: np.ndarray) -> float:
        """Distance of ``decoded()`` to ``matrix`` [M, N] in the Frobenius norm, relative to that of ``matrix``."""
        return relative_error(self.decoded(), matrix)


def relative_error(found: np.ndarray, wanted: np.ndarray) -> float:
    """Frobenius norm of the difference over that of ``wanted``; of a zero matrix 0 if equal, else infinite."""
    distance, norm = float(np.linalg.norm(found - wanted)), float(np.linalg.norm(wanted))
    if distance == 0.0:
        return 0.0
    return distance / norm if norm > 0.0 else float("inf")


@dataclass(frozen=True)
class Job:
    """A matrix to encode and what may be spent on it.

    Args:
        matrix: float64 [M, N], finite and not all zero, M and N at least 1.
        max_error: Relative error allowed in the Frobenius norm.
        deadline: When to stop, on the clock of ``time.monotonic``.
        seed: For methods that draw random numbers.
        cache: Folder of finished syntheses; None is the user's, False is none.
        progress: Told what is being done.
    """

    matrix: np.ndarray
    max_error: float
    deadline: float
    seed: int = 0
    cache: Path | bool | None = None
    progress: Callable[[str], None] = field(default=lambda text: None)

    @property
    def seconds_left(self) -> float:
        """Time until the deadline, at least 0."""
        return max(0.0, self.deadline - time.monotonic())

    @property
    def row_bits(self) -> int:
        """Qubits that the rows need."""
        return bits(self.matrix.shape[0])

    @property
    def column_bits(self) -> int:
        """Qubits that the columns need."""
        return bits(self.matrix.shape[1])

    @cached_property
    def singular_values(self) -> np.ndarray:
        """Of the matrix, in falling order; float64 [min(M, N)]."""
        return np.linalg.svd(self.matrix, compute_uv=False)

    @property
    def norm(self) -> float:
        """The spectral norm."""
        return float(self.singular_values[0])

    @cached_property
    def rank(self) -> int:
        """The least rank of a matrix within the error allowed."""
        tail = np.sqrt(np.cumsum(self.singular_values[::-1] ** 2))[::-1]
        allowed = max(self.max_error * (1 - 1e-6), 1e-13) * tail[0]
        return max(1, int(np.count_nonzero(tail > allowed)))


@dataclass(frozen=True)
class Prediction:
    """What an encoding would come to, told without making it.

    Args:
        cx: CX gates, never too many by more than a few percent.
        alpha: The factor.
        seconds: Time that it takes, very roughly.
        memory_bytes: Memory that it takes, roughly.
    """

    cx: float
    alpha: float
    seconds: float = 0.0
    memory_bytes: float = 0.0


class Encoding(Protocol):
    """A method of encoding."""

    @property
    def name(self) -> str:
        """As users write it."""

    def predict(self, job: Job) -> Prediction | None:
        """What the encoding would come to; None where the method does not take the matrix."""

    def encode(self, job: Job) -> BlockEncoding | None:
        """The encoding within the job's error; None if that was not reached in time, or the matrix is not taken."""


def share_at(max_error: float) -> float:
    """Share of a matrix' free numbers that numeric synthesis needs to come within a relative error.

    Measured on Gaussian and trained matrices: an error of ``0.8 * x**1.3`` where a share ``x`` is left out.
    """
    return 1.0 - float(min(1.0, max_error / 0.8) ** (1 / 1.3)) if max_error > _FITTED else 1.0


def bits(count: int) -> int:
    """Qubits whose basis states number ``count`` things: 0 for one."""
    return max(0, count - 1).bit_length()


def padded(matrix: np.ndarray, rows: int, columns: int) -> np.ndarray:
    """The matrix with zeros below and to the right, [rows, columns]."""
    out = np.zeros((rows, columns))
    out[: matrix.shape[0], : matrix.shape[1]] = matrix
    return out
