"""Elementwise expressions as kernel text, on vectors and on scalars.

The table of operations is in ``expr_ops.py``. ``check`` makes an expression read from a file safe to generate
code from: after it, every op is one of the table, every argument an earlier step, every literal a number.
"""

from __future__ import annotations

import math
import sys
from collections.abc import Sequence

from accelc.errors import ArtifactError
from accelc.targets.numba_cpu.kernels.expr import Expr, Step
from accelc.targets.numba_cpu.kernels.expr_ops import OPS, OpInfo
from accelc.targets.numba_cpu.kernels.text import (
    FLOATS,
    INTEGERS,
    SHORT,
    UNSIGNED,
    VECTOR_FLOATS,
    check_dtype,
    scalar_constant,
)

MAX_STEPS = 2048
MAX_OPERANDS = 64
_SPECIAL = ("nan", "inf", "-inf")

# Operations that vectors of integers have too; the others are left to scalar code.
_VECTOR_INTEGER_OPS = frozenset(
    {"in", "const", "add", "sub", "mul", "max", "min", "neg", "abs", "where", "cast"}
    | {"eq", "ne", "lt", "le", "gt", "ge"}
)


def check(expr: Expr) -> None:
    """Make sure that code can be generated from ``expr``.

    Raises:
        ArtifactError: An op is unknown, an argument is no earlier step, a literal is no number, dtypes clash.
    """
    if not 0 < len(expr.steps) <= MAX_STEPS or len(expr.dtypes) != len(expr.steps):
        raise ArtifactError("malformed kernel expression", why=f"it has {len(expr.steps)} steps")
    if isinstance(expr.result, bool) or not isinstance(expr.result, int):
        raise ArtifactError("malformed kernel expression", why="its result is no step number")
    if not 0 <= expr.result < len(expr.steps):
        raise ArtifactError("malformed kernel expression", why=f"its result is step {expr.result}")
    seen: dict[int, str] = {}
    for number, (step, dtype) in enumerate(zip(expr.steps, expr.dtypes, strict=True)):
        check_dtype(dtype)
        why = _step_error(step, dtype, expr.dtypes[:number], seen)
        if why:
            raise ArtifactError("malformed kernel expression", where=f"step {number}", why=why)


def step_error(op: str, args: Sequence[str], dtype: str) -> str:
    """Why ``op`` on operands of dtypes ``args`` does not give ``dtype``; empty if it does."""
    if op not in OPS:
        return f"unknown op {op!r}"
    if len(args) != OPS[op].arity:
        return f"{op} takes {OPS[op].arity} earlier steps"
    return _typing_error(op, OPS[op], args, dtype)


def _step_error(step: Step, dtype: str, dtypes: Sequence[str], seen: dict[int, str]) -> str:
    """What is wrong with a step; empty if nothing is."""
    if not step or not isinstance(step[0], str):
        return "a step is (op, ...)"
    op, args = step[0], step[1:]
    if op == "in":
        if len(args) != 1 or not _is_number(args[0]) or not 0 <= args[0] < MAX_OPERANDS:
            return "an operand number is out of range"
        return "" if seen.setdefault(args[0], dtype) == dtype else "an operand has two dtypes"
    if op == "const":
        return "" if len(args) == 1 and _is_literal(args[0], dtype) else f"a literal is no {dtype}"
    if op in OPS and not all(_is_number(arg) and 0 <= arg < len(dtypes) for arg in args):
        return f"{op} takes {OPS[op].arity} earlier steps"
    return step_error(op, [dtypes[arg] for arg in args] if op in OPS else [], dtype)


def _typing_error(op: str, info: OpInfo, args: Sequence[str], dtype: str) -> str:
    """Whether operand and result dtypes fit an op of the table."""
    wanted: Sequence[str]
    if info.kind == "same":
        wanted = [dtype] * info.arity
    elif info.kind == "compare":
        wanted = [args[0]] * 2
        if op in ("lt", "le", "gt", "ge") and args[0] == "bool":
            return f"{op} does not take bool"
    elif info.kind == "logic":
        wanted = ["bool"] * info.arity
    elif info.kind == "where":
        wanted = ["bool", dtype, dtype]
    else:  # test, pow, cast
        wanted = args
        if info.kind == "test" and args[0] not in FLOATS:
            return f"{op} takes a float"
    if list(args) != list(wanted):
        return f"{op} does not take {', '.join(args)}"
    if info.kind in ("compare", "logic", "test"):
        return "" if dtype == "bool" else f"{op} gives bool"
    if info.kind == "pow" and (dtype != args[0] or "bool" in args):
        return f"{op} does not give {dtype}"
    if info.kind == "same" and _template(info, dtype) is None:
        return f"{op} does not take {dtype}"
    return ""


def _is_number(value: object) -> bool:
    return isinstance(value, int) and not isinstance(value, bool)


def _is_literal(value: object, dtype: str) -> bool:
    if dtype == "bool":
        return isinstance(value, bool)
    if dtype in FLOATS:
        if isinstance(value, str):
            return value in _SPECIAL
        if isinstance(value, bool) or not isinstance(value, int | float):
            return False
        return bool(abs(value) <= sys.float_info.max)
    if not isinstance(value, int) or isinstance(value, bool):
        return False
    bits = int(dtype.lstrip("uint"))
    low, high = (0, 2**bits) if dtype in UNSIGNED else (-(2 ** (bits - 1)), 2 ** (bits - 1))
    return bool(low <= value < high)


def _template(info: OpInfo, dtype: str) -> str | None:
    """The scalar template for operands of ``dtype``."""
    if dtype in FLOATS:
        return info.floating
    if dtype in INTEGERS:
        return info.unsigned if dtype in UNSIGNED else info.signed
    return info.floating if info.kind in ("logic", "where", "compare") else None


def used_steps(expr: Expr) -> list[int]:
    """Steps that the result depends on, in order."""
    used = {expr.result}
    for number in range(expr.result, -1, -1):
        if number in used and expr.steps[number][0] not in ("in", "const"):
            used.update(expr.steps[number][1:])
    return sorted(used)


def used_operands(expr: Expr) -> list[int]:
    """Numbers of the operands that the result depends on, ascending."""
    return sorted({expr.steps[number][1] for number in used_steps(expr) if expr.steps[number][0] == "in"})


def flops(expr: Expr) -> int:
    """Floating-point operations for one element."""
    ops = [expr.steps[number][0] for number in used_steps(expr)]
    return sum(OPS[op].flops for op in ops if op in OPS)


def vector_dtype(expr: Expr) -> str | None:
    """The one float dtype of an expression, whose natural lane count its vectors have; None if none or two."""
    floats = {expr.dtypes[number] for number in used_steps(expr)} & FLOATS
    return floats.pop() if len(floats) == 1 and floats <= VECTOR_FLOATS else None


def can_vectorize(expr: Expr) -> bool:
    """Whether ``vector_lines`` can write the expression: one float dtype, besides masks and some integers."""
    if vector_dtype(expr) is None:
        return False
    constant: set[int] = set()
    for number in used_steps(expr):
        step, dtype = expr.steps[number], expr.dtypes[number]
        op, args = step[0], step[1:]
        if op == "const":
            constant.add(number)
        elif op != "in":
            info = OPS[op]
            operand_dtypes = {dtype, *(expr.dtypes[arg] for arg in args)}
            if operand_dtypes & INTEGERS and op not in _VECTOR_INTEGER_OPS:
                return False
            if info.vector is None and op != "cast":
                return False
            # Scalars are broadcast by the vector beside them, so one operand has to be a vector.
            first = args[:1] if op == "where" else args
            if constant.issuperset(first):
                return False
            if any(arg in constant and expr.dtypes[arg] == "bool" for arg in args):
                return False
            if info.kind == "compare" and expr.dtypes[args[0]] == "bool":
                return False
            if op == "where" and dtype == "bool":
                return False
    return expr.result not in constant


def vector_lines(expr: Expr, operands: Sequence[str], prefix: str, indent: str) -> tuple[list[str], str]:
    """Text that computes ``expr`` on vectors of any one lane count.

    Args:
        expr: An expression for which ``can_vectorize`` holds.
        operands: Name of the variable that holds operand ``k``: a Vec of its dtype, or a mask for bool.
        prefix: Start of the names of new variables.
        indent: Start of every line.

    Returns:
        The statements, and the name of the result (a mask if the expression is bool).
    """
    lines: list[str] = []
    names: dict[int, str] = {}
    constants: set[int] = set()
    for number in used_steps(expr):
        step, dtype = expr.steps[number], expr.dtypes[number]
        if step[0] == "in":
            names[number] = operands[step[1]]
            continue
        if step[0] == "const":
            names[number] = _vector_constant(dtype, step[1])
            constants.add(number)
            continue
        text = _vector_step(expr, step, dtype, names, constants)
        names[number] = f"{prefix}{number}"
        lines.append(f"{indent}{names[number]} = {text}")
    return lines, names[expr.result]


def _vector_constant(dtype: str, value: float | int | bool | str) -> str:
    if dtype not in FLOATS:
        return scalar_constant(dtype, value)
    number = float(value)
    if number != number:
        return "math.nan"
    return "math.inf" if number == math.inf else "(-math.inf)" if number == -math.inf else f"({number!r})"


def _vector_step(expr: Expr, step: Step, dtype: str, names: dict[int, str], constants: set[int]) -> str:
    op, args = step[0], list(step[1:])
    if op == "cast":
        source = names[args[0]]
        if dtype == expr.dtypes[args[0]]:
            return source
        return f"vcast_{'mask' if dtype == 'bool' else SHORT[dtype]}({source})"
    if op in ("max", "min") and args[0] in constants:
        # LLVM drops the NaN test of a second operand that is constant.
        args.reverse()
    texts = [names[arg] for arg in args]
    if op == "where" and constants.issuperset(args[1:]):
        texts[1] = f"vlike(vcast_{SHORT[dtype]}({texts[0]}), {texts[1]})"
    template = OPS[op].vector
    assert template is not None  # can_vectorize
    return template.format(*texts)


def scalar_lines(expr: Expr, operands: Sequence[str], prefix: str, indent: str) -> tuple[list[str], str]:
    """Text that computes ``expr`` on scalars, for any dtypes.

    Args:
        expr: A checked expression.
        operands: Name of the variable that holds operand ``k``, as ``text.scalar_load`` gives it.
        prefix: Start of the names of new variables.
        indent: Start of every line.

    Returns:
        The statements, and the name of the result. The text needs ``text.helpers``.
    """
    lines: list[str] = []
    names: dict[int, str] = {}
    for number in used_steps(expr):
        step, dtype = expr.steps[number], expr.dtypes[number]
        if step[0] == "in":
            names[number] = operands[step[1]]
            continue
        names[number] = f"{prefix}{number}"
        is_const = step[0] == "const"
        text = scalar_constant(dtype, step[1]) if is_const else _scalar_step(expr, step, dtype, names)
        lines.append(f"{indent}{names[number]} = {text}")
    return lines, names[expr.result]


def _scalar_step(expr: Expr, step: Step, dtype: str, names: dict[int, str]) -> str:
    op, args = step[0], step[1:]
    sources = [expr.dtypes[arg] for arg in args]
    if op == "cast":
        return _scalar_cast(names[args[0]], sources[0], dtype)
    info = OPS[op]
    if info.kind == "pow":
        return _scalar_pow(names[args[0]], names[args[1]], sources[0], sources[1])
    operand = sources[-1]
    template = _template(info, operand)
    assert template is not None  # check
    if operand in INTEGERS:
        wide = "u64" if operand in UNSIGNED else "i64"
        texts = [
            f"{wide}({names[arg]})" if kind != "bool" else names[arg]
            for arg, kind in zip(args, sources, strict=True)
        ]
    else:
        texts = [names[arg] for arg in args]
    text = template.format(*texts, T=SHORT[operand])
    if dtype == "bool":
        return text
    return f"{SHORT[dtype]}({text})"


def _scalar_pow(base: str, exponent: str, dtype: str, exponent_dtype: str) -> str:
    if dtype in FLOATS:
        return f"{SHORT[dtype]}(math.pow({base}, {SHORT[dtype]}({exponent})))"
    if exponent_dtype in FLOATS:
        return _scalar_cast(f"math.pow(f64({base}), f64({exponent}))", "float64", dtype)
    return f"{SHORT[dtype]}(integer_pow({base}, {exponent}))"


def _scalar_cast(name: str, source: str, dtype: str) -> str:
    """A cast. A float too large for its integer dtype wraps around from int64; past that it is unspecified."""
    if dtype == "bool":
        return f"({name} != 0)" if source != "bool" else name
    if source == "bool":
        return f"{SHORT[dtype]}(1 if {name} else 0)"
    if dtype == "float16" and source != "float16":
        return f"half_to_float(float_to_half({name}))"
    if dtype == "bfloat16" and source != "bfloat16":
        return f"bfloat_to_float(float_to_bfloat({name}))"
    if source in FLOATS and dtype in INTEGERS and dtype not in ("int64", "uint64"):
        return f"{SHORT[dtype]}(i64({name}))"
    return f"{SHORT[dtype]}({name})"
