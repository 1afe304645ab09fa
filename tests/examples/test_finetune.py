"""Fine-tuning repairs the damaged model and writes the same graph with other weights."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import numpy_helper

EXAMPLES = Path(__file__).parents[2] / "examples"


def test_finetune(tmp_path: Path) -> None:
    pytest.importorskip("optax", reason="training needs accelc[train]")
    pytest.importorskip("sklearn", reason="training needs accelc[train]")
    output = tmp_path / "out.onnx"
    done = subprocess.run(
        [sys.executable, str(EXAMPLES / "finetune" / "finetune.py"), "-o", str(output)],
        capture_output=True,
        text=True,
        check=False,
        timeout=120,
    )
    assert done.returncode == 0, done.stderr
    shares = dict(re.findall(r"^(\S+) +(\d+\.\d+)% of 360", done.stdout, re.MULTILINE))
    assert float(shares["damaged"]) < 80
    assert float(shares["fine-tuned"]) >= float(shares["original"]) - 0.5
    before, after = onnx.load(EXAMPLES / "digits" / "cnn.onnx"), onnx.load(output)
    assert after.graph.node == before.graph.node
    old, new = ({t.name: numpy_helper.to_array(t) for t in m.graph.initializer} for m in (before, after))
    assert old.keys() == new.keys()
    assert new["scale"] == old["scale"]
    assert not np.array_equal(new["w2"], old["w2"])
