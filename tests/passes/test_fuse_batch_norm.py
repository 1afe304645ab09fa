from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from accelc.ir.pass_base import Limits
from accelc.passes.fuse_batch_norm import FuseBatchNorm
from accelc.testing import assert_refuses, assert_rewrites, assert_same_meaning

C4 = "float[4] s, float[4] o, float[4] m, float[4] v"
POSITIVE = {"v": np.array([0.5, 1, 2, 3], np.float32)}
BN = "BatchNormalization({}, s, o, m, v)"


@pytest.mark.parametrize("bias", ["", ", b"])
def test_golden_conv(bias: str) -> None:
    assert_rewrites(
        FuseBatchNorm(),
        f"""g (float[N,3,8,8] x) => (float[N,4,6,6] y) <float[4,3,3,3] w, float[4] b, {C4}> {{
              c = Conv(x, w{bias}) y = {BN.format("c")} }}""",
        "g (float[N,3,8,8] x) => (float[N,4,6,6] y) <float[4,3,3,3] w, float[4] b> { y = Conv(x, w, b) }",
        weights=POSITIVE,
    )


def test_golden_gemm_and_chain_of_arithmetic() -> None:
    assert_rewrites(
        FuseBatchNorm(),
        """g (float[N,2] x) => (float[N,2] y) <float[2,2] w = {1, 2, 3, 4}, float[2] b = {1, -1},
             float two = {2}, float[1,2] a = {10, 20}> {
             c = Gemm<beta = 0.5, transB = 1>(x, w, b) d = Mul(two, c) e = Add(d, a) y = Sub(a, e) }""",
        """g (float[N,2] x) => (float[N,2] y) <float[2,2] w = {-2, -4, -6, -8}, float[2] b = {-1, 1}> {
             y = Gemm<transB = 1>(x, w, b) }""",
    )


def test_golden_batch_norm_alone_is_mul_and_add() -> None:
    assert_rewrites(
        FuseBatchNorm(),
        f"g (float[N,4,H,W] x) => (float[N,4,H,W] y) <{C4}> {{ y = {BN.format('x')} }}",
        """g (float[N,4,H,W] x) => (float[N,4,H,W] y) <float[4,1,1] s, float[4,1,1] o> {
             a = Mul(x, s) y = Add(a, o) }""",
        weights=POSITIVE,
    )


def test_golden_pad() -> None:
    assert_rewrites(
        FuseBatchNorm(),
        """g (float[N,3,8,8] x) => (float[N,4,8,9] y)
             <float[4,3,3,3] w, int64[4] p = {1, 0, 0, 1}, int64[2] ax = {2, -1}> {
             a = Pad(x, p, "", ax) y = Conv<pads = [0, 1, 1, 1]>(a, w) }""",
        "g (float[N,3,8,8] x) => (float[N,4,8,9] y) <float[4,3,3,3] w> { y = Conv<pads = [1, 1, 1, 2]>(x, w) }",
    )


def test_golden_pad_into_pools() -> None:
    assert_rewrites(
        FuseBatchNorm(),
        """g (float[N,3,8,8] x) => (float[N,3,4,4] y, float[N,3,8,8] z)
             <int64[8] p = {0, 0, 1, 1, 0, 0, 0, 0}, int64[8] q = {0, 0, 1, 1, 0, 0, 1, 1}, float low = {-inf}> {
             a = Pad(x, p) y = AveragePool<kernel_shape = [3, 3], strides = [2, 2]>(a)
             b = Pad(x, q, low) z = MaxPool<kernel_shape = [3, 3]>(b) }""",
        """g (float[N,3,8,8] x) => (float[N,3,4,4] y, float[N,3,8,8] z) {
             y = AveragePool<count_include_pad = 1, kernel_shape = [3, 3], pads = [1, 1, 0, 0], strides = [2, 2]>(x)
             z = MaxPool<kernel_shape = [3, 3], pads = [1, 1, 1, 1]>(x) }""",
    )


def test_golden_subgraph_with_captured_weights() -> None:
    assert_rewrites(
        FuseBatchNorm(),
        f"""g (bool p, float[1,3,4,4] x) => (float[1,4,4,4] y) <float[4,3,1,1] w, {C4}> {{
             y = If (p) <then_branch = t () => (float[1,4,4,4] q) {{ c = Conv(x, w) q = {BN.format("c")} }},
                         else_branch = e () => (float[1,4,4,4] r) {{ r = Conv(x, w) }}> }}""",
        """g (bool p, float[1,3,4,4] x) => (float[1,4,4,4] y) <float[4,3,1,1] w> {
             y = If (p) <then_branch = t () => (float[1,4,4,4] q) <float[4,3,1,1] u, float[4] b> { q = Conv(x, u, b) },
                         else_branch = e () => (float[1,4,4,4] r) { r = Conv(x, w) }> }""",
        weights=POSITIVE,
    )


IMAGE = "g (float[1,4,8,8] x, float[4] dyn) => (float[1,4,8,8] y)"
WEIGHTS = f"<float[4,4,1,1] w, {C4}, float[4,4] g, float[1,1,1,8] row, float[4,1,1] ch, float zero = {{0}}>"


@pytest.mark.parametrize(
    ("body", "why"),
    [
        ("c = Conv(x, w) d = Mul(c, ch) e = Neg(c) y = Add(d, e)", "the Conv has a second user"),
        ("u = Identity(x) c = Conv(x, w) d = Add(c, row) y = Mul(d, x)", "is not one value per channel"),
        ("c = Conv(x, w) d = Div(ch, c) y = Mul(d, x)", "is divided"),
        ("c = Conv(x, w) d = Div(c, zero) y = Mul(d, x)", "division by zero"),
        ("y = BatchNormalization(x, dyn, o, m, v)", "is not constant"),
        ("y = BatchNormalization(x, s, o, m, zneg)", "is not finite"),
        ("y, rm, rv = BatchNormalization<training_mode = 1>(x, s, o, m, v)", "training mode"),
    ],
)
def test_refusals(body: str, why: str) -> None:
    weights = WEIGHTS.replace("float zero", "float[4] zneg = {-1, 1, 1, 1}, float zero")
    assert_refuses(FuseBatchNorm(), f"{IMAGE} {weights} {{ {body} }}", why, weights=POSITIVE)


def test_refusal_weights_that_are_not_constant() -> None:
    text = """g (float[1,3,8,8] x, float[4,3,1,1] w) => (float[1,4,8,8] y) <float[4,1,1] ch> {
      c = Conv(x, w) y = Mul(c, ch) }"""
    assert_refuses(FuseBatchNorm(), text, "w of Conv is not constant")


def test_refusal_half_precision() -> None:
    text = """g (float16[1,3,8,8] x) => (float16[1,4,8,8] y) <float16[4,3,1,1] w, float16[4,1,1] ch> {
      c = Conv(x, w) y = Mul(c, ch) }"""
    assert_refuses(FuseBatchNorm(), text, "fewer than 32 bits")


def test_refusal_shared_weights_beyond_the_budget() -> None:
    text = """g (float[1,3,8,8] x) => (float[1,4,8,8] y, float[1,4,8,8] z) <float[4,3,1,1] w, float[4,1,1] ch> {
      c = Conv(x, w) y = Mul(c, ch) z = Conv<strides = [1, 1]>(x, w) }"""
    assert_refuses(FuseBatchNorm(), text, "would be doubled", limits=replace(Limits(), max_fold_bytes=10))


PAD = "int64[8] p = {0, 0, 1, 1, 0, 0, 1, 1}"
CHANNELS = "int64[8] p = {0, 1, 0, 0, 0, 0, 0, 0}"


@pytest.mark.parametrize(
    ("weights", "body", "why"),
    [
        (PAD, "a = Pad<mode = \"edge\">(x, p) y = Conv(a, w)", "the Pad is not constant"),
        (PAD, "a = Pad(x, p) y = Conv<auto_pad = \"SAME_UPPER\">(a, w)", "auto_pad"),
        (f"{PAD}, float one = {{1}}", "a = Pad(x, p, one) y = Conv(a, w)", "pads with 1, Conv with 0"),
        (PAD, "a = Pad(x, p) y = MaxPool<kernel_shape = [3, 3]>(a)", "pads with 0, MaxPool with -inf"),
        (PAD, "a = Pad(x, p) c = Conv(a, w) d = Conv(a, w) y = Add(c, d)", "the Pad has a second user"),
        (CHANNELS, "a = Pad(x, p) y = Neg(a) z = MaxPool<kernel_shape = [3, 3]>(x)", ""),
        (CHANNELS, "a = Pad(x, p) y = AveragePool<kernel_shape = [3, 3]>(a)", "batch or channels"),
        ("int64[8] p = {0, 0, -1, 0, 0, 0, 0, 0}", "a = Pad(x, p) y = Conv(a, w)", "crops"),
        (PAD, "a = Pad(x, p) y = AveragePool<kernel_shape = [3, 3], ceil_mode = 1>(a)", "ceil_mode"),
        (PAD, "a = Pad(x, p) y = AveragePool<kernel_shape = [3, 3], pads = [1, 1, 1, 1]>(a)", "out of the average"),
        (PAD, "a = Pad(x, p) y = AveragePool<kernel_shape = [1, 1]>(a)", "smaller than the kernel"),
        (f"{PAD}, float low = {{-inf}}", "a = Pad(x, p, low) y, i = MaxPool<kernel_shape = [3, 3]>(a)", "indices"),
    ],
)  # fmt: skip
def test_refusals_of_pad(weights: str, body: str, why: str) -> None:
    text = f"g (float[1,3,8,8] x) => (float[A,B,C,D] y) <float[4,3,3,3] w, {weights}> {{ {body} }}"
    if why:
        assert_refuses(FuseBatchNorm(), text, why)
    else:
        assert_rewrites(FuseBatchNorm(), text, text)


def test_refusal_computed_pads() -> None:
    text = """g (float[1,3,8,8] x, int64[8] p) => (float[A,B,C,D] y) <float[4,3,3,3] w> {
      a = Pad(x, p) y = Conv(a, w) }"""
    assert_refuses(FuseBatchNorm(), text, "are not known")


@settings(max_examples=30, deadline=None)
@given(
    anchor=st.sampled_from(["Conv", "Conv2", "ConvTranspose", "ConvTranspose2", "Gemm", "GemmT", ""]),
    after=st.lists(
        st.sampled_from(
            [BN, "Mul({}, k)", "Mul(k, {})", "Add({}, ch)", "Sub(ch, {})", "Div({}, k)", "Sub({}, k)"]
        ),
        min_size=1,
        max_size=3,
    ),
    size=st.integers(1, 3),
    bias=st.booleans(),
)
def test_meaning(anchor: str, after: list[str], size: int, bias: bool) -> None:
    image = not anchor.startswith("Gemm")
    b = ", b" if bias else ""
    calls = {
        "": ("Identity(x)", "4,2,1,1"),
        "Conv": (f"Conv<pads = [1, 0, 0, 1]>(x, w{b})", "4,4,2,2"),
        "Conv2": (f"Conv<group = 2>(x, w{b})", "4,2,1,1"),
        "ConvTranspose": (f"ConvTranspose<strides = [2, 1]>(x, w{b})", "4,4,2,1"),
        "ConvTranspose2": (f"ConvTranspose<group = 2>(x, w{b})", "4,2,1,2"),
        "Gemm": (f"Gemm<alpha = 0.5, beta = 2.0>(x, w{b})", "4,4"),
        "GemmT": (f"Gemm<transB = 1>(x, w{b})", "4,4"),
    }
    call, shape = calls[anchor]
    steps = " ".join(f"t{i + 1} = {step.format(f't{i}')}" for i, step in enumerate(after))
    dims = f"2,4,{size},{size}" if image else f"{size},4"
    channel = "float[4,1,1] ch" if image else "float[4] ch"
    text = f"""g (float[{dims}] x) => (float[{"A,B,C,D" if image else "A,B"}] y)
      <float[{shape}] w, float[4] b, {channel}, float k = {{0.75}}, {C4}> {{
      t0 = {call} {steps} y = Identity(t{len(after)}) }}"""
    assert_same_meaning(FuseBatchNorm(), text, weights=POSITIVE)


@settings(max_examples=25, deadline=None)
@given(
    pads=st.lists(st.integers(0, 2), min_size=4, max_size=4),
    own=st.lists(st.integers(0, 1), min_size=4, max_size=4),
    op=st.sampled_from(
        [
            "Conv<pads = {}>(a, w)",
            "MaxPool<kernel_shape = [3, 3], pads = {}>(a)",
            "AveragePool<kernel_shape = [3, 3], pads = {}, count_include_pad = 1>(a)",
            "AveragePool<kernel_shape = [3, 3], strides = [2, 1]>(a)",
        ]
    ),
    low=st.booleans(),
)
def test_meaning_of_pads(pads: list[int], own: list[int], op: str, low: bool) -> None:
    full = [0, 0, *pads[:2], 0, 0, *pads[2:]]
    text = f"""g (float[2,3,5,4] x) => (float[A,B,C,D] y)
      <float[4,3,3,3] w, int64[8] p = {{{", ".join(map(str, full))}}}, float low = {{-inf}}> {{
      a = Pad(x, p{", low" if low else ""}) y = {op.format(own)} }}"""
    assert_same_meaning(FuseBatchNorm(), text)
