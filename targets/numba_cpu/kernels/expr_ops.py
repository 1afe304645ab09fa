"""The table of elementwise operations: their operands, and their text on vectors and on scalars.

In a template ``{0}``, ``{1}``, ... are the operands and ``{T}`` is the vocabulary's type of the result.
Vector templates are for float32 and float64 (any lane count) and masks; None means that an operation has none.
Integer templates see operands as int64 (``signed``) or uint64 (``unsigned``) and are cut to the dtype after.

NaN: ``max``, ``min``, ``relu``, ``clip`` and the rest propagate it, as ONNX and NumPy do.
"""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class OpInfo:
    """One operation.

    Args:
        kind: Its typing: ``same`` (operands and result of one dtype), ``compare`` (operands of one dtype,
            bool result), ``logic`` (all bool), ``where`` (bool, T, T -> T), ``cast`` (any -> any), ``test``
            (float -> bool), ``pow`` (T, any -> T).
        arity: Number of operands.
        vector: Template on vectors.
        floating: Template on float scalars.
        signed: Template on int64 scalars.
        unsigned: Template on uint64 scalars; the signed one if empty.
        flops: Cost of one element, in floating-point operations.
    """

    kind: str
    arity: int
    vector: str | None = None
    floating: str | None = None
    signed: str | None = None
    unsigned: str | None = None
    flops: int = 1


def _same(arity: int, vector: str | None, floating: str | None, *integer: str, flops: int = 1) -> OpInfo:
    signed = integer[0] if integer else None
    unsigned = integer[1] if len(integer) > 1 else signed
    return OpInfo("same", arity, vector, floating, signed, unsigned, flops)


def _compare(vector: str, symbol: str) -> OpInfo:
    text = f"({{0}} {symbol} {{1}})"
    return OpInfo("compare", 2, f"{vector}({{0}}, {{1}})", text, text, text)


OPS: dict[str, OpInfo] = {
    # -- arithmetic
    "add": _same(2, "vadd({0}, {1})", "({0} + {1})", "({0} + {1})"),
    "sub": _same(2, "vsub({0}, {1})", "({0} - {1})", "({0} - {1})"),
    "mul": _same(2, "vmul({0}, {1})", "({0} * {1})", "({0} * {1})"),
    "div": _same(
        2, "vdiv({0}, {1})", "({0} / {1})", "truncated_div({0}, {1})", "unsigned_div({0}, {1})", flops=4
    ),
    "mod": _same(2, None, "float_mod({0}, {1})", "floored_mod({0}, {1})", "unsigned_mod({0}, {1})", flops=10),
    "fmod": _same(
        2,
        "vrem({0}, {1})",
        "float_rem({0}, {1})",
        "truncated_mod({0}, {1})",
        "unsigned_mod({0}, {1})",
        flops=10,
    ),
    "max": _same(2, "vmax({0}, {1})", "max_nan({0}, {1})", "({0} if {0} > {1} else {1})"),
    "min": _same(2, "vmin({0}, {1})", "min_nan({0}, {1})", "({0} if {0} < {1} else {1})"),
    "neg": _same(1, "vneg({0})", "(-{0})", "(i64(0) - {0})", "(u64(0) - {0})"),
    "abs": _same(1, "vabs({0})", "math.fabs({0})", "({0} if {0} >= 0 else i64(0) - {0})", "{0}"),
    "sqrt": _same(1, "vsqrt({0})", "math.sqrt({0})", flops=6),
    "recip": _same(1, "vdiv(1.0, {0})", "({T}(1.0) / {0})", flops=4),
    "sign": _same(
        1,
        "vselect(vgt({0}, 0.0), 1.0, vselect(vlt({0}, 0.0), -1.0, {0}))",
        "({T}(1.0) if {0} > 0 else {T}(-1.0) if {0} < 0 else {0})",
        "(i64(1) if {0} > 0 else i64(-1) if {0} < 0 else i64(0))",
        "(u64(1) if {0} != u64(0) else u64(0))",
        flops=4,
    ),
    "floor": _same(1, "vfloor({0})", "floor({0})"),
    "ceil": _same(1, "vceil({0})", "ceil({0})"),
    "trunc": _same(1, "vtrunc({0})", "trunc({0})"),
    "round": _same(1, "vround({0})", "rint({0})"),
    "pow": OpInfo(
        "pow", 2, "vpow({0}, {1})", "math.pow({0}, {1})", "integer_pow({0}, {1})", "integer_pow({0}, {1})", 30
    ),
    # -- transcendental
    "exp": _same(1, "vexp({0})", "math.exp({0})", flops=12),
    "log": _same(1, "vlog({0})", "math.log({0})", flops=14),
    "tanh": _same(1, "vtanh({0})", "math.tanh({0})", flops=16),
    "erf": _same(1, "verf({0})", "math.erf({0})", flops=16),
    "sin": _same(1, "vsin({0})", "math.sin({0})", flops=16),
    "cos": _same(1, "vcos({0})", "math.cos({0})", flops=16),
    "tan": _same(1, "vtan({0})", "math.tan({0})", flops=30),
    "asin": _same(1, "vasin({0})", "math.asin({0})", flops=30),
    "acos": _same(1, "vacos({0})", "math.acos({0})", flops=30),
    "atan": _same(1, "vatan({0})", "math.atan({0})", flops=30),
    "sinh": _same(1, "vsinh({0})", "math.sinh({0})", flops=30),
    "cosh": _same(1, "vcosh({0})", "math.cosh({0})", flops=30),
    "asinh": _same(1, "vasinh({0})", "math.asinh({0})", flops=30),
    "acosh": _same(1, "vacosh({0})", "math.acosh({0})", flops=30),
    "atanh": _same(1, "vatanh({0})", "math.atanh({0})", flops=30),
    # -- activations
    "relu": _same(
        1, "vmaxq(0.0, {0})", "({T}(0.0) if {0} < 0 else {0})", "({0} if {0} > 0 else i64(0))", "{0}"
    ),
    "leaky": _same(
        2,
        "vselect(vlt({0}, 0.0), vmul({0}, {1}), {0})",
        "({0} * {1} if {0} < 0 else {0})",
        "({0} * {1} if {0} < 0 else {0})",
        "{0}",
        flops=2,
    ),
    "sigmoid": _same(1, "vsigmoid({0})", "({T}(1.0) / ({T}(1.0) + math.exp(-{0})))", flops=16),
    "softplus": _same(1, "vsoftplus({0})", "softplus({0})", flops=24),
    "softsign": _same(1, "vdiv({0}, vadd(1.0, vabs({0})))", "({0} / ({T}(1.0) + math.fabs({0})))", flops=5),
    "hardswish": _same(
        1,
        "vhardswish({0})",
        "({0} * max_nan({T}(0.0), min_nan({T}(1.0), {0} / {T}(6.0) + {T}(0.5))))",
        flops=5,
    ),
    "swish": _same(1, "vswish({0})", "({0} / ({T}(1.0) + math.exp(-{0})))", flops=16),
    "gelu": _same(
        1, "vgelu({0})", "({T}(0.5) * {0} * ({T}(1.0) + math.erf({0} * {T}(0.7071067811865476))))", flops=20
    ),
    "gelu_tanh": _same(
        1,
        "vgelu_tanh({0})",
        "({T}(0.5) * {0} * ({T}(1.0) + math.tanh({T}(0.7978845608028654) "
        "* ({0} + {T}(0.044715) * {0} * {0} * {0}))))",
        flops=20,
    ),
    # x, low, high: high wins if they cross, as NumPy's clip does.
    "clip": _same(
        3,
        "vmin(vmax({0}, {1}), {2})",
        "min_nan(max_nan({0}, {1}), {2})",
        "least(most({0}, {1}), {2})",
        flops=2,
    ),
    # -- comparison and logic
    "eq": _compare("veq", "=="),
    "ne": _compare("vne", "!="),
    "lt": _compare("vlt", "<"),
    "le": _compare("vle", "<="),
    "gt": _compare("vgt", ">"),
    "ge": _compare("vge", ">="),
    "isnan": OpInfo("test", 1, "visnan({0})", "({0} != {0})"),
    "isinf": OpInfo("test", 1, "veq(vabs({0}), math.inf)", "(math.fabs({0}) == math.inf)"),
    "and": OpInfo("logic", 2, "vand({0}, {1})", "({0} and {1})"),
    "or": OpInfo("logic", 2, "vor({0}, {1})", "({0} or {1})"),
    "xor": OpInfo("logic", 2, "vxor({0}, {1})", "({0} != {1})"),
    "not": OpInfo("logic", 1, "vnot({0})", "(not {0})"),
    "where": OpInfo(
        "where",
        3,
        "vselect({0}, {1}, {2})",
        "({1} if {0} else {2})",
        "({1} if {0} else {2})",
        "({1} if {0} else {2})",
    ),
    "cast": OpInfo("cast", 1),
    # -- bits (integers only); a shift by the width or more, or by less than 0, leaves copies of the fill bit
    "bitand": _same(2, None, None, "({0} & {1})"),
    "bitor": _same(2, None, None, "({0} | {1})"),
    "bitxor": _same(2, None, None, "({0} ^ {1})"),
    "bitnot": _same(1, None, None, "(~{0})"),
    "shl": _same(
        2, None, None, "({0} << {1} if 0 <= {1} < 64 else i64(0))", "({0} << {1} if {1} < 64 else u64(0))"
    ),
    "shr": _same(
        2, None, None, "({0} >> ({1} if 0 <= {1} < 64 else i64(63)))", "({0} >> {1} if {1} < 64 else u64(0))"
    ),
}
"""Every operation of an expression, besides the leaves ``in`` and ``const``."""
