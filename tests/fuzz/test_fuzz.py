"""Random models with fixed seeds: -O0 and -O3 equal onnxruntime. ``run.py`` does the same for thousands."""

from __future__ import annotations

from pathlib import Path

import fuzz_check
import onnx
import pytest
import run
from fuzz_check import Verdict, check_case
from fuzz_graph import Case
from fuzz_model import make_case


@pytest.mark.parametrize("seed", range(500, 532))
def test_passes_keep_the_meaning(seed: int) -> None:
    verdict = check_case(make_case(seed), "onnx", special=seed % 4 == 0)
    assert not verdict.failed, verdict


@pytest.mark.parametrize("seed", [1, 2, 3, 5, 6, 8, 9, 11])
def test_kernels_give_the_right_answers(seed: int) -> None:
    verdict = check_case(make_case(seed, max_nodes=3), "cpu", special=seed % 4 == 0)
    assert not verdict.failed, verdict


def test_a_seed_gives_one_model() -> None:
    assert make_case(7).model() == make_case(7).model()


def test_a_failing_model_is_made_small_and_written(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    seed = next(s for s in range(600, 700) if any(n.op_type == "Softmax" for n in make_case(s).nodes))

    def faulty(case: Case, target: str, *, special: bool = False) -> Verdict:
        found = any(node.op_type == "Softmax" for node in case.nodes)
        return Verdict("wrong", "planted", 3, case.outputs[0]) if found else Verdict("equal")

    monkeypatch.setattr(fuzz_check, "check_case", faulty)
    monkeypatch.setattr(run, "check_case", faulty)
    code = run.main(["--count", "1", "--seed", str(seed), "--failures", str(tmp_path)])
    assert code == 1
    assert [node.op_type for node in onnx.load(tmp_path / f"{seed}.onnx").graph.node] == ["Softmax"]
    assert (tmp_path / f"{seed}.txt").read_text().startswith(f"// seed {seed}, wrong at -O3\n// planted\n")
    assert "Softmax" in capsys.readouterr().out
