"""Dimensions as polynomials over their names: products and sums of sizes in a form that can be compared and read."""

from __future__ import annotations

import ast
from collections.abc import Iterable, Mapping

from accelc.ir.dims import Dim, syntax

Monomial = tuple[tuple[str, int], ...]
"""Names with their powers, sorted."""
Polynomial = dict[Monomial, int]
"""Coefficient of each monomial; none is 0."""

_MOST_TERMS = 64


def polynomial(dim: Dim) -> Polynomial:
    """A dimension as a polynomial; what is none (``floor(N/2)``) stands for itself, as a name."""
    if isinstance(dim, int):
        return {(): dim} if dim else {}
    try:
        tree, names = syntax(dim)
        found = _of_tree(tree, names)
    except (SyntaxError, ValueError, RecursionError, MemoryError):
        found = None
    return found if found is not None and len(found) <= _MOST_TERMS else {((f"({dim})", 1),): 1}


def _of_tree(tree: ast.expr, names: list[str]) -> Polynomial | None:
    """The polynomial of a tree whose depth the parser has bounded; None if it is none."""
    if isinstance(tree, ast.Constant) and type(tree.value) is int:
        return {(): tree.value} if tree.value else {}
    if isinstance(tree, ast.Name):
        return {((names[int(tree.id[1:])], 1),): 1}
    if isinstance(tree, ast.UnaryOp) and isinstance(tree.op, ast.USub):
        inner = _of_tree(tree.operand, names)
        return None if inner is None else product([inner, {(): -1}])
    if not isinstance(tree, ast.BinOp):
        return None
    left, right = _of_tree(tree.left, names), _of_tree(tree.right, names)
    if left is None or right is None:
        return None
    if isinstance(tree.op, ast.Add):
        return total([left, right])
    if isinstance(tree.op, ast.Sub):
        return total([left, product([right, {(): -1}])])
    if isinstance(tree.op, ast.Mult):
        return product([left, right])
    if isinstance(tree.op, ast.Pow) and set(right) == {()} and 0 < right[()] <= 8:
        return product([left] * right[()])
    return None


def total(parts: Iterable[Polynomial]) -> Polynomial:
    """The sum."""
    result: Polynomial = {}
    for part in parts:
        for monomial, coefficient in part.items():
            result[monomial] = result.get(monomial, 0) + coefficient
    return {monomial: coefficient for monomial, coefficient in result.items() if coefficient}


def product(factors: Iterable[Polynomial]) -> Polynomial:
    """The product."""
    result: Polynomial = {(): 1}
    for factor in factors:
        terms: list[Polynomial] = []
        for left, a in result.items():
            for right, b in factor.items():
                powers = dict(left)
                for name, power in right:
                    powers[name] = powers.get(name, 0) + power
                terms.append({tuple(sorted(powers.items())): a * b})
        result = total(terms)
    return result


def at_least(left: Polynomial, right: Polynomial) -> bool:
    """Whether ``left`` >= ``right`` is plain wherever every name is at least 1; False if it is not plain."""
    difference = total([left, product([right, {(): -1}])])
    if all(coefficient >= 0 for coefficient in difference.values()):
        return True
    shifted = total(_shifted(monomial, coefficient) for monomial, coefficient in difference.items())
    return all(coefficient >= 0 for coefficient in shifted.values())


def _shifted(monomial: Monomial, coefficient: int) -> Polynomial:
    """A term with each name n replaced by n + 1, where n >= 0."""
    factors: list[Polynomial] = [{(): coefficient}]
    for name, power in monomial:
        factors += [{((name, 1),): 1, (): 1}] * power
    return product(factors)


def largest(candidates: Iterable[Polynomial]) -> list[Polynomial]:
    """Those of which one is the maximum wherever every name is at least 1."""
    kept: list[Polynomial] = []
    unique = {tuple(sorted(each.items())): each for each in candidates}
    for each in sorted(unique.values(), key=lambda p: -sum(p.values())):
        if not any(at_least(other, each) for other in kept):
            kept = [other for other in kept if not at_least(each, other)] + [each]
    return kept


def value_at(polynomial: Polynomial, sizes: Mapping[str, int]) -> int:
    """Its value.

    Raises:
        KeyError: A name has no size.
    """
    result = 0
    for monomial, coefficient in polynomial.items():
        for name, power in monomial:
            coefficient *= sizes[name] ** power
        result += coefficient
    return result


def polynomial_text(polynomial: Polynomial) -> str:
    """``1024*N*S + 512``: highest powers first."""
    if not polynomial:
        return "0"
    text = ""
    ordered = sorted(polynomial.items(), key=lambda term: (-sum(power for _, power in term[0]), term[0]))
    for monomial, coefficient in ordered:
        sign = ("-" if coefficient < 0 else "") if not text else (" - " if coefficient < 0 else " + ")
        names = [name if power == 1 else f"{name}**{power}" for name, power in monomial]
        number = [str(abs(coefficient))] if abs(coefficient) != 1 or not names else []
        text += sign + "*".join([*number, *names])
    return text
