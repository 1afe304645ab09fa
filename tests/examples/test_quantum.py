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
    native, smallest, fable = json.loads(run("noise.py", "--inputs", "3", "--json"))["outcomes"]
    assert (native["method"], fable["method"], fable["qubits"]) == ("native", "fable", 7)
    assert native["cx"] <= 17
    assert smallest["cx"] <= 17
    assert native["ratio"] <= 0.65
    assert native["routed_cx"] < smallest["routed_cx"] < fable["routed_cx"]
