"""Orthogonal matrices by halves: the gates have the matrix, and their number is the one foretold."""

from __future__ import annotations

import time

import numpy as np
import pytest

from accelc.targets.quantum_circuit.circuit import Circuit, Gate
from accelc.targets.quantum_circuit.synthesis.cosine_sine import by_halves
from accelc.targets.quantum_circuit.synthesis.search import upward


def leaf(part: np.ndarray) -> tuple[Gate, ...] | None:
    found = upward(part, 3, 1e-11, time.monotonic() + 60, np.random.default_rng(0))
    return found and found.template.gates(found.angles)


def rotation(size: int, seed: int) -> np.ndarray:
    found = np.linalg.qr(np.random.default_rng(seed).normal(size=(size, size)))[0]
    if np.linalg.det(found) < 0:
        found[0] *= -1
    return found


def signs(size: int) -> np.ndarray:
    found = np.ones(size)
    found[[1, 2, 3, -1]] = -1
    return np.diag(found)


@pytest.mark.parametrize(
    "wanted",
    [
        rotation(16, 0),
        rotation(32, 1),
        np.eye(16),
        signs(16),
        np.roll(np.eye(16), 2, 0),
        np.kron(np.eye(4), rotation(4, 2)),
    ],
    ids=["16", "32", "one", "signs", "permutation", "blocks"],
)
def test_by_halves(wanted: np.ndarray) -> None:
    qubits = len(wanted).bit_length() - 1
    gates = by_halves(wanted, 3, leaf)
    assert gates is not None
    np.testing.assert_allclose(Circuit(qubits, gates).unitary(), wanted, atol=1e-9)


def test_the_number_of_gates() -> None:
    gates = by_halves(rotation(32, 3), 3, leaf)
    assert gates is not None
    found = sum(gate.name == "cx" for gate in gates)
    half = 4 * 13 + 7 + 2 * 5  # four leaves, the multiplexed rotation in the middle, one in each pair
    assert found == 4 * half + 15 + 2 * 9


def test_a_leaf_that_is_not_found() -> None:
    assert by_halves(rotation(16, 3), 3, lambda part: None) is None
