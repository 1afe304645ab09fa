"""``accelc inspect --memory``: the plan of an artifact for any sizes, drawn without loading kernels."""

from __future__ import annotations

import json
import xml.etree.ElementTree as ET
from collections.abc import Callable
from pathlib import Path

import pytest

import accelc
from accelc.cli import main as cli

MLP = Path(__file__).parents[2] / "examples" / "digits" / "mlp.onnx"


@pytest.fixture(scope="module")
def artifact(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return accelc.compile(MLP, verify=False).save(tmp_path_factory.mktemp("memory") / "mlp.accel")


Inspect = Callable[..., tuple[int, str]]


@pytest.fixture
def inspect(capsys: pytest.CaptureFixture[str]) -> Inspect:
    def call(*words: object) -> tuple[int, str]:
        code = cli.main(["inspect", *map(str, words)])
        return code, capsys.readouterr().out

    return call


def test_picture_and_numbers(artifact: Path, tmp_path: Path, inspect: Inspect) -> None:
    picture = tmp_path / "plan.svg"
    code, out = inspect(artifact, "--memory", picture, "--dim", "batch=8", "--json")
    assert code == 0
    plan = json.loads(out)["memory_plan"]
    exe = accelc.load(artifact)
    exe.plan_for({"pixels": (8, 64)})
    assert plan["peak_bytes"] == exe.memory_plan.peak_bytes
    assert plan["symbols"] == {"batch": 8}
    root = ET.parse(picture).getroot()
    boxes = [rect for rect in root.iter("{http://www.w3.org/2000/svg}rect") if rect.get("class") == "box"]
    assert len(boxes) == len(plan["buffers"])


def test_the_formula_holds_for_other_sizes(artifact: Path, tmp_path: Path, inspect: Inspect) -> None:
    _, out = inspect(artifact, "--memory", tmp_path / "plan.svg", "--dim", "batch=1", "--json")
    formula = json.loads(out)["memory_plan"]["formula"]
    assert formula
    __, out = inspect(artifact, "--memory", tmp_path / "plan.svg", "--dim", "batch=64", "--json")
    bound = json.loads(out)["memory_plan"]["lower_bound_bytes"]
    best = max(eval(text, {}, {"batch": 64}) for text in formula)
    assert abs(best - bound) <= 512  # rounded to cache lines, workspaces of one row


def test_what_has_no_plan(artifact: Path, tmp_path: Path, inspect: Inspect) -> None:
    code, _ = inspect(MLP, "--memory", tmp_path / "plan.svg")
    assert code == 2
    code, _ = inspect(artifact, "--memory", tmp_path / "plan.svg", "--dim", "N=8")
    assert code == 2
    code, _ = inspect(artifact, "--memory", tmp_path / "missing" / "plan.svg")
    assert code == 2
