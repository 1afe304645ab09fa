"""The table of optimised models: every figure there, a failure is a line, a peer that is missing a dash."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from pathlib import Path

import onnx

EXAMPLES = Path(__file__).parents[2] / "examples"


def run_script(*arguments: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, str(EXAMPLES / "optimise_corpus.py"), *arguments]
    return subprocess.run(command, capture_output=True, text=True, check=False, timeout=300)


def test_a_folder(tmp_path: Path) -> None:
    shutil.copy(EXAMPLES / "digits" / "cnn.onnx", tmp_path)
    (tmp_path / "broken.onnx").write_bytes(b"no model")
    out, kept = tmp_path / "out.json", tmp_path / "kept"
    done = run_script(str(tmp_path), "--rounds", "1", "--json", str(out), "--keep", str(kept))
    assert done.returncode == 0, done.stderr
    header, broken, cnn, _, *problems = done.stdout.splitlines()
    assert header.split()[:5] == ["model", "nodes", "accelc", "onnxsim", "onnxslim"]
    assert "Error" in broken
    assert cnn.split()[3:5] == ["-", "-"]
    assert any(line.startswith("broken: ") for line in problems)
    row = json.loads(out.read_text())["cnn"]
    assert row["verification"] == "verified"
    assert row["nodes"]["accelc"] <= row["nodes"]["original"]
    assert row["bytes"]["accelc"] == (kept / "cnn.onnx").stat().st_size <= 1.01 * row["bytes"]["original"]
    assert row["ratio"]["median"] > 0
    onnx.checker.check_model(kept / "cnn.onnx", full_check=True)


def test_it_says_what_it_needs(tmp_path: Path) -> None:
    assert "give models" in run_script(str(tmp_path)).stderr
