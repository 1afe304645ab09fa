"""Transposed convolutions, Col2Im and Einsum against the reference."""

from __future__ import annotations

from typing import Any

import numpy as np
import onnx
import onnxruntime
import pytest
from lower_harness import check_node, lower_node
from onnx import helper

from accelc.ir.pass_base import Refusal
from accelc.targets.numba_cpu.lower import conv_transpose, einsum

RNG = np.random.default_rng(21)


def normal(*shape: int, dtype: Any = np.float32) -> np.ndarray:
    return RNG.normal(size=shape).astype(dtype)


def onnxruntime_result(inputs: list[np.ndarray], attrs: dict[str, Any]) -> np.ndarray:
    """The node on onnxruntime: onnx.reference knows neither groups of several outputs nor output_shape."""
    names = ["x", "w", "b"]
    infos = [
        helper.make_tensor_value_info(name, onnx.TensorProto.FLOAT, array.shape)
        for name, array in zip(names, inputs, strict=True)
    ]
    node = helper.make_node("ConvTranspose", names, ["y"], **attrs)
    output = helper.make_tensor_value_info("y", onnx.TensorProto.FLOAT, None)
    graph = helper.make_graph([node], "g", infos, [output])
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 22)], ir_version=10)
    session = onnxruntime.InferenceSession(model.SerializeToString(), providers=["CPUExecutionProvider"])
    return np.asarray(session.run(None, dict(zip(names, inputs, strict=True)))[0])


CONVOLUTIONS: list[tuple[tuple[int, ...], tuple[int, ...], dict[str, Any], bool]] = [
    ((2, 3, 4, 5), (3, 10, 3, 2), {"strides": [2, 3], "pads": [1, 0, 1, 1], "output_padding": [1, 0]}, True),
    ((1, 4, 3, 3), (4, 2, 3, 3), {"group": 2, "dilations": [2, 1]}, True),
    ((1, 2, 7), (2, 3, 4), {"strides": [2], "output_shape": [13]}, False),
    ((1, 1, 2, 3, 2), (1, 2, 2, 2, 2), {"strides": [2, 1, 2]}, True),
]


@pytest.mark.parametrize(("x", "w", "attrs", "constant"), CONVOLUTIONS)
def test_conv_transpose(
    x: tuple[int, ...], w: tuple[int, ...], attrs: dict[str, Any], constant: bool
) -> None:
    inputs = [normal(*x), normal(*w), normal(w[1] * attrs.get("group", 1))]
    weights = (1,) if constant else ()
    check_node(
        conv_transpose.TABLE,
        "ConvTranspose",
        inputs,
        attrs,
        constant=weights,
        expected=[onnxruntime_result(inputs, attrs)],
        atol=1e-4,
        threads=2,
    )


def test_col2im() -> None:
    inputs = [normal(2, 3 * 4, 12), np.array([5, 4], np.int64), np.array([2, 2], np.int64)]
    check_node(conv_transpose.TABLE, "Col2Im", inputs, constant=(1, 2))


EQUATIONS: list[tuple[str, list[np.ndarray]]] = [
    ("ij,jk->ki", [normal(3, 4), normal(4, 5)]),
    ("bij,bjk", [normal(2, 3, 4), normal(2, 4, 5)]),
    ("...ii->...i", [normal(3, 5, 5)]),
    ("i,i", [normal(5), normal(5)]),
    ("...ij,...jk->...ik", [normal(2, 1, 3, 4), normal(3, 4, 2)]),
    ("i,j,k->kij", [normal(2), normal(3), normal(4)]),
    ("ii", [normal(4, 4, dtype=np.float64)]),
    ("ij,j->i", [np.arange(6, dtype=np.int64).reshape(2, 3), np.arange(3, dtype=np.int64)]),
]


@pytest.mark.parametrize(("equation", "inputs"), EQUATIONS)
def test_einsum(equation: str, inputs: list[np.ndarray]) -> None:
    wanted = np.asarray(np.einsum(equation, *inputs), inputs[0].dtype)
    check_node(einsum.TABLE, "Einsum", inputs, {"equation": equation}, expected=[wanted])


def test_einsum_refuses_what_does_not_fit() -> None:
    found = lower_node(
        einsum.TABLE, "Einsum", [normal(2, 3)], {"equation": "ijk->i"}, specs=[("float32", (2,))]
    )
    assert isinstance(found, Refusal)
    assert found.why == "term 'ijk' of the equation does not fit rank 2"
