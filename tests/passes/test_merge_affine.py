from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from accelc.passes.merge_affine import MergeAffine
from accelc.testing import assert_refuses, assert_rewrites, assert_same_meaning

CHANNELS = (
    "float[3,1,1] a = {2, 3, 4}, float[3,1,1] b = {1, 0, -1}, float[3,1,1] c = {5, 6, 7}, float d = {0.5}"
)


def test_golden_scale_layers() -> None:
    assert_rewrites(
        MergeAffine(),
        f"""g (float[N,3,H,W] x) => (float[N,3,H,W] y) <{CHANNELS}> {{
             s = Mul(x, a) t = Add(b, s) u = Mul(t, c) v = Sub(u, d) y = Relu(v) }}""",
        """g (float[N,3,H,W] x) => (float[N,3,H,W] y)
             <float[3,1,1] k = {10, 18, 28}, float[3,1,1] m = {4.5, -0.5, -7.5}> {
             s = Mul(x, k) v = Add(s, m) y = Relu(v) }""",
    )


def test_golden_one_op_or_none_is_left() -> None:
    assert_rewrites(
        MergeAffine(),
        """g (float[N] x, float[N] z) => (float[N] y, float[N] w) <float a = {2}, float b = {0.5}> {
             p = Mul(x, a) q = Div(p, b) y = Neg(q)  r = Mul(z, a) s = Mul(r, b) w = Neg(s) }""",
        """g (float[N] x, float[N] z) => (float[N] y, float[N] w) <float a = {4}> {
             q = Mul(x, a) y = Neg(q) w = Neg(z) }""",
    )


def test_golden_subtracted_from_a_constant_in_a_subgraph() -> None:
    text = "g (bool c, float[2] x) => (float[2] y) { y = If(c) <then_branch = t () => (float[2] a) %s,"
    text += " else_branch = f () => (float[2] b) { b = Neg(x) }> }"
    assert_rewrites(
        MergeAffine(),
        text % "<float one = {1}, float two = {2}> { p = Sub(one, x) q = Mul(p, two) a = Sub(q, one) }",
        text % "<float k = {-2}, float one = {1}> { p = Mul(x, k) a = Add(p, one) }",
    )


def test_golden_a_value_read_elsewhere_ends_the_chain() -> None:
    before = """g (float[2] x) => (float[2] y, float[2] z) <float a = {2}, float b = {3}, float c = {4}> {
      p = Mul(x, a) z = Neg(p) q = Mul(p, b) r = Mul(q, c) y = Neg(r) }"""
    after = """g (float[2] x) => (float[2] y, float[2] z) <float a = {2}, float b = {12}> {
      p = Mul(x, a) z = Neg(p) r = Mul(p, b) y = Neg(r) }"""
    assert_rewrites(MergeAffine(), before, after)


def test_a_long_chain_becomes_two_ops() -> None:
    steps = [f"t{i + 1} = {'Mul' if i % 2 else 'Add'}(t{i}, k)" for i in range(100)]
    text = f"g (float[2] t0) => (float[2] y) <float k = {{0.9}}> {{ {' '.join(steps)} y = Neg(t100) }}"
    result = assert_same_meaning(MergeAffine(), text)
    assert [node.op_type for node in result.graph] == ["Mul", "Add", "Neg"]


@pytest.mark.parametrize(
    ("body", "shape", "weights", "why"),
    [
        ("t = Add(x, a) y = Sub(t, a)", "2", "float a = {8388608}", "large shifts cancel"),
        ("t = Mul(x, a) y = Mul(t, a)", "2", "float a = {1e30}", "leave the range of FLOAT"),
        ("t = Mul(x, a) y = Mul(t, a)", "2", "float a = {1e-30}", "leave the range of FLOAT"),
        ("t = Mul(x, a) y = Mul(t, b)", "2,3", "float[3] a = {1,2,3}, float[2,1] b = {1,2}", "one value per channel"),
        ("t = Mul(x, a) y = Mul(t, a)", "1,1", "float[1,3] a = {1,2,3}", "may enlarge"),
        ("t = Mul(x, a) y = Mul(t, a)", "1,N", "float[1,3] a = {1,2,3}", "may enlarge"),
    ],
)  # fmt: skip
def test_refusals(body: str, shape: str, weights: str, why: str) -> None:
    result = "1,3" if "[1,3]" in weights else shape
    assert_refuses(
        MergeAffine(), f"g (float[{shape}] x) => (float[{result}] y) <{weights}> {{ {body} }}", why
    )


def test_refusal_of_half_precision() -> None:
    text = "g (float16[2] x) => (float16[2] y) <float16 a = {2}> { t = Mul(x, a) y = Mul(t, a) }"
    assert_refuses(MergeAffine(), text, "fewer than 32 bits")


@pytest.mark.parametrize(
    "text",
    [
        "g (int64[2] x) => (int64[2] y) <int64 a = {2}> { t = Mul(x, a) y = Mul(t, a) }",
        "g (float[2] x) => (float[2] y) <float a = {2}, float b = {1}> { t = Mul(x, a) y = Add(t, b) }",
        "g (float[2] x) => (float[2] y, float[2] t) <float a = {2}> { t = Mul(x, a) y = Mul(t, a) }",
        "g (float[2] x) => (float[2] y) { t = Add(x, x) y = Mul(t, x) }",
    ],
)
def test_left_alone(text: str) -> None:
    assert_rewrites(MergeAffine(), text, text)


@settings(max_examples=30, deadline=None)
@given(
    sizes=st.tuples(st.integers(0, 2), st.sampled_from([1, 3]), st.integers(0, 3)),
    steps=st.lists(
        st.tuples(st.sampled_from(["Add", "Sub", "Mul", "Div"]), st.booleans(), st.booleans()),
        min_size=2,
        max_size=6,
    ),
    seed=st.integers(0, 99),
)
def test_meaning(sizes: tuple[int, int, int], steps: list[tuple[str, bool, bool]], seed: int) -> None:
    rng = np.random.default_rng(seed)
    lines, weights = [], {}
    for i, (op, scalar, swapped) in enumerate(steps):
        shape = () if scalar else (sizes[1], 1)
        weights[f"w{i}"] = np.asarray(rng.uniform(0.5, 2.0, shape) * rng.choice([-1, 1]), np.float32)
        operands = [f"t{i}", f"w{i}"]
        if swapped and op != "Div":
            operands.reverse()
        lines.append(f"t{i + 1} = {op}({', '.join(operands)})")
    declared = ", ".join(
        f"float[{','.join(map(str, w.shape))}] {n}" if w.ndim else f"float {n}" for n, w in weights.items()
    )
    text = f"""g (float[N,{sizes[1]},L] x) => (float[N,{sizes[1]},L] y) <{declared}> {{
      t0 = Neg(x) {" ".join(lines)} y = Neg(t{len(steps)}) }}"""
    x = np.asarray(rng.standard_normal(sizes), np.float32)
    if x.size:
        x.reshape(-1)[0] = 30.0  # what cancels to nothing has no digits left to compare
    result = assert_same_meaning(MergeAffine(), text, {"x": x}, weights=weights, tolerance=1e-4)
    assert len(list(result.graph)) <= 4


def test_meaning_at_the_edges() -> None:
    text = """g (float[5] x) => (float[5] y) <float a = {2}, float b = {-3}> {
      t = Mul(x, a) u = Add(t, b) v = Mul(u, b) y = Sub(v, a) }"""
    edges = np.array([np.nan, np.inf, -np.inf, 0.0, -0.0], np.float32)
    assert_same_meaning(MergeAffine(), text, {"x": edges})
