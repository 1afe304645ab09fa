"""Dims as polynomials: the same numbers as evaluation, and comparisons that hold."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from accelc.ir.dims import evaluate
from accelc.ir.polynomial import (
    at_least,
    largest,
    polynomial,
    polynomial_text,
    product,
    total,
    value_at,
)

SIZES = st.fixed_dictionaries({"N": st.integers(1, 9), "S": st.integers(1, 9)})
DIMS = st.recursive(
    st.one_of(st.sampled_from(["N", "S"]), st.integers(0, 9).map(str)),
    lambda inner: st.tuples(inner, st.sampled_from("+-*"), inner).map(lambda t: f"({t[0]} {t[1]} {t[2]})"),
    max_leaves=6,
)


@settings(max_examples=40, deadline=None)
@given(DIMS, DIMS, SIZES)
def test_arithmetic(left: str, right: str, sizes: dict[str, int]) -> None:
    a, b = polynomial(left), polynomial(right)
    x, y = value_at(a, sizes), value_at(b, sizes)
    assert x == evaluate(left, sizes)
    assert value_at(total([a, b]), sizes) == x + y
    assert value_at(product([a, b]), sizes) == x * y
    assert evaluate(polynomial_text(a), sizes) == x
    if at_least(a, b):
        assert x >= y
    assert max(value_at(each, sizes) for each in largest([a, b])) == max(x, y)


def test_text() -> None:
    assert polynomial_text(polynomial("2*S*N + N**2 - 1")) == "2*N*S + N**2 - 1"
    assert polynomial_text(polynomial(0)) == "0"
    assert polynomial_text(polynomial("1 - N")) == "-N + 1"


@pytest.mark.parametrize("dim", ["floor(N/2)", "N/2", "Max(N, S)", "N**S"])
def test_what_is_none_stands_for_itself(dim: str) -> None:
    assert polynomial(dim) == {((f"({dim})", 1),): 1}


def test_products_are_compared() -> None:
    assert at_least(polynomial("N*S"), polynomial("N"))
    assert not at_least(polynomial("N"), polynomial("S"))
    assert at_least(polynomial("N*S + 1"), polynomial("N + S"))
