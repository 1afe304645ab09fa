from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from accelc.passes.recover_layer_norm import RecoverLayerNorm
from accelc.testing import assert_refuses, assert_rewrites, assert_same_meaning

WEIGHTS = {
    "ax": "int64[1] ax = {-1}",
    "two": "float two = {2}",
    "half": "float half = {0.5}",
    "minus": "float minus = {-0.5}",
    "one": "float one = {1}",
    "eps": "float eps = {0.00001}",
    "g": "float[8] g",
    "b": "float[8] b",
}
HEAD = "m = ReduceMean(x, ax)  d = Sub(x, m)  p = Pow(d, two)  v = ReduceMean(p, ax)  w = Add(v, eps)"
CORE = f"{HEAD}  q = Sqrt(w)  n = Div(d, q)"
FULL = f"{CORE}  s = Mul(n, g)  y = Add(s, b)"
AFTER = "y = LayerNormalization<axis=-1, epsilon=0.00001>(x, g, b)"
DIMS = "float[N,4,8]"


def graph(body: str, *, dims: str = DIMS, more: str = "", **changed: str) -> str:
    table = {**WEIGHTS, **changed}
    used = [
        text
        for name, text in table.items()
        if any(f"{sep}{name}{end}" in body for sep in "( " for end in ",)")
    ]
    weights = f"<{', '.join(used)}>" if used else ""
    return f"g ({dims} x) => ({dims} y{more}) {weights} {{ {body} }}"


@pytest.mark.parametrize(
    "body",
    [
        FULL,
        FULL.replace("Mul(n, g)", "Mul(g, n)").replace("Add(s, b)", "Add(b, s)"),
        FULL.replace("Pow(d, two)", "Mul(d, d)"),
        FULL.replace("Add(v, eps)", "Add(eps, v)"),
        FULL.replace("p = Pow(d, two)", "d2 = Sub(x, m)  p = Pow(d2, two)"),
        f"{HEAD}  q = Sqrt(w)  r = Reciprocal(q)  n = Mul(d, r)  s = Mul(n, g)  y = Add(s, b)",
        f"{HEAD}  q = Sqrt(w)  r = Div(one, q)  n = Mul(r, d)  s = Mul(n, g)  y = Add(s, b)",
        f"{HEAD}  r = Pow(w, minus)  n = Mul(d, r)  s = Mul(n, g)  y = Add(s, b)",
        f"{HEAD}  q = Pow(w, half)  n = Div(d, q)  s = Mul(n, g)  y = Add(s, b)",
    ],
)
def test_golden(body: str) -> None:
    assert_rewrites(RecoverLayerNorm(), graph(body), graph(AFTER))


def test_golden_without_scale_and_bias() -> None:
    ones = ", ".join(["1"] * 8)
    after = graph("y = LayerNormalization<axis=-1, epsilon=0.00001>(x, g)", g=f"float[8] g = {{{ones}}}")
    assert_rewrites(RecoverLayerNorm(), graph(CORE.replace("n =", "y =")), after)


def test_golden_over_two_axes_and_parameters_with_leading_ones() -> None:
    two_axes = {"ax": "int64[2] ax = {1, 2}"}
    before = graph(FULL, dims="float[3,4,8]", g="float[1,4,8] g", b="float[4,8] b", **two_axes)
    after = graph(AFTER.replace("-1", "-2"), dims="float[3,4,8]", g="float[4,8] g", b="float[4,8] b")
    assert_rewrites(RecoverLayerNorm(), before, after)


def test_golden_with_computed_parameters_in_a_subgraph() -> None:
    text = (
        "g (bool c, float[3,8] x, float[8] g, float[8] b) => (float[3,8] y) %s { y = If(c) <"
        "then_branch = t () => (float[3,8] z) { %s }, else_branch = f () => (float[3,8] k) { k = Neg(x) }> }"
    )
    weights = "<int64[1] ax = {-1}, float two = {2}, float eps = {0.00001}>"
    after = AFTER.replace("y =", "z =")
    assert_rewrites(RecoverLayerNorm(), text % (weights, FULL.replace("y =", "z =")), text % ("", after))


def test_what_follows_is_no_scale() -> None:
    """A scale along another axis stays outside."""
    before = graph(f"{CORE}  y = Mul(n, g)", g="float[4,1] g")
    after = graph(
        "n = LayerNormalization<axis=-1, epsilon=0.00001>(x, o)  y = Mul(n, g)",
        g="float[4,1] g",
        o="float[8] o",
    )
    assert_rewrites(RecoverLayerNorm(), before, after)


@pytest.mark.parametrize(
    ("text", "why"),
    [
        (
            '<ir_version: 8, opset_import: ["" : 16]> '
            + graph(FULL)
            .replace("ReduceMean(x, ax)", "ReduceMean<axes=[-1]>(x)")
            .replace("ReduceMean(p, ax)", "ReduceMean<axes=[-1]>(p)"),
            "opset 17",
        ),
        (graph(FULL, ax="int64[1] ax = {1}"), "not the last"),
        (
            graph(
                FULL.replace("ReduceMean(p, ax)", "ReduceMean(p, ax2)"),
                ax2="int64[2] ax2 = {-2, -1}",
                dims="float[3,4,8]",
            ),
            "different axes",
        ),
        (graph(CORE.replace("n =", "y ="), dims="float[3,N]"), "size is not known"),
        (graph(f"{FULL}  z = Neg(q)", more=", float[N,4,1] z"), "also read outside"),
        (graph(f"{FULL}  z = Neg(d)", more=f", {DIMS} z"), "also read outside"),
        (graph(FULL).replace("float", "double"), "computes in float32"),
    ],
)
def test_refusals(text: str, why: str) -> None:
    assert_refuses(RecoverLayerNorm(), text, why)


def test_refuses_dropped_axes_and_axes_that_are_fed() -> None:
    dropped = graph(FULL.replace("ReduceMean(", "ReduceMean<keepdims=0>("), dims="float[8,8,8]")
    assert_refuses(RecoverLayerNorm(), dropped, "drops the axes")
    fed = graph(FULL).replace("x) =>", "x, int64[1] ax) =>", 1).replace("<int64[1] ax = {-1}, ", "<")
    assert_refuses(RecoverLayerNorm(), fed, "not a list of constants")


@pytest.mark.parametrize(
    "text",
    [
        graph(FULL.replace("Div(d, q)", "Div(x, q)")),
        graph(FULL.replace("Sub(x, m)", "Sub(m, x)")),
        graph(FULL, two="float two = {3}"),
        graph(FULL, eps="float eps = {-0.001}"),
        graph("y = Div(x, x)"),
    ],
)
def test_other_formulas_are_left_alone(text: str) -> None:
    assert_rewrites(RecoverLayerNorm(), text, text)


@settings(max_examples=20, deadline=None)
@given(
    lead=st.lists(st.integers(0, 4), max_size=2),
    size=st.sampled_from([1, 2, 8]),
    affine=st.integers(0, 2),
    seed=st.integers(0, 99),
)
def test_meaning(lead: list[int], size: int, affine: int, seed: int) -> None:
    last = ["y = Div(d, q)", "n = Div(d, q)  y = Mul(n, g)", "n = Div(d, q)  s = Mul(g, n)  y = Add(s, b)"][
        affine
    ]
    dims = ",".join([*(f"D{i}" for i in range(len(lead))), str(size)])
    body = f"{HEAD}  q = Sqrt(w)  {last}"
    text = graph(body, dims=f"float[{dims}]", g=f"float[{size}] g", b=f"float[{size}] b")
    feed = np.random.default_rng(seed).standard_normal([*lead, size]).astype(np.float32)
    result = assert_same_meaning(RecoverLayerNorm(), text, {"x": feed})
    assert [node.op_type for node in result.graph] == ["LayerNormalization"]


def test_meaning_with_nan_in_a_row() -> None:
    feed = np.random.default_rng(0).standard_normal((3, 4, 8)).astype(np.float32)
    feed[1, 2, 3] = np.nan
    assert_same_meaning(RecoverLayerNorm(), graph(FULL), {"x": feed})
