"""The quantum target from the command line: files of circuits, and what they take."""

from __future__ import annotations

import importlib.util
import json
from pathlib import Path

import numpy as np
import pytest

from accelc.cli.main import main
from accelc.errors import EXIT_OK, EXIT_USAGE, ArtifactError
from accelc.inspection import artifact_circuits
from accelc.targets.quantum_circuit.emit_qasm import parse_qasm3

NET = """g (float[N,2] x) => (float[N,2] y) < float[2,2] w = {3, 1, -1, 2}, float[2,2] v = {1, 2, 2, -1} > {
    a = MatMul(x, w)
    h = Relu(a)
    y = MatMul(h, v)
}"""


def test_files_and_resources_of_the_circuits(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    pytest.importorskip("qiskit", reason="needs accelc[quantum]")
    model, folder = tmp_path / "net.onnxtxt", tmp_path / "net.accel"
    model.write_text(NET)
    assert main(["compile", str(model), "--target", "quantum", "-o", str(folder)]) == EXIT_OK
    for number in range(2):
        for ending in ("qasm", "quil", "qpy", "svg"):
            assert (folder / f"circuit{number}.{ending}").stat().st_size > 0
        check_read_back(folder, f"circuit{number}")
    capsys.readouterr()
    assert main(["inspect", str(folder), "--json"]) == EXIT_OK
    circuits = json.loads(capsys.readouterr().out)["circuits"]
    assert [found["qasm"] for found in circuits] == ["circuit0.qasm", "circuit1.qasm"]
    for found in circuits:
        assert found["shape"] == [2, 2]
        assert {
            "qubits",
            "cx",
            "one_qubit",
            "depth",
            "t",
            "epsilon",
            "alpha_ratio",
            "shots_for_1_percent",
        } <= set(found)
    assert main(["inspect", str(folder), "--device", "line-2"]) == EXIT_OK
    text = capsys.readouterr().out
    assert "on line-2" in text
    assert "no fault" in text
    assert main(["inspect", str(folder), "--device", "line-1"]) == EXIT_OK
    assert "needs more qubits" in capsys.readouterr().out
    assert main(["inspect", str(folder), "--device", "nowhere-5"]) == EXIT_USAGE
    assert main(["inspect", str(model), "--device", "line-2"]) == EXIT_USAGE
    capsys.readouterr()
    assert main(["inspect", str(folder)]) == EXIT_OK
    header = next(line for line in capsys.readouterr().out.splitlines() if line.startswith("circuit "))
    assert header.split("  ")[-1].strip() == "shots for 1%"


def check_read_back(folder: Path, name: str) -> None:
    """The files as the readers of others see them, up to a global phase."""
    pytest.importorskip("qiskit_qasm3_import", reason="needs accelc[quantum]")
    from qiskit import qasm3
    from qiskit.quantum_info import Operator

    own = parse_qasm3((folder / f"{name}.qasm").read_text()).unitary()
    found = [Operator(qasm3.loads((folder / f"{name}.qasm").read_text())).data]
    if importlib.util.find_spec("pyquil") is not None:
        from pyquil import Program
        from pyquil.simulation.tools import program_unitary

        program = Program((folder / f"{name}.quil").read_text())
        found.append(program_unitary(program, n_qubits=len(own).bit_length() - 1))
    for unitary in found:
        phase = np.vdot(unitary, own)
        np.testing.assert_allclose(unitary * (phase / abs(phase)), own, atol=1e-9)


@pytest.mark.parametrize("circuits", [[{}], [3], 5, [{"segment": "", "qasm": "", "facts": 1}]])
def test_a_damaged_manifest_is_an_error(circuits: object) -> None:
    with pytest.raises(ArtifactError, match="damaged"):
        artifact_circuits({"payload": {"circuits": circuits}})
    assert artifact_circuits({"payload": {}}) == []
