"""Vectors as states: a circuit that puts real numbers on the amplitudes of its qubits."""

from __future__ import annotations

import numpy as np

from accelc.errors import UsageError
from accelc.targets.quantum_circuit.circuit import Circuit, Gate
from accelc.targets.quantum_circuit.encode.multiplexed import multiplexed_ry


def prepare(vector: np.ndarray) -> Circuit:
    """The circuit that takes all qubits from 0 to the state ``vector / ||vector||``, signs included.

    A tree of rotations from the most significant qubit down (Mottonen et al., quant-ph/0407010); for n qubits
    at most 2**n - 1 - n CX, since each rotated qubit is known to be 0 before.

    Args:
        vector: Real, [N], N at least 1; padded with zeros to the next power of two. One number is a state of no
            qubits, which has no sign.

    Raises:
        UsageError: It has another shape, numbers that are not finite, or only zeros.
    """
    given = np.asarray(vector, dtype=np.float64)
    if given.ndim != 1 or not given.size or not np.isfinite(given).all() or not given.any():
        raise UsageError(
            "only a vector of finite numbers, not all zero, is a state", why=f"shape {given.shape}"
        )
    qubits = (given.size - 1).bit_length()
    level = np.zeros(2**qubits)
    level[: given.size] = given / np.abs(given).max()
    turns: list[np.ndarray] = []
    for _ in range(qubits):
        turns.append(2 * np.arctan2(level[1::2], level[0::2]))
        level = np.hypot(level[0::2], level[1::2])
    gates: list[Gate] = []
    for target in range(qubits - 1, -1, -1):
        gates += multiplexed_ry(turns[target], target, range(target + 1, qubits), is_zero_before=True)
    return Circuit(qubits, tuple(gates))
