"""What the target emits has kernels in onnxruntime, also for dtypes that it dropped with opset 22."""

from __future__ import annotations

import numpy as np
import pytest

import accelc
from accelc.reference import run_onnxruntime

DOUBLE = [
    "Elu <alpha: float = 0.5>", "HardSigmoid", "HardSigmoid <alpha: float = 0.0, beta: float = 0.25>", "HardSwish",
    "LeakyRelu", "LeakyRelu <alpha: float = 0.0>", "Mish", "Selu", "Softplus", "Softsign", "ThresholdedRelu",
]  # fmt: skip


@pytest.mark.parametrize("op", DOUBLE)
def test_activations_in_float64(op: str) -> None:
    text = f'<ir_version: 10, opset_import: ["" : 18]> g (double[N] x) => (double[N] y) {{ y = {op} (x) }}'
    exe = accelc.compile(text, target="onnx")
    x = np.array([-800.0, -2.0, -0.0, 0.0, 0.3, 3.0, 800.0, np.nan])
    assert exe.emitted is not None
    with np.errstate(all="ignore"):
        (found,) = run_onnxruntime(exe.emitted, {"x": x})
    want = accelc.compile(text, target="cpu", verify=False)(x=x)
    np.testing.assert_allclose(found, want, rtol=1e-6, atol=1e-9)
    assert exe.verification.status == "verified"


def test_slopes_of_integers() -> None:
    text = """<ir_version: 10, opset_import: ["" : 18]>
    g (int64[N,2] x, int64[2] s) => (int64[N,2] y, int64[N,2] z) { y = PRelu(x, s)  z = Relu(x) }"""
    exe = accelc.compile(text, target="onnx")
    assert exe.verification.status == "verified"


def test_an_op_that_no_longer_has_a_kernel_goes_out_at_the_older_opset() -> None:
    text = """<ir_version: 10, opset_import: ["" : 21]>
    g (float[1,2,6,6] x, float[2,4] r, int64[2] b) => (float[2,2,2,2] y) {
        t = Relu(x)  y = RoiAlign <output_height = 2, output_width = 2> (t, r, b)
    }"""
    boxes = np.array([[0, 0, 3, 3], [1, 1, 4, 4]], np.float32)
    data = {"x": np.ones((1, 2, 6, 6), np.float32), "r": boxes, "b": np.zeros(2, np.int64)}
    exe = accelc.compile(text, target="onnx", data=data)
    assert exe.emitted is not None
    assert exe.model is not None
    assert (exe.model.opset_imports[""], exe.emitted.opset_imports[""]) == (21, 21)
    assert exe.verification.status == "verified"
