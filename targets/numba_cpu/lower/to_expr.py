"""ONNX elementwise ops as steps of an expression.

One function per op that is more than a step; ``SIMPLE`` holds the others. Attribute defaults are ONNX's.
Source: https://onnx.ai/onnx/operators/
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import onnx_ir as ir

from accelc.ir.attributes import dtype_name
from accelc.ir.pass_base import Refusal
from accelc.targets.numba_cpu.kernels.expr import ExprBuilder
from accelc.targets.numba_cpu.kernels.expr_emit import step_error
from accelc.targets.numba_cpu.kernels.text import FLOATS, POINTERS


class _RefusedError(Exception):
    """Carries a refusal out of a maker."""


@dataclass
class Maker:
    """One op being turned into steps. ``args`` are step numbers, None where an operand is absent."""

    builder: ExprBuilder
    attrs: Mapping[str, Any]
    args: Sequence[int | None]
    out: str

    def arg(self, i: int) -> int:
        """Operand ``i``, which must be there."""
        found = self.args[i] if i < len(self.args) else None
        if found is None:
            raise _RefusedError(f"operand {i} is missing")
        return found

    def dtype(self, step: int) -> str:
        """Dtype of a step."""
        return self.builder.dtype(step)

    def make(self, op: str, *args: int, dtype: str = "") -> int:
        """A step of ``dtype``, by default that of the first argument; refused if the op does not take it."""
        dtype = dtype or self.dtype(args[0])
        why = step_error(op, [self.dtype(arg) for arg in args], dtype)
        if why:
            raise _RefusedError(why)
        return self.builder.add(dtype, op, *args)

    def const(self, value: float, like: int) -> int:
        """A scalar of the dtype of step ``like``."""
        dtype = self.dtype(like)
        return self.builder.const(float(value) if dtype in FLOATS else int(value), dtype)

    def number(self, step: int) -> float | None:
        """The value of a constant step."""
        found = self.builder.step(step)
        return float(found[1]) if found[0] == "const" else None

    def attr(self, name: str, default: float) -> float:
        """A float attribute."""
        return float(self.attrs.get(name, default))

    def cast(self, step: int, dtype: str) -> int:
        """``step`` as ``dtype``."""
        if dtype not in POINTERS:
            raise _RefusedError(f"kernels do not know {dtype}")
        return step if self.dtype(step) == dtype else self.make("cast", step, dtype=dtype)


SIMPLE: dict[str, str] = {
    "Abs": "abs", "Acos": "acos", "Acosh": "acosh", "Add": "add", "And": "and", "Asin": "asin",
    "Asinh": "asinh", "Atan": "atan", "Atanh": "atanh", "BitwiseAnd": "bitand", "BitwiseNot": "bitnot",
    "BitwiseOr": "bitor", "BitwiseXor": "bitxor", "Ceil": "ceil", "Cos": "cos", "Cosh": "cosh", "Div": "div",
    "Erf": "erf", "Exp": "exp", "Floor": "floor", "HardSwish": "hardswish", "Log": "log",
    "Mul": "mul", "Neg": "neg", "Not": "not", "Or": "or", "Reciprocal": "recip", "Relu": "relu",
    "Round": "round", "Sigmoid": "sigmoid", "Sign": "sign", "Sin": "sin", "Sinh": "sinh",
    "Softplus": "softplus", "Softsign": "softsign", "Sqrt": "sqrt", "Sub": "sub", "Tan": "tan",
    "Tanh": "tanh", "Xor": "xor",
}  # fmt: skip

COMPARE: dict[str, str] = {
    "Equal": "eq", "Greater": "gt", "GreaterOrEqual": "ge", "Less": "lt", "LessOrEqual": "le",
}  # fmt: skip


def _simple(m: Maker, op: str) -> int:
    arity = 2 if len([arg for arg in m.args if arg is not None]) == 2 else 1
    return m.make(op, *(m.arg(i) for i in range(arity)))


def _compare(m: Maker, op: str) -> int:
    return m.make(op, m.arg(0), m.arg(1), dtype="bool")


def _fold(op: str) -> Callable[[Maker], int]:
    def fold(m: Maker) -> int:
        result = m.arg(0)
        for i in range(1, len(m.args)):
            result = m.make(op, result, m.arg(i))
        return result

    return fold


def _mean(m: Maker) -> int:
    total = _fold("add")(m)
    return total if len(m.args) == 1 else m.make("div", total, m.const(len(m.args), total))


def _pow(m: Maker) -> int:
    base, exponent = m.arg(0), m.arg(1)
    power = m.number(exponent)
    if m.dtype(base) in FLOATS and power is not None:
        if power == 1.0:
            return base
        if power == 2.0:
            return m.make("mul", base, base)
        if power == 3.0:
            return m.make("mul", m.make("mul", base, base), base)
        if power == -1.0:
            return m.make("recip", base)
        if power == 0.5:
            return _half_power(m, base)
    if m.dtype(base) in FLOATS:
        exponent = m.cast(exponent, m.dtype(base))
    return m.make("pow", base, exponent)


def _half_power(m: Maker, base: int) -> int:
    """The square root, but pow(-inf, 0.5) is inf and pow(-0.0, 0.5) is 0.0 (IEEE 754-2019, section 9.2.1)."""
    least = m.make("eq", base, m.const(-math.inf, base), dtype="bool")
    root = m.make("sqrt", m.make("add", base, m.const(0.0, base)))
    return m.make("where", least, m.const(math.inf, base), root, dtype=m.dtype(base))


def _mod(m: Maker) -> int:
    x, y = m.arg(0), m.arg(1)
    return m.make("fmod" if m.attrs.get("fmod", 0) else "mod", x, y)


def _cast(m: Maker) -> int:
    return m.cast(m.arg(0), m.out)


def _clip(m: Maker) -> int:
    x = m.arg(0)
    for i, op, name in ((1, "max", "min"), (2, "min", "max")):
        bound = m.args[i] if i < len(m.args) else None
        if bound is None and name in m.attrs:  # attributes before opset 11
            bound = m.const(m.attrs[name], x)
        if bound is not None:
            x = m.make(op, x, bound)
    return x


def _leaky(m: Maker) -> int:
    x = m.arg(0)
    return m.make("leaky", x, m.const(m.attr("alpha", 0.01), x))


def _prelu(m: Maker) -> int:
    return m.make("leaky", m.arg(0), m.arg(1))


def _expm1(m: Maker, x: int) -> int:
    return m.make("sub", m.make("exp", x), m.const(1, x))


def _negative(m: Maker, x: int) -> int:
    return m.make("lt", x, m.const(0, x), dtype="bool")


def _elu(m: Maker) -> int:
    x = m.arg(0)
    below = m.make("mul", m.const(m.attr("alpha", 1.0), x), _expm1(m, x))
    return m.make("where", _negative(m, x), below, x, dtype=m.dtype(x))


def _selu(m: Maker) -> int:
    x = m.arg(0)
    alpha, gamma = m.attr("alpha", 1.67326319217681884765625), m.attr("gamma", 1.05070102214813232421875)
    below = m.make("mul", m.const(alpha, x), _expm1(m, x))
    return m.make("mul", m.const(gamma, x), m.make("where", _negative(m, x), below, x, dtype=m.dtype(x)))


def _celu(m: Maker) -> int:
    x, alpha = m.arg(0), m.attr("alpha", 1.0)
    zero, a = m.const(0, x), m.const(alpha, x)
    below = m.make("mul", a, _expm1(m, m.make("div", x, a)))
    return m.make("add", m.make("max", x, zero), m.make("min", below, zero))


def _hard_sigmoid(m: Maker) -> int:
    x = m.arg(0)
    line = m.make("mul", m.const(m.attr("alpha", 0.2), x), x)
    line = m.make("add", line, m.const(m.attr("beta", 0.5), x))
    return m.make("max", m.make("min", line, m.const(1, x)), m.const(0, x))


def _swish(m: Maker) -> int:
    x, alpha = m.arg(0), m.attr("alpha", 1.0)
    if alpha == 1.0:
        return m.make("swish", x)
    return m.make("mul", x, m.make("sigmoid", m.make("mul", x, m.const(alpha, x))))


def _gelu(m: Maker) -> int:
    return m.make("gelu_tanh" if m.attrs.get("approximate", "none") == "tanh" else "gelu", m.arg(0))


def _mish(m: Maker) -> int:
    x = m.arg(0)
    return m.make("mul", x, m.make("tanh", m.make("softplus", x)))


def _thresholded(m: Maker) -> int:
    x = m.arg(0)
    above = m.make("gt", x, m.const(m.attr("alpha", 1.0), x), dtype="bool")
    return m.make("where", above, x, m.const(0, x), dtype=m.dtype(x))


def _shrink(m: Maker) -> int:
    x = m.arg(0)
    bias, lambd = m.const(m.attr("bias", 0.0), x), m.attr("lambd", 0.5)
    dtype = m.dtype(x)
    above = m.make("gt", x, m.const(lambd, x), dtype="bool")
    below = m.make("lt", x, m.const(-lambd, x), dtype="bool")
    inner = m.make("where", above, m.make("sub", x, bias), m.const(0, x), dtype=dtype)
    return m.make("where", below, m.make("add", x, bias), inner, dtype=dtype)


def _where(m: Maker) -> int:
    return m.make("where", m.arg(0), m.arg(1), m.arg(2), dtype=m.dtype(m.arg(1)))


def _is_nan(m: Maker) -> int:
    return m.make("isnan", m.arg(0), dtype="bool")


def _is_inf(m: Maker) -> int:
    x = m.arg(0)
    positive, negative = m.attrs.get("detect_positive", 1), m.attrs.get("detect_negative", 1)
    if positive and negative:
        return m.make("isinf", x, dtype="bool")
    if not positive and not negative:
        never = m.make("isnan", x, dtype="bool")
        return m.make("and", never, m.make("not", never))
    return m.make("eq", x, m.const(math.inf if positive else -math.inf, x), dtype="bool")


def _shift(m: Maker) -> int:
    return m.make("shl" if m.attrs.get("direction") == "LEFT" else "shr", m.arg(0), m.arg(1))


def _identity(m: Maker) -> int:
    return m.arg(0)


MAKERS: dict[str, Callable[[Maker], int]] = {
    "BitShift": _shift, "Cast": _cast, "CastLike": _cast, "Celu": _celu, "Clip": _clip, "Elu": _elu,
    "Gelu": _gelu, "HardSigmoid": _hard_sigmoid, "Identity": _identity, "IsInf": _is_inf, "IsNaN": _is_nan,
    "LeakyRelu": _leaky, "Max": _fold("max"), "Mean": _mean, "Min": _fold("min"), "Mish": _mish, "Mod": _mod,
    "PRelu": _prelu, "Pow": _pow, "Selu": _selu, "Shrink": _shrink, "Sum": _fold("add"), "Swish": _swish,
    "ThresholdedRelu": _thresholded, "Where": _where,
}  # fmt: skip

ELEMENTWISE: frozenset[str] = frozenset({*SIMPLE, *COMPARE, *MAKERS})
"""Op types (default domain) that expressions can hold."""


def result_dtype(op_type: str, attrs: Mapping[str, Any], dtypes: Sequence[str | None]) -> str:
    """Dtype of an elementwise op's result; empty if it cannot be told.

    Args:
        op_type: One of ELEMENTWISE.
        attrs: The node's attributes.
        dtypes: Dtypes of the operands, None where absent.
    """
    if op_type in COMPARE or op_type in ("IsNaN", "IsInf"):
        return "bool"
    if op_type == "Cast":
        return dtype_name(ir.DataType(int(attrs.get("to", 0)))) or ""
    place = 1 if op_type in ("Where", "CastLike") else 0
    return (dtypes[place] if place < len(dtypes) else None) or ""


def to_expr(
    op_type: str,
    attrs: Mapping[str, Any],
    dtypes: Sequence[str | None],
    builder: ExprBuilder,
    args: Sequence[int | None],
    out_dtype: str,
) -> int | Refusal:
    """Append an elementwise op to an expression.

    Args:
        op_type: Op of the default domain.
        attrs: The node's attributes, as plain values.
        dtypes: Dtypes of the operands, None where absent.
        builder: Where the steps go.
        args: Step of each operand, None where absent.
        out_dtype: Dtype of the result.

    Returns:
        The step that holds the result, or why there is none.
    """
    unknown = [dtype for dtype in (*dtypes, out_dtype) if dtype is not None and dtype not in POINTERS]
    if unknown:
        return Refusal(f"{op_type}: kernels do not know the dtype {unknown[0] or 'of its result'}")
    maker = Maker(builder, attrs, args, out_dtype)
    try:
        if op_type in SIMPLE:
            return _simple(maker, SIMPLE[op_type])
        if op_type in COMPARE:
            return _compare(maker, COMPARE[op_type])
        if op_type in MAKERS:
            return MAKERS[op_type](maker)
    except _RefusedError as error:
        return Refusal(f"{op_type}: {error}")
    return Refusal(f"{op_type} is not elementwise")
