"""Real models through target xla: verified on the device at hand, exported for devices that are not here."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest

import accelc

pytest.importorskip("jax", reason="target xla needs accelc[jax]")

FOLDER = Path(os.environ.get("ACCELC_BENCH", ""))


@pytest.mark.corpus
@pytest.mark.parametrize("name", ["mlp_784_128_10_b1", "bigru_128_s32", "squeezenet"])
def test_verified_and_exported(name: str, tmp_path: Path) -> None:
    listing = FOLDER / "corpus.json"
    if not os.environ.get("ACCELC_BENCH") or not listing.is_file():
        pytest.skip("the benchmark models are not here (set ACCELC_BENCH to their folder)")
    path = Path(json.loads(listing.read_text())[name]["path"])
    if not path.is_file():
        pytest.skip(f"{name} is not among the benchmark models")
    exe = accelc.compile(path, target="xla", strict=True)
    assert exe.verification.status == "verified"
    assert exe.summary["target_facts"]["compiled functions"] == 1
    folder = exe.save(tmp_path / "m.accel")
    assert {file.suffixes[-2] for file in folder.glob("function0_0.*.stablehlo")} >= {".cuda", ".tpu"}
