"""The clean-up passes on real models: same answers, and quick."""

from __future__ import annotations

import json
import os
from pathlib import Path

import numpy as np
import pytest

import accelc.passes as registry
from accelc.frontend import load_model
from accelc.ir.pass_base import PassContext
from accelc.pipeline import CLEAN, Checks, resolved, run_passes
from accelc.reference import evaluate_node, run_onnxruntime
from accelc.testing.rewrites import assert_close

FOLDER = Path(os.environ.get("ACCELC_BENCH", ""))


@pytest.mark.corpus
@pytest.mark.parametrize("name", ["squeezenet", "mobilenet_v2", "shufflenet", "densenet121"])
def test_same_answers(name: str) -> None:
    listing = FOLDER / "corpus.json"
    if not os.environ.get("ACCELC_BENCH") or not listing.is_file():
        pytest.skip("the benchmark models are not here (set ACCELC_BENCH to their folder)")
    entry = json.loads(listing.read_text())[name]
    if not Path(entry["path"]).is_file():
        pytest.skip(f"{name} is not among the benchmark models")
    rng = np.random.default_rng(0)
    feeds = {
        key: rng.standard_normal(spec["shape"]).astype(spec["dtype"]) for key, spec in entry["inputs"].items()
    }
    model = load_model(entry["path"]).model
    expected = run_onnxruntime(model, feeds)
    ctx = PassContext(evaluator=evaluate_node)
    result = run_passes(resolved(CLEAN, registry.resolve), model, ctx, Checks(verify_each=True))
    for value, a, b in zip(result.graph.outputs, expected, run_onnxruntime(result, feeds), strict=True):
        assert_close(a, b, str(value.name), tolerance=2e-5)
    assert not [
        n for n in result.graph if n.op_type in ("BatchNormalization", "Constant", "Identity", "Dropout")
    ]
