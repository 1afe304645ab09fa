"""Dims with different names that meet in one op: equal in one call, 1 against N in the next, without compiling."""

from __future__ import annotations

import numpy as np
import onnx
import onnxruntime
import pytest

import accelc

BODIES = {
    "outer": ("float[N,4] x, float[M,4] y", "a = Add(x, y)  b = Relu(a)  c = Mul(b, x)  z = Softmax(c)"),
    "inner": ("float[3,N] x, float[3,M] y", "a = Sub(x, y)  b = Abs(a)  z = Max(b, x, y)"),
    "choice": ("float[N,4] x, float[M,4] y", "c = Greater(x, y)  a = Where(c, x, y)  z = Tanh(a)"),
    "product": ("float[N,3,4] x, float[M,4,5] y", "a = MatMul(x, y)  z = Relu(a)"),
    "shape": (
        "float[N,4] x, float[M,4] y",
        "a = Add(x, y)  s = Shape(a)  o = ConstantOfShape(s)  b = Concat<axis=0>(a, o)  z = Transpose(b)",
    ),
    "norm": (
        "float[N,4] x, float[M,4] y",
        "a = Add(x, y)  r = Add(a, x)  m = ReduceMean<keepdims=0>(r, k)  m2 = Unsqueeze(m, k)  z = Sub(r, m2)",
    ),
}


def _model(inputs: str, body: str) -> onnx.ModelProto:
    weights = "<int64[1] k = {1}>" if "k)" in body else ""
    model = onnx.parser.parse_model(
        f'<ir_version: 10, opset_import: ["": 21]> g ({inputs}) => (float[] z) {weights} {{ {body} }}'
    )
    model.graph.output[0].type.tensor_type.ClearField("shape")
    return model


@pytest.mark.parametrize("name", BODIES)
def test_sizes_are_equal_or_one(name: str) -> None:
    model = _model(*BODIES[name])
    oracle = onnxruntime.InferenceSession(model.SerializeToString(), providers=["CPUExecutionProvider"])
    exe = accelc.compile(model, verify=False)
    rng = np.random.default_rng(3)
    for left, right in ((3, 3), (1, 3), (3, 1), (1, 1), (17, 17), (1, 17)):
        feeds = {
            spec.name: rng.standard_normal(
                [{"N": left, "M": right}.get(str(dim), dim) for dim in spec.shape]
            ).astype(np.float32)
            for spec in exe.inputs
        }
        (got,), (want,) = exe.run(None, feeds), oracle.run(None, feeds)
        assert got.shape == want.shape
        np.testing.assert_allclose(got, want, rtol=1e-5, atol=1e-5)


def test_sizes_that_do_not_fit_are_refused() -> None:
    exe = accelc.compile(_model(*BODIES["outer"]), verify=False)
    with pytest.raises(accelc.errors.CallError, match="does not broadcast"):
        exe(x=np.zeros((2, 4), np.float32), y=np.zeros((3, 4), np.float32))
