from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import onnx_ir as ir
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from accelc.ir.pass_base import Refusal
from accelc.passes.fuse_epilogues import EPILOGUE_OPS, FuseEpilogues
from accelc.testing import assert_refuses, assert_rewrites, assert_same_meaning

OPSETS = '<ir_version: 11, opset_import: ["" : 24, "accelc.fused" : 1]>\n'
CONV = "<float[4,3,3,3] w, float[4] b, float[4,1,1] s>"


def function(name: str, count: int, body: str, result: str) -> str:
    operands = ", ".join(f"x{i}" for i in range(count))
    return (
        f'<domain: "accelc.fused", opset_import: ["" : 24]>\n{name} ({operands}) => ({result}) {{ {body} }}\n'
    )


def conv(body: str, more: str = "", weights: str = CONV, y: str = "float[N,4,6,6] y") -> str:
    return f"g (float[N,3,6,6] x{more}) => ({y}) {weights} {{ c = Conv<pads=[1,1,1,1]>(x, w, b)  {body} }}"


def test_golden_conv_residual_relu() -> None:
    weights = "<float[4,3,3,3] w, float[4] b>"
    after = (
        OPSETS
        + f"g (float[N,3,6,6] x, float[N,4,6,6] r) => (float[N,4,6,6] y) {weights} {{"
        + " y = accelc.fused.conv_add_relu_0123456789abcdef(x, w, b, r) }\n"
        + function(
            "conv_add_relu_0123456789abcdef",
            4,
            "t0 = Conv<pads=[1,1,1,1]>(x0, x1, x2)  t1 = Add(t0, x3)  t2 = Relu(t1)",
            "t2",
        )
    )
    before = conv("a = Add(r, c)  y = Relu(a)", ", float[N,4,6,6] r", weights)
    assert_rewrites(FuseEpilogues(), before, after)


def test_golden_matmul_bias_and_mish() -> None:
    """A value read twice inside the epilogue."""
    before = (
        "g (float[B,S,4] x) => (float[B,S,8] y) <float[4,8] w, float[8] b> {"
        " m = MatMul(x, w)  a = Add(b, m)  p = Softplus(a)  t = Tanh(p)  y = Mul(a, t) }"
    )
    body = "t0 = MatMul(x0, x1)  t1 = Add(t0, x2)  t2 = Softplus(t1)  t3 = Tanh(t2)  t4 = Mul(t1, t3)"
    after = (
        OPSETS
        + "g (float[B,S,4] x) => (float[B,S,8] y) <float[4,8] w, float[8] b> {"
        + " y = accelc.fused.matmul_add_softplus_tanh_mul_0123456789abcdef(x, w, b) }\n"
        + function("matmul_add_softplus_tanh_mul_0123456789abcdef", 3, body, "t4")
    )
    assert_rewrites(FuseEpilogues(), before, after)


def test_golden_two_anchors_meet_the_later_takes_the_add() -> None:
    before = (
        "g (float[2,4] x) => (float[2,8] y) <float[4,8] v, float[4,8] w> {"
        " p = MatMul(x, v)  q = MatMul(x, w)  e = Exp(p)  a = Add(e, q)  y = Relu(a) }"
    )
    after = (
        OPSETS
        + "g (float[2,4] x) => (float[2,8] y) <float[4,8] v, float[4,8] w> {"
        + " e = accelc.fused.matmul_exp_0123456789abcdef(x, v)"
        + " y = accelc.fused.matmul_add_relu_0123456789abcdef(x, w, e) }\n"
        + function("matmul_exp_0123456789abcdef", 2, "t0 = MatMul(x0, x1)  t1 = Exp(t0)", "t1")
        + function(
            "matmul_add_relu_0123456789abcdef",
            3,
            "t0 = MatMul(x0, x1)  t1 = Add(t0, x2)  t2 = Relu(t1)",
            "t2",
        )
    )
    assert_rewrites(FuseEpilogues(), before, after)


def test_golden_in_a_subgraph_with_captured_operands() -> None:
    head = "g (bool c, float[2,4] x) => (float[2,8] y) <float[4,8] w, float[8] b> { y = If(c) <"
    rest = ", else_branch = f () => (float[2,8] n) { n = MatMul(x, w) }> }"
    body = "then_branch = t () => (float[2,8] r) { m = Gemm(x, w, b)  r = Relu(m) }"
    call = "then_branch = t () => (float[2,8] r) { r = accelc.fused.gemm_relu_0123456789abcdef(x, w, b) }"
    after = OPSETS + head + call + rest + "\n"
    after += function("gemm_relu_0123456789abcdef", 3, "t0 = Gemm(x0, x1, x2)  t1 = Relu(t0)", "t1")
    assert_rewrites(FuseEpilogues(), head + body + rest, after)


def test_stops_where_a_result_is_needed_outside() -> None:
    text = conv("a = Relu(c)  y = Exp(a)", y="float[N,4,6,6] y, float[N,4,6,6] a")
    result = assert_same_meaning(FuseEpilogues(), text, {"x": np.ones((2, 3, 6, 6), np.float32)})
    assert [node.op_type.split("_")[0] for node in result.graph] == ["conv", "Exp"]


@pytest.mark.parametrize(
    ("body", "more", "y", "why"),
    [
        ("y = Relu(c)  k = Exp(c)", "", "float[N,4,6,6] y, float[N,4,6,6] k", ""),
        ("y = Relu(c)", "", "float[N,4,6,6] y, float[N,4,6,6] c", ""),
        ("dead = Relu(c)  y = Exp(x)", "", "float[N,3,6,6] y", ""),
        (
            "y = Mul(c, k)",
            ", float[N,4,1,1] k",
            "float[N,4,6,6] y",
            "neither constant nor of the result's shape",
        ),
        (
            "y = Mul(c, k)",
            ", float[1,4,6,6] k",
            "float[N,4,6,6] y",
            "neither constant nor of the result's shape",
        ),
        ("y = Mul(c, v)", "", "float[N,4,6,6] y", "varies along other axes"),
        ("y = PRelu(k, c)", ", float[N,4,6,6] k", "float[N,4,6,6] y", "slope of PRelu"),
    ],
)
def test_refusals(body: str, more: str, y: str, why: str) -> None:
    text = conv(body, more, "<float[4,3,3,3] w, float[4] b, float[6] v>", y)
    if why:
        assert_refuses(FuseEpilogues(), text, why)
    else:
        assert_rewrites(FuseEpilogues(), text, text)


def test_refuses_many_readers_and_other_dtypes() -> None:
    readers = "  ".join(f"y{i} = Neg(c)" for i in range(9))
    outputs = ", ".join(f"float[N,4,6,6] y{i}" for i in range(9))
    assert_refuses(FuseEpilogues(), conv(readers, y=outputs), "9 nodes read c")
    integers = "g (int32[2,4] x, int32[4,8] w) => (int32[2,8] y) { m = MatMul(x, w)  y = Abs(m) }"
    assert_refuses(FuseEpilogues(), integers, "not of floats")


def test_asks_the_target() -> None:
    class NoTanh:
        def can_fuse(self, anchor: ir.Node, epilogue: ir.Node) -> Refusal | None:
            return Refusal("no tanh here", at=epilogue) if epilogue.op_type == "Tanh" else None

    assert_refuses(FuseEpilogues(), conv("y = Tanh(c)"), "no tanh here", cost=NoTanh())


def test_every_epilogue_op_runs_inside_a_kernel() -> None:
    unary = sorted(EPILOGUE_OPS - {"Add", "Sub", "Mul", "Div", "Sum", "Max", "Min", "Clip", "PRelu"})
    chain, last = [], "c"
    for i, op in enumerate(unary):
        chain.append(f"t{i} = {op}({last})")
        last = f"t{i}"
    binary = (
        f"d = Sub({last}, s)  e = Div(s, d)  f = Max(e, s, e)  h = Min(f, f)  k = PRelu(h, s)  y = Sum(k, s)"
    )
    text = conv("  ".join(chain) + "  " + binary)
    result = assert_same_meaning(FuseEpilogues(), text, {"x": np.ones((1, 3, 6, 6), np.float32)})
    assert len(list(result.graph)) == 1


@settings(max_examples=25, deadline=None)
@given(
    ops=st.lists(
        st.sampled_from(["Relu", "Tanh", "bias", "scale", "residual", "Clip", "swish", "Neg"]), max_size=5
    ),
    anchor=st.sampled_from(["Conv", "Gemm", "MatMul"]),
    batch=st.integers(0, 3),
    seed=st.integers(0, 99),
)
def test_meaning(ops: Sequence[str], anchor: str, batch: int, seed: int) -> None:
    channel = "[4,1,1]" if anchor == "Conv" else "[4]"
    x, y, w = {
        "Conv": ("[N,3,5,5]", "[N,4,5,5]", "[4,3,1,1]"),
        "Gemm": ("[N,3]", "[N,4]", "[3,4]"),
        "MatMul": ("[N,2,3]", "[N,2,4]", "[3,4]"),
    }[anchor]
    body, last = [f"v0 = {anchor}(x, w)"], "v0"
    for i, op in enumerate(ops, start=1):
        formula = {
            "bias": f"v{i} = Add(b, {last})",
            "scale": f"v{i} = Mul({last}, k)",
            "residual": f"v{i} = Add({last}, r)",
            "Clip": f'v{i} = Clip({last}, "", k)',
            "swish": f"g{i} = Sigmoid({last})  v{i} = Mul({last}, g{i})",
        }.get(op, f"v{i} = {op}({last})")
        body.append(formula)
        last = f"v{i}"
    weights = f"<float{w} w, float{channel} b, float k>"
    text = f"g (float{x} x, float{y} r) => (float{y} {last}) {weights} {{ {'  '.join(body)} }}"
    rng = np.random.default_rng(seed)
    feeds = {
        name: rng.standard_normal([batch, *map(int, shape[3:-1].split(","))]).astype(np.float32)
        for name, shape in (("x", x), ("r", y))
    }
    result = assert_same_meaning(FuseEpilogues(), text, feeds)
    assert len(list(result.graph)) == 1
