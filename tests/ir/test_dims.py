"""Evaluating dimensions: exact, whatever way is taken."""

from __future__ import annotations

import math
from fractions import Fraction

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from accelc.errors import CallError
from accelc.ir.dims import evaluate


@settings(max_examples=40, deadline=None)
@given(st.integers(-(10**12), 10**12), st.integers(-50, 50), st.integers(1, 9), st.integers(1, 9))
def test_floors_of_quotients_are_exact(a: int, b: int, p: int, q: int) -> None:
    symbols = {"a": a, "b": b}
    inner = math.floor(Fraction(a, p) - Fraction(b, q))
    assert evaluate(f"floor(a/{p} - b/{q})", symbols) == inner
    assert evaluate(f"floor((a/{p} - b/{q})/{q})", symbols) == math.floor(
        (Fraction(a, p) - Fraction(b, q)) / q
    )
    assert evaluate(f"floor(floor(a/{p} - b/{q})/{q}) + 1", symbols) == inner // q + 1
    assert evaluate(f"floor(a/-{p})", symbols) == math.floor(Fraction(a, -p))


def test_a_floored_division_by_zero_names_the_dimension() -> None:
    with pytest.raises(CallError, match=r"floor\(a/b\)") as caught:
        evaluate("floor(a/b)", {"a": 3, "b": 0})
    assert "zero" in str(caught.value)
