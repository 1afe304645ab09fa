"""An index out of range is an error that names the node, and the executable works on afterwards."""

from __future__ import annotations

import numpy as np
import pytest

import accelc
from accelc.errors import CallError

HEAD = '<ir_version: 10, opset_import: ["" : 21]> g (float[4,3] x, int64[N] i) => (float[A,B] y) '
BODIES = {
    "pick": "{ [pick] y = Gather (x, i) }",
    "rows": "<int64[2] s = {-1, 1}> { k = Reshape (i, s) [rows] y = GatherND (x, k) }",
    "each": "<int64[2] s = {-1, 3}> { k = Reshape (i, s) [each] y = GatherElements (x, k) }",
    "put_each": "<int64[2] s = {-1, 3}> { k = Reshape (i, s) z = CastLike (k, x) "
    "[put_each] y = ScatterElements (x, k, z) }",
}


@pytest.mark.parametrize("name", ["pick", "rows", "each", "put_each"])
def test_the_node_is_named(name: str) -> None:
    exe = accelc.compile(HEAD + BODIES[name], verify=False)
    x = np.arange(12, dtype=np.float32).reshape(4, 3)
    good, bad, low = np.array([0, -4, 3]), np.array([0, 4, 1]), np.array([0, -5, 1])
    first = exe(x=x, i=good)
    for wrong in (bad, low):
        with pytest.raises(CallError, match=f"(?s)out of range.*node {name}"):
            exe(x=x, i=wrong)
    np.testing.assert_array_equal(exe(x=x, i=good), first)


def test_rows_that_are_written() -> None:
    text = """<ir_version: 10, opset_import: ["" : 21]>
    g (float[4,3] x, int64[N,1] i, float[N,3] u) => (float[4,3] y) { [put] y = ScatterND (x, i, u) }"""
    exe = accelc.compile(text, verify=False, threads=2)
    x, u = np.zeros((4, 3), np.float32), np.ones((2, 3), np.float32)
    assert exe(x=x, i=np.array([[1], [-1]]), u=u).sum() == 6
    with pytest.raises(CallError, match="node put"):
        exe(x=x, i=np.array([[1], [4]]), u=u)
