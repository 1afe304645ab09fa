from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from accelc.passes.eliminate_dead import EliminateDead
from accelc.passes.fold_shapes import FoldShapes
from accelc.testing import assert_refuses, assert_rewrites, assert_same_meaning, run_pass


def test_golden_static_shape_arithmetic() -> None:
    result = assert_rewrites(
        FoldShapes(),
        """g (float[2,3,4] x) => (float[6,4] y)
             <int64 i = {0}, int64 j = {1}, int64[1] ax = {0}, int64[1] last = {4}> {
             s = Shape(x) a = Gather(s, i) b = Gather(s, j) c = Mul(a, b)
             d = Unsqueeze(c, ax) t = Concat<axis = 0>(d, last)
             y = Reshape(x, t)
        }""",
        """g (float[2,3,4] x) => (float[6,4] y)
             <int64 i = {0}, int64 j = {1}, int64[1] ax = {0}, int64[1] last = {4},
              int64[3] s = {2, 3, 4}, int64[2] t = {6, 4}> {
             y = Reshape(x, t)
        }""",
    )
    np.testing.assert_array_equal(constant_operand(result), [6, 4])


def constant_operand(model):  # type: ignore[no-untyped-def]
    return model.graph[-1].inputs[1].const_value.numpy()


def test_golden_one_known_dim_of_a_dynamic_shape() -> None:
    assert_rewrites(
        FoldShapes(),
        """g (float[N,3] x) => (float[N,3] y) <int64 i = {1}> {
             s = Shape(x) a = Gather(s, i) b = Cast<to = 1>(a) y = Div(x, b) }""",
        """g (float[N,3] x) => (float[N,3] y) <int64 a = {3}> {
             s = Shape(x) b = Cast<to = 1>(a) y = Div(x, b) }""",
    )


def test_golden_dynamic_reshape_target() -> None:
    # The exporters' way to split heads: N and S are copied, so the target needs no arithmetic at run time.
    text = """g (float[N,S,6] x) => (float[N,S,2,3] y)
        <int64 i = {0}, int64 j = {1}, int64[1] ax = {0}, int64[2] heads = {2, 3}> {
          s = Shape(x) a = Gather(s, i) b = Gather(s, j) c = Unsqueeze(a, ax) d = Unsqueeze(b, ax)
          t = Concat<axis = 0>(c, d, heads)
          y = Reshape(x, t)
        }"""
    model = assert_same_meaning(
        FoldShapes(), text, *({"x": draw(n, s, 6)} for n, s in ((2, 3), (0, 4), (1, 0)))
    )
    result, _, _ = run_pass(EliminateDead(), model)
    assert [node.op_type for node in result.graph] == ["Reshape"]
    np.testing.assert_array_equal(constant_operand(result), [0, 0, 2, 3])


def test_golden_one_unknown_dim_is_inferred() -> None:
    text = """g (float[N,3,2] x) => (float[3,N,2] y)
        <int64 i = {0}, int64[1] ax = {0}, int64[1] p = {3}, int64[1] q = {2}> {
          s = Shape(x) a = Gather(s, i) b = Unsqueeze(a, ax) t = Concat<axis = 0>(p, b, q) y = Reshape(x, t) }"""
    model = assert_same_meaning(FoldShapes(), text, *({"x": draw(n, 3, 2)} for n in (1, 5)))
    np.testing.assert_array_equal(constant_operand(model), [3, -1, 2])


def test_golden_the_models_own_minus_one_stays() -> None:
    text = """g (float[N,3,2] x) => (float[N,6] y) <int64 i = {0}, int64[1] ax = {0}, int64[1] m = {-1}> {
          s = Shape(x) a = Gather(s, i) b = Unsqueeze(a, ax) t = Concat<axis = 0>(b, m) y = Reshape(x, t) }"""
    model = assert_same_meaning(FoldShapes(), text, *({"x": draw(n, 3, 2)} for n in (1, 5)))
    assert 0 in constant_operand(model)


def test_golden_expand() -> None:
    text = """g (float[N,1,S] x) => (float[N,4,S] y) <int64[1] four = {4}, int64[1] a0 = {0}, int64[1] a2 = {2}> {
          s = Shape(x) n = Gather(s, a0) k = Gather(s, a2) t = Concat<axis = 0>(n, four, k) y = Expand(x, t) }"""
    model = assert_same_meaning(
        FoldShapes(), text, *({"x": draw(n, 1, s)} for n, s in ((2, 3), (0, 1), (1, 0)))
    )
    np.testing.assert_array_equal(constant_operand(model), [1, 4, 1])


def test_golden_shape_moves_above_elementwise_ops() -> None:
    assert_rewrites(
        FoldShapes(),
        "g (float[N,S] x) => (int64[2] y, float[N,S] z) { a = Relu(x) b = Cast<to = 11>(a) y = Shape(b) z = Exp(a) }",
        "g (float[N,S] x) => (int64[2] y, float[N,S] z) { a = Relu(x) b = Cast<to = 11>(a) y = Shape(x) z = Exp(a) }",
    )


def test_golden_subgraph() -> None:
    assert_rewrites(
        FoldShapes(),
        """g (bool p, float[2,3] x) => (float[6] y) {
             s = Size(x)
             y = If (p) <then_branch = t () => (float[6] q) <int64[1] ax = {0}> {
                             t = Unsqueeze(s, ax) q = Reshape(x, t) },
                         else_branch = e () => (float[6] r) <int64[1] t = {6}> { r = Reshape(x, t) }>
        }""",
        """g (bool p, float[2,3] x) => (float[6] y) {
             y = If (p) <then_branch = t () => (float[6] q) <int64[1] t = {6}> { q = Reshape(x, t) },
                         else_branch = e () => (float[6] r) <int64[1] t = {6}> { r = Reshape(x, t) }>
        }""",
    )


SHAPE_OF = "s = Shape(x) n = Gather(s, a0) k = Gather(s, a1)"
CONSTANTS = "<int64[1] a0 = {0}, int64[1] a1 = {1}, int64[1] two = {2}, int64[1] three = {3}>"


@pytest.mark.parametrize(
    ("out", "body", "why"),
    [
        (
            "A,B,C,D",
            "t = Concat<axis = 0>(k, n, three, two) y = Reshape(x, t)",
            "are not known and not copied",
        ),
        (
            "A,B,C",
            "m = Mul(k, two) t = Concat<axis = 0>(n, m, three) y = Reshape(x, t)",
            "beside dims that may be 0",
        ),
        (
            "A,B,C,D",
            "o = Unsqueeze(x, a0) t = Concat<axis = 0>(k, n, k, a1) y = Expand(o, t)",
            "is not a dim of the operand",
        ),
    ],
)
def test_refusals(out: str, body: str, why: str) -> None:
    assert_refuses(
        FoldShapes(), f"g (float[N,S,6] x) => (float[{out}] y) {CONSTANTS} {{ {SHAPE_OF} {body} }}", why
    )


def test_refusal_unknown_target() -> None:
    text = "g (float[N,1] x, int64[2] t) => (float[A,B] y) { u = Neg(t) y = Expand(x, u) }"
    assert_refuses(FoldShapes(), text, "is unknown")


def draw(*shape: int) -> np.ndarray:
    return np.random.default_rng(0).standard_normal(shape).astype(np.float32)


ATOMS = ["n", "k", "two", "three"]


@settings(max_examples=40, deadline=None)
@given(
    static=st.tuples(st.booleans(), st.booleans()),
    n=st.integers(0, 3),
    k=st.integers(1, 3),
    steps=st.lists(
        st.tuples(
            st.sampled_from(["Add", "Sub", "Mul", "Div", "Mod", "Max"]), st.integers(0, 9), st.integers(0, 9)
        ),
        max_size=4,
    ),
    parts=st.lists(st.integers(0, 9), min_size=1, max_size=3),
)
def test_meaning(
    static: tuple[bool, bool], n: int, k: int, steps: list[tuple[str, int, int]], parts: list[int]
) -> None:
    """Any arithmetic on dims, known or not, gives the same numbers."""
    names = list(ATOMS)
    body = []
    for i, (op, left, right) in enumerate(steps):
        divisor = "three" if op in ("Div", "Mod") else names[right % len(names)]
        body.append(f"v{i} = {op}({names[left % len(names)]}, {divisor})")
        names.append(f"v{i}")
    chosen = ", ".join(names[p % len(names)] for p in parts)
    dims = f"{n if static[0] else 'N'},{k if static[1] else 'K'}"
    text = f"""g (float[{dims}] x) => (float[Q] y) {CONSTANTS} {{
      r = Relu(x) s = Shape(r) n = Gather(s, a0) k = Gather(s, a1)
      {" ".join(body)} t = Concat<axis = 0>({chosen}) y = Cast<to = 1>(t) }}"""
    assert_same_meaning(FoldShapes(), text, {"x": draw(n, k)}, exact=True)


@settings(max_examples=25, deadline=None)
@given(
    n=st.integers(0, 3),
    s=st.integers(0, 3),
    order=st.permutations(["n", "k", "two", "three"]),
)
def test_meaning_of_reshapes(n: int, s: int, order: list[str]) -> None:
    text = f"""g (float[N,S,6] x) => (float[A,B,C,D] y) {CONSTANTS} {{
      {SHAPE_OF} t = Concat<axis = 0>({", ".join(order)}) y = Reshape<allowzero = 1>(x, t) }}"""
    assert_same_meaning(FoldShapes(), text, {"x": draw(n, s, 6)}, exact=True)
