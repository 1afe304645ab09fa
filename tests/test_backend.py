"""The ONNX backend: prepare, run_model, run_node and devices."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper

import accelc.backend as backend
from accelc.errors import CallError, UsageError


def small_model() -> onnx.ModelProto:
    """``y = relu(a - b)`` and ``s = a + b`` of float32[N, 3]."""
    info = helper.make_tensor_value_info
    graph = helper.make_graph(
        [
            helper.make_node("Sub", ["a", "b"], ["d"]),
            helper.make_node("Relu", ["d"], ["y"]),
            helper.make_node("Add", ["a", "b"], ["s"]),
        ],
        "g",
        [info(name, TensorProto.FLOAT, ["N", 3]) for name in "ab"],
        [info(name, TensorProto.FLOAT, ["N", 3]) for name in "ys"],
    )
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 20)], ir_version=10)


A = np.arange(6, dtype=np.float32).reshape(2, 3)
B = A[::-1].copy()


def test_prepare_and_run() -> None:
    rep = backend.prepare(small_model())
    for inputs in ([A, B], (A, B), {"a": A, "b": B}):
        outputs = rep.run(inputs)
        np.testing.assert_array_equal(outputs.y, np.maximum(A - B, 0))
        np.testing.assert_array_equal(outputs["s"], A + B)
        np.testing.assert_array_equal(outputs[1], A + B)
    with pytest.raises(CallError, match=r"it takes 2 \(a, b\), got 3"):
        rep.run([A, B, A])
    with pytest.raises(CallError):
        rep.run([A])


def test_run_model() -> None:
    outputs = backend.run_model(small_model(), [A, B])
    np.testing.assert_array_equal(outputs[0], np.maximum(A - B, 0))


def test_run_node() -> None:
    (y,) = backend.run_node(helper.make_node("Relu", ["x"], ["y"]), -A)
    np.testing.assert_array_equal(y, np.zeros_like(A))
    node = helper.make_node("Clip", ["x", "", "high"], ["y"])
    (y,) = backend.run_node(node, [A, np.float32(2)], outputs_info=[(np.dtype(np.float32), (2, 3))])
    np.testing.assert_array_equal(y, np.minimum(A, 2))
    (y,) = backend.run_node(helper.make_node("Softmax", ["x"], ["y"]), [A], opset_version=11)
    assert y.shape == A.shape
    with pytest.raises(CallError, match="Add was called with 1 inputs\n  why    it has 2"):
        backend.run_node(helper.make_node("Add", ["a", "b"], ["y"]), [A])


def test_devices() -> None:
    assert backend.supports_device("CPU")
    assert backend.supports_device("CPU:0")
    assert not backend.supports_device("CUDA")
    assert not backend.supports_device("abacus")
    assert backend.is_compatible(small_model())
    assert not backend.is_compatible(small_model(), "CUDA")
    with pytest.raises(UsageError, match="no target for device CUDA"):
        backend.prepare(small_model(), "CUDA")


@pytest.mark.parametrize("stem", ["mlp", "cnn"])
def test_test_data_in_onnx_form(stem: str) -> None:
    folder = Path(__file__).parents[1] / "examples" / "digits"
    tensors = []
    for name in ("input_0", "output_0"):
        tensor = onnx.TensorProto()
        tensor.ParseFromString((folder / f"{stem}_test_data_set_0" / f"{name}.pb").read_bytes())
        tensors.append(onnx.numpy_helper.to_array(tensor))
    (result,) = backend.run_model(onnx.load(folder / f"{stem}.onnx"), [tensors[0]])
    np.testing.assert_allclose(result, tensors[1], atol=1e-5)
