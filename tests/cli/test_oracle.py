"""``accelc oracle`` from file to answer."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from accelc.cli.main import main
from accelc.errors import EXIT_LIMIT, EXIT_OK, EXIT_UNSUPPORTED, EXIT_USAGE

NET = """g (float[N,4] x) => (float[N,1] y) <
    float[4,3] w = {1, -1, 1, 1, 1, -1, -1, 1, 1, 1, 1, 1}, float[3,1] v = {1, 1, -1}, float b = {1}
> {
    a = MatMul(x, w)
    s = Add(a, b)
    h = Sign(s)
    d = MatMul(h, v)
    y = Sign(d)
}"""


@pytest.fixture
def net(tmp_path: Path) -> Path:
    file = tmp_path / "net.onnxtxt"
    file.write_text(NET)
    return file


def test_json_and_file(net: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    qasm = tmp_path / "search.qasm"
    assert main(["oracle", str(net), "--property", "output==1", "--json", "-o", str(qasm)]) == EXIT_OK
    facts = json.loads(capsys.readouterr().out)
    assert facts["inputs_checked"] == facts["inputs_searched"] == 16
    assert facts["model_oracle"]["toffoli"] <= 19
    assert facts["success_probability"] >= 0.95
    assert sum(facts["measured"].values()) == facts["shots"] == 1000
    assert facts["files"] == [str(qasm)]
    assert qasm.read_text().startswith("OPENQASM 3.0;")


def test_every_format_in_a_folder(net: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["oracle", str(net), "-o", str(tmp_path / "made")]) == EXIT_OK
    text = capsys.readouterr().out
    for ending in ("qasm", "quil", "svg"):
        assert str(tmp_path / "made" / f"net.{ending}") in text
        assert (tmp_path / "made" / f"net.{ending}").stat().st_size > 100


def test_text_without_a_property_and_with_few_qubits(net: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["oracle", str(net), "--few-qubits"]) == EXIT_OK
    text = capsys.readouterr().out
    assert "equal to onnxruntime on 16 inputs" in text
    assert "27 Toffoli" in text
    assert main(["oracle", str(net), "--property", "one-bit-apart", "--shots", "50"]) == EXIT_OK
    assert "solutions" in capsys.readouterr().out


def test_no_solution_is_an_answer(net: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["oracle", str(net), "--property", "output==0", "--json"]) == EXIT_OK
    facts = json.loads(capsys.readouterr().out)
    assert (facts["solutions"], facts["iterations"], facts["measured"]) == (0, None, {})
    file = str(tmp_path / "none.qasm")
    assert main(["oracle", str(net), "--property", "output==0", "--json", "-o", file]) == EXIT_USAGE
    written = capsys.readouterr()
    facts = json.loads(written.out)
    assert (facts["solutions"], facts["files"]) == (0, [])
    assert "nothing is written" in written.err


@pytest.mark.parametrize(
    ("extra", "code"),
    [
        (["--property", "wrong"], EXIT_USAGE),
        (["--bits", "trits"], EXIT_USAGE),
        (["-o", "circuit.txt"], EXIT_USAGE),
        (["--property", "output==1", "--success", "2"], EXIT_USAGE),
        (["--property", "within 1 of 01"], EXIT_USAGE),
        (["--dim", "N=9"], EXIT_LIMIT),
    ],
)
def test_wrong_uses(net: Path, extra: list[str], code: int) -> None:
    assert main(["oracle", str(net), *extra]) == code


def test_ops_without_a_circuit_are_listed(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file = tmp_path / "smooth.onnxtxt"
    file.write_text("g (float[2] x) => (float[2] y) { a = Tanh(x)  y = Exp(a) }")
    assert main(["oracle", str(file)]) == EXIT_UNSUPPORTED
    assert "Exp, Tanh" in capsys.readouterr().err
    assert main(["oracle", str(tmp_path / "absent.onnx")]) == EXIT_USAGE
