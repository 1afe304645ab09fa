"""SVMClassifier against onnxruntime: labels by votes, scores of pairs, probabilities of classes."""

from __future__ import annotations

from typing import Any

import numpy as np
import onnxruntime
import pytest
from onnx import helper

import accelc


@pytest.mark.parametrize("kernel", ["RBF", "POLY", "LINEAR"])
@pytest.mark.parametrize("probable", [False, True])
@pytest.mark.parametrize("classes", [2, 3])
def test_against_onnxruntime(classes: int, probable: bool, kernel: str) -> None:
    rng = np.random.default_rng(classes)
    count, pairs = 2 * classes, classes * (classes - 1) // 2
    attrs: dict[str, Any] = {
        "kernel_type": kernel,
        "kernel_params": [0.3, 1.0, 2.0],
        "vectors_per_class": [2] * classes,
        "support_vectors": rng.standard_normal(count * 3).tolist(),
        "coefficients": rng.standard_normal((classes - 1) * count).tolist(),
        "rho": rng.standard_normal(pairs).tolist(),
        "classlabels_ints": [3, 5, 9][:classes],
    }
    if probable:
        attrs |= {"prob_a": (-rng.random(pairs)).tolist(), "prob_b": rng.standard_normal(pairs).tolist()}
    node = helper.make_node("SVMClassifier", ["x"], ["y", "z"], domain="ai.onnx.ml", **attrs)
    results = [helper.make_empty_tensor_value_info(name) for name in "yz"]
    graph = helper.make_graph([node], "g", [helper.make_tensor_value_info("x", 1, ["N", 3])], results)
    opsets = [helper.make_opsetid("", 17), helper.make_opsetid("ai.onnx.ml", 1)]
    model = helper.make_model(graph, opset_imports=opsets, ir_version=8)
    x = rng.standard_normal((20, 3)).astype(np.float32)
    labels, scores = onnxruntime.InferenceSession(model.SerializeToString()).run(None, {"x": x})
    found = accelc.compile(model, verify=False, strict=True).run(None, {"x": x})
    np.testing.assert_array_equal(found[0], labels)
    np.testing.assert_allclose(found[1], scores, rtol=1e-4, atol=1e-5)
