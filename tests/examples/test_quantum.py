"""The examples of the quantum target run and show what they claim."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

for package in ("qiskit_aer", "qiskit_qasm3_import", "sklearn"):
    pytest.importorskip(package, reason="needs accelc[quantum,train]")

FOLDER = Path(__file__).parents[2] / "examples" / "quantum"


def run(script: str, *arguments: str) -> str:
    done = subprocess.run(
        [sys.executable, str(FOLDER / script), *arguments],
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
        env={**os.environ, "OPENBLAS_NUM_THREADS": "1"},
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_noise_is_less_than_with_fable() -> None:
    native, smallest, fable = json.loads(run("noise.py", "--inputs", "2", "--json"))["outcomes"]
    assert (native["method"], fable["method"], fable["qubits"]) == ("native", "fable", 7)
    assert native["cx"] <= 17
    assert smallest["cx"] <= 17
    assert native["ratio"] <= 0.65
    assert native["routed_cx"] < smallest["routed_cx"] < fable["routed_cx"]


def test_two_qubits() -> None:
    lines = run("x_cx.py").splitlines()
    assert [line.split(".")[1].split()[0] for line in lines[:4]] == ["qasm", "quil", "svg", "qpy"]
    assert "differs by 0.0e+00" in lines[4]
    assert lines[5].split()[-2:] == ["11:", "1000"]
    noisy = dict(pair.split(": ") for pair in lines[6].removeprefix("on device line-2").strip().split(", "))
    assert int(noisy["11"]) > 850


def test_a_search(tmp_path: Path) -> None:
    text = run("search.py", str(tmp_path))
    assert "equal on 512 images" in text
    assert float(text.split("is one of them with ")[1].split("%")[0]) >= 95
    assert {file.suffix for file in tmp_path.iterdir()} == {".onnx", ".qasm", ".quil", ".svg", ".qpy"}


def test_digits() -> None:
    found = json.loads(run("digits.py", "--images", "3", "--encoding-seconds", "0", "--json"))
    assert [net["net"] for net in found["nets"]] == ["64-10", "16-8-4"]
    for net in found["nets"]:
        assert net["verification"] == "verified"
        assert net["equal_from_state"] == 1.0
        assert net["equal_from_shots"] >= 0.95
    assert found["noisy"]["equal"] >= 0.6
    assert found["noisy"]["cx"] <= 34
