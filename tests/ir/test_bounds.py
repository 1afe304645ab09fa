"""Interval arithmetic that proves masks finite."""

from __future__ import annotations

import pytest

from accelc.ir import shapes
from accelc.ir.bounds import MAX_DEPTH, finite_bounds
from accelc.testing import model_from_text

INPUTS = "bool[4] c, int64[4] i, float[4] x, uint8[4] u"
WEIGHTS = (
    "<float zero = {0}, float one = {1}, float low = {-3.4e38}, float ten = {-10000},"
    " int64[1] n = {4}, int64[1] m = {8}>"
)


def bounds_of(body: str, dtype: str = "float") -> tuple[float, float] | None:
    model = model_from_text(f"g ({INPUTS}) => ({dtype}[4] y) {WEIGHTS} {{ {body} }}")
    shapes.infer(model)
    return finite_bounds(model.graph.outputs[0])


@pytest.mark.parametrize(
    ("body", "expected"),
    [
        ("y = Where(c, zero, ten)", (-10000.0, 0.0)),
        ("a = Cast<to=1>(c)  b = Sub(one, a)  y = Mul(b, ten)", (-10000.0, 0.0)),
        ("a = Cast<to=1>(u)  y = Add(a, one)", (1.0, 256.0)),
        ("a = Cast<to=1>(c)  b = Neg(a)  e = Expand(b, n)  y = Identity(e)", (-1.0, 0.0)),
        ("a = Cast<to=1>(c)  b = Concat<axis=0>(a, a)  y = Slice(b, n, m)", (0.0, 1.0)),
    ],
)
def test_known(body: str, expected: tuple[float, float]) -> None:
    if "(b, z" in body:
        body = body.replace("Slice(b, z, n)", "Slice(b, z, n)").replace(
            "a = ", "z = Constant<value_ints=[0]>()  a = ", 1
        )
    assert bounds_of(body) == expected


@pytest.mark.parametrize(
    "body",
    [
        "y = Neg(x)",
        "y = Exp(x)",
        "a = Where(c, zero, low)  y = Add(a, a)",  # overflows to -inf
        "a = Cast<to=1>(i)  b = Sub(one, a)  y = Mul(b, low)",  # 1 - i may be large
        "y = Where(c, zero, x)",
    ],
)
def test_unknown(body: str) -> None:
    assert bounds_of(body) is None


def test_integers_are_bounded_by_their_dtype_even_when_they_wrap() -> None:
    assert bounds_of("y = Mul(i, i)", "int64") == (-(2.0**63), 2.0**63)


def test_long_chains_are_given_up() -> None:
    chain = "t0 = Cast<to=1>(c)  " + "  ".join(f"t{k + 1} = Neg(t{k})" for k in range(MAX_DEPTH + 2))
    assert bounds_of(f"{chain}  y = Neg(t{MAX_DEPTH + 2})") is None
