"""Extents of slices along a symbolic dim agree with Python's own slices."""

from __future__ import annotations

import onnx_ir as ir
import pytest

from accelc.ir.shapes import dims_of, evaluate, infer
from accelc.ir.slice_rule import slice_extent


@pytest.mark.parametrize(
    ("start", "end", "step"),
    [
        (0, 5, 1), (0, 1, 1), (2, 100, 3), (7, 3, 1), (-1, 2**63 - 1, 1), (-2, 100, 1), (-100, -1, 2), (1, 2**62, 1),
        (0, -(2**31), 1), (-1, -(2**63), -1), (2**31 - 1, 0, -2), (5, -3, -1), (-3, -100, -1), (2**63 - 1, 1, 1),
    ],
)  # fmt: skip
def test_extent_is_that_of_pythons_slice(start: int, end: int, step: int) -> None:
    extent = slice_extent("N", start, end, step)
    for size in (1, 2, 3, 6, 150):
        found = extent if isinstance(extent, int) else evaluate(str(extent.value), {"N": size})
        assert found == len(range(size)[start:end:step]), (extent, size)


def test_bounds_past_the_end_are_not_believed() -> None:
    model = ir.from_onnx_text("""<ir_version: 10, opset_import: ["" : 21]>
    g (float[N,8] x) => (float[R,8] y, float[1,8] z) <int64[1] s = {0}, int64[1] e = {5}, int64[1] m = {-1}> {
        y = Slice(x, s, e, s)
        z = Slice(x, m, e, s)
    }""")
    infer(model)
    y, z = model.graph.outputs
    assert dims_of(y) == ("Min(5, N)", 8)
    assert [evaluate(dim, {"N": 3}) for dim in dims_of(z) or () if dim is not None] == [1, 8]
