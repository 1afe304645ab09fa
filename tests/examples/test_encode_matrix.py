"""``examples/quantum/encode_matrix.py``: what it prints and writes, and what it refuses."""

from __future__ import annotations

import importlib.util
import json
import subprocess
import sys
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest

pytest.importorskip("scipy", reason="needs the extra 'quantum'")

SCRIPT = Path(__file__).parents[2] / "examples" / "quantum" / "encode_matrix.py"
KEYS = ["method", "qubits", "cx", "depth", "alpha_ratio", "error", "seconds", "qasm"]


@pytest.fixture(scope="module")
def example() -> ModuleType:
    spec = importlib.util.spec_from_file_location("encode_matrix", SCRIPT)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def saved(folder: Path, matrix: np.ndarray) -> Path:
    np.save(folder / "w.npy", matrix)
    return folder / "w.npy"


def test_json_and_the_circuit_read_back_by_qiskit(tmp_path: Path) -> None:
    matrix = np.random.default_rng(0).normal(size=(3, 4))
    path = saved(tmp_path, matrix)
    done = subprocess.run(
        [sys.executable, str(SCRIPT), str(path), "--max-error", "1e-6", "--json", "--no-cache"],
        capture_output=True, text=True, check=False, timeout=300,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout)
    assert list(found)[: len(KEYS)] == KEYS
    assert found["method"] in done.stderr
    assert found["error"] <= 1e-6
    assert found["alpha_ratio"] == pytest.approx(1.0)
    assert found["qasm"] == str(tmp_path / "w.qasm")
    pytest.importorskip("qiskit_qasm3_import", reason="needs the extra 'quantum'")
    from qiskit import qasm3
    from qiskit.quantum_info import Operator

    circuit = qasm3.loads(Path(found["qasm"]).read_text())
    assert (circuit.num_qubits, circuit.count_ops()["cx"]) == (found["qubits"], found["cx"])
    unitary = Operator(circuit).data
    rows = [sum(1 << q for b, q in enumerate(found["row_qubits"]) if i >> b & 1) for i in range(3)]
    columns = [sum(1 << q for b, q in enumerate(found["column_qubits"]) if j >> b & 1) for j in range(4)]
    np.testing.assert_allclose(found["alpha"] * unitary[np.ix_(rows, columns)], matrix, atol=1e-5)


def test_text(example: ModuleType, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = saved(tmp_path, np.asfortranarray(np.array([[1, 0, 2], [0, 3, 0]], np.int8)))
    example.main([str(path), "--no-cache", "-o", str(tmp_path / "out.qasm"), "--methods", "multiplexor"])
    out = capsys.readouterr().out
    assert out.splitlines()[0].split() == ["method", "multiplexor"]
    text = (tmp_path / "out.qasm").read_text()
    assert text.startswith("OPENQASM 3.0;\n// block encoding of a matrix 2 x 3")
    assert list(tmp_path.glob(".*")) == []


@pytest.mark.parametrize(
    ("content", "what"),
    [
        (np.ones(3), "a matrix has two dimensions"),
        (np.ones((2, 2), complex), "only real matrices"),
        (np.array([[1.0, np.nan]]), "only finite numbers"),
        (np.zeros((0, 3)), "the matrix is empty"),
        (np.array([[{}]], dtype=object), "this is no array that can be read"),
        (b"", "this is no array that can be read"),
        (b"\x93NUMPY\x01\x00v\x00{'descr': '<f8'", "this is no array that can be read"),
        (b"PK\x03\x04 an archive", "this is no array that can be read"),
        (None, "there is no such file"),
    ],
    ids=["1-D", "complex", "NaN", "empty", "pickled", "no bytes", "cut", "archive", "missing"],
)
def test_refusals(
    example: ModuleType,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    content: np.ndarray | bytes | None,
    what: str,
) -> None:
    path = tmp_path / "w.npy"
    if isinstance(content, bytes):
        path.write_bytes(content)
    elif content is not None:
        np.save(path, content, allow_pickle=True)
    with pytest.raises(SystemExit) as caught:
        example.main([str(path), "--json"])
    assert caught.value.code == 2
    out, err = capsys.readouterr()
    assert what in json.loads(out)["what"]
    assert str(path) in err
    assert "Traceback" not in err


def test_too_large_is_said_before_it_is_read(
    example: ModuleType, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    path = saved(tmp_path, np.ones((64, 128)))
    monkeypatch.setattr("accelc.targets.quantum_circuit.encode.choose.free_memory_bytes", lambda: 1 << 20)
    with pytest.raises(SystemExit) as caught:
        example.main([str(path)])
    assert caught.value.code == 5
    err = capsys.readouterr().err
    assert "8 to 14 qubits" in err
    assert "1.0 MiB are free" in err


def test_an_output_that_cannot_be_written(
    example: ModuleType, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = saved(tmp_path, np.eye(2))
    with pytest.raises(SystemExit) as caught:
        example.main([str(path), "--no-cache", "-o", str(tmp_path / "none" / "w.qasm")])
    assert caught.value.code == 2
    assert "the circuit cannot be written" in capsys.readouterr().err
