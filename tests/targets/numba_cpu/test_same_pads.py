"""Automatic pads, and pads wider than the dim, where sizes are known only at run time."""

from __future__ import annotations

import numpy as np
import onnx.parser
import pytest

import accelc
from accelc.errors import CallError
from accelc.reference import run_onnxruntime

OPS = [
    "Conv <auto_pad = \"{auto}\", strides = [2, 3]> (x, w)",
    "MaxPool <auto_pad = \"{auto}\", kernel_shape = [3, 2], strides = [2, 2]> (x)",
    "AveragePool <auto_pad = \"{auto}\", kernel_shape = [3, 2], strides = [2, 2]> (x)",
    "AveragePool <auto_pad = \"{auto}\", kernel_shape = [3, 2]> (x)",
]  # fmt: skip


@pytest.mark.parametrize("auto", ["SAME_UPPER", "SAME_LOWER"])
def test_windows_follow_the_size(auto: str) -> None:
    lines = [f"y{i} = {op.format(auto=auto)}" for i, op in enumerate(OPS)]
    outputs = ", ".join(f"float[N,C{i},H{i},W{i}] y{i}" for i in range(len(OPS)))
    text = '<ir_version: 10, opset_import: ["" : 21]>\n'
    text += f"g (float[N,3,H,W] x, float[4,3,3,2] w) => ({outputs}) {{ {' '.join(lines)} }}"
    exe = accelc.compile(text, verify=False, strict=True)
    rng = np.random.default_rng(0)
    weights = rng.standard_normal((4, 3, 3, 2), np.float32)
    for shape in ((1, 3, 7, 9), (2, 3, 8, 4), (1, 3, 1, 1)):
        feeds = {"x": rng.standard_normal(shape, np.float32), "w": weights}
        wanted = run_onnxruntime(onnx.parser.parse_model(text).SerializeToString(), feeds)
        static = accelc.compile(text, verify=False, strict=True, shapes={"x": shape})
        for each in (exe, static):
            for found, want in zip(each.run(None, feeds), wanted, strict=True):
                np.testing.assert_allclose(found, want, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("mode", ["reflect", "wrap"])
def test_pads_wider_than_the_dim(mode: str) -> None:
    text = f"""<ir_version: 10, opset_import: ["" : 21]>
    g (float[N,M] x) => (float[A,B] y) <int64[4] p = {{1, 5, 0, 7}}> {{ y = Pad <mode = "{mode}"> (x, p) }}"""
    exe = accelc.compile(text, verify=False, strict=True)
    for shape in ((3, 20), (2, 3), (2, 1)):
        x = np.random.default_rng(0).standard_normal(shape, np.float32)
        np.testing.assert_array_equal(exe(x=x), np.pad(x, ((1, 0), (5, 7)), mode=mode))  # type: ignore[call-overload]


def test_norm_of_integers() -> None:
    text = """<ir_version: 10, opset_import: ["" : 21]>
    g (int32[N,M] x) => (int32[N] y) <int64[1] a = {1}> { y = ReduceL2 <keepdims = 0> (x, a) }"""
    exe = accelc.compile(text, verify=False, strict=True)
    assert exe(x=np.array([[3, 4], [1, 1]], np.int32)).tolist() == [5, 1]


def test_a_size_of_0_behind_a_difference_is_an_error_that_says_what_to_do() -> None:
    text = """<ir_version: 10, opset_import: ["" : 21]>
    g (float[N,4] x) => (float[M,4] y) <int64[1] a = {1}, int64[1] b = {1000}, int64[1] z = {0}> {
        y = Slice(x, a, b, z)
    }"""
    empty = np.zeros((0, 4), np.float32)
    with pytest.raises(CallError, match="--dim NAME=0"):
        accelc.compile(text, verify=False)(x=empty)
    assert accelc.compile(text, verify=False, dims={"N": 0})(x=empty).shape == (0, 4)
