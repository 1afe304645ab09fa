from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from accelc.passes.transpose_sink import TransposeSink
from accelc.testing import assert_refuses, assert_rewrites, assert_same_meaning


def test_golden_two_become_one() -> None:
    assert_rewrites(
        TransposeSink(),
        """g (float[A,B,C] x) => (float[C,B,A] y) {
             a = Transpose<perm = [1, 2, 0]>(x) y = Transpose<perm = [1, 0, 2]>(a) }""",
        "g (float[A,B,C] x) => (float[C,B,A] y) { y = Transpose<perm = [2, 1, 0]>(x) }",
    )


def test_golden_two_cancel_and_the_default_perm_reverses() -> None:
    assert_rewrites(
        TransposeSink(),
        "g (float[A,B] x) => (float[A,B] y) { r = Relu(x) a = Transpose(r) b = Transpose(a) y = Exp(b) }",
        "g (float[A,B] x) => (float[A,B] y) { r = Relu(x) y = Exp(r) }",
    )


def test_golden_a_transpose_that_moves_no_data_is_a_reshape() -> None:
    assert_rewrites(
        TransposeSink(),
        "g (float[N,1,4] x) => (float[1,N,4] y) { y = Transpose<perm = [1, 0, 2]>(x) }",
        "g (float[N,1,4] x) => (float[1,N,4] y) <int64[3] s = {1, -1, 4}> { y = Reshape(x, s) }",
    )


def test_golden_sinks_through_elementwise_ops_between_two() -> None:
    assert_rewrites(
        TransposeSink(),
        """g (float[N,H,W,3] x) => (float[N,H,W,3] y) <float[3,1,1] c = {1, 2, 3}, float half = {0.5}> {
             a = Transpose<perm = [0, 3, 1, 2]>(x)
             b = Mul(a, c) d = Sub(half, b) e = Relu(d)
             y = Transpose<perm = [0, 2, 3, 1]>(e)
        }""",
        """g (float[N,H,W,3] x) => (float[N,H,W,3] y) <float[1,1,1,3] c = {1, 2, 3}, float half = {0.5}> {
             b = Mul(x, c) d = Sub(half, b) y = Relu(d)
        }""",
    )


def test_golden_joins_equal_operands() -> None:
    assert_rewrites(
        TransposeSink(),
        """g (float[2,3] a, float[2,3] b) => (float[3,2] y) {
             s = Transpose(a) t = Transpose<perm = [1, 0]>(b) y = Add(s, t) }""",
        "g (float[2,3] a, float[2,3] b) => (float[3,2] y) { s = Add(a, b) y = Transpose<perm = [1, 0]>(s) }",
    )


def test_golden_subgraph() -> None:
    assert_rewrites(
        TransposeSink(),
        """g (bool p, float[2,3] x) => (float[2,3] y) {
             y = If (p) <then_branch = t () => (float[2,3] q) { a = Transpose(x) b = Neg(a) q = Transpose(b) },
                         else_branch = e () => (float[2,3] r) { r = Exp(x) }>
        }""",
        """g (bool p, float[2,3] x) => (float[2,3] y) {
             y = If (p) <then_branch = t () => (float[2,3] q) { q = Neg(x) },
                         else_branch = e () => (float[2,3] r) { r = Exp(x) }>
        }""",
    )


@pytest.mark.parametrize(
    ("text", "why"),
    [
        (
            "g (float[2,3,4] a, float[4,3,2] b) => (float[3,2,4] y) { s = Transpose<perm = [1, 0, 2]>(a) "
            "t = Transpose<perm = [1, 2, 0]>(b) y = Add(s, t) }",
            "transposed differently",
        ),
        (
            "g (float[2,3] a, float[2,3] b) => (float[3,2] y, float[3,2] z) { s = Transpose(a) t = Transpose(b) "
            "y = Add(s, t) z = Neg(t) }",
            "a Transpose has a second user",
        ),
        (
            "g (float[2,3] x) => (float[2,3] y, float[3,2] z) { a = Transpose(x) b = Neg(a) "
            "y = Transpose(b) z = Exp(b) }",
            "the Neg between two Transposes has a second user",
        ),
        (
            "g (float[A,1,B,C] x) => (float[A,B,C,1] y) { y = Transpose<perm = [0, 2, 3, 1]>(x) }",
            "not known and not copied",
        ),
    ],
)
def test_refusals(text: str, why: str) -> None:
    assert_refuses(TransposeSink(), text, why)


def test_refusal_unknown_rank() -> None:
    text = """<ir_version: 11, opset_import: ["" : 24, "foreign" : 1]>
    g (float[2,3] x) => (float[2,3] y) { a = foreign.Op(x) b = Transpose(a) y = Transpose(b) }"""
    assert_refuses(TransposeSink(), text, "rank of the operand is unknown")


perms = st.permutations([0, 1, 2])


@settings(max_examples=30, deadline=None)
@given(
    shape=st.tuples(*[st.integers(0, 3)] * 3),
    steps=st.lists(
        st.one_of(
            perms.map(lambda p: f"Transpose<perm = {list(p)}>({{}})"),
            st.sampled_from(
                [
                    "Relu({})",
                    "Mul({}, half)",
                    "Sub(half, {})",
                    "Add({}, {})",
                    "Max({}, row)",
                    "Cast<to = 1>({})",
                ]
            ),
        ),
        min_size=2,
        max_size=7,
    ),
    second=perms,
)
def test_meaning(shape: tuple[int, int, int], steps: list[str], second: list[int]) -> None:
    body = " ".join(f"t{i + 1} = {op.format(f't{i}', f't{i}')}" for i, op in enumerate(steps))
    text = f"""g (float[{",".join(map(str, shape))}] x) => (float[A,B,C] y, float[D,E,F] z)
      <float half = {{0.5}}, float[1,1,1] row = {{0.25}}> {{
        t0 = Identity(x) {body} y = Neg(t{len(steps)})
        u = Transpose<perm = {list(second)}>(x) v = Transpose<perm = {list(second)}>(t0) z = Div(u, v)
      }}"""
    x = np.random.default_rng(0).standard_normal(shape).astype(np.float32)
    assert_same_meaning(TransposeSink(), text, {"x": x}, exact=True)
