"""The shipped models are what their README says, and the example's scripts run."""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import onnx
import onnxruntime as ort
import pytest
from onnx import numpy_helper

FOLDER = Path(__file__).parents[2] / "examples" / "digits"


def run_script(script: Path, *arguments: str) -> str:
    done = subprocess.run(
        [sys.executable, str(script), *arguments], capture_output=True, text=True, check=False, timeout=300
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def tensor(path: Path) -> np.ndarray:
    proto = onnx.TensorProto()
    proto.ParseFromString(path.read_bytes())
    return numpy_helper.to_array(proto)


@pytest.mark.parametrize("stem", ["mlp", "cnn"])
def test_models(stem: str) -> None:
    path = FOLDER / f"{stem}.onnx"
    assert path.stat().st_size < 200_000
    model = onnx.load(path)
    onnx.checker.check_model(model, full_check=True)
    assert model.opset_import[0].version <= 21
    assert model.graph.input[0].type.tensor_type.shape.dim[0].dim_param == "batch"
    session = ort.InferenceSession(path, providers=["CPUExecutionProvider"])
    data = FOLDER / f"{stem}_test_data_set_0"
    (result,) = session.run(None, {model.graph.input[0].name: tensor(data / "input_0.pb")})
    np.testing.assert_allclose(result, tensor(data / "output_0.pb"), atol=1e-5)


@pytest.mark.parametrize("stem", ["mlp", "cnn"])
def test_classify(stem: str) -> None:
    out = run_script(FOLDER / "classify.py", stem)
    ours, theirs = re.findall(r"^(?:accelc|onnxruntime) +(\d+\.\d+)% of 360 rows right$", out, re.MULTILINE)
    assert float(ours) == float(theirs) >= 97.0
    stated = re.search(rf"`{stem}.onnx`.*\| (\d+\.\d+) % \|", (FOLDER / "README.md").read_text())
    assert stated is not None
    assert stated[1] == ours


def test_train(tmp_path: Path) -> None:
    pytest.importorskip("optax", reason="training needs accelc[train]")
    shutil.copy(FOLDER / "train.py", tmp_path)
    out = run_script(tmp_path / "train.py")
    accuracies = re.findall(r"accuracy (\d+\.\d+)% on 360 held-out rows", out)
    assert len(accuracies) == 2
    assert min(map(float, accuracies)) >= 97.0
    for path in FOLDER.glob("*.onnx"):
        again = onnx.load(tmp_path / path.name)
        assert [n.op_type for n in again.graph.node] == [n.op_type for n in onnx.load(path).graph.node]
    for path in FOLDER.glob("*_test_data_set_0/input_0.pb"):
        np.testing.assert_array_equal(tensor(tmp_path / path.relative_to(FOLDER)), tensor(path))
