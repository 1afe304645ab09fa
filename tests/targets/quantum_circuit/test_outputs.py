"""Files of circuits by their endings."""

from __future__ import annotations

import importlib.util
from pathlib import Path

import pytest

from accelc.errors import UsageError
from accelc.targets.quantum_circuit.circuit import Circuit, Gate
from accelc.targets.quantum_circuit.outputs import write_output, write_outputs

BELL = Circuit(2, (Gate("h", (0,)), Gate("cx", (0, 1))), (0, 1))


def test_every_format(tmp_path: Path) -> None:
    files = write_outputs(BELL, tmp_path / "new" / "folder", "bell")
    assert list(files) == ["qasm", "quil", "svg", "qpy"][: 4 if importlib.util.find_spec("qiskit") else 3]
    starts = {"qasm": b"OPENQASM 3.0;", "quil": b"DECLARE ro BIT[2]", "svg": b"<svg ", "qpy": b"QISKIT"}
    for kind, file in files.items():
        assert file.name == f"bell.{kind}"
        assert file.read_bytes().startswith(starts[kind])
    assert ">bell</text>" in files["svg"].read_text()


def test_what_cannot_be_written(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="cannot tell the format"):
        write_output(BELL, tmp_path / "bell.txt")
    with pytest.raises(UsageError, match="cannot write"):
        write_output(BELL, tmp_path / "absent" / "bell.QASM")
    (tmp_path / "file").touch()
    with pytest.raises(UsageError, match="cannot make the folder"):
        write_outputs(BELL, tmp_path / "file" / "below", "bell")
