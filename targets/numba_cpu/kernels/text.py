"""Pieces of kernel text that depend on a dtype: pointers, scalar loads and stores, conversions, helpers.

Scalar code computes in the dtype itself, except that float16 and bfloat16 are computed in float32 and bool
is a Numba boolean. Integer arithmetic wraps around, as in C with two's complement and in NumPy.
"""

from __future__ import annotations

import re

from accelc.errors import ArtifactError

POINTERS: dict[str, str] = {
    "float32": "ptr_f32", "float64": "ptr_f64", "float16": "ptr_u16", "bfloat16": "ptr_u16",
    "bool": "ptr_u8", "int8": "ptr_i8", "uint8": "ptr_u8", "int16": "ptr_i16", "uint16": "ptr_u16",
    "int32": "ptr_i32", "uint32": "ptr_u32", "int64": "ptr_i64", "uint64": "ptr_u64",
}  # fmt: skip
"""The vocabulary's pointer maker for each dtype that kernels know (NumPy names)."""

BY_ITEMSIZE: dict[int, str] = {1: "uint8", 2: "uint16", 4: "uint32", 8: "uint64"}
"""The dtype that moves elements of a given size unchanged."""

FLOATS = frozenset({"float32", "float64", "float16", "bfloat16"})
VECTOR_FLOATS = frozenset({"float32", "float64"})
SIGNED = frozenset({"int8", "int16", "int32", "int64"})
UNSIGNED = frozenset({"uint8", "uint16", "uint32", "uint64"})
INTEGERS = SIGNED | UNSIGNED


SHORT: dict[str, str] = {
    "float32": "f32", "float64": "f64", "float16": "f32", "bfloat16": "f32", "bool": "bool",
    **{name: name[0] + name.lstrip("uint") for name in SIGNED | UNSIGNED},
}  # fmt: skip
"""The vocabulary's name of the type in which scalar code holds each dtype."""


def compute_dtype(dtype: str) -> str:
    """The dtype in which scalar code holds a value of ``dtype``."""
    return "float32" if dtype in ("float16", "bfloat16") else dtype


def check_dtype(dtype: object) -> str:
    """``dtype`` if kernels know it.

    Raises:
        ArtifactError: It is not a dtype of kernels.
    """
    if not isinstance(dtype, str) or dtype not in POINTERS:
        raise ArtifactError(f"unknown kernel dtype {dtype!r}", why=f"known: {', '.join(sorted(POINTERS))}")
    return dtype


def check_int(params: object, key: str, low: int, high: int) -> int:
    """The integer ``params[key]`` in ``low..high``.

    Raises:
        ArtifactError: It is missing, no integer, or out of range.
    """
    value = params.get(key) if hasattr(params, "get") else None
    if isinstance(value, bool) or not isinstance(value, int) or not low <= value <= high:
        raise ArtifactError(
            f"kernel parameter {key!r} is {value!r}", why=f"it must be an integer from {low} to {high}"
        )
    return value


def check_name(params: object, key: str, names: frozenset[str] | tuple[str, ...]) -> str:
    """The string ``params[key]``, one of ``names``.

    Raises:
        ArtifactError: It is missing or not one of them.
    """
    value = params.get(key) if hasattr(params, "get") else None
    if not isinstance(value, str) or value not in names:
        raise ArtifactError(
            f"kernel parameter {key!r} is {value!r}", why=f"it must be one of {', '.join(sorted(names))}"
        )
    return value


def scalar_load(dtype: str, pointer: str, index: str) -> str:
    """Text that reads one element as scalar code holds it."""
    text = f"get({pointer}, {index})"
    if dtype == "bool":
        return f"({text} != 0)"
    return f"{_LOADERS[dtype]}({text})" if dtype in _LOADERS else text


def scalar_store(dtype: str, pointer: str, index: str, value: str) -> str:
    """Text that writes one element held as scalar code holds it."""
    if dtype == "bool":
        return f"put({pointer}, {index}, u8({value}))"
    if dtype in _STORERS:
        return f"put({pointer}, {index}, {_STORERS[dtype]}({value}))"
    return f"put({pointer}, {index}, {value})"


def scalar_constant(dtype: str, value: float | int | bool | str) -> str:
    """Text of a checked literal (a number, or "nan", "inf", "-inf") of a dtype."""
    if dtype == "bool":
        return "True" if value else "False"
    if dtype not in FLOATS:
        return f"{SHORT[dtype]}({int(value)})"
    number = float(value)
    if number != number:
        return f"{SHORT[dtype]}(math.nan)"
    if number in (float("inf"), float("-inf")):
        return f"{SHORT[dtype]}({'-' if number < 0 else ''}math.inf)"
    return f"{SHORT[dtype]}({number!r})"


def helpers(body: str) -> str:
    """Definitions of the helper functions that ``body`` (kernel text) calls, helpers of helpers included."""
    chosen: list[str] = []
    pending = body
    for name in reversed(_HELPERS):
        if re.search(rf"\b{name}\(", pending):
            chosen.insert(0, _HELPERS[name])
            pending += _HELPERS[name]
    return "".join(chosen)


_LOADERS = {"float16": "half_to_float", "bfloat16": "bfloat_to_float"}
_STORERS = {"float16": "float_to_half", "bfloat16": "float_to_bfloat"}

# In order: a helper may use those before it.
_HELPERS: dict[str, str] = {
    "least": """
@inline
def least(a, b):
    return a if a < b else b
""",
    "most": """
@inline
def most(a, b):
    return a if a > b else b
""",
    "bits_of": """
@inline
def bits_of(x):
    return i64(vlane(vbits_u32(vset(f32(x))), 0))
""",
    "float_of": """
@inline
def float_of(bits):
    return vlane(vbits_f32(vset(u32(bits))), 0)
""",
    "half_to_float": """
@inline
def half_to_float(half):
    sign = (i64(half) & 0x8000) << 16
    rest = i64(half) & 0x7FFF
    if rest < 0x400:
        tiny = f32(rest) * f32(5.9604644775390625e-08)
        return -tiny if sign != 0 else tiny
    if rest >= 0x7C00:
        return float_of(sign | 0x7F800000 | ((rest & 0x3FF) << 13))
    return float_of(sign | ((rest << 13) + 0x38000000))
""",
    "float_to_half": """
@inline
def float_to_half(x):
    bits = bits_of(x)
    sign = (bits >> 16) & 0x8000
    rest = bits & 0x7FFFFFFF
    if rest > 0x7F800000:
        result = sign | 0x7E00
    elif rest >= 0x477FF000:
        result = sign | 0x7C00
    elif rest >= 0x38800000:
        result = sign | ((rest + 0xFFF + ((rest >> 13) & 1) - 0x38000000) >> 13)
    else:
        result = sign | i64(rint(float_of(rest) * f32(16777216.0)))
    return u16(result)
""",
    "bfloat_to_float": """
@inline
def bfloat_to_float(bits):
    return float_of(i64(bits) << 16)
""",
    "float_to_bfloat": """
@inline
def float_to_bfloat(x):
    bits = bits_of(x)
    if (bits & 0x7FFFFFFF) > 0x7F800000:
        result = (bits >> 16) | 0x40
    else:
        result = (bits + 0x7FFF + ((bits >> 16) & 1)) >> 16
    return u16(result)
""",
    # ONNX divides integers towards zero. x / 0 is 0 and MIN / -1 is MIN: defined here, and never a trap.
    "truncated_div": """
@inline
def truncated_div(a, b):
    if b == 0:
        return i64(0)
    if b == -1:
        return i64(0) - a
    q = a // b
    if q < 0 and q * b != a:
        q += 1
    return q
""",
    # The sign of the divisor, as Python has it; x mod 0 is 0.
    "floored_mod": """
@inline
def floored_mod(a, b):
    if b == 0 or b == -1:
        return i64(0)
    return a - (a // b) * b
""",
    "truncated_mod": """
@inline
def truncated_mod(a, b):
    return a - truncated_div(a, b) * b if b != 0 else i64(0)
""",
    "unsigned_div": """
@inline
def unsigned_div(a, b):
    return a // b if b != u64(0) else u64(0)
""",
    "unsigned_mod": """
@inline
def unsigned_mod(a, b):
    return a - (a // b) * b if b != u64(0) else u64(0)
""",
    # Wraps around; a negative exponent gives the truncated inverse (0, or +-1 for a base of +-1).
    "integer_pow": """
@inline
def integer_pow(base, exponent):
    result = i64(1)
    base = i64(base)
    exponent = i64(exponent)
    if exponent < 0:
        if base == 1:
            return i64(1)
        if base == -1:
            return i64(1) - 2 * (exponent & 1)
        return i64(0)
    while exponent > 0:
        if exponent & 1:
            result *= base
        base *= base
        exponent >>= 1
    return result
""",
    "float_rem": """
@inline
def float_rem(x, y):
    return vlane(vrem(vset(x), y), 0)
""",
    "float_mod": """
@inline
def float_mod(x, y):
    r = float_rem(x, y)
    if r != 0 and (r < 0) != (y < 0):
        r += y
    return r
""",
    "max_nan": """
@inline
def max_nan(a, b):
    return a if (a > b or a != a) else b
""",
    "min_nan": """
@inline
def min_nan(a, b):
    return a if (a < b or a != a) else b
""",
    "softplus": """
@inline
def softplus(x):
    # log(1 + exp(x)) without overflow for large x.
    return math.log1p(math.exp(x)) if x < 0 else x + math.log1p(math.exp(-x))
""",
}
for _name in ("floor", "ceil", "trunc", "rint"):
    _vector = "vround" if _name == "rint" else f"v{_name}"
    # math.floor and its kin give integers; these stay floats, infinities and NaN included.
    _HELPERS[_name] = f"\n@inline\ndef {_name}(x):\n    return vlane({_vector}(vset(x)), 0)\n"
_HELPERS = {"rint": _HELPERS["rint"], **_HELPERS}
