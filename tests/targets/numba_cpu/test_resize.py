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
    model = _model("asymmetric", "ceil", (1, 1, 2, 2))
    x = np.random.default_rng(0).standard_normal((1, 3, 5, 7), dtype=np.float32)
    session = onnxruntime.InferenceSession(model.SerializeToString())
    np.testing.assert_array_equal(
        accelc.compile(model, verify=False, strict=True)(x=x), session.run(None, {"x": x})[0]
    )


CASES: list[tuple[list[int | str], dict[str, list[float]], dict[str, object]]] = [
    (["N", 3, "H", "W"], {"scales": [1, 1, 1.5, 0.6]}, {"mode": "nearest", "nearest_mode": "round_prefer_ceil"}),
    (["N", 3, "H", "W"], {"scales": [1, 1, 1.5, 0.6]}, {"mode": "linear"}),
    (["N", 3, "H", "W"], {"sizes": [1, 3, 4, 9]},
     {"mode": "linear", "coordinate_transformation_mode": "align_corners"}),
    (["N", 3, "H", "W"], {"scales": [1, 1, 1.5, 0.6]}, {"mode": "cubic", "exclude_outside": 1}),
    ([1, 3, 6, 7], {"sizes": [1, 3, 3, 2]}, {"mode": "linear", "antialias": 1}),
    (["N", 3, "H", "W"], {"sizes": [1, 3, 3, 2]}, {"mode": "cubic", "antialias": 1}),
    ([1, 3, 6, 7], {"sizes": [9, 4]}, {"mode": "linear", "axes": [2, 3], "keep_aspect_ratio_policy": "not_larger"}),
    (["N", 3, "H", "W"], {"sizes": [9, 4]}, {"axes": [2, 3], "keep_aspect_ratio_policy": "not_smaller"}),
    ([1, 3, 6, 7], {"roi": [0.2, 0.4, 1.3, 0.9], "sizes": [5, 4]},
     {"mode": "linear", "axes": [2, 3], "coordinate_transformation_mode": "tf_crop_and_resize",
      "extrapolation_value": 7.0}),
]  # fmt: skip


@pytest.mark.parametrize("case", range(len(CASES)))
def test_modes(case: int) -> None:
    dims, given, attrs = CASES[case]
    kinds = {"roi": TensorProto.FLOAT, "scales": TensorProto.FLOAT, "sizes": TensorProto.INT64}
    tensors = [
        helper.make_tensor(name, kinds[name], [len(v)], [int(n) if name == "sizes" else n for n in v])
        for name, v in given.items()
    ]
    names = ["x", *(name if name in given else "" for name in kinds)]
    node = helper.make_node("Resize", names, ["y"], **attrs)
    x_info = helper.make_tensor_value_info("x", TensorProto.FLOAT, dims)
    graph = helper.make_graph([node], "g", [x_info], [helper.make_empty_tensor_value_info("y")], tensors)
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 19)], ir_version=9)
    x = np.random.default_rng(0).standard_normal((1, 3, 6, 7), dtype=np.float32)
    exe = accelc.compile(model, verify=False, strict=True)
    want = onnxruntime.InferenceSession(model.SerializeToString()).run(None, {"x": x})[0]
    np.testing.assert_allclose(exe(x=x), want, rtol=1e-5, atol=1e-5)
