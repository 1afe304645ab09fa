"""Resize of any shape by whole factors, against onnxruntime."""

from __future__ import annotations

import numpy as np
import onnxruntime
import pytest
from onnx import ModelProto, TensorProto, helper

import accelc


def _model(place: str, rounding: str, scales: tuple[int, ...]) -> ModelProto:
    attrs = {"mode": "nearest", "coordinate_transformation_mode": place, "nearest_mode": rounding}
    nodes = [
        helper.make_node("Resize", ["x", "", "s"], ["r"], **attrs),
        helper.make_node("Relu", ["r"], ["y"]),
    ]
    x = helper.make_tensor_value_info("x", TensorProto.FLOAT, ["N", 3, "H", "W"])
    y = helper.make_tensor_value_info("y", TensorProto.FLOAT, None)
    s = helper.make_tensor("s", TensorProto.FLOAT, [4], scales)
    graph = helper.make_graph(nodes, "g", [x], [y], [s])
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 19)], ir_version=9)


@pytest.mark.parametrize(
    ("place", "rounding", "scales"),
    [
        ("asymmetric", "floor", (1, 1, 2, 2)),
        ("asymmetric", "round_prefer_floor", (1, 1, 2, 1)),
        ("half_pixel", "round_prefer_floor", (1, 1, 3, 4)),
        ("half_pixel", "round_prefer_ceil", (2, 1, 1, 5)),
    ],
)
def test_whole_factors_of_any_shape(place: str, rounding: str, scales: tuple[int, ...]) -> None:
    model = _model(place, rounding, scales)
    session = onnxruntime.InferenceSession(model.SerializeToString())
    exe = accelc.compile(model, verify=False, strict=True)
    for shape in ((1, 3, 5, 7), (2, 3, 1, 1), (2, 3, 4, 3)):
        x = np.random.default_rng(0).standard_normal(shape, dtype=np.float32)
        np.testing.assert_array_equal(exe(x=x), session.run(None, {"x": x})[0])


def test_other_rounding_is_not_taken_for_repetition() -> None:
    exe = accelc.compile(_model("asymmetric", "ceil", (1, 1, 2, 2)), verify=False)
    assert "whole factors" in exe.fallbacks[0]
