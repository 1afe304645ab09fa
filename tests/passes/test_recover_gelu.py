from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from accelc.ir import shapes
from accelc.ir.rewrite import origin_of
from accelc.passes.recover_gelu import RecoverGelu
from accelc.testing import assert_refuses, assert_rewrites, assert_same_meaning, model_from_text, run_pass

ERF_WEIGHTS = "<float r = {1.4142135}, float h = {0.5}, float o = {1}>"
ERF = "a = Div(x, r)  e = Erf(a)  f = Add(e, o)  m = Mul(x, f)  y = Mul(m, h)"
TANH_WEIGHTS = "<float c = {0.044715}, float s = {0.7978846}, float h = {0.5}, float o = {1}, float t = {3}>"
TANH = (
    "p = Pow(x, t)  q = Mul(p, c)  a = Add(x, q)  b = Mul(a, s)  e = Tanh(b)  f = Add(e, o)"
    "  k = Mul(x, h)  y = Mul(k, f)"
)


def graph(body: str, weights: str = ERF_WEIGHTS, x: str = "float[2,3] x", y: str = "float[2,3] y") -> str:
    return f"g ({x}) => ({y}) {weights} {{ {body} }}"


@pytest.mark.parametrize(
    "body",
    [
        ERF,
        "a = Div(x, r)  e = Erf(a)  f = Add(o, e)  k = Mul(h, x)  y = Mul(f, k)",
        "a = Div(x, r)  e = Erf(a)  f = Add(e, o)  k = Mul(f, h)  y = Mul(k, x)",
        "a = Div(x, r)  e = Erf(a)  g = Mul(e, h)  f = Add(h, g)  y = Mul(x, f)",
        "a = Div(x, r)  e = Erf(a)  m = Mul(e, x)  f = Add(m, x)  y = Mul(f, h)",
    ],
)
def test_golden_erf(body: str) -> None:
    assert_rewrites(RecoverGelu(), graph(body), graph("y = Gelu(x)", ""))


@pytest.mark.parametrize(
    "body",
    [
        TANH,
        "p = Mul(x, x)  p3 = Mul(p, x)  q = Mul(c, p3)  a = Add(q, x)  b = Mul(s, a)  e = Tanh(b)  f = Add(o, e)"
        "  k = Mul(x, f)  y = Mul(h, k)",
        "p = Mul(x, x)  q = Mul(p, c)  a = Add(q, o)  b = Mul(x, s)  d = Mul(a, b)  e = Tanh(d)  f = Add(e, o)"
        "  k = Mul(h, x)  y = Mul(k, f)",
    ],
)
def test_golden_tanh(body: str) -> None:
    before = graph("x = Neg(z)  " + body, TANH_WEIGHTS, "float[N,3] z", "float[N,3] y")
    after = graph('x = Neg(z)  y = Gelu<approximate="tanh">(x)', "", "float[N,3] z", "float[N,3] y")
    assert_rewrites(RecoverGelu(), before, after)


def test_golden_in_a_subgraph() -> None:
    text = "g (bool c, float[2,3] x) => (float[2,3] y) %s { y = If(c) <"
    text += "then_branch = t () => (float[2,3] y1) { %s }, %s> }"
    other = "else_branch = f () => (float[2,3] n) { n = Neg(x) }"
    before = text % (ERF_WEIGHTS, ERF.replace("y =", "y1 ="), other)
    assert_rewrites(RecoverGelu(), before, text % ("", "y1 = Gelu(x)", other))


def test_graph_output_keeps_its_name_and_origins_are_recorded() -> None:
    model = model_from_text(graph(ERF))
    shapes.infer(model)
    result, _, record = run_pass(RecoverGelu(), model)
    assert [v.name for v in result.graph.outputs] == ["y"]
    assert len(record.rewrites) == 1
    assert set(origin_of(next(iter(result.graph)))) == {"a", "e", "f", "m", "y"}


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ('<ir_version: 8, opset_import: ["" : 17]> ' + graph(ERF), "opset 20"),
        (graph(ERF + "  z = Neg(e)", y="float[2,3] y, float[2,3] z"), "also read outside"),
        (graph(ERF + "  z = Neg(f)", y="float[2,3] y, float[2,3] z"), "also read outside"),
        (graph(ERF, y="float[2,3] y, float[2,3] e"), "also read outside"),
        (
            graph(ERF, "<float r = {1.4142135}, float[1,1,1] h = {0.5}, float o = {1}>", y="float[1,2,3] y"),
            "rank",
        ),
    ],
)
def test_refusals(text: str, why: str) -> None:
    assert_refuses(RecoverGelu(), text, why)


@pytest.mark.parametrize(
    "text",
    [
        graph(ERF, ERF_WEIGHTS.replace("1.4142135", "1.5")),
        graph(ERF, ERF_WEIGHTS.replace("0.5", "0.25")),
        graph(ERF.replace("Mul(x, f)", "Mul(e, f)")),
        graph(TANH, TANH_WEIGHTS.replace("0.044715", "0.05")),
        "g (float[2,3] x) => (float[2,3] y) { y = Erf(x) }",
    ],
)
def test_other_formulas_are_left_alone(text: str) -> None:
    assert_rewrites(RecoverGelu(), text, text)


def test_doubles_and_halves() -> None:
    for dtype, root in (("double", "1.4142135623730951"), ("float16", "1.4140625")):
        weights = f"<{dtype} r = {{{root}}}, {dtype} h = {{0.5}}, {dtype} o = {{1}}>"
        x, y = f"{dtype}[2,3] x", f"{dtype}[2,3] y"
        if dtype == "float16":
            weights = "<float16 r, float16 h, float16 o>"
        values = (
            {"r": np.float16(root), "h": np.float16(0.5), "o": np.float16(1)} if dtype == "float16" else None
        )
        assert_rewrites(
            RecoverGelu(), graph(ERF, weights, x, y), graph("y = Gelu(x)", "", x, y), weights=values
        )


@settings(max_examples=20, deadline=None)
@given(
    shape=st.lists(st.integers(0, 5), min_size=0, max_size=3),
    tanh=st.booleans(),
    named=st.booleans(),
    seed=st.integers(0, 99),
)
def test_meaning(shape: list[int], tanh: bool, named: bool, seed: int) -> None:
    dims = ",".join(f"D{i}" if named else str(d) for i, d in enumerate(shape))
    x, y = (f"float[{dims}] {v}" if shape else f"float {v}" for v in "xy")
    text = graph(TANH, TANH_WEIGHTS, x, y) if tanh else graph(ERF, x=x, y=y)
    feed = np.asarray(np.random.default_rng(seed).standard_normal(shape) * 4, np.float32)
    if feed.size:
        feed.reshape(-1)[0] = 4.0  # the formula cancels near 0: errors are relative to the largest output
    result = assert_same_meaning(RecoverGelu(), text, {"x": feed})
    assert [node.op_type for node in result.graph] == ["Gelu"]


def test_meaning_at_the_edges() -> None:
    edges = np.array([[0.0, -0.0, np.nan], [np.inf, 1e-30, 80.0]], np.float32)
    assert_same_meaning(RecoverGelu(), graph(ERF), {"x": edges})
