from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from accelc.passes.eliminate_common import EliminateCommon
from accelc.testing import assert_refuses, assert_rewrites, assert_same_meaning, model_from_text, run_pass


def test_golden_chain_of_equal_nodes() -> None:
    assert_rewrites(
        EliminateCommon(),
        """g (float[3] x) => (float[3] y) {
             a = Relu(x) b = Relu(x) c = LeakyRelu<alpha = 0.1>(a) d = LeakyRelu<alpha = 0.1>(b) y = Add(c, d) }""",
        "g (float[3] x) => (float[3] y) { a = Relu(x) c = LeakyRelu<alpha = 0.1>(a) y = Add(c, c) }",
    )


def test_golden_equal_weights() -> None:
    assert_rewrites(
        EliminateCommon(),
        """g (float[1,2] x) => (float[1,2] y)
             <float[2] a = {1, 2}, float[2] b = {1, 2}, float[2] c = {1, 3}, float[1,2] d = {1, 2}> {
             p = Mul(x, a) q = Mul(x, b) r = Mul(x, c) s = Mul(x, d) y = Sum(p, q, r, s) }""",
        """g (float[1,2] x) => (float[1,2] y) <float[2] a = {1, 2}, float[2] c = {1, 3}, float[1,2] d = {1, 2}> {
             p = Mul(x, a) r = Mul(x, c) s = Mul(x, d) y = Sum(p, p, r, s) }""",
    )


def test_golden_a_graph_output_takes_over_the_first() -> None:
    assert_rewrites(
        EliminateCommon(),
        "g (float[3] x) => (float[3] y, float[3] z) { a = Relu(x) z = Exp(a) y = Relu(x) }",
        "g (float[3] x) => (float[3] y, float[3] z) { y = Relu(x) z = Exp(y) }",
    )


def test_golden_regions_see_what_came_before_but_not_each_other() -> None:
    assert_rewrites(
        EliminateCommon(),
        """g (bool p, float[3] x) => (float[3] y, float[3] z) {
             a = Relu(x)
             y = If (p) <then_branch = t () => (float[3] q) { b = Relu(x) c = Neg(x) q = Mul(b, c) },
                         else_branch = e () => (float[3] r) { d = Neg(x) r = Exp(d) }>
             f = Neg(x)
             z = Mul(a, f)
        }""",
        """g (bool p, float[3] x) => (float[3] y, float[3] z) {
             a = Relu(x)
             y = If (p) <then_branch = t () => (float[3] q) { c = Neg(x) q = Mul(a, c) },
                         else_branch = e () => (float[3] r) { d = Neg(x) r = Exp(d) }>
             f = Neg(x)
             z = Mul(a, f)
        }""",
    )


@pytest.mark.parametrize(
    "body",
    [
        "a = RandomNormalLike(x) b = RandomNormalLike(x) y = Add(a, b)",
        "a = Relu(x) b = Abs(x) y = Add(a, b)",
        "a = LeakyRelu<alpha = 0.1>(x) b = LeakyRelu<alpha = 0.2>(x) y = Add(a, b)",
        "a = Div(x, z) b = Div(z, x) y = Add(a, b)",
    ],
)
def test_different_nodes_stay(body: str) -> None:
    text = f"g (float[3] x, float[3] z) => (float[3] y) {{ {body} }}"
    assert_rewrites(EliminateCommon(), text, text)


def test_refusal_two_graph_outputs() -> None:
    text = "g (float[3] x) => (float[3] y, float[3] z) { y = Relu(x) z = Relu(x) }"
    assert_refuses(EliminateCommon(), text, "both give a graph output its name")


def test_nan_weights_are_equal_by_bytes_and_zeros_are_not() -> None:
    nan = np.array([np.nan, 1], np.float32)
    text = """g (float[2] x) => (float[2] y) <float[2] a, float[2] b, float[2] c = {0, 0}, float[2] d = {-0.0, 0}> {
             p = Mul(x, a) q = Mul(x, b) r = Div(x, c) s = Div(x, d) y = Sum(p, q, r, s) }"""
    model = model_from_text(text, weights={"a": nan, "b": nan.copy()})
    run_pass(EliminateCommon(), model)
    assert [node.op_type for node in model.graph] == ["Mul", "Div", "Div", "Sum"]


@settings(max_examples=25, deadline=None)
@given(
    picks=st.lists(
        st.tuples(st.sampled_from(["Add", "Mul", "Sub", "Max"]), st.integers(0, 5), st.integers(0, 5)),
        min_size=2,
        max_size=10,
    )
)
def test_meaning(picks: list[tuple[str, int, int]]) -> None:
    names = ["x", "z"]
    body = []
    for i, (op, left, right) in enumerate(picks):
        body.append(f"t{i} = {op}({names[left % len(names)]}, {names[right % len(names)]})")
        names.append(f"t{i}")
    text = f"g (float[3] x, float[3] z) => (float[3] y) {{ {' '.join(body)} y = Sum({', '.join(names)}) }}"
    feeds = {"x": np.array([1, -2, np.nan], np.float32), "z": np.array([np.inf, 0.5, 3], np.float32)}
    assert_same_meaning(EliminateCommon(), text, feeds, exact=True)
