from __future__ import annotations

import numpy as np
import onnx_ir as ir
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from accelc.passes.cast_chains import CastChains, holds
from accelc.testing import assert_refuses, assert_rewrites, assert_same_meaning

D = ir.DataType


def test_golden() -> None:
    assert_rewrites(
        CastChains(),
        "g (int32[3] x) => (float[3] y) { a = Cast<to = 7>(x) b = Cast<to = 11>(a) y = Cast<to = 1>(b) }",
        "g (int32[3] x) => (float[3] y) { y = Cast<to = 1>(x) }",
    )


def test_golden_there_and_back() -> None:
    assert_rewrites(
        CastChains(),
        "g (float16[3] x) => (float16[3] y) { r = Relu(x) a = Cast<to = 1>(r) b = Cast<to = 10>(a) y = Abs(b) }",
        "g (float16[3] x) => (float16[3] y) { r = Relu(x) y = Abs(r) }",
    )


def test_golden_cast_like() -> None:
    assert_rewrites(
        CastChains(),
        "g (bool[3] x, double[1] z) => (double[3] y) { a = Cast<to = 1>(x) y = CastLike(a, z) }",
        "g (bool[3] x, double[1] z) => (double[3] y) { y = Cast<to = 11>(x) }",
    )


def test_golden_the_inner_cast_keeps_its_other_user() -> None:
    assert_rewrites(
        CastChains(),
        "g (int32[3] x) => (float[3] y, int64[3] z) { a = Cast<to = 7>(x) y = Cast<to = 1>(a) z = Neg(a) }",
        "g (int32[3] x) => (float[3] y, int64[3] z) { a = Cast<to = 7>(x) y = Cast<to = 1>(x) z = Neg(a) }",
    )


def test_golden_subgraph() -> None:
    assert_rewrites(
        CastChains(),
        """g (bool p, int32[3] x) => (float[3] y) {
             y = If (p) <then_branch = t () => (float[3] q) { a = Cast<to = 7>(x) q = Cast<to = 1>(a) },
                         else_branch = e () => (float[3] r) { r = Cast<to = 1>(x) }>
        }""",
        """g (bool p, int32[3] x) => (float[3] y) {
             y = If (p) <then_branch = t () => (float[3] q) { q = Cast<to = 1>(x) },
                         else_branch = e () => (float[3] r) { r = Cast<to = 1>(x) }>
        }""",
    )


@pytest.mark.parametrize(("middle", "name"), [(7, "INT64"), (10, "FLOAT16"), (9, "BOOL")])
def test_refusals(middle: int, name: str) -> None:
    text = f"g (float[3] x) => (float[3] y) {{ a = Cast<to = {middle}>(x) y = Cast<to = 1>(a) }}"
    assert_refuses(CastChains(), text, f"the inner Cast from FLOAT to {name} changes values")


def test_refusal_unknown_dtype() -> None:
    text = "g (float[3] x) => (float[3] y) { a = foreign.Op(x) y = CastLike(x, a) }"
    model = f'<ir_version: 11, opset_import: ["" : 24, "foreign" : 1]> {text}'
    assert_refuses(CastChains(), model, "the dtype of the second operand is unknown")


def test_what_holds_what() -> None:
    assert holds(D.FLOAT, D.BOOL)
    assert holds(D.DOUBLE, D.INT32)
    assert not holds(D.FLOAT, D.INT32)
    assert holds(D.FLOAT, D.FLOAT16)
    assert holds(D.FLOAT, D.BFLOAT16)
    assert not holds(D.FLOAT16, D.BFLOAT16)
    assert not holds(D.BFLOAT16, D.FLOAT16)
    assert holds(D.INT16, D.UINT8)
    assert not holds(D.UINT64, D.INT8)
    assert holds(D.BFLOAT16, D.INT8)
    assert not holds(D.FLOAT16, D.UINT16)
    assert not holds(D.FLOAT, D.STRING)


NAMES = {"float": np.float32, "double": np.float64, "int32": np.int32, "int64": np.int64, "uint8": np.uint8}
CODES = {"float": 1, "double": 11, "int32": 6, "int64": 7, "uint8": 2, "bool": 9}


@settings(max_examples=30, deadline=None)
@given(
    source=st.sampled_from([*NAMES, "bool"]),
    chain=st.lists(st.sampled_from(list(CODES)), min_size=2, max_size=4),
    values=st.lists(st.integers(0, 200), max_size=5),
)
def test_meaning(source: str, chain: list[str], values: list[int]) -> None:
    body = " ".join(f"t{i + 1} = Cast<to = {CODES[name]}>(t{i})" for i, name in enumerate(chain))
    text = (
        f"g ({source}[N] x) => ({chain[-1]}[N] y) {{ t0 = Identity(x) {body} y = Identity(t{len(chain)}) }}"
    )
    x = np.array(values, np.bool_ if source == "bool" else NAMES[source])
    assert_same_meaning(CastChains(), text, {"x": x}, exact=True)
