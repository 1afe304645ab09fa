from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from accelc.passes.unflatten_softmax import UnflattenSoftmax
from accelc.testing import assert_refuses, assert_rewrites, assert_same_meaning


@pytest.mark.parametrize("op", ["Softmax", "LogSoftmax", "Hardmax"])
def test_golden(op: str) -> None:
    assert_rewrites(
        UnflattenSoftmax(),
        f"""g (float[N,1000,1,1] x) => (float[N,1000,1,1] y) <int64[4] s = {{0, 0, 1, 1}}> {{
             f = Flatten(x) p = {op}(f) y = Reshape(p, s) }}""",
        f"g (float[N,1000,1,1] x) => (float[N,1000,1,1] y) {{ y = {op}<axis = 1>(x) }}",
    )


def test_golden_front_dims_are_joined() -> None:
    assert_rewrites(
        UnflattenSoftmax(),
        """g (float[2,3,4,5] x) => (float[2,3,4,5] y) <int64[2] r = {24, 5}, int64[4] s = {2, 3, 4, 5}> {
             f = Reshape(x, r) p = Softmax(f) y = Reshape(p, s) }""",
        "g (float[2,3,4,5] x) => (float[2,3,4,5] y) { y = Softmax<axis = 3>(x) }",
    )


def test_golden_in_a_subgraph() -> None:
    text = "g (bool c, float[2,3] x) => (float[2,3] y) { y = If(c) <then_branch = t () => (float[2,3] a) %s,"
    text += " else_branch = f () => (float[2,3] b) { b = Neg(x) }> }"
    assert_rewrites(
        UnflattenSoftmax(),
        text % "<int64[1] u = {1}> { p = Unsqueeze(x, u) q = Softmax<axis = 2>(p) a = Squeeze(q, u) }",
        text % "{ a = Softmax<axis = 1>(x) }",
    )


@pytest.mark.parametrize(
    ("text", "why"),
    [
        (
            """<ir_version: 7, opset_import: ["" : 11]> g (float[2,3,4] x) => (float[2,3,4] y)
               <int64[3] s = {2, 3, 4}> { f = Flatten(x) p = Softmax(f) y = Reshape(p, s) }""",
            "opset 11 flattens",
        ),
        (
            """g (float[2,3,1] x) => (float[2,3,1] y, float[2,3] z) <int64[3] s = {2, 3, 1}> {
               f = Flatten(x) p = Softmax(f) z = Neg(p) y = Reshape(p, s) }""",
            "also read elsewhere",
        ),
        (
            """g (float[2,3,4] x) => (float[2,3,4] y) <int64[3] s = {2, 3, 4}> {
               f = Flatten(x) p = Softmax(f) y = Reshape(p, s) }""",
            "no axis of x",
        ),
    ],
)
def test_refusals(text: str, why: str) -> None:
    assert_refuses(UnflattenSoftmax(), text, why)


def test_another_shape_behind_is_left_alone() -> None:
    text = """g (float[2,3,1] x) => (float[3,2] y) <int64[2] s = {3, 2}> {
      f = Flatten(x) p = Softmax(f) y = Reshape(p, s) }"""
    assert_rewrites(UnflattenSoftmax(), text, text)


@settings(max_examples=30, deadline=None)
@given(
    shape=st.lists(st.integers(1, 3), min_size=1, max_size=4),
    split=st.integers(0, 4),
    axis=st.integers(0, 1),
    seed=st.integers(0, 99),
)
def test_meaning(shape: list[int], split: int, axis: int, seed: int) -> None:
    split = min(split, len(shape))
    dims = ",".join(map(str, shape))
    text = f"""g (float[{dims}] x) => (float[{dims}] y) <int64[{len(shape)}] s = {{{dims}}}> {{
      f = Flatten<axis = {split}>(x) p = Softmax<axis = {axis}>(f) y = Reshape(p, s) }}"""
    x = np.asarray(np.random.default_rng(seed).standard_normal(shape) * 3, np.float32)
    result = assert_same_meaning(UnflattenSoftmax(), text, {"x": x})
    part = shape[:split] if axis == 0 else shape[split:]
    if len([d for d in part if d > 1]) <= 1 and part:
        assert [node.op_type for node in result.graph] == ["Softmax"]


def test_meaning_of_empty_and_infinite() -> None:
    text = """g (float[N,3,1] x) => (float[N,3,1] y) <int64[3] s = {-1, 3, 1}> {
      f = Flatten(x) p = Softmax(f) y = Reshape(p, s) }"""
    edges = np.array([[[0.0], [np.nan], [1.0]], [[np.inf], [0.0], [1.0]]], np.float32)
    assert_same_meaning(UnflattenSoftmax(), text, {"x": edges}, {"x": np.zeros((1, 3, 1), np.float32)})
