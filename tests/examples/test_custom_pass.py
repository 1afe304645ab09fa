"""The example pass runs on a real model, from a file, before fusion."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

import accelc
from accelc.cli.main import main
from accelc.passes import load_from_file

EXAMPLES = Path(__file__).parents[2] / "examples"
SPEC = f"{EXAMPLES / 'custom_pass' / 'fold_input_scale.py'}:FoldInputScale"


@pytest.mark.parametrize("stem", ["mlp", "cnn"])
def test_from_python(stem: str) -> None:
    pipeline = accelc.Pipeline.default(level=1).then(load_from_file(SPEC))
    exe = accelc.compile(EXAMPLES / "digits" / f"{stem}.onnx", pipeline=pipeline)
    assert exe.verification.status == "verified"
    (rewrite,) = exe.trace["fold-input-scale"].rewrites
    assert rewrite.rule == "scale-into-weight"
    assert exe.model is not None
    assert "Mul" not in [node.op_type for node in exe.model.graph]


def test_from_the_command_line(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    arguments = ["compile", str(EXAMPLES / "digits" / "mlp.onnx"), "-o", str(tmp_path / "mlp.accel")]
    assert main([*arguments, "--pass-from", SPEC, "--json"]) == 0
    document = json.loads(capsys.readouterr().out)
    steps = document["passes"]
    assert "fold-input-scale" in steps
    assert steps.index("fold-input-scale") < steps.index("fuse-epilogues")
    assert document["verification"]["status"] == "verified"


def test_the_pass_is_short() -> None:
    lines = (EXAMPLES / "custom_pass" / "fold_input_scale.py").read_text().splitlines()
    assert sum(bool(line.strip()) for line in lines) < 40
