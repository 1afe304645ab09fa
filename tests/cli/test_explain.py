"""``accelc explain`` on a model and on its artifact."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from accelc.cli.main import main
from accelc.errors import EXIT_OK, EXIT_USAGE

CNN = Path(__file__).parents[2] / "examples" / "digits" / "cnn.onnx"


def test_model_and_artifact(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["explain", "conv1", str(CNN), "--dim", "batch=4", "--rounds", "1"]) == EXIT_OK
    text = capsys.readouterr().out
    assert "fuse-epilogues: epilogue of conv1, relu1 -> relu1" in text
    assert "predicted" in text
    assert "measured" in text
    art = tmp_path / "cnn.accel"
    assert main(["compile", str(CNN), "-o", str(art), "--verify", "off"]) == EXIT_OK
    capsys.readouterr()
    assert main(["explain", "conv1", str(art), "--rounds", "1", "--json"]) == EXIT_OK
    facts = json.loads(capsys.readouterr().out)
    assert facts["becomes"][0]["origin"] == ["conv1", "relu1"]
    assert [step["kernel"] for step in facts["steps"]] == ["pad_copy", "conv"]
    assert main(["explain", "conv9", str(art)]) == EXIT_USAGE
    assert "conv1" in capsys.readouterr().err
