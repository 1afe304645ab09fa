"""``accelc compile --target onnx -o FILE.onnx``: a graph optimiser in one line."""

from __future__ import annotations

import json
from pathlib import Path

import onnx
import pytest

from accelc.cli.main import main

MODEL = Path(__file__).parents[2] / "examples" / "digits" / "mlp.onnx"


def test_one_file_comes_out(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out = tmp_path / "small.onnx"
    assert main(["compile", str(MODEL), "-t", "onnx", "-o", str(out)]) == 0
    assert "verified against onnxruntime" in capsys.readouterr().out
    before, after = onnx.load(MODEL), onnx.load(out)
    onnx.checker.check_model(after, full_check=True)
    assert len(after.graph.node) < len(before.graph.node)
    assert {node.domain for node in after.graph.node} == {""}
    assert [v.name for v in after.graph.output] == [v.name for v in before.graph.output]
    assert (after.producer_name, after.graph.name) == (before.producer_name, before.graph.name)
    assert {node.output[0] for node in after.graph.node} <= {node.output[0] for node in before.graph.node}


def test_functions_stay_if_asked(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out = tmp_path / "fused.onnx"
    options = ["-t", "onnx", "--keep-functions", "--json", "-o", str(out)]
    assert main(["compile", str(MODEL), *options]) == 0
    assert list(json.loads(capsys.readouterr().out)["files"]) == ["fused.onnx"]
    assert "accelc.fused" in {node.domain for node in onnx.load(out).graph.node}


def test_the_model_itself_is_not_written_over(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    copy = tmp_path / "m.onnx"
    copy.write_bytes(MODEL.read_bytes())
    assert main(["compile", str(copy), "-t", "onnx", "-o", str(copy)]) == 2
    assert f"{copy} is the model itself" in capsys.readouterr().err
    assert copy.read_bytes() == MODEL.read_bytes()
