"""Copies that must stay: other writes to the place, and shapes that samples do not show."""

from __future__ import annotations

import numpy as np
import pytest

import accelc
from accelc.reference import run_onnxruntime

PADDED = """<ir_version: 10, opset_import: ["" : 21]>
g (float[3,9] x) => (float[4,14] y) <int64[4] p = {1, 2, 0, 3}> { z = Softmax(x)  w = Pad(z, p)  y = Softmax(w) }"""
JOINED = """<ir_version: 10, opset_import: ["" : 21]>
g (float[N,M] x, float[N,K] k) => (float[N,J] y, float[A,M] u) <int64[2] p = {0, 0}> {
    z = Exp(x)  w = Concat <axis = 1> (z, k)  y = Softmax(w)  v = Concat <axis = 0> (z, x)  u = Softmax(v)
}"""


def test_a_fill_does_not_overwrite_what_was_joined_to_it() -> None:
    x = np.random.default_rng(0).standard_normal((3, 9), dtype=np.float32)
    exe = accelc.compile(PADDED, verify=False)
    y = np.pad(np.exp(x) / np.exp(x).sum(1, keepdims=True), ((1, 0), (2, 3)))
    np.testing.assert_allclose(exe(x=x), np.exp(y) / np.exp(y).sum(1, keepdims=True), rtol=1e-5)


@pytest.mark.parametrize("sizes", [(3, 9, 4), (1, 1, 1), (2, 5, 0), (4, 1, 6)])
def test_joins_of_any_shape(sizes: tuple[int, int, int]) -> None:
    n, m, k = sizes
    rng = np.random.default_rng(0)
    feeds = {"x": rng.standard_normal((n, m), np.float32), "k": rng.standard_normal((n, k), np.float32)}
    exe = accelc.compile(JOINED, verify=False)
    for found, want in zip(exe.run(None, feeds), run_onnxruntime(_bytes(JOINED), feeds), strict=True):
        np.testing.assert_allclose(found, want, rtol=1e-5)


def _bytes(text: str) -> bytes:
    import onnx.parser

    return onnx.parser.parse_model(text).SerializeToString()
