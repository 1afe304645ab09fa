"""``accelc diff`` on models that differ in a weight, an op, an interface, and not at all."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import onnx
import pytest
from onnx import parser

from accelc.cli.main import main
from accelc.errors import EXIT_NUMERICS, EXIT_OK, EXIT_USAGE


def _write(folder: Path, name: str, op: str = "Relu", weight: float = 2.0, output: str = "y") -> str:
    text = f"""<ir_version: 10, opset_import: ["" : 20]>
    g (float[N,4] x) => (float[N,4] {output}) <float[1] w = {{{weight}}}> {{
        [scale] s = Mul(x, w)
        [last] {output} = {op}(s)
    }}"""
    path = folder / f"{name}.onnx"
    onnx.save(parser.parse_model(text), path)
    return str(path)


def _diff(capsys: pytest.CaptureFixture[str], *arguments: str) -> tuple[int, dict[str, Any]]:
    code = main(["diff", *arguments, "--json"])
    return code, json.loads(capsys.readouterr().out)


def test_the_same(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    a, b = _write(tmp_path, "a"), _write(tmp_path, "b")
    code, facts = _diff(capsys, a, b)
    assert (code, facts["same"]) == (EXIT_OK, True)
    assert facts["results"][0]["equal"]


def test_a_weight(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    a, b = _write(tmp_path, "a"), _write(tmp_path, "b", weight=2.5)
    code, facts = _diff(capsys, a, b)
    assert code == EXIT_NUMERICS
    assert facts["weights"]["changed"] == ["w"]
    assert facts["results"][0]["max_rel_error"] == pytest.approx(0.25)
    assert _diff(capsys, a, b, "--tolerance", "0.3")[0] == EXIT_OK


def test_an_op_and_an_output(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    a, b = _write(tmp_path, "a"), _write(tmp_path, "b", op="Abs", output="z")
    code, facts = _diff(capsys, a, b, "--no-run")
    assert code == EXIT_OK
    assert facts["nodes"]["changed"] == ["last"]
    assert facts["ops"] == [{"op": "Abs", "a": 0, "b": 1}, {"op": "Relu", "a": 1, "b": 0}]
    assert facts["outputs"]["only_b"] == ["z float32[N,4]"]
    assert main(["diff", a, b]) == EXIT_OK
    assert "no output that both have" in capsys.readouterr().out


def test_no_such_file(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["diff", str(tmp_path / "a.onnx"), str(tmp_path)]) == EXIT_USAGE


def test_models_of_other_inputs(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    a = _write(tmp_path, "a")
    b = tmp_path / "b.onnx"
    text = '<ir_version: 10, opset_import: ["" : 20]> g (float[N,4] z) => (float[N,4] y) { y = Relu(z) }'
    onnx.save(parser.parse_model(text), b)
    assert main(["diff", a, str(b)]) == EXIT_USAGE
    assert f"{b} takes z, which {a} does not" in capsys.readouterr().err
    code, facts = _diff(capsys, a, str(b), "--no-run")
    assert (code, facts["inputs"]) == (EXIT_OK, {"only_a": ["x float32[N,4]"], "only_b": ["z float32[N,4]"]})
