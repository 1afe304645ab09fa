"""Extents of pools with ceil_mode along a symbolic dim agree with counting windows."""

from __future__ import annotations

import onnx_ir as ir
import pytest

from accelc.ir.pool_rule import ceil_extent
from accelc.ir.shapes import dims_of, evaluate, infer


@pytest.mark.parametrize(
    ("reach", "stride", "before", "after"),
    [(1, 2, 0, 0), (2, 3, 0, 1), (2, 3, 1, 1), (3, 2, 0, 0), (3, 5, 2, 2)],
)
def test_windows_start_before_the_trailing_pads(reach: int, stride: int, before: int, after: int) -> None:
    extent = ceil_extent("N", reach, stride, before, after)
    for size in range(max(1, reach - before - after), 20):
        past = [s for s in range(-before, size, stride) if s - stride + reach < size + after or s == -before]
        assert evaluate(str(extent.value), {"N": size}) == len(past), (size, past)  # type: ignore[union-attr]


def test_static_and_symbolic_agree() -> None:
    model = ir.from_onnx_text("""<ir_version: 10, opset_import: ["" : 18]>
    g (float[1,2,N] x, float[1,2,2] s) => (float[1,2,R] y, float[1,2,Q] z) {
        y = MaxPool <kernel_shape = [1], strides = [2], ceil_mode = 1> (x)
        z = MaxPool <kernel_shape = [1], strides = [2], ceil_mode = 1> (s)
    }""")
    infer(model)
    y, z = (dims_of(value) or () for value in model.graph.outputs)
    assert [evaluate(dim, {"N": 2}) for dim in y if dim is not None] == [1, 2, 1]
    assert z == (1, 2, 1)
