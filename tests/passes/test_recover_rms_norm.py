from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from accelc.passes.recover_rms_norm import RecoverRMSNorm
from accelc.testing import assert_refuses, assert_rewrites, assert_same_meaning

WEIGHTS = {
    "ax": "int64[1] ax = {-1}",
    "two": "float two = {2}",
    "minus": "float minus = {-0.5}",
    "eps": "float eps = {0.000001}",
    "g": "float[8] g",
}
HEAD = "p = Pow(x, two)  v = ReduceMean(p, ax)  w = Add(v, eps)"
FULL = f"{HEAD}  q = Sqrt(w)  r = Reciprocal(q)  n = Mul(x, r)  y = Mul(g, n)"
AFTER = "y = RMSNormalization<axis=-1, epsilon=0.000001>(x, g)"
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
        f"{HEAD}  q = Sqrt(w)  n = Div(x, q)  y = Mul(n, g)",
        f"{HEAD}  r = Pow(w, minus)  n = Mul(r, x)  y = Mul(n, g)".replace("Pow(x, two)", "Mul(x, x)"),
    ],
)
def test_golden(body: str) -> None:
    assert_rewrites(RecoverRMSNorm(), graph(body), graph(AFTER))


def test_golden_without_scale() -> None:
    ones = ", ".join(["1"] * 8)
    body = f"{HEAD}  q = Sqrt(w)  y = Div(x, q)"
    assert_rewrites(RecoverRMSNorm(), graph(body), graph(AFTER, g=f"float[8] g = {{{ones}}}"))


def test_golden_in_a_subgraph() -> None:
    text = (
        "g (bool c, float[3,8] x, float[8] g) => (float[3,8] y) %s { y = If(c) <"
        "then_branch = t () => (float[3,8] z) { %s }, else_branch = f () => (float[3,8] k) { k = Neg(x) }> }"
    )
    weights = "<int64[1] ax = {-1}, float two = {2}, float eps = {0.000001}>"
    assert_rewrites(
        RecoverRMSNorm(),
        text % (weights, FULL.replace("y =", "z =")),
        text % ("", AFTER.replace("y =", "z =")),
    )


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ('<ir_version: 10, opset_import: ["" : 22]> ' + graph(FULL), "opset 23"),
        (graph(FULL, ax="int64[1] ax = {0}"), "not the last"),
        (
            graph(FULL.replace("ReduceMean(", "ReduceMean<keepdims=0>("), dims="float[8,8,8]"),
            "drops the axes",
        ),
        (graph(f"{HEAD}  q = Sqrt(w)  y = Div(x, q)", dims="float[3,N]"), "size is not known"),
        (graph(f"{FULL}  z = Neg(w)", more=", float[N,4,1] z"), "also read outside"),
        (graph(FULL).replace("float", "double"), "computes in float32"),
    ],
)
def test_refusals(text: str, why: str) -> None:
    assert_refuses(RecoverRMSNorm(), text, why)


@settings(max_examples=20, deadline=None)
@given(lead=st.lists(st.integers(0, 4), max_size=2), size=st.sampled_from([1, 3, 8]), seed=st.integers(0, 99))
def test_meaning(lead: list[int], size: int, seed: int) -> None:
    dims = ",".join([*(f"D{i}" for i in range(len(lead))), str(size)])
    feed = np.random.default_rng(seed).standard_normal([*lead, size]).astype(np.float32)
    text = graph(FULL, dims=f"float[{dims}]", g=f"float[{size}] g")
    result = assert_same_meaning(RecoverRMSNorm(), text, {"x": feed})
    assert [node.op_type for node in result.graph] == ["RMSNormalization"]
