"""Target ``onnx``: plain ONNX out, functions inlined unless asked, run node by node."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
import onnx_ir as ir
import pytest

import accelc
from accelc.errors import CallError, UnsupportedError
from accelc.reference import run_onnxruntime
from accelc.target import TargetOptions
from accelc.targets.onnx_model.target import OnnxExecutable, OnnxModel

FUSED = (
    '<ir_version: 11, opset_import: ["" : 24, "accelc.fused" : 1]>\n'
    "g (float[N,4] x) => (float[N,4] y) { t = accelc.fused.neg_relu_0(x) y = Tanh(t) }\n"
    '<domain: "accelc.fused", opset_import: ["" : 24]> neg_relu_0 (a) => (c) { b = Neg(a) c = Relu(b) }'
)
X = np.linspace(-2, 2, 8, dtype=np.float32).reshape(2, 4)
Y = np.tanh(np.maximum(-X, 0))


def test_functions_are_inlined_and_the_model_given_is_untouched() -> None:
    model = ir.from_onnx_text(FUSED)
    exe = OnnxModel().lower(model, TargetOptions())
    assert exe.model is not None
    assert [node.op_type for node in exe.model.graph] == ["Neg", "Relu", "Tanh"]
    assert not exe.model.functions
    assert len(model.functions) == 1
    assert exe.summary["kernels"] == 2
    np.testing.assert_allclose(exe(x=X), Y, rtol=1e-6)
    np.testing.assert_allclose(run_onnxruntime(exe.model, {"x": X})[0], Y, rtol=1e-6)


def test_functions_stay_if_asked() -> None:
    exe = OnnxModel().lower(ir.from_onnx_text(FUSED), TargetOptions(keep_functions=True))
    assert exe.model is not None
    assert [node.op_type for node in exe.model.graph] == ["neg_relu_0", "Tanh"]
    np.testing.assert_allclose(run_onnxruntime(exe.model, {"x": X})[0], Y, rtol=1e-6)


SCALED = (
    "g (float[N,2,4,4] x) => (float[N,2,4,4] y) <float[2,1,1] a = {2, 3}, float[2,1,1] b = {1, 0}> "
    "{ s = Mul(x, a) t = Add(s, b) y = Relu(t) }"
)


def test_nothing_is_fused_and_values_keep_their_names() -> None:
    exe = accelc.compile(SCALED, target="onnx")
    assert exe.model is not None
    assert [(node.op_type, node.outputs[0].name) for node in exe.model.graph] == [
        ("BatchNormalization", "t"),
        ("Relu", "y"),
    ]
    fused = accelc.compile(SCALED, target="onnx", keep_functions=True)
    assert fused.model is not None
    assert [node.domain for node in fused.model.graph] == ["accelc.fused"]
    assert fused.verification.status == "verified"


def test_a_scale_behind_a_formula_leaves_it_its_factor() -> None:
    text = """g (float[N,3] x) => (float[N,3] y)
      <float three = {3}, float zero = {0}, float six = {6}, float k = {0.7}, float b = {0.1}> {
      a = Add(x, three) c = Clip(a, zero, six) m = Mul(x, c) h = Div(m, six) s = Mul(h, k) y = Add(s, b) }"""
    exe = accelc.compile(text, target="onnx")
    assert exe.model is not None
    assert [node.op_type for node in exe.model.graph] == ["HardSwish", "Mul", "Add"]


def test_what_is_saved_is_a_valid_model_for_others(tmp_path: Path) -> None:
    exe = accelc.compile(FUSED, target="onnx")
    folder = exe.save(tmp_path / "m.accel")
    onnx.checker.check_model(folder / "model.onnx", full_check=True)
    loaded = accelc.load(folder)
    np.testing.assert_allclose(loaded(x=X), Y, rtol=1e-6)
    assert loaded.memory_plan.peak_bytes > 0


def test_memory_is_what_is_alive_at_once() -> None:
    text = (
        '<ir_version: 11, opset_import: ["" : 24]>'
        "g (float[N] x) => (float[N] d) { a = Neg(x) b = Neg(a) c = Neg(b) d = Neg(c) }"
    )
    exe = OnnxModel().lower(ir.from_onnx_text(text), TargetOptions())
    exe(x=np.zeros(10, np.float32))
    assert exe.memory_plan.peak_bytes == 2 * 40


def test_the_input_itself_may_be_an_output() -> None:
    text = (
        '<ir_version: 11, opset_import: ["" : 24]> g (float[N] x) => (float[N] x, float[N] y) { y = Neg(x) }'
    )
    exe = OnnxExecutable(ir.from_onnx_text(text), kernels=1)
    x = np.ones(3, np.float32)
    first, second = exe(x=x)
    assert first is not x
    assert (first.tolist(), second.tolist()) == ([1, 1, 1], [-1, -1, -1])


def test_non_contiguous_and_unknown_names() -> None:
    exe = OnnxModel().lower(ir.from_onnx_text(FUSED), TargetOptions())
    np.testing.assert_allclose(exe(x=X.T.copy().T), Y, rtol=1e-6)
    with pytest.raises(CallError) as caught:
        exe.run(["z"], {"x": X})
    assert str(caught.value) == "CallError: no output is called 'z'\n  fix    outputs: y"


def test_other_precisions_are_refused() -> None:
    with pytest.raises(UnsupportedError, match="target 'onnx' has no precision f16"):
        OnnxModel().lower(ir.from_onnx_text(FUSED), TargetOptions(precision="f16"))


def test_the_support_matrix_and_the_doctor() -> None:
    ops = {row.op: row.since for row in OnnxModel().ops()}
    assert ops["Relu"] == 14
    assert OnnxModel().doctor()["onnx"] == onnx.__version__
