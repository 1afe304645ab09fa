"""The corpus script measures every model in its own process and survives one that fails."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

EXAMPLES = Path(__file__).parents[2] / "examples"


def run_script(folder: Path | None, *arguments: str) -> subprocess.CompletedProcess[str]:
    environment = {key: value for key, value in os.environ.items() if key != "ACCELC_BENCH"}
    if folder is not None:
        environment["ACCELC_BENCH"] = str(folder)
    command = [sys.executable, str(EXAMPLES / "bench_corpus.py"), *arguments]
    return subprocess.run(command, env=environment, capture_output=True, text=True, check=False, timeout=300)


def test_a_corpus(tmp_path: Path) -> None:
    (tmp_path / "models").mkdir()
    shutil.copy(EXAMPLES / "digits" / "mlp.onnx", tmp_path / "models")
    entry = {"path": "models/mlp.onnx", "inputs": {"pixels": {"shape": [2, 64], "dtype": "float32"}}}
    missing = {"path": "models/absent.onnx", "inputs": {}}
    (tmp_path / "corpus.json").write_text(json.dumps({"digits": entry, "absent": missing}))
    done = run_script(tmp_path, "--rounds", "1", "--json", str(tmp_path / "out.json"))
    assert done.returncode == 0, done.stderr
    header, digits, *slowest, absent = done.stdout.split("\n\n")[0].splitlines()
    assert header.split()[:2] == ["model", "kernels"]
    assert digits.startswith("digits  ")
    assert len(slowest) == 3
    assert all("%" in line for line in slowest)
    assert absent.startswith("absent  ")
    assert "Error" in absent
    assert "1 models: geometric mean" in done.stdout
    rows = json.loads((tmp_path / "out.json").read_text())
    assert rows["digits"]["verification"] == "verified"
    assert rows["digits"]["ratio"]["median"] > 0
    assert "numpy 2" in done.stdout


def test_it_says_what_it_needs(tmp_path: Path) -> None:
    assert "set ACCELC_BENCH" in run_script(None).stderr
    (tmp_path / "corpus.json").write_text("{}")
    assert "not in corpus.json: nothing" in run_script(tmp_path, "nothing").stderr
