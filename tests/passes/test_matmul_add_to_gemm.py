from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from accelc.passes.matmul_add_to_gemm import MatMulAddToGemm
from accelc.testing import assert_refuses, assert_rewrites, assert_same_meaning


@pytest.mark.parametrize("add", ["Add(t, b)", "Add(b, t)"])
@pytest.mark.parametrize("bias", ["[4]", "[M,4]", "[1,4]", "[M,1]", "[1]", ""])
def test_golden(add: str, bias: str) -> None:
    signature = f"g (float[M,8] x, float[8,4] w, float{bias} b) => (float[M,4] y)"
    assert_rewrites(
        MatMulAddToGemm(),
        before=f"{signature} {{ t = MatMul(x, w) y = {add} }}",
        after=f"{signature} {{ y = Gemm(x, w, b) }}",
    )


def test_golden_two_products_added() -> None:
    assert_rewrites(
        MatMulAddToGemm(),
        "g (float[2,3] a, float[3,2] b) => (float[2,2] y) { s = MatMul(a, b) t = MatMul(a, b) y = Add(s, t) }",
        "g (float[2,3] a, float[3,2] b) => (float[2,2] y) { t = MatMul(a, b) y = Gemm(a, b, t) }",
    )


def test_golden_subgraph() -> None:
    assert_rewrites(
        MatMulAddToGemm(),
        """g (bool p, float[2,3] x, float[3,2] w, float[2] b) => (float[2,2] y) {
             y = If (p) <then_branch = t () => (float[2,2] q) { t = MatMul(x, w) q = Add(t, b) },
                         else_branch = e () => (float[2,2] r) { r = MatMul(x, w) }>
        }""",
        """g (bool p, float[2,3] x, float[3,2] w, float[2] b) => (float[2,2] y) {
             y = If (p) <then_branch = t () => (float[2,2] q) { q = Gemm(x, w, b) },
                         else_branch = e () => (float[2,2] r) { r = MatMul(x, w) }>
        }""",
    )


@pytest.mark.parametrize(
    ("text", "why"),
    [
        (
            "g (float[2,M,8] x, float[8,4] w, float[4] b) => (float[2,M,4] y) { t = MatMul(x, w) y = Add(t, b) }",
            "x has rank 3, Gemm needs 2",
        ),
        (
            "g (float[M,8] x, float[2,8,4] w, float[4] b) => (float[2,M,4] y) { t = MatMul(x, w) y = Add(t, b) }",
            "w has rank 3, Gemm needs 2",
        ),
        (
            """g (float[M,8] x, float[8,4] w, float[4] b) => (float[M,4] y, float[M,4] z) {
                 t = MatMul(x, w) y = Add(t, b) z = Neg(t) }""",
            "second user",
        ),
        (
            "g (float[1,8] x, float[8,4] w, float[M,4] b) => (float[M,4] y) { t = MatMul(x, w) y = Add(t, b) }",
            "does not surely broadcast",
        ),
        (
            "g (float[M,8] x, float[8,4] w, float[K,4] b) => (float[M,4] y) { t = MatMul(x, w) y = Add(t, b) }",
            "does not surely broadcast",
        ),
        (
            "g (float[M,8] x, float[8,4] w, float[1,1,4] b) => (float[1,M,4] y) { t = MatMul(x, w) y = Add(t, b) }",
            "does not surely broadcast",
        ),
        (
            "g (int32[M,8] x, int32[8,4] w, int32[4] b) => (int32[M,4] y) { t = MatMul(x, w) y = Add(t, b) }",
            "INT32 is not portable",
        ),
    ],
)
def test_refusals(text: str, why: str) -> None:
    assert_refuses(MatMulAddToGemm(), text, why)


@settings(max_examples=25, deadline=None)
@given(m=st.integers(0, 4), k=st.integers(1, 5), n=st.integers(1, 4), full=st.booleans())
def test_meaning(m: int, k: int, n: int, full: bool) -> None:
    bias = "M,N" if full else "N"
    text = f"""g (float[M,K] x, float[K,N] w, float[{bias}] b) => (float[M,N] y) {{
      t = MatMul(x, w) y = Add(b, t) }}"""
    rng = np.random.default_rng(m * 100 + k * 10 + n)
    feeds = {
        "x": rng.standard_normal((m, k)).astype(np.float32),
        "w": rng.standard_normal((k, n)).astype(np.float32),
        "b": rng.standard_normal((m, n) if full else (n,)).astype(np.float32),
    }
    assert_same_meaning(MatMulAddToGemm(), text, feeds)


def test_golden_transposed_weight() -> None:
    assert_rewrites(
        MatMulAddToGemm(),
        """g (int64[M] i, float[M,8] x) => (float[M,4] y, float[M,8] z) <float[4,8] w> {
             t = Transpose(w) y = MatMul(x, t) z = Gather(w, i) }""",
        """g (int64[M] i, float[M,8] x) => (float[M,4] y, float[M,8] z) <float[4,8] w> {
             y = Gemm<transB = 1>(x, w) z = Gather(w, i) }""",
    )


def test_golden_transposed_weight_with_front_dims() -> None:
    assert_rewrites(
        MatMulAddToGemm(),
        """g (float[2,N,8] x) => (float[2,N,4] y) <float[4,8] w> {
             t = Transpose<perm = [1, 0]>(w) y = MatMul(x, t) }""",
        """g (float[2,N,8] x) => (float[2,N,4] y) <float[4,8] w, int64[2] rows = {-1, 8}, int64[3] back = {2, -1, 4}> {
             r = Reshape(x, rows) t = Gemm<transB = 1>(r, w) y = Reshape(t, back) }""",
    )


@pytest.mark.parametrize(
    ("text", "why"),
    [
        (
            "g (float[B,S,8] x) => (float[B,S,4] y) <float[4,8] w> { t = Transpose(w) y = MatMul(x, t) }",
            "are not known and not copied",
        ),
        (
            "g (float[2,3,8] x) => (float[2,3,4] y) <float[2,4,8] w> { t = Transpose<perm = [0, 2, 1]>(w) "
            "y = MatMul(x, t) }",
            "w is no transposed matrix",
        ),
        (
            "g (float[8] x) => (float[4] y) <float[4,8] w> { t = Transpose(w) y = MatMul(x, t) }",
            "x has an unfit rank",
        ),
    ],
)
def test_refusals_of_transposed_weights(text: str, why: str) -> None:
    assert_refuses(MatMulAddToGemm(), text, why)


@settings(max_examples=20, deadline=None)
@given(shape=st.lists(st.integers(0, 3), min_size=1, max_size=3), n=st.integers(1, 4))
def test_meaning_of_transposed_weights(shape: list[int], n: int) -> None:
    dims = ",".join(map(str, [*shape, 5]))
    letters = "ABCDE"[: len(shape) + 1]
    text = f"""g (float[{dims}] x) => (float[{",".join(letters)}] y) <float[{n},5] w> {{
      t = Transpose(w) y = MatMul(x, t) }}"""
    assert_same_meaning(MatMulAddToGemm(), text)
