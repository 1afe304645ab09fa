"""ai.onnx.ml ops in plain ONNX, compiled for the CPU, against onnxruntime."""

from __future__ import annotations

from typing import Any

import numpy as np
import onnxruntime
import pytest
from onnx import ModelProto, helper

import accelc
from accelc.errors import UnsupportedError

RNG = np.random.default_rng(0)
X = RNG.standard_normal((7, 5)).astype(np.float32)
K = RNG.integers(-1, 6, (4, 3))
WEIGHTS = RNG.standard_normal(15).astype(np.float32).tolist()
BIAS = [0.1, -0.2, 0.3]


def _model(op: str, arrays: dict[str, np.ndarray], outputs: int, attrs: dict[str, Any]) -> ModelProto:
    names = [f"y{i}" for i in range(outputs)]
    node = helper.make_node(op, list(arrays), names, domain="ai.onnx.ml", **attrs)
    inputs = [
        helper.make_tensor_value_info(
            name,
            helper.np_dtype_to_tensor_dtype(array.dtype),
            ["N", *array.shape[1:]] if array.ndim > 1 else list(array.shape),
        )
        for name, array in arrays.items()
    ]
    results = [helper.make_empty_tensor_value_info(name) for name in names]
    graph = helper.make_graph([node], "g", inputs, results)
    opsets = [helper.make_opsetid("", 17), helper.make_opsetid("ai.onnx.ml", 2)]
    return helper.make_model(graph, opset_imports=opsets, ir_version=8)


@pytest.mark.parametrize(
    ("op", "x", "attrs"),
    [
        ("Scaler", X, {"offset": [0.5], "scale": [2.0]}),
        ("Scaler", X, {"offset": [0.5, 1.0, 0.0, -1.0, 2.0], "scale": [2.0, 1.0, 0.5, 1.0, 3.0]}),
        ("Binarizer", X, {"threshold": 0.25}),
        ("Normalizer", X, {"norm": "L1"}),
        ("Normalizer", np.where(X > 1, 0, X) * np.float32([[1]] * 6 + [[0]]), {"norm": "L2"}),
        ("Normalizer", X, {"norm": "MAX"}),
        ("Imputer", np.where(X > 0.5, np.float32(np.nan), X),
         {"imputed_value_floats": [1.0, 2.0, 3.0, 4.0, 5.0], "replaced_value_float": float("nan")}),
        ("Imputer", np.where(X > 0.5, np.float32(9), X),
         {"imputed_value_floats": [1.5], "replaced_value_float": 9.0}),
        ("OneHotEncoder", K, {"cats_int64s": [0, 2, 4]}),
        ("LabelEncoder", K, {"keys_int64s": [0, 1, 4], "values_int64s": [7, 8, 9], "default_int64": -5}),
        ("LabelEncoder", K, {"keys_int64s": [0, 1, 4], "values_floats": [0.5, 1.5, 2.5]}),
        ("LinearRegressor", X, {"coefficients": WEIGHTS[:5], "intercepts": [0.5]}),
        ("LinearRegressor", X, {"coefficients": WEIGHTS, "intercepts": BIAS, "targets": 3}),
        ("LinearClassifier", X, {"coefficients": WEIGHTS, "intercepts": BIAS, "classlabels_ints": [3, 5, 9]}),
        ("LinearClassifier", X, {"coefficients": WEIGHTS, "intercepts": BIAS, "classlabels_ints": [3, 5, 9],
                                 "multi_class": 1, "post_transform": "SOFTMAX"}),
        ("LinearClassifier", X, {"coefficients": WEIGHTS, "intercepts": BIAS, "classlabels_ints": [3, 5, 9],
                                 "post_transform": "LOGISTIC"}),
        ("LinearClassifier", X, {"coefficients": WEIGHTS, "intercepts": BIAS, "classlabels_ints": [3, 5, 9],
                                 "post_transform": "SOFTMAX_ZERO"}),
        ("LinearClassifier", X, {"coefficients": WEIGHTS[:5], "intercepts": [0.1], "classlabels_ints": [3, 5],
                                 "post_transform": "LOGISTIC"}),
        ("LinearClassifier", X, {"coefficients": WEIGHTS[:5], "intercepts": [0.1], "classlabels_ints": [3, 5]}),
        ("LinearClassifier", X, {"coefficients": WEIGHTS[:10], "intercepts": BIAS[:2],
                                 "classlabels_strings": ["cat", "dog"]}),
        ("SVMRegressor", X, {"kernel_type": "RBF", "kernel_params": [0.3, 0.0, 0.0], "n_supports": 3,
                             "support_vectors": WEIGHTS, "coefficients": BIAS, "rho": [0.3]}),
        ("SVMRegressor", X, {"kernel_type": "POLY", "kernel_params": [0.5, 1.0, 3.0], "n_supports": 3,
                             "support_vectors": WEIGHTS, "coefficients": BIAS, "rho": [0.3], "one_class": 1}),
    ],
)  # fmt: skip
def test_against_onnxruntime(op: str, x: np.ndarray, attrs: dict[str, Any]) -> None:
    model = _model(op, {"x": x}, 2 if op == "LinearClassifier" else 1, attrs)
    wanted = onnxruntime.InferenceSession(model.SerializeToString()).run(None, {"x": x})
    found = accelc.compile(model, verify=False, strict=True).run(None, {"x": x})
    for want, got in zip(wanted, found, strict=True):
        assert (want.shape, want.dtype) == (got.shape, got.dtype)
        if want.dtype == object:
            assert got.tolist() == want.tolist()
        else:
            np.testing.assert_allclose(got, want, rtol=1e-5, atol=1e-6)


def test_columns() -> None:
    arrays = {"x": X, "columns": np.array([4, 0])}
    model = _model("ArrayFeatureExtractor", arrays, 1, {})
    np.testing.assert_array_equal(accelc.compile(model, strict=True)(**arrays), X[:, [4, 0]])


def test_a_domain_listed_twice_and_a_vector_of_classes() -> None:
    nodes = [
        helper.make_node("ArgMax", ["x"], ["best"], axis=1, keepdims=1),
        helper.make_node("ArrayFeatureExtractor", ["classes", "best"], ["y"], domain="ai.onnx.ml"),
    ]
    x = helper.make_tensor_value_info("x", 1, ["N", 5])
    classes = helper.make_tensor("classes", 7, [5], [3, 1, 4, 1, 5])
    graph = helper.make_graph(nodes, "g", [x], [helper.make_empty_tensor_value_info("y")], [classes])
    opsets = [helper.make_opsetid("ai.onnx.ml", 1), helper.make_opsetid("", 17), helper.make_opsetid("", 17)]
    model = helper.make_model(graph, opset_imports=opsets, ir_version=8)
    assert accelc.compile(model, strict=True)(x=X).tolist() == [[[3, 1, 4, 1, 5][i] for i in X.argmax(1)]]


def test_a_map_as_output_says_how_to_export() -> None:
    model = _model("LinearClassifier", {"x": X}, 2, {"coefficients": WEIGHTS, "intercepts": BIAS,
                                                    "classlabels_ints": [0, 1, 2]})  # fmt: skip
    zipped = helper.make_node("ZipMap", ["y1"], ["m"], domain="ai.onnx.ml", classlabels_int64s=[0, 1, 2])
    model.graph.node.append(zipped)
    value = helper.make_tensor_type_proto(1, [])
    kind = helper.make_sequence_type_proto(helper.make_map_type_proto(7, value))
    model.graph.output[1].CopyFrom(helper.make_value_info("m", kind))
    with pytest.raises(UnsupportedError, match="'zipmap': False"):
        accelc.compile(model)
