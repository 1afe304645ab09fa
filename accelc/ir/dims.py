"""Symbolic dimensions: parse, evaluate, compare and bind expressions such as ``floor((H - 1)/2) + 1``.

An expression is parsed once, by a whitelisted grammar, into a closure that is cached: evaluation takes
microseconds, because it runs at call time. Arithmetic is exact (integers and fractions).
Source: the text is what sympy prints for the dimensions that onnx-shape-inference finds.
"""

from __future__ import annotations

import ast
import functools
import math
import operator
import re
from collections.abc import Callable, Mapping, MutableMapping, Sequence
from dataclasses import dataclass
from fractions import Fraction
from typing import TypeGuard

import onnx_ir as ir

from accelc.errors import CallError, InvalidModelError, UnsupportedError

Dim = int | str
Number = int | Fraction
Closure = Callable[[Mapping[str, int]], Number]

MAX_DIM_TEXT = 4096
"""Longest expression that is read, in characters; real models stay below 200."""
_INT64_MAX = 2**63 - 1
# A name may hold dots and start with a letter: 'decoder_input_ids.45_dim_1' is what PyTorch writes.
_NAME = re.compile(r"[^\W\d][\w.]*")


@dataclass(frozen=True)
class _Parsed:
    run: Closure
    symbols: frozenset[str]


def _divide(left: Number, right: Number) -> Number:
    if right == 0:
        raise ArithmeticError("division by zero")
    quotient = Fraction(left) / right
    return quotient.numerator if quotient.denominator == 1 else quotient


def _power(base: Number, exponent: Number) -> Number:
    if not isinstance(exponent, int) or abs(exponent) > 64:
        raise ArithmeticError(f"exponent {exponent} is not an integer within 64")
    if isinstance(base, int) and base.bit_length() * abs(exponent) > 4096:
        raise ArithmeticError("it does not fit in 64 bits")
    return Fraction(base) ** exponent if exponent < 0 else base**exponent


def _root(value: Number) -> Number:
    if isinstance(value, int) and value >= 0 and math.isqrt(value) ** 2 == value:
        return math.isqrt(value)
    raise ArithmeticError(f"sqrt({value}) is not an integer")


_BINARY: dict[type[ast.operator], Callable[[Number, Number], Number]] = {
    ast.Add: operator.add,
    ast.Sub: operator.sub,
    ast.Mult: operator.mul,
    ast.Div: _divide,
    ast.FloorDiv: operator.floordiv,
    ast.Mod: operator.mod,
    ast.Pow: _power,
}
_FUNCTIONS: dict[str, tuple[Callable[..., Number], int | None]] = {
    "floor": (math.floor, 1),
    "ceiling": (math.ceil, 1),
    "ceil": (math.ceil, 1),
    "sqrt": (_root, 1),
    "abs": (abs, 1),
    "Abs": (abs, 1),
    "min": (min, None),
    "Min": (min, None),
    "max": (max, None),
    "Max": (max, None),
    "mod": (operator.mod, 2),
    "Mod": (operator.mod, 2),
}


def _build(tree: ast.expr, names: Sequence[str]) -> Closure:
    """Compile one node of a whitelisted tree; its depth is bounded by MAX_DIM_TEXT and ast's own limit."""
    if isinstance(tree, ast.Constant) and type(tree.value) is int:
        value = tree.value
        return lambda symbols: value
    if isinstance(tree, ast.Name):
        name = names[int(tree.id[1:])]
        return lambda symbols: symbols[name]
    if isinstance(tree, ast.UnaryOp) and isinstance(tree.op, ast.USub | ast.UAdd):
        inner = _build(tree.operand, names)
        return (lambda symbols: -inner(symbols)) if isinstance(tree.op, ast.USub) else inner
    if isinstance(tree, ast.BinOp) and type(tree.op) in _BINARY:
        combine, left, right = _BINARY[type(tree.op)], _build(tree.left, names), _build(tree.right, names)
        return lambda symbols: combine(left(symbols), right(symbols))
    if isinstance(tree, ast.Call) and isinstance(tree.func, ast.Name) and not tree.keywords:
        function, arity = _FUNCTIONS.get(names[int(tree.func.id[1:])], (None, None))
        if function is math.floor and len(tree.args) == 1 and _is_quotient(tree.args[0]):
            # Exact for fractions too, and whole numbers stay whole: ten times as fast.
            quotient = ast.BinOp(tree.args[0].left, ast.FloorDiv(), tree.args[0].right)
            return _build(quotient, names)
        arguments = [_build(argument, names) for argument in tree.args]
        if function is not None and arguments and arity in (None, len(arguments)):
            if len(arguments) == 1:
                call, only = function, arguments[0]
                if call in (min, max):
                    return only
                return lambda symbols: call(only(symbols))
            call_many = function
            return lambda symbols: call_many(*[argument(symbols) for argument in arguments])
    raise SyntaxError("only + - * / // % **, floor, ceiling, sqrt, abs, Min, Max, Mod, names and integers")


def _is_quotient(tree: ast.expr) -> TypeGuard[ast.BinOp]:
    return isinstance(tree, ast.BinOp) and isinstance(tree.op, ast.Div)


def syntax(text: str) -> tuple[ast.expr, list[str]]:
    """The tree of an expression, in which the name ``names[i]`` of the model is called ``v<i>``.

    Raises:
        SyntaxError: The text is too long, or no expression; ValueError, RecursionError and MemoryError as ``ast`` does.
    """
    names: list[str] = []

    def stand_in(match: re.Match[str]) -> str:
        # Every name becomes v0, v1, ...: model text never meets Python's keywords or attributes.
        names.append(match.group())
        return f"v{len(names) - 1}"

    if len(text) > MAX_DIM_TEXT:
        raise SyntaxError(f"longer than {MAX_DIM_TEXT} characters")
    return ast.parse(_NAME.sub(stand_in, text).strip(), mode="eval").body, names


@functools.lru_cache(maxsize=65536)
def _parse(text: str) -> _Parsed:
    try:
        tree, names = syntax(text)
        run = _build(tree, names)
        called = {id(node.func) for node in ast.walk(tree) if isinstance(node, ast.Call)}
        symbols = frozenset(
            names[int(node.id[1:])]
            for node in ast.walk(tree)
            if isinstance(node, ast.Name) and id(node) not in called
        )
    except (SyntaxError, ValueError, RecursionError, MemoryError) as error:
        raise InvalidModelError(
            f"cannot read the dimension {shorten(text)!r}",
            why=str(error),
            fix="name the dimension with letters, digits and underscores",
        ) from error
    return _Parsed(run, symbols)


def shorten(text: str, limit: int = 80) -> str:
    """The text, cut with an ellipsis if longer than ``limit`` characters."""
    return text if len(text) <= limit else text[: limit - 3] + "..."


def is_expression(text: str) -> bool:
    """Whether ``text`` can be read as a dimension (a plain name included)."""
    try:
        _parse(text)
    except InvalidModelError:
        return False
    return True


def is_symbol(dim: Dim | None) -> bool:
    """Whether ``dim`` is one plain name rather than a number or an expression."""
    return isinstance(dim, str) and _NAME.fullmatch(dim) is not None


def symbols_in(dim: Dim | None) -> frozenset[str]:
    """Names that ``dim`` depends on; empty for integers and unknown dimensions.

    Raises:
        InvalidModelError: The text is not an expression of the grammar.
    """
    return _parse(dim).symbols if isinstance(dim, str) else frozenset()


def evaluate(dim: Dim, symbols: Mapping[str, int]) -> int:
    """The value of ``dim`` with each name in it replaced by its number.

    Args:
        dim: An integer or an expression such as ``Min(512, S)``.
        symbols: Numbers of the names.

    Raises:
        InvalidModelError: The text is not an expression of the grammar.
        UnsupportedError: A name has no number, for example a size that depends on data.
        CallError: The value is no integer, does not fit 64 bits, or divides by zero.
    """
    if type(dim) is int:
        return dim
    if not isinstance(dim, str):
        return int(dim)
    try:
        value = _parse(dim).run(symbols)
    except KeyError as missing:
        raise UnsupportedError(
            f"dimension {shorten(dim)!r} is not known before the model runs",
            why=f"nothing binds {missing.args[0]!r}; known: {', '.join(sorted(symbols)) or 'none'}",
        ) from missing
    except ArithmeticError as error:
        raise _no_size(dim, symbols, str(error)) from error
    if isinstance(value, Fraction):
        if value.denominator != 1:
            raise _no_size(dim, symbols, f"it is {value}, not an integer")
        value = value.numerator
    if abs(value) > _INT64_MAX:
        raise _no_size(dim, symbols, "it does not fit in 64 bits")
    return value


def _no_size(dim: str, symbols: Mapping[str, int], why: str) -> CallError:
    used = ", ".join(f"{name}={symbols[name]}" for name in sorted(symbols_in(dim)) if name in symbols)
    return CallError(f"dimension {shorten(dim)!r} has no valid size for {used or 'no symbols'}", why=why)


@functools.lru_cache(maxsize=65536)
def same(left: Dim, right: Dim) -> bool:
    """Whether two dimensions are equal for every value of their symbols; False if that cannot be shown."""
    if left == right:
        return True
    if isinstance(left, int) and isinstance(right, int):
        return False
    if symbols_in(left) != symbols_in(right):
        return False
    try:
        difference = ir.SymbolicDim(str(left)) - ir.SymbolicDim(str(right))
        return difference.value == "0" or difference.simplify().value == "0"
    except (ValueError, RecursionError, TypeError):
        return False


def unify(
    declared: Sequence[Dim | None],
    actual: Sequence[int],
    symbols: MutableMapping[str, int],
    *,
    name: str = "input",
) -> None:
    """Check a concrete shape against a declared one, and bind the symbols it fixes into ``symbols``.

    Plain names bind first; an expression with one unbound name is solved if it is linear in it.

    Args:
        declared: Dimensions as declared; None takes any size.
        actual: The concrete shape.
        symbols: Bindings so far; new ones are added.
        name: Name of the input, for the error.

    Raises:
        CallError: Rank or a dimension does not fit, with what was expected and what was given.
    """
    if len(declared) != len(actual):
        raise _mismatch(name, declared, actual, symbols, f"expected rank {len(declared)}, got {len(actual)}")
    for axis, (dim, size) in enumerate(zip(declared, actual, strict=True)):
        if isinstance(dim, str) and is_symbol(dim):
            known = symbols.setdefault(dim, size)
            if known != size:
                raise _mismatch(
                    name, declared, actual, symbols, f"axis {axis}: {dim} is {known} elsewhere, here {size}"
                )
        elif isinstance(dim, int) and dim != size:
            raise _mismatch(name, declared, actual, symbols, f"axis {axis}: expected {dim}, got {size}")
    for axis, (dim, size) in enumerate(zip(declared, actual, strict=True)):
        if not isinstance(dim, str) or is_symbol(dim):
            continue
        free = [symbol for symbol in symbols_in(dim) if symbol not in symbols]
        if len(free) == 1:
            _solve(dim, free[0], size, symbols)
            free = [symbol for symbol in free if symbol not in symbols]
        if not free and evaluate(dim, symbols) != size:
            expected = f"{dim} = {evaluate(dim, symbols)}"
            raise _mismatch(name, declared, actual, symbols, f"axis {axis}: expected {expected}, got {size}")


def _solve(dim: str, symbol: str, size: int, symbols: MutableMapping[str, int]) -> None:
    """Bind ``symbol`` if ``dim = size`` is linear in it; leave it unbound otherwise."""
    run = _parse(dim).run
    try:
        at_zero, at_one = (run({**symbols, symbol: value}) for value in (0, 1))
        if at_one != at_zero:
            value = _divide(size - at_zero, at_one - at_zero)
            if isinstance(value, int) and value >= 0 and run({**symbols, symbol: value}) == size:
                symbols[symbol] = value
    except ArithmeticError:
        return


def _mismatch(
    name: str, declared: Sequence[Dim | None], actual: Sequence[int], symbols: Mapping[str, int], why: str
) -> CallError:
    wanted = ", ".join("?" if dim is None else str(dim) for dim in declared)
    bound = ", ".join(f"{key}={value}" for key, value in sorted(symbols.items()))
    return CallError(
        f"{name} has the wrong shape",
        where=f"expected [{wanted}]" + (f" with {bound}" if bound else ""),
        why=f"{why}; got [{', '.join(map(str, actual))}]",
    )
