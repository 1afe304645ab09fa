from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from accelc.passes.recover_silu import RecoverSilu
from accelc.testing import assert_refuses, assert_rewrites, assert_same_meaning

ONE = "<float o = {1}>"
QUOTIENT = "n = Neg(x)  e = Exp(n)  d = Add(e, o)  y = Div(x, d)"


def graph(body: str, weights: str = "", y: str = "float[2,3] y") -> str:
    return f"g (float[2,3] x) => ({y}) {weights} {{ {body} }}"


@pytest.mark.parametrize(
    ("body", "weights", "after"),
    [
        ("s = Sigmoid(x)  y = Mul(x, s)", "", "y = Swish(x)"),
        ("s = Sigmoid(x)  y = Mul(s, x)", "", "y = Swish(x)"),
        ("a = Mul(x, k)  s = Sigmoid(a)  y = Mul(x, s)", "<float[1] k = {1}>", "y = Swish(x)"),
        ("a = Mul(k, x)  s = Sigmoid(a)  y = Mul(x, s)", "<float k = {1.702}>", "y = Swish<alpha=1.702>(x)"),
        ("a = Div(x, k)  s = Sigmoid(a)  y = Mul(x, s)", "<float k = {2}>", "y = Swish<alpha=0.5>(x)"),
        (QUOTIENT, ONE, "y = Swish(x)"),
        (QUOTIENT.replace("Add(e, o)", "Add(o, e)"), ONE, "y = Swish(x)"),
    ],
)
def test_golden(body: str, weights: str, after: str) -> None:
    assert_rewrites(RecoverSilu(), graph(body, weights), graph(after))


def test_golden_in_a_subgraph_with_a_captured_value() -> None:
    text = "g (bool c, float[2] x) => (float[2] y) { y = If(c) <then_branch = t () => (float[2] a) { %s },"
    text += " else_branch = f () => (float[2] b) { b = Neg(x) }> }"
    assert_rewrites(RecoverSilu(), text % "s = Sigmoid(x)  a = Mul(x, s)", text % "a = Swish(x)")


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ('<ir_version: 10, opset_import: ["" : 22]> ' + graph("s = Sigmoid(x)  y = Mul(x, s)"), "opset 24"),
        ('<ir_version: 10, opset_import: ["" : 22]> ' + graph(QUOTIENT, ONE), "opset 24"),
        (
            graph("s = Sigmoid(x)  y = Mul(x, s)  z = Neg(s)", y="float[2,3] y, float[2,3] z"),
            "also read outside",
        ),
        (graph(QUOTIENT + "  z = Neg(d)", ONE, "float[2,3] y, float[2,3] z"), "also read outside"),
        (
            graph("a = Mul(x, k)  s = Sigmoid(a)  y = Mul(x, s)", "<float[1,1,1] k = {2}>", "float[1,2,3] y"),
            "higher rank",
        ),
    ],
)
def test_refusals(text: str, why: str) -> None:
    assert_refuses(RecoverSilu(), text, why)


@pytest.mark.parametrize(
    "text",
    [
        graph("a = Neg(x)  s = Sigmoid(x)  y = Mul(a, s)"),
        graph("a = Add(x, k)  s = Sigmoid(a)  y = Mul(x, s)", "<float k = {2}>"),
        graph("s = Sigmoid(x)  y = Mul(s, s)"),
        graph(QUOTIENT, "<float o = {2}>"),
        graph("n = Neg(x)  e = Exp(n)  d = Add(e, o)  y = Div(o, d)", ONE),
    ],
)
def test_other_formulas_are_left_alone(text: str) -> None:
    assert_rewrites(RecoverSilu(), text, text)


@settings(max_examples=20, deadline=None)
@given(shape=st.lists(st.integers(0, 5), max_size=3), quotient=st.booleans(), seed=st.integers(0, 99))
def test_meaning(shape: list[int], quotient: bool, seed: int) -> None:
    dims = f"[{','.join(f'D{i}' for i in range(len(shape)))}]" if shape else ""
    body = QUOTIENT if quotient else "s = Sigmoid(x)  y = Mul(x, s)"
    text = f"g (float{dims} x) => (float{dims} y) {ONE if quotient else ''} {{ {body} }}"
    feed = np.asarray(np.random.default_rng(seed).standard_normal(shape) * 5, np.float32)
    if feed.size:
        feed.reshape(-1)[0] = 4.0  # the formula cancels near 0: errors are relative to the largest output
    result = assert_same_meaning(RecoverSilu(), text, {"x": feed})
    assert [node.op_type for node in result.graph] == ["Swish"]


@pytest.mark.parametrize("body", ["s = Sigmoid(x)  y = Mul(x, s)", QUOTIENT])
def test_meaning_at_the_edges(body: str) -> None:
    edges = np.array([[0.0, np.nan, np.inf], [-np.inf, -200.0, 200.0]], np.float32)
    assert_same_meaning(RecoverSilu(), graph(body, ONE if "o)" in body else ""), {"x": edges})
