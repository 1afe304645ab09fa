"""The choice among encodings, its limits, its errors and its cache."""

from __future__ import annotations

import json
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("scipy", reason="needs the extra 'quantum'")

from accelc.errors import LimitError, UnsupportedError, UsageError
from accelc.targets.quantum_circuit.circuit import Circuit
from accelc.targets.quantum_circuit.encode import choose
from accelc.targets.quantum_circuit.encode.base import BlockEncoding, Job, Prediction, relative_error
from accelc.targets.quantum_circuit.encode.choose import METHODS, check_memory, encode


def gaussian(*shape: int) -> np.ndarray:
    return np.random.default_rng(8).normal(size=shape)


def test_the_least_size_is_taken() -> None:
    matrix = gaussian(4, 8)
    told: list[str] = []
    best = encode(matrix, cache_dir=False, progress=told.append)
    norm = float(np.linalg.norm(matrix, 2))
    for method in ("multiplexor", "rectangular-fable", "singular"):
        other = encode(matrix, methods=[method], cache_dir=False)
        assert best.size(norm) <= other.size(norm)
    assert any(text.startswith("singular:") and "CX" in text for text in told)


@pytest.mark.parametrize("shape", [(0, 0), (0, 3), (2, 0), (1, 1), (5, 3)])
def test_zeros_and_nothing(shape: tuple[int, int]) -> None:
    found = encode(np.zeros(shape))
    assert found.method == "zero"
    assert found.cx == 0
    np.testing.assert_array_equal(found.decoded(), np.zeros(shape))
    assert found.error(np.zeros(shape)) == 0


@pytest.mark.parametrize("value", [3.0, -0.25, 1e-300, -1e300])
def test_one_number(value: float) -> None:
    found = encode(np.array([[value]]), cache_dir=False)
    assert found.decoded()[0, 0] == pytest.approx(value, rel=2e-9)
    assert found.alpha > 0


def test_entries_of_every_scale() -> None:
    for scale in (1e-200, 1e200):
        matrix = gaussian(3, 4) * scale
        found = encode(matrix, cache_dir=False)
        np.testing.assert_allclose(found.decoded() / scale, matrix / scale, atol=1e-7)


def test_dtypes() -> None:
    for matrix in (np.array([[1, -2], [3, 4]]), np.array([[True, False]]), np.ones((2, 3), np.float16)):
        assert encode(matrix, cache_dir=False).error(matrix.astype(np.float64)) < 2e-9


@pytest.mark.parametrize(
    ("matrix", "why"),
    [
        (np.ones(3), "has shape (3,)"),
        (np.ones((2, 2), complex), "dtype complex128"),
        (np.array([["a"]]), "dtype <U1"),
        (np.array([[1.0, np.nan]]), "NaN or infinity"),
        (np.array([[np.inf]]), "NaN or infinity"),
    ],
)
def test_no_matrix(matrix: np.ndarray, why: str) -> None:
    with pytest.raises(UsageError) as caught:
        encode(matrix)
    assert why in str(caught.value)


def test_wrong_arguments() -> None:
    with pytest.raises(UsageError, match="there is no encoding 'x'"):
        encode(np.eye(2), methods=["x"])
    for error in (-1.0, 1.0, float("nan")):
        with pytest.raises(UsageError, match="is not allowed"):
            encode(np.eye(2), max_error=error)
    with pytest.raises(UnsupportedError, match="no encoding reached the error"):
        encode(gaussian(2, 2), methods=["sparse"], cache_dir=False)


def test_memory_is_asked_for_before_it_is_taken() -> None:
    with pytest.raises(LimitError) as caught:
        check_memory((1 << 20, 1 << 19))
    assert "21 to 40 qubits" in str(caught.value)
    assert "TiB of memory" in str(caught.value)
    check_memory((0, 1 << 40))
    check_memory((64, 64))


def test_without_time_the_fastest_method_is_taken() -> None:
    matrix = gaussian(10, 12)
    found = encode(matrix, time_limit_s=0.0, cache_dir=False)
    assert found.error(matrix) < 2e-9


class Wrong:
    """A method that promises much and gives the circuit of another matrix."""

    name = "wrong"

    def predict(self, job: Job) -> Prediction:
        return Prediction(0.5, job.norm)

    def encode(self, job: Job) -> BlockEncoding:
        found = METHODS["multiplexor"].encode(job)
        assert found is not None
        return replace(found, circuit=Circuit(found.circuit.qubits, found.circuit.gates[:-1]), method="wrong")


def test_no_count_is_trusted(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(choose.METHODS, "wrong", Wrong())
    matrix = gaussian(4, 4)
    told: list[str] = []
    found = encode(matrix, methods=["wrong", "multiplexor"], cache_dir=False, progress=told.append)
    assert found.method == "multiplexor"
    assert "wrong: its circuit does not hold the matrix within the error" in told


def test_without_qiskit_the_other_methods_do(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "qiskit.circuit", None)
    told: list[str] = []
    matrix = gaussian(3, 4)
    assert encode(matrix, methods=["svd", "fable"], cache_dir=False, progress=told.append).method == "fable"
    assert "svd: Qiskit is not installed" in told
    with pytest.raises(UnsupportedError, match="no encoding reached") as caught:
        encode(matrix, methods=["svd"], cache_dir=False)
    assert "accelc[quantum]" in str(caught.value)


def test_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    matrix = gaussian(4, 4)
    methods = ["multiplexor", "rectangular-fable"]
    first = encode(matrix, methods=methods, cache_dir=tmp_path)
    (file,) = (tmp_path / "encodings").iterdir()
    assert (tmp_path / "encodings").stat().st_mode & 0o077 == 0
    monkeypatch.setattr(choose, "_best", None)  # nothing is searched any more
    assert encode(matrix, methods=methods, cache_dir=tmp_path) == first
    twice = encode(2 * matrix, methods=methods, cache_dir=tmp_path)
    assert twice.circuit == first.circuit
    assert twice.alpha == 2 * first.alpha
    monkeypatch.undo()

    whole = file.read_text()
    record = json.loads(whole)
    damaged = [
        "", "[]", whole[:-40], "[" * 100_000,
        json.dumps(record | {"alpha": -1}),
        json.dumps(record | {"alpha": "nan"}),
        json.dumps(record | {"row_qubits": [0, 99]}),
        json.dumps(record | {"row_qubits": [0]}),
        json.dumps(record | {"qubits": 60}),
        json.dumps(record | {"gates": [["ry", 0, float("inf")]]}),
        json.dumps(record | {"gates": [["exec", 0]]}),
        json.dumps(record | {"gates": record["gates"][:3]}),
    ]  # fmt: skip
    for text in damaged:
        file.write_text(text)
        assert encode(matrix, methods=methods, cache_dir=tmp_path).circuit == first.circuit
        assert json.loads(file.read_text()) == record


def test_a_cut_search_is_resumed_with_more_time(tmp_path: Path) -> None:
    matrix = gaussian(4, 8)
    hurried = encode(matrix, time_limit_s=0.0, cache_dir=tmp_path)
    assert encode(matrix, time_limit_s=0.0, cache_dir=tmp_path) == hurried
    patient = encode(matrix, time_limit_s=60.0, cache_dir=tmp_path)
    assert patient.cx * patient.alpha < hurried.cx * hurried.alpha
    assert encode(matrix, time_limit_s=0.0, cache_dir=tmp_path) == patient


def test_relative_error() -> None:
    assert relative_error(np.zeros(2), np.zeros(2)) == 0
    assert relative_error(np.ones(2), np.zeros(2)) == float("inf")
    assert relative_error(np.array([1.0, 1.0]), np.array([1.0, 0.0])) == 1
