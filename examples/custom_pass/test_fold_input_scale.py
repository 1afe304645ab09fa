"""The pass's tests: what it makes, what it refuses and why, and that the answers stay the same."""

from pathlib import Path

import numpy as np

from accelc.passes import load_from_file
from accelc.testing import assert_refuses, assert_rewrites, assert_same_meaning

PASS = load_from_file(f"{Path(__file__).with_name('fold_input_scale.py')}:FoldInputScale")
HEAD = "g (float[N,2] x, float[2,3] v) => (float[N,3] y) "


def test_golden() -> None:
    after = assert_rewrites(
        PASS,
        before=HEAD + "<float s = {0.5}, float[2,3] w = {1,2,3,4,5,6}> { t = Mul(x, s) y = MatMul(t, w) }",
        after=HEAD + "<float[2,3] w = {0.5,1,1.5,2,2.5,3}> { y = MatMul(x, w) }",
    )
    assert [node.op_type for node in after.graph] == ["MatMul"]


def test_refusals() -> None:
    per_column = "<float[2] s = {1,2}, float[2,3] w = {1,2,3,4,5,6}> { t = Mul(x, s) y = MatMul(t, w) }"
    assert_refuses(PASS, HEAD + per_column, "the scale has shape [2], one number is needed")
    free_weight = "<float s = {0.5}> { t = Mul(x, s) y = MatMul(t, v) }"
    assert_refuses(PASS, HEAD + free_weight, "the weight is not a constant")


def test_meaning() -> None:
    model = HEAD + "<float s = {0.3}, float[2,3] w = {1,2,3,4,5,6}> { t = Mul(x, s) y = MatMul(t, w) }"
    x = np.random.default_rng(0).normal(size=(5, 2)).astype(np.float32)
    feeds = {"x": x, "v": np.ones((2, 3), np.float32)}
    assert_same_meaning(PASS, model, feeds)
