from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from accelc.passes.recover_hard_swish import RecoverHardSwish
from accelc.testing import assert_refuses, assert_rewrites, assert_same_meaning

CLIP = "a = Add(x, three)  c = Clip(a, lo, hi)  m = Mul(x, c)  y = Div(m, six)"
GATE = "s = HardSigmoid<alpha=0.16666667, beta=0.5>(x)  y = Mul(x, s)"
USED = {
    "three": "float[1] three = {3}",
    "six": "float[1] six = {6}",
    "lo": "float lo = {0}",
    "hi": "float hi = {6}",
    "one": "float one = {1}",
    "r": "float r = {0.16666667}",
    "h": "float h = {0.5}",
}


def graph(body: str, y: str = "float[2,3] y", **changed: str) -> str:
    table = {**USED, **changed}
    used = [text for name, text in table.items() if any(f"{sep}{name}" in body for sep in ("(", ", "))]
    weights = f"<{', '.join(used)}>" if used else ""
    return f"g (float[2,3] x) => ({y}) {weights} {{ {body} }}"


@pytest.mark.parametrize(
    "body",
    [
        CLIP,
        "a = Add(three, x)  c = Clip(a, lo, hi)  d = Div(c, six)  y = Mul(d, x)",
        "a = Add(x, three)  c = Clip(a, lo, hi)  d = Mul(x, r)  y = Mul(c, d)",
        "a = Mul(x, r)  b = Add(a, h)  c = Clip(b, lo, one)  y = Mul(x, c)",
        "a = Div(x, six)  b = Add(h, a)  c = Clip(b, lo, one)  y = Mul(c, x)",
        GATE,
    ],
)
def test_golden(body: str) -> None:
    assert_rewrites(RecoverHardSwish(), graph(body), graph("y = HardSwish(x)"))


def test_golden_in_a_subgraph() -> None:
    text = "g (bool c, float[2] x) => (float[2] y) { y = If(c) <then_branch = t () => (float[2] a) { %s },"
    text += " else_branch = f () => (float[2] b) { b = Neg(x) }> }"
    before = "s = HardSigmoid<alpha=0.16666667, beta=0.5>(x)  a = Mul(s, x)"
    assert_rewrites(RecoverHardSwish(), text % before, text % "a = HardSwish(x)")


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ('<ir_version: 8, opset_import: ["" : 13]> ' + graph(GATE), "opset 14"),
        (graph(CLIP + "  z = Neg(c)", "float[2,3] y, float[2,3] z"), "also read outside"),
        (graph(CLIP, "float[2,3] y, float[2,3] c"), "also read outside"),
        (graph(CLIP, "float[1,2,3] y", three="float[1,1,1] three = {3}"), "higher rank"),
    ],
)
def test_refusals(text: str, why: str) -> None:
    assert_refuses(RecoverHardSwish(), text, why)


@pytest.mark.parametrize(
    "text",
    [
        graph(CLIP, three="float[1] three = {2}"),
        graph(CLIP, six="float[1] six = {5}"),
        graph(CLIP, lo="float lo = {-1}"),
        graph(CLIP, hi="float hi = {7}"),
        graph(GATE.replace("0.16666667", "0.2")),
        graph(GATE.replace("beta=0.5", "beta=0.4")),
        graph("s = HardSigmoid<alpha=0.16666667, beta=0.5>(x)  a = Abs(x)  y = Mul(a, s)"),
    ],
)
def test_other_formulas_are_left_alone(text: str) -> None:
    assert_rewrites(RecoverHardSwish(), text, text)


@settings(max_examples=20, deadline=None)
@given(shape=st.lists(st.integers(0, 5), min_size=1, max_size=3), gate=st.booleans(), seed=st.integers(0, 99))
def test_meaning(shape: list[int], gate: bool, seed: int) -> None:
    dims = ",".join(f"D{i}" for i in range(len(shape)))
    text = graph(GATE if gate else CLIP).replace("float[2,3]", f"float[{dims}]")
    feed = np.asarray(np.random.default_rng(seed).standard_normal(shape) * 4, np.float32)
    if feed.size:
        feed.reshape(-1)[0] = 4.0  # the formula cancels near 0: errors are relative to the largest output
    result = assert_same_meaning(RecoverHardSwish(), text, {"x": feed})
    assert [node.op_type for node in result.graph] == ["HardSwish"]


@pytest.mark.parametrize("body", [GATE, CLIP])
def test_meaning_at_the_edges(body: str) -> None:
    edges = np.array([[0.0, np.nan, np.inf], [-3.0, 3.0, -2e5]], np.float32)
    assert_same_meaning(RecoverHardSwish(), graph(body), {"x": edges})
