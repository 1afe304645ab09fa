from __future__ import annotations

import numpy as np
import onnx_ir as ir
import pytest

from accelc.frontend import load_model
from accelc.ir.text import digest, tensor_text, to_text

SOURCE = """<ir_version: 10, opset_import: ["": 24, "accelc.fused": 1]>
g (float[N,4] x, bool c) => (float[N,4] y) <float[4] w = {1, -2, 0.1, nan}> {
  [add1] a = Add(x, w)
  [if1] b = If(c) <then_branch = t () => (float[N,4] p) { p = LeakyRelu<alpha = 0.1>(a) },
                   else_branch = e () => (float[N,4] q) { q = Neg(x) }>
  [call1] y = accelc.fused.twice(b)
}
<domain: "accelc.fused", opset_import: ["": 24]>
twice (v) => (r) { r = Add(v, v) }
"""

EXPECTED = """<ir_version: 10, opset_import: ["": 24, "accelc.fused": 1]>
g (float32[N,4] x, bool[] c) => (float32[N,4] y) {
  w = float32[4] {1.0, -2.0, 0.1, nan}
  [add1] a = Add(x, w)
  [if1] b = If(c)
    else_branch: e () => (float32[N,4] q) {
      q = Neg(x)  # float32[N,4]
    }
    then_branch: t () => (float32[N,4] p) {
      p = LeakyRelu <alpha = 0.1>(a)  # float32[N,4]
    }
  [call1] y = accelc.fused.twice(b)  # float32[N,4]
}

<domain: 'accelc.fused', opset_import: ["": 24]>
twice (v) => (r) {
  r = Add(v, v)
}
"""


def test_golden() -> None:
    source = SOURCE.replace(", nan", ", 4")
    assert to_text(ir.from_onnx_text(source)) == EXPECTED.replace("nan", "4.0")


def test_is_the_same_every_time() -> None:
    source = SOURCE.replace(", nan", ", 4")
    assert to_text(ir.from_onnx_text(source)) == to_text(ir.from_onnx_text(source))
    imported = load_model(source).model
    assert to_text(imported) == to_text(imported.clone())


@pytest.mark.parametrize("dtype", [np.float32, np.int8, np.bool_])
def test_large_tensors_are_elided(dtype: type) -> None:
    tensor = ir.tensor(np.ones((3, 100), dtype))
    head = f"{np.dtype(dtype).name}[3,100]"
    assert tensor_text(tensor) == f"{head} #{digest(tensor)}"
    assert tensor_text(tensor, elide=False).startswith(head + " {")
    assert digest(tensor) == digest(ir.tensor(np.ones((100, 3), dtype).T.copy()))
    assert digest(tensor) != digest(ir.tensor(np.zeros((3, 100), dtype)))


def test_odd_tensors() -> None:
    assert tensor_text(ir.tensor(np.array(5, np.int64))) == "int64[] {5}"
    assert tensor_text(ir.tensor(np.zeros((0, 3), np.float32))) == "float32[0,3] {}"
    assert tensor_text(ir.tensor(["a", "b"])) == "string[2] {'a', 'b'}"
    assert tensor_text(ir.tensor(np.array([np.inf, np.nan], np.float32))) == "float32[2] {inf, nan}"
    assert tensor_text(ir.tensor(np.ones(9, np.float32).reshape(3, 3).T)).startswith("float32[3,3] #")
