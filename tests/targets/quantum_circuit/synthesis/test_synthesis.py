"""Orthogonal matrices and blocks: the circuits really hold them, at the least number of CX."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from accelc.errors import LimitError, UsageError
from accelc.targets.quantum_circuit.synthesis import block, orthogonal


def rotation(size: int, seed: int, determinant: int = 1) -> np.ndarray:
    found = np.linalg.qr(np.random.default_rng(seed).normal(size=(size, size)))[0]
    if np.linalg.det(found) * determinant < 0:
        found[:, 0] *= -1
    return found


def unit(rows: int, columns: int, seed: int) -> np.ndarray:
    matrix = np.random.default_rng(seed).normal(size=(rows, columns))
    return matrix / np.linalg.norm(matrix, 2)


@pytest.mark.parametrize(
    ("size", "determinant", "cx"),
    [(1, 1, 0), (2, 1, 0), (2, -1, 0), (4, 1, 2), (4, -1, 3), (8, 1, 13), (16, 1, 58)],
)
def test_orthogonal(size: int, determinant: int, cx: int) -> None:
    wanted = rotation(size, size, determinant)
    circuit = orthogonal(wanted, max_error=1e-10, cache=False)
    assert circuit is not None
    np.testing.assert_allclose(circuit.unitary(), wanted, atol=1e-9)
    assert circuit.counts().get("cx", 0) == cx


@pytest.mark.parametrize(
    ("rows", "columns", "qubits", "cx"),
    [(4, 8, 4, 16), (8, 8, 4, 30), (3, 5, 4, 10), (1, 1, 1, 0), (2, 2, 2, 1), (1, 8, 3, 3), (8, 1, 4, 6)],
)
def test_block(rows: int, columns: int, qubits: int, cx: int) -> None:
    wanted = unit(rows, columns, 3)
    circuit = block(wanted, qubits, max_error=1e-9, cache=False)
    assert circuit is not None
    np.testing.assert_allclose(circuit.unitary()[:rows, :columns], wanted, atol=1e-8)
    assert circuit.counts().get("cx", 0) <= cx


def test_a_block_shorter_than_the_norm_needs_fewer_conditions() -> None:
    wanted = 0.9 * unit(4, 8, 3)
    circuit = block(wanted, 4, cache=False)
    assert circuit is not None
    np.testing.assert_allclose(circuit.unitary()[:4, :8], wanted, atol=1e-8)
    assert circuit.counts()["cx"] <= 15


@pytest.mark.parametrize(("error", "cx"), [(0.05, 14), (0.3, 8), (0.999, 1)])
def test_an_allowed_error_saves_gates(error: float, cx: int) -> None:
    wanted = unit(4, 8, 3)
    circuit = block(wanted, 4, max_error=error, cache=False)
    assert circuit is not None
    assert np.linalg.norm(circuit.unitary()[:4, :8] - wanted) <= error * np.linalg.norm(wanted)
    assert circuit.counts().get("cx", 0) <= cx


@pytest.mark.parametrize(
    ("wanted", "cx"), [(np.eye(16), 0), (np.kron(rotation(4, 1), rotation(4, 2)), 24), (np.eye(4), 0)]
)
def test_structure_saves_gates(wanted: np.ndarray, cx: int) -> None:
    circuit = orthogonal(wanted, cache=False)
    assert circuit is not None
    np.testing.assert_allclose(circuit.unitary(), wanted, atol=1e-8)
    assert circuit.counts().get("cx", 0) <= cx


@pytest.mark.parametrize("error", [1e-9, 0.05])
def test_a_multiple_of_one_takes_no_cx(error: float) -> None:
    circuit = block(np.eye(8) / 2, 4, max_error=error, cache=False)
    assert circuit is not None
    assert "cx" not in circuit.counts()


@pytest.mark.parametrize("is_turned", [False, True])
def test_isometries(is_turned: bool) -> None:
    wanted = rotation(8, 4)[:, :3]
    wanted = wanted.T if is_turned else wanted
    circuit = block(wanted, 3, cache=False)
    assert circuit is not None
    np.testing.assert_allclose(circuit.unitary()[: wanted.shape[0], : wanted.shape[1]], wanted, atol=1e-8)
    assert circuit.counts()["cx"] <= 9


def test_what_the_error_covers_may_be_beyond_the_norm() -> None:
    wanted = 1.03 * unit(4, 8, 3)
    circuit = block(wanted, 4, max_error=0.05, cache=False)
    assert circuit is not None
    assert np.linalg.norm(circuit.unitary()[:4, :8] - wanted) <= 0.05 * np.linalg.norm(wanted)


def test_same_seed_same_circuit(tmp_path: Path) -> None:
    wanted = unit(4, 8, 5)
    first = block(wanted, 4, cache=tmp_path / "a")
    assert first is not None
    assert block(wanted, 4, cache=tmp_path / "b") == first
    assert block(wanted, 4, cache=tmp_path / "a") == first


def test_too_few_gates_and_no_time_give_none() -> None:
    assert block(unit(4, 8, 5), 4, cx=5, cache=False) is None
    assert orthogonal(rotation(16, 1), time_limit_s=0.0, cache=False) is None


@pytest.mark.parametrize(
    ("matrix", "why"),
    [
        (rotation(8, 1, -1), "determinant -1"),
        (np.array([[-1.0]]), "determinant -1"),
        (np.eye(3), "power of two"),
        (np.zeros((0, 0)), "power of two"),
        (np.ones((2, 2)), "not orthogonal"),
        (np.full((2, 2), np.nan), "not orthogonal"),
        (np.eye(2) * 1j, "real"),
    ],
)
def test_no_orthogonal(matrix: np.ndarray, why: str) -> None:
    with pytest.raises(UsageError, match=why):
        orthogonal(matrix, cache=False)


@pytest.mark.parametrize(
    ("matrix", "qubits", "why"),
    [
        (unit(4, 4, 1) * 2, 3, "norm of at most 1"),
        (unit(4, 4, 1), 2, "have to be 1"),
        (unit(4, 4, 1), 1, "does not fit"),
        (np.zeros((2, 2)), 2, "not all 0"),
        (np.full((2, 2), np.inf), 2, "finite"),
        (np.zeros((0, 2)), 2, "not empty"),
        (np.ones(4), 2, "not empty"),
    ],
)
def test_no_block(matrix: np.ndarray, qubits: int, why: str) -> None:
    with pytest.raises(UsageError, match=why):
        block(matrix, qubits, cache=False)


def test_a_block_beyond_the_memory() -> None:
    with pytest.raises(LimitError, match="too large"):
        block(np.eye(256), 9, cache=False)
