"""Tree ensembles in plain ONNX, compiled for the CPU, against onnxruntime."""

from __future__ import annotations

from typing import Any

import numpy as np
import onnxruntime
import pytest
from onnx import ModelProto, TensorProto, helper, numpy_helper

import accelc

FEATURES = 4


def _trees(rng: np.random.Generator, count: int, targets: int, kind: str, mode: str) -> dict[str, Any]:
    """Random trees of different depth, as attributes."""
    nodes: dict[str, list[Any]] = {
        key: [] for key in ("treeids", "nodeids", "featureids", "values", "modes", "truenodeids",
                            "falsenodeids", "missing_value_tracks_true")
    }  # fmt: skip
    leaves: dict[str, list[Any]] = {key: [] for key in ("treeids", "nodeids", "ids", "weights")}
    for tree in range(count):
        pending, free = [(0, 0)], 1
        while pending:
            node, depth = pending.pop()
            leaf = depth >= 4 or (depth > 0 and rng.random() < 0.3) or tree == 0
            row = (tree, node, int(rng.integers(FEATURES)), float(np.float32(rng.standard_normal())),
                   "LEAF" if leaf else mode, 0 if leaf else free, 0 if leaf else free + 1,
                   int(rng.integers(2)))  # fmt: skip
            for column, value in zip(nodes.values(), row, strict=True):
                column.append(value)
            if leaf:
                for target in range(targets):
                    for column, value in zip(
                        leaves.values(), (tree, node, target, rng.random()), strict=True
                    ):
                        column.append(value)
            else:
                pending += [(free, depth + 1), (free + 1, depth + 1)]
                free += 2
    found = {f"nodes_{key}": value for key, value in nodes.items()}
    return found | {f"{kind}_{key}": value for key, value in leaves.items()}


def _model(op: str, attrs: dict[str, Any]) -> ModelProto:
    outputs = ["y", "z"] if op == "TreeEnsembleClassifier" else ["y"]
    node = helper.make_node(op, ["x"], outputs, domain="ai.onnx.ml", **attrs)
    x = helper.make_tensor_value_info("x", TensorProto.FLOAT, ["N", FEATURES])
    results = [helper.make_empty_tensor_value_info(name) for name in outputs]
    opsets = [helper.make_opsetid("", 17), helper.make_opsetid("ai.onnx.ml", 3)]
    return helper.make_model(helper.make_graph([node], "g", [x], results), opset_imports=opsets, ir_version=8)


@pytest.mark.parametrize(
    ("op", "targets", "mode", "extra"),
    [
        ("TreeEnsembleRegressor", 1, "BRANCH_LEQ", {"base_values": [0.5]}),
        ("TreeEnsembleRegressor", 2, "BRANCH_GT", {"aggregate_function": "AVERAGE"}),
        ("TreeEnsembleClassifier", 3, "BRANCH_LT", {}),
        ("TreeEnsembleClassifier", 3, "BRANCH_LEQ", {"post_transform": "SOFTMAX"}),
        (
            "TreeEnsembleClassifier",
            1,
            "BRANCH_LEQ",
            {"post_transform": "LOGISTIC", "classlabels_int64s": [4, 7]},
        ),
        ("TreeEnsembleClassifier", 1, "BRANCH_LEQ", {"classlabels_int64s": [4, 7], "base_values": [0.25]}),
        ("TreeEnsembleClassifier", 2, "BRANCH_LEQ", {"classlabels_int64s": [0, 1]}),
    ],
)
def test_against_onnxruntime(op: str, targets: int, mode: str, extra: dict[str, Any]) -> None:
    rng = np.random.default_rng(targets)
    is_class = op == "TreeEnsembleClassifier"
    attrs = _trees(rng, 6, targets, "class" if is_class else "target", mode)
    attrs |= {"classlabels_int64s": [4, 7, 9][:targets]} if is_class else {"n_targets": targets}
    model = _model(op, attrs | extra)
    session = onnxruntime.InferenceSession(model.SerializeToString())
    exe = accelc.compile(model, verify=False, strict=True)
    for rows in (1, 33):
        x = rng.standard_normal((rows, FEATURES)).astype(np.float32)
        x[0, 1] = np.nan
        for want, got in zip(session.run(None, {"x": x}), exe.run(None, {"x": x}), strict=True):
            assert (want.shape, want.dtype) == (got.shape, got.dtype)
            np.testing.assert_allclose(got, want, rtol=1e-5, atol=1e-6)


def test_leaves_in_a_table_of_their_own() -> None:
    thresholds = numpy_helper.from_array(np.array([0.1, -0.2, 0.3], np.float32))
    attrs = {
        "n_targets": 2, "nodes_featureids": [0, 1, 2], "nodes_splits": thresholds, "tree_roots": [0, 2],
        "nodes_modes": numpy_helper.from_array(np.zeros(3, np.uint8)), "nodes_truenodeids": [1, 0, 3],
        "nodes_trueleafs": [0, 1, 1], "nodes_falsenodeids": [1, 2, 4], "nodes_falseleafs": [1, 1, 1],
        "leaf_targetids": [0, 1, 0, 0, 1], "leaf_weights": numpy_helper.from_array(np.float32([1, 2, 3, 4, 5])),
    }  # fmt: skip
    x = np.random.default_rng(0).standard_normal((9, FEATURES)).astype(np.float32)
    for aggregate in (0, 1):
        model = _model("TreeEnsemble", {**attrs, "aggregate_function": aggregate})
        model.opset_import[1].version = 5
        want = onnxruntime.InferenceSession(model.SerializeToString()).run(None, {"x": x})[0]
        np.testing.assert_allclose(accelc.compile(model, verify=False, strict=True)(x=x), want, rtol=1e-6)
