from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from accelc.passes.identity_ops import IdentityOps
from accelc.testing import assert_refuses, assert_rewrites, assert_same_meaning

GONE = "g (float[N,3] x) => (float[N,3] y) { a = Relu(x) y = Exp(a) }"


def between(body: str, weights: str = "") -> str:
    """A graph with ``body`` (from a to b) between a Relu and an Exp."""
    return f"g (float[N,3] x) => (float[N,3] y) {weights} {{ a = Relu(x) {body} y = Exp(b) }}"


@pytest.mark.parametrize(
    ("body", "weights"),
    [
        ("b = Identity(a)", ""),
        ("b = Cast<to = 1>(a)", ""),
        ("b = Dropout(a)", ""),
        ("b = Dropout(a, r, t)", "<float r = {0.5}, bool t = {0}>"),
        ("b = Reshape(a, s)", "<int64[2] s = {-1, 3}>"),
        ("b = Flatten<axis = 1>(a)", ""),
        ("b = Expand(a, s)", "<int64[2] s = {1, 3}>"),
        ("b = Tile(a, s)", "<int64[2] s = {1, 1}>"),
        ("b = Transpose<perm = [0, 1]>(a)", ""),
        ("b = Slice(a, s, e)", "<int64[2] s = {0, 0}, int64[2] e = {9223372036854775807, 2147483647}>"),
        ("b = Slice(a, s, e, ax)", "<int64[1] s = {0}, int64[1] e = {3}, int64[1] ax = {1}>"),
        ("b = Pad(a, p)", "<int64[4] p = {0, 0, 0, 0}>"),
        ("b = Concat<axis = 0>(a)", ""),
        ("b = Sum(a)", ""),
        ("b = Max(a)", ""),
        ("b = Mean(a)", ""),
        ("b = Split<num_outputs = 1, axis = 1>(a)", ""),
        ("b = Mul(a, one)", "<float one = {1}>"),
        ("b = Mul(one, a)", "<float[1,3] one = {1, 1, 1}>"),
        ("b = Div(a, one)", "<float one = {1}>"),
        ("b = Pow(a, one)", "<float one = {1}>"),
        ("b = Sub(a, zero)", "<float zero = {0}>"),
        ("b = Add(a, zero)", "<float zero = {-0.0}>"),
    ],
)
def test_golden(body: str, weights: str) -> None:
    assert_rewrites(IdentityOps(), between(body, weights), GONE)


def test_golden_reductions_and_empty_parts() -> None:
    assert_rewrites(
        IdentityOps(),
        """g (float[N,1] x, float[N,0] e, float[N,2] z) => (float[N,3] y) <int64[1] ax = {1}> {
             r = ReduceSum(x, ax)
             c = Concat<axis = 1>(e, r, z)
             y = Exp(c)
        }""",
        """g (float[N,1] x, float[N,0] e, float[N,2] z) => (float[N,3] y) {
             c = Concat<axis = 1>(x, z)
             y = Exp(c)
        }""",
    )


def test_golden_a_graph_output_takes_the_earlier_value() -> None:
    assert_rewrites(
        IdentityOps(),
        "g (float[3] x) => (float[3] y) { a = Relu(x) b = Identity(a) y = Dropout(b) }",
        "g (float[3] x) => (float[3] y) { y = Relu(x) }",
    )


def test_golden_an_input_reaches_an_output_through_one_identity() -> None:
    assert_rewrites(
        IdentityOps(),
        "g (float[3] x) => (float[3] y) <int64[1] s = {3}> { a = Identity(x) y = Reshape(a, s) }",
        "g (float[3] x) => (float[3] y) { y = Identity(x) }",
    )


def test_golden_subgraph() -> None:
    assert_rewrites(
        IdentityOps(),
        """g (bool p, float[3] x) => (float[3] y) {
             a = Relu(x)
             y = If (p) <then_branch = t () => (float[3] q) { b = Identity(a) q = Exp(b) },
                         else_branch = e () => (float[3] r) { r = Identity(a) }>
        }""",
        """g (bool p, float[3] x) => (float[3] y) {
             a = Relu(x)
             y = If (p) <then_branch = t () => (float[3] q) { q = Exp(a) },
                         else_branch = e () => (float[3] r) { r = Identity(a) }>
        }""",
    )


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("g (float[3] x) => (float[3] y) { y = Identity(x) }", "gives a graph output its name"),
        (
            "g (float[3] x) => (float[3] a, float[3] y) { a = Relu(x) y = Identity(a) }",
            "gives a graph output its name",
        ),
        ("g (float[3] x) => (float[3] y, bool[3] m) { y, m = Dropout(x) }", "mask of Dropout is used"),
        (
            "g (float[3] x) => (float[3] y) <float r = {0.5}, bool t = {1}> { y = Dropout(x, r, t) }",
            "training mode",
        ),
        ("g (float[3] x, float r, bool t) => (float[3] y) { y = Dropout(x, r, t) }", "is not constant"),
        ("g (float[3] x) => (float[3] y) <float z = {0}> { y = Add(x, z) }", "turns -0.0 into 0.0"),
    ],
)
def test_refusals(text: str, why: str) -> None:
    assert_refuses(IdentityOps(), text, why)


@pytest.mark.parametrize(
    "body",
    [
        "b = Cast<to = 1>(d)",
        "s = Constant<value_ints = [2, -1]>() b = Reshape(a, s)",
        "t = Constant<value_ints = [2, 1]>() b = Tile(a, t)",
        "s = Constant<value_ints = [-1]>() e = Constant<value_ints = [-9]>() o = Constant<value_ints = [0]>() "
        "b = Slice(a, s, e, o, s)",
        "k = Constant<value_float = 2.0>() b = Mul(a, k)",
        "k = Constant<value_float = 1.0>() b = Div(k, a)",
        "k = Constant<value_float = 0.0>() b = Sub(k, a)",
    ],
)
def test_other_ops_stay(body: str) -> None:
    text = f"g (float[M,3] x) => (float[A,B] y) {{ a = Relu(x) d = Cast<to = 11>(a) {body} y = Exp(b) }}"
    assert_rewrites(IdentityOps(), text, text)


dims = st.integers(0, 3)


@settings(max_examples=30, deadline=None)
@given(
    n=dims,
    m=dims,
    steps=st.lists(
        st.sampled_from(
            [
                "Identity({})",
                "Cast<to = 1>({})",
                "Dropout({})",
                "Relu({})",
                "Mul({}, one)",
                "Pow({}, one)",
                "Sub({}, zero)",
                "Add({}, neg)",
                "Add({}, zero)",
                "Expand({}, ones)",
                "Tile({}, ones)",
                "Concat<axis = 1>({})",
                "Slice({}, none, all)",
                "Pad({}, pads)",
                "ReduceMax<noop_with_empty_axes = 1>({})",
            ]
        ),
        min_size=1,
        max_size=6,
    ),
)
def test_meaning(n: int, m: int, steps: list[str]) -> None:
    body = " ".join(f"t{i + 1} = {step.format(f't{i}')}" for i, step in enumerate(steps))
    text = f"""g (float[N,M] x) => (float[N,M] y)
      <float one = {{1}}, float zero = {{0}}, float neg = {{-0.0}}, int64[2] ones = {{1, 1}},
       int64[2] none = {{0, 0}}, int64[2] all = {{9223372036854775807, 9223372036854775807}},
       int64[4] pads = {{0, 0, 0, 0}}>
      {{ t0 = Neg(x) {body} y = Identity(t{len(steps)}) }}"""
    x = np.array([np.nan, np.inf, -np.inf, -0.0, 0.0, 1.5, -2.0, 3.0, 4.0], np.float32)[: n * m].reshape(n, m)
    assert_same_meaning(IdentityOps(), text, {"x": x}, exact=True)
