from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from accelc.ir.reshape_target import reshape_target
from accelc.passes.reshape_chains import ReshapeChains
from accelc.testing import assert_refuses, assert_rewrites, assert_same_meaning


def test_golden() -> None:
    assert_rewrites(
        ReshapeChains(),
        """g (float[2,3,4] x) => (float[6,4,1] y) <int64[2] s = {2, 12}, int64[2] t = {6, 4}, int64[1] u = {2}> {
             a = Reshape(x, s) b = Flatten<axis = 2>(a) c = Reshape(b, t) y = Unsqueeze(c, u)
        }""",
        """g (float[2,3,4] x) => (float[6,4,1] y) <int64[3] s = {6, 4, 1}> { y = Reshape(x, s) }""",
    )


def test_golden_there_and_back() -> None:
    assert_rewrites(
        ReshapeChains(),
        """g (float[N,3] x) => (float[N,3] y) <int64[1] u = {1}> {
             r = Relu(x) a = Unsqueeze(r, u) b = Squeeze(a, u) y = Exp(b)
        }""",
        "g (float[N,3] x) => (float[N,3] y) { r = Relu(x) y = Exp(r) }",
    )


def test_golden_symbolic_dims_are_copied_or_inferred() -> None:
    assert_rewrites(
        ReshapeChains(),
        """g (float[N,S,6] x) => (float[N,S,2,3] y, float[N,1,S,6] z)
             <int64[4] s = {0, 0, 3, 2}, int64[4] t = {0, 0, 2, 3}, int64[1] u = {1}, int64[3] v = {0, 0, 6}> {
             a = Reshape(x, s) y = Reshape(a, t)
             b = Unsqueeze(x, u) z = Identity(b)
        }""",
        """g (float[N,S,6] x) => (float[N,S,2,3] y, float[N,1,S,6] z)
             <int64[4] t = {0, 0, 2, 3}, int64[1] u = {1}> {
             y = Reshape(x, t)
             b = Unsqueeze(x, u) z = Identity(b)
        }""",
    )


def test_golden_subgraph() -> None:
    assert_rewrites(
        ReshapeChains(),
        """g (bool p, float[2,3] x) => (float[6] y) {
             y = If (p) <then_branch = t () => (float[6] q) <int64[2] s = {3, 2}, int64[1] t = {6}> {
                             a = Reshape(x, s) q = Reshape(a, t) },
                         else_branch = e () => (float[6] r) <int64[1] t = {-1}> { r = Reshape(x, t) }>
        }""",
        """g (bool p, float[2,3] x) => (float[6] y) {
             y = If (p) <then_branch = t () => (float[6] q) <int64[1] t = {6}> { q = Reshape(x, t) },
                         else_branch = e () => (float[6] r) <int64[1] t = {-1}> { r = Reshape(x, t) }>
        }""",
    )


@pytest.mark.parametrize(
    ("shape", "out", "why"),
    [
        ("N,S,6", "S,N,6", "are not known and not copied"),
        ("N,S,6", "N,6,S", "may be 0"),
    ],
)
def test_refusals(shape: str, out: str, why: str) -> None:
    text = f"""g (float[{shape}] x, int64[3] s) => (float[{out}] y) <int64[1] t = {{-1}}> {{
      a = Reshape(x, t) b = Reshape(a, s) y = Neg(b) }}"""
    # Inference cannot know the result; its declared shape says it.
    text = text.replace("b = Reshape(a, s) y = Neg(b)", "y = Reshape(a, s)")
    assert_refuses(ReshapeChains(), text, why)


def test_targets() -> None:
    assert reshape_target(("N", "S", 6), ("N", "S", 2, 3)) == (0, 0, 2, 3)
    assert reshape_target(("N", 6), (2, "N", 3)) == (2, -1, 3)
    assert reshape_target((0, 3), (0, 5)) == (0, 5)
    assert isinstance(reshape_target(("N", 3), (3, 0)), str)
    assert isinstance(reshape_target(("N", "S"), (None, None)), str)
    assert isinstance(reshape_target(("N", "S", 4), ("N", "2*S", 2)), str)
    assert reshape_target(("N", "S", 4), ("N", "2*S", 2), inferred=1) == (0, -1, 2)
    assert reshape_target(None, (3, None)) == (3, -1)
    assert isinstance(reshape_target((3,), None), str)
    assert reshape_target((1, 1), ()) == ()


@settings(max_examples=30, deadline=None)
@given(
    n=st.integers(0, 3),
    ops=st.lists(
        st.sampled_from(
            [
                "Flatten<axis = 1>({})",
                "Unsqueeze({}, front)",
                "Unsqueeze({}, back)",
                "Reshape({}, keep)",
                "Reshape({}, flat)",
                "Squeeze({})",
            ]
        ),
        min_size=2,
        max_size=5,
    ),
)
def test_meaning(n: int, ops: list[str]) -> None:
    body = " ".join(f"t{i + 1} = {op.format(f't{i}')}" for i, op in enumerate(ops))
    text = f"""g (float[N,2,6] x) => (float y)
      <int64[1] front = {{0}}, int64[1] back = {{-1}}, int64[3] keep = {{-1, 4, 3}}, int64[1] flat = {{-1}}>
      {{ t0 = Neg(x) {body} f = Reshape(t{len(ops)}, flat) y = ReduceSum<keepdims = 0>(f)}}"""
    x = np.arange(n * 12, dtype=np.float32).reshape(n, 2, 6)
    assert_same_meaning(ReshapeChains(), text, {"x": x}, exact=True)
