from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from accelc.passes.unflatten_gemm import UnflattenGemm
from accelc.testing import assert_refuses, assert_rewrites, assert_same_meaning

WEIGHTS = {
    "flat": "int64[2] flat = {-1, 4}",
    "back": "int64[3] back = {2, 5, 8}",
    "w": "float[4,8] w",
    "b": "float[8] b",
}
BODY = "f = Reshape(x, flat)  g = Gemm(f, w, b)  y = Reshape(g, back)"


def graph(body: str = BODY, x: str = "[2,5,4]", y: str = "[2,5,8]", more: str = "", **changed: str) -> str:
    table = {**WEIGHTS, **changed}
    used = [text for name, text in table.items() if any(f", {name}{end}" in body for end in ",)")]
    weights = f"<{', '.join(used)}>" if used else ""
    return f"g (float{x} x) => (float{y} y{more}) {weights} {{ {body} }}"


def test_golden() -> None:
    assert_rewrites(UnflattenGemm(), graph(), graph("m = MatMul(x, w)  y = Add(m, b)"))


def test_golden_without_bias_and_with_a_named_dim() -> None:
    body = BODY.replace("Gemm(f, w, b)", "MatMul(f, w)")
    before = graph(body, "[N,5,4]", "[N,5,8]", back="int64[3] back = {-1, 5, 8}")
    assert_rewrites(UnflattenGemm(), before, graph("y = MatMul(x, w)", "[N,5,4]", "[N,5,8]"))


def test_golden_reshape_that_joins_heads_stays_with_another_target() -> None:
    after = "r = Reshape(x, t)  m = MatMul(r, w)  y = Add(m, b)"
    before = graph(x="[2,5,2,2]")
    assert_rewrites(UnflattenGemm(), before, graph(after, x="[2,5,2,2]", t="int64[3] t = {2, 5, 4}"))


def test_golden_in_a_subgraph() -> None:
    text = "g (bool c, float[2,5,4] x) => (float[2,5,8] y) %s { y = If(c) <then_branch = t () => (float[2,5,8] z)"
    text += " { %s }, else_branch = f () => (float[2,5,8] n) { n = MatMul(x, w) }> }"
    weights = "<float[4,8] w, float[8] b%s>"
    more = ", int64[2] flat = {-1, 4}, int64[3] back = {2, 5, 8}"
    before = text % (weights % more, BODY.replace("y =", "z ="))
    assert_rewrites(UnflattenGemm(), before, text % (weights % "", "m = MatMul(x, w)  z = Add(m, b)"))


@pytest.mark.parametrize(
    ("text", "why"),
    [
        (graph(BODY + "  z = Neg(g)", more=", float[10,8] z"), "also read elsewhere"),
        (graph(BODY, more=", float[10,8] g"), "also read elsewhere"),
        (graph(BODY.replace("Gemm(", "Gemm<transB=1>("), w="float[8,4] w"), "is transposed"),
        (graph(BODY.replace("Gemm(", "Gemm<alpha=2.0>(")), "scales"),
        (graph(BODY.replace("Gemm(", "Gemm<beta=2.0>(")), "scales"),
        (graph(b="float[10,8] b"), "same for all rows"),
        (graph(y="[2,5,2,4]", back="int64[4] back = {2, 5, 2, 4}"), "splits or joins"),
        (graph(BODY.replace("Gemm(f, w, b)", "MatMul(f, v)"), v="float[1,4,8] v"), "rank 3"),
        (graph(x="[0,5,2,2]", y="[0,5,8]", back="int64[3] back = {-1, 5, 8}"), "empty"),
    ],
)
def test_refusals(text: str, why: str) -> None:
    assert_refuses(UnflattenGemm(), text, why)


@settings(max_examples=20, deadline=None)
@given(
    sizes=st.tuples(st.integers(0, 3), st.integers(1, 4)),
    bias=st.sampled_from(["", "float[8] b", "float[1,8] b", "float[1] b"]),
    joined=st.booleans(),
    seed=st.integers(0, 99),
)
def test_meaning(sizes: tuple[int, int], bias: str, joined: bool, seed: int) -> None:
    batch, rows = sizes
    body = BODY if bias else BODY.replace(", b)", ")")
    inner = "2,2" if joined else "4"
    text = graph(
        body,
        f"[N,{rows},{inner}]",
        f"[N,{rows},8]",
        back=f"int64[3] back = {{-1, {rows}, 8}}",
        b=bias or "float[8] b",
    )
    shape = (batch, rows, 2, 2) if joined else (batch, rows, 4)
    feed = np.random.default_rng(seed).standard_normal(shape).astype(np.float32)
    result = assert_same_meaning(UnflattenGemm(), text, {"x": feed})
    assert "Gemm" not in [node.op_type for node in result.graph]
