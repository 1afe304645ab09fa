"""Every encoding's circuit holds its matrix, whatever the shape."""

from __future__ import annotations

import numpy as np
import pytest

pytest.importorskip("scipy", reason="needs the extra 'quantum'")

from accelc.errors import UnsupportedError
from accelc.targets.quantum_circuit.encode.choose import METHODS, encode

EXACT = sorted(set(METHODS) - {"sparse", "diagonals"})
SHAPES = [(1, 2), (2, 1), (1, 5), (3, 1), (2, 2), (3, 3), (4, 8), (7, 4), (6, 5)]


def gaussian(shape: tuple[int, int], seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).normal(size=shape)


def needs(method: str) -> None:
    if method == "svd":
        pytest.importorskip("qiskit", reason="needs the extra 'quantum'")


@pytest.mark.parametrize("shape", SHAPES, ids=str)
@pytest.mark.parametrize("method", EXACT)
def test_exact(method: str, shape: tuple[int, int]) -> None:
    needs(method)
    matrix = gaussian(shape)
    found = encode(matrix, methods=[method], cache_dir=False)
    assert found.method == method
    assert found.error(matrix) < 2e-9
    assert found.alpha >= np.linalg.norm(matrix, 2) * (1 - 1e-9)
    # The same by the plain definition, gate after gate.
    unitary = found.circuit.unitary()
    rows = [sum(1 << q for b, q in enumerate(found.row_qubits) if i >> b & 1) for i in range(shape[0])]
    columns = [sum(1 << q for b, q in enumerate(found.column_qubits) if j >> b & 1) for j in range(shape[1])]
    np.testing.assert_allclose(found.alpha * unitary[np.ix_(rows, columns)], matrix, atol=1e-7)


@pytest.mark.parametrize("method", sorted(set(METHODS) - {"diagonals"}))
@pytest.mark.parametrize("shape", [(4, 4), (5, 12)], ids=str)
def test_within_an_error(method: str, shape: tuple[int, int]) -> None:
    needs(method)
    matrix = gaussian(shape, 1)
    exact = encode(matrix, methods=["rectangular-fable" if method == "sparse" else method], cache_dir=False)
    found = encode(matrix, max_error=0.1, methods=[method], cache_dir=False)
    assert found.error(matrix) <= 0.1
    assert found.cx <= exact.cx


@pytest.mark.parametrize("method", ["svd", "singular", "multiplexor", "numeric"])
def test_signs_and_phases(method: str) -> None:
    """Reflections, negative entries, permutations: determinants of both signs on both sides."""
    needs(method)
    for matrix in (
        -np.eye(4),
        np.eye(8)[::-1],
        np.diag([1.0, -1.0, 1.0, 1.0]),
        -np.ones((2, 2)),
        -np.ones((1, 3)),
    ):
        assert encode(matrix, methods=[method], cache_dir=False).error(matrix) < 2e-9


@pytest.mark.parametrize("method", ["singular", "low-rank", "svd"])
def test_low_rank(method: str) -> None:
    needs(method)
    rng = np.random.default_rng(2)
    matrix = np.outer(rng.normal(size=8), rng.normal(size=16)) + 1e-3 * rng.normal(size=(8, 16))
    assert encode(matrix, methods=[method], max_error=0.05, cache_dir=False).error(matrix) < 0.05
    outer = np.outer(rng.normal(size=6), rng.normal(size=11))
    assert encode(outer, methods=[method], cache_dir=False).error(outer) < 2e-9


def test_one_rank_at_the_spectral_norm_and_few_cx() -> None:
    rng = np.random.default_rng(3)
    matrix = np.outer(rng.normal(size=64), rng.normal(size=32))
    found = encode(matrix, cache_dir=False, methods=["low-rank"])
    assert found.alpha == pytest.approx(np.linalg.norm(matrix, 2))
    assert found.cx <= 64 + 32


def test_counts() -> None:
    """What is promised of small matrices, and less than half of FABLE's."""
    for shape, most in (((4, 8), 17), ((8, 8), 35)):
        matrix = gaussian(shape, 4)
        found = encode(matrix, max_error=1e-6, methods=["singular"], cache_dir=False)
        fable = encode(matrix, max_error=1e-6, methods=["fable"], cache_dir=False)
        assert found.alpha == pytest.approx(np.linalg.norm(matrix, 2))
        assert found.cx <= most
        assert found.cx <= (0.35 if shape[0] != shape[1] else 0.62) * fable.cx


def test_pruned_in_the_hadamard_basis() -> None:
    """About two CX for each entry kept, where FABLE takes one for every entry of the square."""
    matrix = gaussian((16, 32), 5)
    matrix[np.abs(matrix) < np.quantile(np.abs(matrix), 0.95)] = 0
    found = encode(matrix, max_error=0.05, methods=["sparse"], cache_dir=False)
    assert found.error(matrix) <= 0.05
    assert found.cx < 2.2 * np.count_nonzero(matrix)


def test_fable_is_the_published_one() -> None:
    """N**2 CX on ``2 n + 1`` qubits, alpha N times the largest entry; rectangles are padded to squares."""
    matrix = gaussian((3, 8), 6)
    found = encode(matrix, methods=["fable"], cache_dir=False)
    assert (found.circuit.qubits, found.cx) == (7, 64)
    assert found.alpha == pytest.approx(8 * np.abs(matrix).max())
    ours = encode(matrix, methods=["rectangular-fable"], cache_dir=False)
    assert ours.circuit.qubits == 6
    assert ours.cx <= 24


def test_qiskit_reads_the_same_block() -> None:
    pytest.importorskip("qiskit", reason="needs the extra 'quantum'")
    from qiskit.quantum_info import Operator

    matrix = gaussian((3, 5), 7)
    for method in ("svd", "singular", "multiplexor"):
        found = encode(matrix, methods=[method], cache_dir=False)
        unitary = Operator(found.circuit.to_qiskit()).data
        rows = [sum(1 << q for b, q in enumerate(found.row_qubits) if i >> b & 1) for i in range(3)]
        columns = [sum(1 << q for b, q in enumerate(found.column_qubits) if j >> b & 1) for j in range(5)]
        np.testing.assert_allclose(found.alpha * unitary[np.ix_(rows, columns)], matrix, atol=1e-7)


def tridiagonal(size: int, seed: int = 9) -> np.ndarray:
    rng = np.random.default_rng(seed)
    return sum(np.diag(rng.normal(size=size - abs(k)), k) for k in (-1, 0, 1))


@pytest.mark.parametrize(
    ("matrix", "most"),
    [
        (np.diag([1.0, -2.0, 3.0, 0.5, 0.0]), 7),
        (np.eye(3, 7), 4),
        (np.diag(np.arange(1.0, 9))[:, np.arange(8) ^ 5], 7),
        (2 * np.eye(32) - np.eye(32, k=1) - np.eye(32, k=-1), 200),
        (tridiagonal(32), 260),
    ],
    ids=["diagonal", "rectangular", "permuted", "Laplacian", "tridiagonal"],
)
def test_few_diagonals(matrix: np.ndarray, most: int) -> None:
    found = encode(matrix, methods=["diagonals"], cache_dir=False)
    assert found.error(matrix) < 1e-12
    assert found.cx <= most


def test_a_diagonal_is_chosen_at_its_norm() -> None:
    found = encode(np.diag([1.0, -2.0, 3.0, 0.5]), cache_dir=False)
    assert (found.method, found.alpha) == ("diagonals", pytest.approx(3.0))
    assert found.cx <= 3
    with pytest.raises(UnsupportedError, match="no encoding reached"):
        encode(gaussian((8, 8)), methods=["diagonals"], cache_dir=False)


def test_diagonals_within_the_error_are_left_out() -> None:
    matrix = np.diag([1.0, 2.0, 3.0, 4.0]) + 0.001
    found = encode(matrix, methods=["diagonals"], max_error=0.01, cache_dir=False)
    assert 0 < found.error(matrix) < 0.01
    assert found.cx <= 3


@pytest.mark.parametrize("shape", [(8, 8), (6, 7)], ids=str)
def test_large_factors_are_completed(shape: tuple[int, int], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("accelc.targets.quantum_circuit.encode.singular._WHOLE_QUBITS", 2)
    monkeypatch.setattr("accelc.targets.quantum_circuit.encode.singular._LARGE", 2)
    matrix = gaussian(shape, 10)
    assert encode(matrix, methods=["singular"], max_error=1e-6, cache_dir=False).error(matrix) < 1e-6
    with pytest.raises(UnsupportedError, match="no encoding reached"):
        encode(matrix[:, :2], methods=["singular"], cache_dir=False)


def test_large_factors_are_halved_where_the_time_is_short(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("accelc.targets.quantum_circuit.encode.singular._LARGE", 4)
    monkeypatch.setattr("accelc.targets.quantum_circuit.encode.singular.block", lambda *_, **__: None)
    matrix = gaussian((9, 16), 11)  # V fills more than half of its qubits' states
    found = encode(matrix, methods=["singular"], max_error=1e-6, cache_dir=False)
    assert found.error(matrix) < 1e-6
    assert found.alpha == pytest.approx(np.linalg.norm(matrix, 2))
