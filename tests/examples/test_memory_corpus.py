"""The memory table plans every model, runs it, keeps a limit, and survives one that fails."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

EXAMPLES = Path(__file__).parents[2] / "examples"


def test_a_corpus(tmp_path: Path) -> None:
    shutil.copy(EXAMPLES / "digits" / "cnn.onnx", tmp_path)
    entry = {"path": "cnn.onnx", "inputs": {"image": {"shape": [2, 1, 8, 8], "dtype": "float32"}}}
    missing = {"path": "absent.onnx", "inputs": {}}
    (tmp_path / "corpus.json").write_text(json.dumps({"digits": entry, "absent": missing}))
    done = subprocess.run(
        [
            sys.executable,
            str(EXAMPLES / "memory_corpus.py"),
            "--sanitize",
            "--limit",
            "1.0",
            "--json",
            "out.json",
        ],
        env={**os.environ, "ACCELC_BENCH": str(tmp_path)},
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=False,
        timeout=300,
    )
    assert done.returncode == 0, done.stderr
    header, digits, absent, *_ = done.stdout.splitlines()
    assert header.split()[:2] == ["model", "steps"]
    assert digits.startswith("digits  ")
    assert "same results" in digits
    assert "Error" in absent
    assert "1 models: at most" in done.stdout
    rows = json.loads((tmp_path / "out.json").read_text())
    assert 0 < rows["digits"]["lower_bound_bytes"] <= rows["digits"]["arena_bytes"]
    assert rows["digits"]["limit"]["met"]
