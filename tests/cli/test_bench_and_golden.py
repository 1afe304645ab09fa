"""The verbs ``bench`` and ``golden`` from the command line, on the shipped digits."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from onnx import numpy_helper

from accelc.cli.bench import split_counts, split_names
from accelc.cli.main import main
from accelc.errors import UsageError
from accelc.quantities import duration_text

DIGITS = Path(__file__).parents[2] / "examples" / "digits"
MLP = DIGITS / "mlp.onnx"


def changed_copy(path: Path) -> Path:
    """The MLP with other biases in its last layer."""
    model = onnx.load(MLP)
    (bias,) = (tensor for tensor in model.graph.initializer if tensor.name == "b3")
    bias.CopyFrom(
        numpy_helper.from_array(numpy_helper.to_array(bias) + np.arange(10, dtype=np.float32), "b3")
    )
    onnx.save(model, path)
    return path


def test_golden_outputs_catch_a_changed_model(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    folder = tmp_path / "golden"
    assert main(["golden", "record", str(MLP), str(folder)]) == 0
    # One case: the test data beside the model.
    assert (
        capsys.readouterr().out
        == f"1 cases of mlp.onnx recorded in {folder} (bounds: probabilities 0.0001)\n"
    )
    manifest = json.loads((folder / "manifest.json").read_text())
    assert manifest["cases"][0]["inputs"]["pixels"]["shape"] == [32, 64]
    assert main(["golden", "check", str(MLP), str(folder)]) == 0
    assert capsys.readouterr().out.endswith("1 cases, 1 outputs: all as recorded\n")

    other = changed_copy(tmp_path / "other.onnx")
    assert main(["golden", "check", str(other), str(folder)]) == 1
    captured = capsys.readouterr()
    assert "probabilities  differs" in captured.out
    assert captured.err.startswith(
        "NumericsError: 1 of 1 golden outputs differ\n  where  case 0, output probabilities"
    )
    assert main(["golden", "check", str(other), str(folder), "--json"]) == 1
    document = json.loads(capsys.readouterr().out)
    assert (document["ok"], document["exit_code"], document["rows"][0]["output"]) == (
        False,
        1,
        "probabilities",
    )


def test_golden_on_random_inputs(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    folder = tmp_path / "golden"
    arguments = ["golden", "record", str(MLP), str(folder), "--cases", "2", "--dim", "batch=5", "--no-verify"]
    assert main([*arguments, "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["cases"] == 2
    assert main(arguments) == 2
    assert "has golden outputs" in capsys.readouterr().err
    assert main([*arguments, "--force", "--bound", "0.01"]) == 0
    assert "probabilities 0.01" in capsys.readouterr().out
    assert main(["golden", "check", str(MLP), str(tmp_path / "nothing")]) == 2
    assert "is not a golden folder" in capsys.readouterr().err


def test_golden_on_given_inputs(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    np.savez(tmp_path / "x.npz", pixels=np.zeros((4, 64), np.float32))
    arguments = [
        "golden",
        "record",
        str(MLP),
        str(tmp_path / "g"),
        "--input",
        str(tmp_path / "x.npz"),
        "--no-verify",
    ]
    assert main(arguments) == 0
    with np.load(tmp_path / "g" / "case_0.npz") as case:
        assert case["inputs_0"].shape == (4, 64)


def test_golden_of_an_artifact(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    import accelc

    saved = accelc.compile(MLP, verify=False).save(tmp_path / "mlp.accel")
    assert main(["golden", "record", str(saved), str(tmp_path / "g"), "--cases", "1"]) == 0
    assert main(["golden", "check", str(MLP), str(tmp_path / "g")]) == 0


def bench_json(capsys: pytest.CaptureFixture[str], *arguments: str) -> dict[str, Any]:
    assert main(["bench", *arguments, "--rounds", "1", "--json"]) == 0
    document: dict[str, Any] = json.loads(capsys.readouterr().out)
    return document


def test_bench(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    document = bench_json(capsys, str(MLP), "--dim", "batch=2")
    assert [t["system"] for t in document["timings"]] == ["accelc", "onnxruntime"]
    assert {"median_ms", "p10_ms", "p90_ms", "p99_ms", "prepare_ms"} <= set(document["timings"][0])
    assert document["inputs"] == {"pixels": "float32[2, 64]"}
    assert document["ratios"][0]["median"] > 0

    import accelc

    saved = accelc.compile(MLP, verify=False).save(tmp_path / "mlp.accel")
    document = bench_json(capsys, str(saved), "--original", str(MLP))
    assert document["ratios"][0]["baseline"] == "onnxruntime"
    assert bench_json(capsys, str(saved), "--vs", "none")["ratios"] == []


def test_bench_for_people(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["bench", str(MLP), "--rounds", "1"]) == 0
    out = capsys.readouterr().out
    assert out.startswith("mlp.onnx, target ")
    for word in (
        "median",
        "p99",
        "onnxruntime 1.",
        "x as fast as onnxruntime, 1 thread (p10 to p90",
        "numpy 2",
    ):
        assert word in out


def test_bench_refuses(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["bench", str(MLP), "--vs", "abacus", "--rounds", "1"]) == 2
    assert (
        "cannot compare with 'abacus'\n  fix    known systems: onnxruntime, openvino"
        in capsys.readouterr().err
    )
    assert main(["bench", str(MLP), "--threads", "0"]) == 2
    assert "cannot read --threads 0" in capsys.readouterr().err


def test_reading_lists() -> None:
    assert split_names("a, b,a,") == ["a", "b"]
    assert split_counts("1,2") == [1, 2]
    for text in ("", "1,x", "-1"):
        with pytest.raises(UsageError):
            split_counts(text)
    assert [duration_text(ms) for ms in (0.0119, 3.351, 241.26)] == ["11.9 us", "3.35 ms", "241.3 ms"]
