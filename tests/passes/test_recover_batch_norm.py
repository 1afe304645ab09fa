from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from accelc.passes.recover_batch_norm import RecoverBatchNorm
from accelc.testing import assert_refuses, assert_rewrites, assert_same_meaning

CHANNELS = "float[3,1,1] a = {2, 3, 4}, float[3,1,1] b = {1, 0, -1}"
NORM = "BatchNormalization<epsilon = 0.0>"
OPERANDS = "float[3] s = {2, 3, 4}, float[3] t = {1, 0, -1}, float[3] m = {0, 0, 0}, float[3] v = {1, 1, 1}"


@pytest.mark.parametrize("body", ["p = Mul(x, a) y = Add(p, b)", "p = Mul(a, x) y = Add(b, p)"])
def test_golden(body: str) -> None:
    assert_rewrites(
        RecoverBatchNorm(),
        f"g (float[N,3,H,W] x) => (float[N,3,H,W] y) <{CHANNELS}> {{ {body} }}",
        f"g (float[N,3,H,W] x) => (float[N,3,H,W] y) <{OPERANDS}> {{ y = {NORM}(x, s, t, m, v) }}",
    )


def test_golden_one_constant_for_all_channels() -> None:
    assert_rewrites(
        RecoverBatchNorm(),
        """g (float[1,2,5] x) => (float[1,2,5] y) <float a = {2}, float[1,2,1] b = {1, 3}> {
           p = Mul(x, a) y = Add(p, b) }""",
        f"""g (float[1,2,5] x) => (float[1,2,5] y)
            <float[2] s = {{2, 2}}, float[2] t = {{1, 3}}, float[2] m = {{0, 0}}, float[2] v = {{1, 1}}> {{
            y = {NORM}(x, s, t, m, v) }}""",
    )


def test_golden_in_a_subgraph() -> None:
    shape = "float[1,3,2]"
    text = f"g (bool c, {shape} x) => ({shape} y) {{ y = If(c) <then_branch = t () => ({shape} q) %s,"
    text += f" else_branch = f () => ({shape} r) {{ r = Neg(x) }}> }}"
    weights = "<float[3,1] a = {2, 3, 4}, float[3,1] b = {1, 0, -1}>"
    assert_rewrites(
        RecoverBatchNorm(),
        text % f"{weights} {{ p = Mul(x, a) q = Add(p, b) }}",
        text % f"<{OPERANDS}> {{ q = {NORM}(x, s, t, m, v) }}",
    )


@pytest.mark.parametrize(
    ("text", "why"),
    [
        (
            '<ir_version: 7, opset_import: ["" : 8]> '
            f"g (float[N,3,H,W] x) => (float[N,3,H,W] y) <{CHANNELS}> {{ p = Mul(x, a) y = Add(p, b) }}",
            "opset 8",
        ),
        (
            f"""g (float[N,3,H,W] x) => (float[N,3,H,W] y, float[N,3,H,W] p) <{CHANNELS}> {{
                p = Mul(x, a) y = Add(p, b) }}""",
            "second user",
        ),
        (
            f"g (float[N,C,H,W] x) => (float[N,3,H,W] y) <{CHANNELS}> {{ p = Mul(x, a) y = Add(p, b) }}",
            "number of channels",
        ),
        (
            f"g (float[N,1,H,W] x) => (float[N,3,H,W] y) <{CHANNELS}> {{ p = Mul(x, a) y = Add(p, b) }}",
            "number of channels",
        ),
    ],
)
def test_refusals(text: str, why: str) -> None:
    assert_refuses(RecoverBatchNorm(), text, why)


def test_refusal_of_half_precision() -> None:
    weights = {name: np.array([1, 2, 3], np.float16).reshape(3, 1) for name in ("a", "b")}
    text = "g (float16[N,3,L] x) => (float16[N,3,L] y) <float16[3,1] a, float16[3,1] b> { p = Mul(x, a) y = Add(p, b) }"
    assert_refuses(RecoverBatchNorm(), text, "this dtype", weights=weights)


@pytest.mark.parametrize(
    "text",
    [
        "g (float[2,3,4] x) => (float[2,3,4] y) <float a = {2}, float b = {1}> { p = Mul(x, a) y = Add(p, b) }",
        "g (float[2,3] x) => (float[2,3] y) <float[3] a = {1,2,3}, float b = {1}> { p = Mul(x, a) y = Add(p, b) }",
        "g (float[2,3,2] x) => (float[2,3,2] y) <float[2] a = {1,2}, float b = {1}> { p = Mul(x, a) y = Add(p, b) }",
        "g (float[2,3,2] x) => (float[2,3,2] y) <float[3,1] a = {1,2,3}> { p = Mul(x, a) y = Add(p, x) }",
    ],
)
def test_left_alone(text: str) -> None:
    assert_rewrites(RecoverBatchNorm(), text, text)


@settings(max_examples=25, deadline=None)
@given(
    shape=st.lists(st.integers(1, 4), min_size=3, max_size=5),
    empty=st.booleans(),
    scalar=st.booleans(),
    double=st.booleans(),
    seed=st.integers(0, 99),
)
def test_meaning(shape: list[int], empty: bool, scalar: bool, double: bool, seed: int) -> None:
    rng = np.random.default_rng(seed)
    kind, dtype = ("double", np.float64) if double else ("float", np.float32)
    channels = (shape[1], *[1] * (len(shape) - 2))
    weights = {
        "a": rng.standard_normal(() if scalar else channels).astype(dtype),
        "b": rng.standard_normal((1, *channels)).astype(dtype),
    }
    declared = ", ".join(
        f"{kind}[{','.join(map(str, w.shape))}] {n}" if w.ndim else f"{kind} {n}" for n, w in weights.items()
    )
    dims = ",".join(str(d) if i == 1 else f"D{i}" for i, d in enumerate(shape))
    text = f"g ({kind}[{dims}] x) => ({kind}[{dims}] y) <{declared}> {{ p = Mul(x, a) y = Add(p, b) }}"
    x = rng.standard_normal([0 if empty and i == 0 else d for i, d in enumerate(shape)]).astype(dtype)
    result = assert_same_meaning(RecoverBatchNorm(), text, {"x": x}, weights=weights)
    assert [node.op_type for node in result.graph] == (
        ["Mul", "Add"] if shape[1] == 1 else ["BatchNormalization"]
    )


def test_meaning_at_the_edges() -> None:
    text = f"g (float[1,3,1,2] x) => (float[1,3,1,2] y) <{CHANNELS}> {{ p = Mul(x, a) y = Add(p, b) }}"
    edges = np.array([np.nan, np.inf, -np.inf, 0.0, -0.0, 1e38], np.float32).reshape(1, 3, 1, 2)
    assert_same_meaning(RecoverBatchNorm(), text, {"x": edges})
