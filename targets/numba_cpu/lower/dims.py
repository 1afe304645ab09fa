"""Arithmetic on dims that may be expressions: ints stay ints, names become text that ir.shapes evaluates."""

from __future__ import annotations

from collections.abc import Iterable

from accelc.ir.dims import Dim


def add(a: Dim, b: Dim) -> Dim:
    """A + b."""
    if isinstance(a, int) and isinstance(b, int):
        return a + b
    if a == 0:
        return b
    if b == 0:
        return a
    return f"({a}) + ({b})"


def sub(a: Dim, b: Dim) -> Dim:
    """A - b."""
    if isinstance(a, int) and isinstance(b, int):
        return a - b
    if b == 0:
        return a
    return 0 if a == b else f"({a}) - ({b})"


def mul(a: Dim, b: Dim) -> Dim:
    """A * b."""
    if isinstance(a, int) and isinstance(b, int):
        return a * b
    if a == 0 or b == 0:
        return 0
    if a == 1:
        return b
    if b == 1:
        return a
    return f"({a}) * ({b})"


def floordiv(a: Dim, b: int) -> Dim:
    """Floor of a / b for a positive b."""
    if isinstance(a, int):
        return a // b
    return a if b == 1 else f"floor(({a}) / {b})"


def ceildiv(a: Dim, b: int) -> Dim:
    """Ceiling of a / b for a positive b."""
    return floordiv(add(a, b - 1), b)


def maximum(a: Dim, b: Dim) -> Dim:
    """The larger of a and b."""
    if isinstance(a, int) and isinstance(b, int):
        return max(a, b)
    return a if a == b else f"Max({a}, {b})"


def minimum(a: Dim, b: Dim) -> Dim:
    """The smaller of a and b."""
    if isinstance(a, int) and isinstance(b, int):
        return min(a, b)
    return a if a == b else f"Min({a}, {b})"


def product(dims: Iterable[Dim]) -> Dim:
    """Product of all dims; 1 for none."""
    static = 1
    factors: list[Dim] = []
    for dim in dims:
        if isinstance(dim, int):
            static *= dim
        else:
            factors.append(dim)
    result: Dim = static
    for factor in factors:
        result = mul(result, factor)
    return result
