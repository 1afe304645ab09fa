"""The default pipeline on real models: everything that exporters took apart is found again."""

from __future__ import annotations

import json
import os
from collections import Counter
from pathlib import Path

import numpy as np
import onnx_ir as ir
import pytest

import accelc.passes as registry
from accelc.frontend import load_model
from accelc.ir.inline import inline_all
from accelc.ir.pass_base import PassContext, count_nodes
from accelc.pipeline import Checks, Pipeline, resolved, run_passes
from accelc.reference import evaluate_node, relative_error, run_onnxruntime

BENCH = os.environ.get("ACCELC_BENCH", "")

pytestmark = [
    pytest.mark.corpus,
    pytest.mark.skipif(not BENCH, reason="set ACCELC_BENCH to the folder of the benchmark models"),
]


def load(name: str) -> tuple[ir.Model, dict[str, np.ndarray]]:
    entry = json.loads((Path(BENCH) / "corpus.json").read_text())[name]
    path = Path(BENCH) / "models" / f"{name}.onnx"
    if not path.exists():
        pytest.skip(f"{path} is not there")
    rng = np.random.default_rng(0)
    feeds = {}
    for key, spec in entry["inputs"].items():
        dtype = np.dtype(spec["dtype"])
        draw = rng.standard_normal(spec["shape"]) if dtype.kind == "f" else rng.integers(0, 2, spec["shape"])
        feeds[key] = draw.astype(dtype)
    return load_model(path).model, feeds


@pytest.mark.parametrize(
    ("name", "most_nodes", "wanted"),
    [
        ("minilm_s128", 115, {"Attention": 6, "Gelu": 6, "LayerNormalization": 13, "Softmax": 0, "Erf": 0}),
        ("vit_s16", 215, {"Attention": 12, "Gelu": 12, "LayerNormalization": 25, "Softmax": 0, "Erf": 0}),
        ("mobilenet_v2", 56, {"Conv": 52, "Clip": 35, "Add": 10}),
        ("ppocr_rec_320", 105, {"HardSwish": 28, "Swish": 7, "LayerNormalization": 5, "Sigmoid": 0}),
    ],
)
def test_models(name: str, most_nodes: int, wanted: dict[str, int]) -> None:
    model, feeds = load(name)
    expected = run_onnxruntime(model, feeds, optimize=False)
    steps = resolved(Pipeline.default(2).steps, registry.resolve)
    model = run_passes(steps, model, PassContext(evaluator=evaluate_node), Checks(verify_each=True))
    assert count_nodes(model) <= most_nodes
    results = [run_onnxruntime(model, feeds, optimize=False)]
    inline_all(model)
    found = Counter(node.op_type for node in model.graph)
    assert {op: found[op] for op in wanted} == wanted
    results.append(run_onnxruntime(model, feeds, optimize=False))
    for got in results:
        assert max(relative_error(a, b) for a, b in zip(expected, got, strict=True)) < 2e-5
