"""Real orthogonal matrices as circuits of Ry and CX."""

from __future__ import annotations

import math
import time
from pathlib import Path

import numpy as np

from accelc.errors import UsageError
from accelc.targets.quantum_circuit.circuit import Circuit, Gate
from accelc.targets.quantum_circuit.synthesis.cache import CircuitCache
from accelc.targets.quantum_circuit.synthesis.cosine_sine import by_halves
from accelc.targets.quantum_circuit.synthesis.search import upward

_ORTHOGONAL = 1e-8
# Larger matrices are halved: on seven qubits a step of the whole would take minutes.
_WHOLE_QUBITS = 6
# Seconds that a leaf of so many qubits takes at worst on two cores, the largest first.
_LEAF_SECONDS = ((6, 60.0), (5, 2.0), (4, 0.2), (3, 0.02))


def orthogonal(
    matrix: np.ndarray,
    *,
    max_error: float = 1e-9,
    time_limit_s: float = 600.0,
    seed: int = 0,
    cache: Path | bool | None = None,
) -> Circuit | None:
    """A circuit whose unitary is ``matrix``.

    A determinant of -1 is taken on one and on two qubits; Ry, CX and Z on more than two qubits have determinant 1,
    so flip a row there and make good for it elsewhere (a singular value's sign, for example).

    Args:
        matrix: Orthogonal, float64 [N, N] with N a power of two.
        max_error: Allowed ``||U - matrix|| / ||matrix||`` in the Frobenius norm.
        time_limit_s: After it the search is given up.
        seed: Same seed, same circuit, if the time suffices.
        cache: Folder of finished circuits; None is the user's, False none.

    Returns:
        The circuit; None if the time did not suffice.

    Raises:
        UsageError: The matrix is not one of these.
    """
    wanted, qubits = _checked(matrix)
    if qubits < 2:
        return _one_qubit(wanted) if qubits else Circuit(0, ())
    store = CircuitCache(cache)
    settings: dict[str, object] = {"kind": "orthogonal", "max_error": max_error, "seed": seed}
    known = store.get(wanted, settings, time_limit_s)
    if known is not None and np.linalg.norm(known.unitary() - wanted) <= max_error * math.sqrt(len(wanted)):
        return known
    gates = _gates(wanted, qubits, max_error, time_limit_s, seed)
    if gates is None:
        return None
    circuit = Circuit(qubits, gates)
    if not np.linalg.norm(circuit.unitary() - wanted) <= max_error * math.sqrt(len(wanted)):
        return None
    store.put(wanted, settings, circuit, time_limit_s if qubits > _WHOLE_QUBITS else math.inf)
    return circuit


def _gates(
    matrix: np.ndarray, qubits: int, max_error: float, time_limit_s: float, seed: int
) -> tuple[Gate, ...] | None:
    """Numerically as a whole where that takes minutes at most, else by halves."""
    deadline = time.monotonic() + time_limit_s
    rng = np.random.default_rng(seed)
    # On two qubits each CX changes the determinant's sign, so their number has to fit it.
    step = 2 if qubits == 2 else 1
    leaf_qubits = qubits if qubits <= _WHOLE_QUBITS else _leaf_qubits(qubits, time_limit_s)
    # The factors' errors add up; each is a small part of the whole, but none below what rounding leaves.
    each = max_error if leaf_qubits == qubits else max(max_error / 2 ** (qubits - leaf_qubits + 1), 1e-12)

    def leaf(part: np.ndarray) -> tuple[Gate, ...] | None:
        found = upward(part, leaf_qubits, each, deadline, rng, step)
        return None if found is None else found.template.gates(found.angles)

    return by_halves(matrix, leaf_qubits, leaf)


def _leaf_qubits(qubits: int, time_limit_s: float) -> int:
    """The largest leaves for which the time suffices on two cores: they have the fewest CX, but take the longest."""
    for leaf_qubits, seconds in _LEAF_SECONDS:
        if 4 ** (qubits - leaf_qubits) * seconds < time_limit_s / 2:
            return leaf_qubits
    return _LEAF_SECONDS[-1][0]


def _checked(matrix: np.ndarray) -> tuple[np.ndarray, int]:
    """The matrix as float64, and its number of qubits."""
    wanted = np.asarray(matrix)
    size = len(wanted) if wanted.ndim else 0
    if wanted.shape != (size, size) or size < 1 or size & (size - 1):
        raise UsageError(
            "an orthogonal matrix [N, N] has N a power of two", why=f"its shape is {wanted.shape}"
        )
    if wanted.dtype.kind not in "fiub":
        raise UsageError("an orthogonal matrix is real", why=f"its dtype is {wanted.dtype}")
    wanted = wanted.astype(np.float64)
    off = float(np.abs(wanted @ wanted.T - np.eye(size)).max())
    if not off <= _ORTHOGONAL:
        raise UsageError("the matrix is not orthogonal", why=f"A A' differs from 1 by up to {off:.1e}")
    qubits = size.bit_length() - 1
    if qubits not in (1, 2) and np.linalg.slogdet(wanted)[0] < 0:
        raise UsageError(
            "the matrix has determinant -1",
            why=f"Ry and CX on {qubits} qubits have determinant 1",
            fix="change the sign of a row, and of what is multiplied with it",
        )
    return wanted, qubits


def _one_qubit(matrix: np.ndarray) -> Circuit:
    """Ry, after Z where the determinant is -1."""
    gates = [Gate("z", (0,))] if np.linalg.slogdet(matrix)[0] < 0 else []
    angle = 2 * math.atan2(matrix[1, 0], matrix[0, 0])
    return Circuit(1, (*gates, Gate("ry", (0,), angle)))
