from __future__ import annotations

import numpy as np
import onnx_ir as ir
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from accelc.ir.pass_base import Refusal
from accelc.passes.fuse_reductions import FuseReductions
from accelc.testing import assert_refuses, assert_rewrites, assert_same_meaning

OPSETS = '<ir_version: 11, opset_import: ["" : 24, "accelc.fused" : 1]>\n'


def function(name: str, count: int, body: str, result: str) -> str:
    operands = ", ".join(f"x{i}" for i in range(count))
    return (
        f'<domain: "accelc.fused", opset_import: ["" : 24]>\n{name} ({operands}) => ({result}) {{ {body} }}\n'
    )


def test_golden_prologue_and_epilogue() -> None:
    head = "g (float[N,8] x, float[N,1] r) => (float[N,8] y) <float[8] b> {"
    before = head + " a = Mul(x, r)  c = Add(b, a)  s = Softmax(c)  y = Mul(b, s) }"
    name = "mul_add_softmax_mul_0123456789abcdef"
    body = "t0 = Mul(x0, x1)  t1 = Add(t0, x2)  t2 = Softmax(t1)  t3 = Mul(t2, x2)"
    after = OPSETS + head + f" y = accelc.fused.{name}(x, r, b) }}\n" + function(name, 3, body, "t3")
    assert_rewrites(FuseReductions(), before, after)


def test_golden_reduction_takes_its_axes_along_but_no_epilogue() -> None:
    head = "g (float[N,8] x) => (float[N] y) "
    before = head + "<int64[1] ax = {1}> { a = Exp(x)  s = ReduceSum<keepdims=0>(a, ax)  y = Log(s) }"
    name = "exp_reducesum_0123456789abcdef"
    body = "c0 = Constant<value = int64[1] {1}>()  t0 = Exp(x0)  t1 = ReduceSum<keepdims=0>(t0, c0)"
    after = OPSETS + head + f"{{ s = accelc.fused.{name}(x)  y = Log(s) }}\n" + function(name, 1, body, "t1")
    assert_rewrites(FuseReductions(), before, after)


def test_golden_normalisation_in_a_subgraph() -> None:
    head = "g (bool c, float[3,8] x, float[3,8] r) => (float[3,8] y) <float[8] g> { y = If(c) <"
    rest = ", else_branch = f () => (float[3,8] n) { n = Neg(x) }> }"
    body = "then_branch = t () => (float[3,8] z) { a = Add(x, r)  z = LayerNormalization(a, g) }"
    name = "add_layernormalization_0123456789abcdef"
    call = f"then_branch = t () => (float[3,8] z) {{ z = accelc.fused.{name}(x, r, g) }}"
    after = OPSETS + head + call + rest + "\n"
    after += function(name, 3, "t0 = Add(x0, x1)  t1 = LayerNormalization(t0, x2)", "t1")
    assert_rewrites(FuseReductions(), head + body + rest, after)


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("g (float[N,8] x) => (float[N,8] y, float[N,8] z) { a = Exp(x)  y = Softmax(a)  z = Neg(a) }", "read outside"),
        ("g (float[N,8] x) => (float[N,8] y) { a = Exp(x)  dead = Softmax(a)  y = Neg(x) }", ""),
        ("g (float[N,8] x) => (float[N,8] y, float[N,8] a) { a = Exp(x)  y = Softmax(a) }", "graph output"),
        ("g (float[N,8] x, string[N,8] s) => (float[N,8] y) { a = Cast<to=1>(s)  y = Softmax(a) }", "do not take"),
        ("g (float[N,8] x, float[M,N,8] r) => (float[M,N,8] y) { a = Softmax(x)  y = Add(a, r) }", "full shape"),
        ("g (int32[N,8] x, int32[8] r) => (float[N,8] y) { a = Div(x, r)  b = Cast<to=1>(a)  y = Softmax(b) }", ""),
        ("g (float[N,8] x) => (float[N,8] y) { y = Softmax(x) }", ""),
        ("g (int32[N,8] x) => (int32[N,8] y) { a = Abs(x)  y = ReduceSum<keepdims=0>(a, n) }", ""),
    ],
)  # fmt: skip
def test_refusals(text: str, why: str) -> None:
    if why:
        assert_refuses(FuseReductions(), text, why)
    elif "Div" in text:
        result = assert_same_meaning(FuseReductions(), text, feeds_for_division())
        assert [node.op_type.split("_")[0] for node in result.graph] == ["Div", "cast"]
    else:
        text = text.replace("int32[N,8] y", "int32[N] y").replace("{ a", "<int64[1] n = {1}> { a")
        assert_rewrites(FuseReductions(), text, text)


def feeds_for_division() -> dict[str, np.ndarray]:
    return {"x": np.arange(16, dtype=np.int32).reshape(2, 8), "r": np.arange(1, 9, dtype=np.int32)}


def test_further_outputs_keep_the_epilogue_out() -> None:
    text = (
        "g (float[3,8] x) => (float[3,8] y, float[3,1] m) <float[8] g> {"
        " a = Abs(x)  n, m = LayerNormalization(a, g)  y = Neg(n) }"
    )
    result = assert_same_meaning(FuseReductions(), text)
    assert [node.op_type.split("_")[0] for node in result.graph] == ["abs", "Neg"]


def test_asks_the_target() -> None:
    class NoExp:
        def can_fuse(self, anchor: ir.Node, epilogue: ir.Node) -> Refusal | None:
            return Refusal("no exp here") if epilogue.op_type == "Exp" else None

    text = "g (float[N,8] x) => (float[N,8] y) { a = Exp(x)  y = Softmax(a) }"
    assert_refuses(FuseReductions(), text, "no exp here", cost=NoExp())


@settings(max_examples=25, deadline=None)
@given(
    anchor=st.sampled_from(
        ["Softmax", "LogSoftmax", "ReduceMax", "ReduceMean", "ReduceL2", "LayerNormalization"]
    ),
    shape=st.tuples(st.integers(0, 3), st.integers(1, 5)),
    before=st.integers(0, 3),
    after=st.integers(0, 2),
    seed=st.integers(0, 99),
)
def test_meaning(anchor: str, shape: tuple[int, int], before: int, after: int, seed: int) -> None:
    rows, columns = shape
    head = ["a0 = Mul(x, r)", "a1 = Add(a0, b)", "a2 = Tanh(a1)"][:before]
    last = f"a{before - 1}" if before else "x"
    reduces = anchor.startswith("Reduce")
    call = f"{anchor}({last}, {'ax' if reduces else 'b'})" if "Softmax" not in anchor else f"{anchor}({last})"
    body = [*head, f"c0 = {call}", *["c1 = Mul(c0, k)", "c2 = Neg(c1)"][:after]]
    result = f"float[N,{1 if reduces else columns}] c{after}"
    weights = f"<float[{columns}] b, float k, int64[1] ax = {{1}}>"
    text = f"g (float[N,{columns}] x, float[N,1] r) => ({result}) {weights} {{ {'  '.join(body)} }}"
    rng = np.random.default_rng(seed)
    feeds = {
        "x": rng.standard_normal((rows, columns)).astype(np.float32),
        "r": rng.standard_normal((rows, 1)).astype(np.float32),
    }
    fused = assert_same_meaning(FuseReductions(), text, feeds)
    assert len(list(fused.graph)) == (1 + after if reduces else 1)
