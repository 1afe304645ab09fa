"""Ops of training against onnx.reference, and against what their definitions imply."""

from __future__ import annotations

import numpy as np
import onnx
import pytest
from onnx.reference import ReferenceEvaluator

import accelc
from accelc.targets.host_ops import HOST_OPS

RNG = np.random.default_rng(3)


def test_dropout_in_training() -> None:
    x = RNG.standard_normal((40, 50)).astype(np.float32)
    run = HOST_OPS["", "Dropout"]
    y, mask = run([x, np.float32(0.25), np.array(True)], {"seed": 5})
    assert y.dtype == np.float32
    assert abs(mask.mean() - 0.75) < 0.05
    np.testing.assert_allclose(y, np.where(mask, x / np.float32(0.75), 0), rtol=1e-6)
    np.testing.assert_array_equal(run([x, np.float32(0.25), np.array(True)], {"seed": 5})[1], mask)
    assert not run([x, np.float32(1), np.array(True)], {})[0].any()
    assert run([x, np.float32(0.25), np.array(False)], {})[0] is x


def test_batch_normalization_in_training() -> None:
    x = RNG.standard_normal((3, 2, 4)).astype(np.float32)
    text = """<ir_version: 10, opset_import: ["" : 15]>
    g (float[N,2,4] x, float[2] s, float[2] b, float[2] m, float[2] v) => (float[N,2,4] y, float[2] n, float[2] w) {
        y, n, w = BatchNormalization <training_mode = 1, momentum = 0.75> (x, s, b, m, v)
    }"""
    feeds = {"x": x, **{name: RNG.random(2).astype(np.float32) for name in "sbmv"}}
    exe = accelc.compile(text, verify=False, strict=True)
    wanted = ReferenceEvaluator(onnx.parser.parse_model(text)).run(None, feeds)
    for found, want in zip(exe.run(None, feeds), wanted, strict=True):
        np.testing.assert_allclose(found, want, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize(
    ("op", "operands", "attrs"),
    [
        ("Adagrad", 3, {"decay_factor": 0.1, "norm_coefficient": 0.01}),
        ("Adam", 4, {"norm_coefficient_post": 0.1}),
        ("Momentum", 3, {"alpha": 0.9, "beta": 0.7, "mode": "nesterov", "norm_coefficient": 0.0}),
    ],
)
def test_optimizers_update_several_tensors(op: str, operands: int, attrs: dict[str, object]) -> None:
    domain = "ai.onnx.preview.training"
    tensors = [RNG.random(2 + i % 2).astype(np.float32) for i in range(2 * operands)]
    inputs = [np.float32(0.1), np.int64(3), *tensors]
    names = [f"i{i}" for i in range(len(inputs))]
    outputs = [f"o{i}" for i in range(2 * (operands - 1))]
    node = onnx.helper.make_node(op, names, outputs, domain=domain, **attrs)
    kinds = [onnx.TensorProto.FLOAT, onnx.TensorProto.INT64] + [onnx.TensorProto.FLOAT] * len(tensors)
    infos = [
        onnx.helper.make_tensor_value_info(name, kind, x.shape)
        for name, kind, x in zip(names, kinds, inputs, strict=True)
    ]
    graph = onnx.helper.make_graph(
        [node], "g", infos, [onnx.helper.make_empty_tensor_value_info(o) for o in outputs]
    )
    imports = [onnx.helper.make_opsetid(domain, 1), onnx.helper.make_opsetid("", 21)]
    wanted = ReferenceEvaluator(onnx.helper.make_model(graph, opset_imports=imports)).run(
        None, dict(zip(names, inputs, strict=True))
    )
    for found, want in zip(HOST_OPS[domain, op](inputs, attrs), wanted, strict=True):
        np.testing.assert_allclose(found, want, rtol=1e-5)
