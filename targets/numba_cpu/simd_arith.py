"""Vocabulary of kernel text: arithmetic, comparison, selection, reduction and conversion of vectors.

An operand that is a scalar is converted to the vector's element type and broadcast, so ``vmul(v, 0.5)`` works.
``vmax``/``vmin`` and the reductions give NaN if any operand is NaN, as ONNX and NumPy do. Integer division by
zero gives 0 and never traps; ``INT_MIN / -1`` wraps.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from llvmlite import ir
from numba import types

from accelc.targets.numba_cpu.simd_types import (
    DTYPES,
    F32,
    I1,
    I32,
    MASK,
    Vec,
    call,
    constant,
    overload_name,
    primitive,
    splat,
)

Typed = tuple[types.Type, Sequence[types.Type], Any] | None
Binary = Callable[[ir.IRBuilder, Vec, ir.Value, ir.Value], ir.Value]
Unary = Callable[[ir.IRBuilder, Vec, ir.Value], ir.Value]


def _is_scalar(kind: types.Type) -> bool:
    return isinstance(kind, types.Integer | types.Float | types.Boolean)


def _common(operands: Sequence[types.Type]) -> tuple[Vec, list[types.Type]] | None:
    """The vector type of the operands, and each operand's type after conversion; None if they disagree."""
    vec = next((kind for kind in operands if isinstance(kind, Vec)), None)
    if vec is None:
        return None
    wanted: list[types.Type] = []
    for kind in operands:
        if kind == vec:
            wanted.append(vec)
        elif _is_scalar(kind) and not vec.is_mask:
            wanted.append(vec.dtype)
        else:
            return None
    return vec, wanted


def elementwise(
    name: str, arity: int, emit: Callable[..., ir.Value], *, mask: bool = False, on: str = "fi"
) -> Any:
    """A lanewise operation.

    Args:
        name: Its name.
        arity: Number of operands.
        emit: ``emit(builder, vec, *operands)`` with all operands as vectors.
        mask: Whether the result is a mask.
        on: Kinds of lanes it takes: ``f``loat, ``i``nteger, ``m``ask.
    """

    def rule(*operands: types.Type) -> Typed:
        found = _common(operands)
        if found is None or len(operands) != arity:
            return None
        vec, wanted = found
        kind = "f" if vec.is_float else "m" if vec.is_mask else "i"
        if kind not in on:
            return None
        result = Vec(MASK, vec.lanes) if mask else vec

        def write(b: ir.IRBuilder, values: Sequence[ir.Value]) -> ir.Value:
            whole = [
                value if kind == vec else splat(b, value, vec.lanes)
                for value, kind in zip(values, wanted, strict=True)
            ]
            return emit(b, vec, *whole)

        return result, wanted, write

    return primitive(name, rule, arity)


def _pick(float_op: str, int_op: str) -> Binary:
    return lambda b, vec, x, y: getattr(b, float_op if vec.is_float else int_op)(x, y)


def _float_call(name: str) -> Callable[..., ir.Value]:
    return lambda b, vec, *args: call(b, overload_name(name, vec.llvm), vec.llvm, list(args))


def is_nan(b: ir.IRBuilder, x: ir.Value) -> ir.Value:
    """Mask of NaN lanes."""
    return b.fcmp_unordered("uno", x, x)


def _quick_max(b: ir.IRBuilder, vec: Vec, x: ir.Value, y: ir.Value) -> ir.Value:
    """``x > y ? x : y``, one instruction on x86; gives y if either is NaN."""
    if vec.is_float:
        return b.select(b.fcmp_ordered(">", x, y), x, y)
    return b.select((b.icmp_signed if vec.signed else b.icmp_unsigned)(">", x, y), x, y)


def _quick_min(b: ir.IRBuilder, vec: Vec, x: ir.Value, y: ir.Value) -> ir.Value:
    """``x < y ? x : y``."""
    if vec.is_float:
        return b.select(b.fcmp_ordered("<", x, y), x, y)
    return b.select((b.icmp_signed if vec.signed else b.icmp_unsigned)("<", x, y), x, y)


def nan_max(b: ir.IRBuilder, vec: Vec, x: ir.Value, y: ir.Value) -> ir.Value:
    """Maximum that gives NaN if either operand is NaN.

    The quick form with swapped operands already gives x where x is NaN; only a NaN in y needs the second
    select, which LLVM drops when y is a constant.
    """
    quick = _quick_max(b, vec, y, x)
    return b.select(is_nan(b, y), y, quick) if vec.is_float else quick


def nan_min(b: ir.IRBuilder, vec: Vec, x: ir.Value, y: ir.Value) -> ir.Value:
    """Minimum that gives NaN if either operand is NaN."""
    quick = _quick_min(b, vec, y, x)
    return b.select(is_nan(b, y), y, quick) if vec.is_float else quick


def _divide(b: ir.IRBuilder, vec: Vec, x: ir.Value, y: ir.Value) -> ir.Value:
    """True division of floats; C division of integers, made safe against traps."""
    if vec.is_float:
        return b.fdiv(x, y)
    return _safe_integer(b, vec, x, y, quotient=True)


def _remainder(b: ir.IRBuilder, vec: Vec, x: ir.Value, y: ir.Value) -> ir.Value:
    """C remainder (sign of x): fmod for floats; 0 for an integer divisor of 0."""
    if vec.is_float:
        return b.frem(x, y)
    return _safe_integer(b, vec, x, y, quotient=False)


def _safe_integer(b: ir.IRBuilder, vec: Vec, x: ir.Value, y: ir.Value, *, quotient: bool) -> ir.Value:
    zero, one = constant(vec.llvm, 0), constant(vec.llvm, 1)
    by_zero = b.icmp_signed("==", y, zero)
    if not vec.signed:
        safe = b.select(by_zero, one, y)
        return b.select(by_zero, zero, b.udiv(x, safe) if quotient else b.urem(x, safe))
    by_minus_one = b.icmp_signed("==", y, constant(vec.llvm, -1))
    safe = b.select(b.or_(by_zero, by_minus_one), one, y)
    if not quotient:
        return b.select(by_zero, zero, b.srem(x, safe))
    result = b.select(by_minus_one, b.sub(zero, x), b.sdiv(x, safe))
    return b.select(by_zero, zero, result)


def _negate(b: ir.IRBuilder, vec: Vec, x: ir.Value) -> ir.Value:
    return b.fneg(x) if vec.is_float else b.sub(constant(vec.llvm, 0), x)


def _absolute(b: ir.IRBuilder, vec: Vec, x: ir.Value) -> ir.Value:
    if vec.is_float:
        return call(b, overload_name("llvm.fabs", vec.llvm), vec.llvm, [x])
    return call(b, overload_name("llvm.abs", vec.llvm), vec.llvm, [x, I1(0)]) if vec.signed else x


def _fused(b: ir.IRBuilder, vec: Vec, x: ir.Value, y: ir.Value, z: ir.Value) -> ir.Value:
    if vec.is_float:
        return call(b, overload_name("llvm.fma", vec.llvm), vec.llvm, [x, y, z])
    return b.add(b.mul(x, y), z)


def _compare(operator: str) -> Binary:
    def emit(b: ir.IRBuilder, vec: Vec, x: ir.Value, y: ir.Value) -> ir.Value:
        if vec.is_float:
            # NaN compares unequal to everything, and neither below nor above anything.
            return b.fcmp_unordered("!=", x, y) if operator == "!=" else b.fcmp_ordered(operator, x, y)
        return (b.icmp_signed if vec.signed else b.icmp_unsigned)(operator, x, y)

    return emit


def _shift_right(b: ir.IRBuilder, vec: Vec, x: ir.Value, y: ir.Value) -> ir.Value:
    return b.ashr(x, y) if vec.signed else b.lshr(x, y)


def _vselect(mask: types.Type, left: types.Type, right: types.Type) -> Typed:
    found = _common((left, right))
    if found is None or not isinstance(mask, Vec) or not mask.is_mask or mask.lanes != found[0].lanes:
        return None
    vec, wanted = found

    def emit(b: ir.IRBuilder, v: Sequence[ir.Value]) -> ir.Value:
        x, y = (
            value if kind == vec else splat(b, value, vec.lanes)
            for value, kind in zip(v[1:], wanted, strict=True)
        )
        return b.select(v[0], x, y)

    return vec, (mask, *wanted), emit


def _fold_lanes(combine: Binary) -> Callable[[ir.IRBuilder, Vec, ir.Value], ir.Value]:
    """Reduce by halves: log2(lanes) shuffles."""

    def emit(b: ir.IRBuilder, vec: Vec, x: ir.Value) -> ir.Value:
        lanes = vec.lanes
        while lanes > 1:
            half = lanes // 2
            low = ir.Constant(ir.VectorType(I32, half), list(range(half)))
            high = ir.Constant(ir.VectorType(I32, half), list(range(half, 2 * half)))
            joined = combine(
                b, Vec(vec.dtype, half), b.shuffle_vector(x, x, low), b.shuffle_vector(x, x, high)
            )
            if lanes % 2:
                # An odd lane is combined into lane 0 of what is left.
                single = Vec(vec.dtype, 1)
                last = b.shuffle_vector(x, x, ir.Constant(ir.VectorType(I32, 1), [lanes - 1]))
                first = b.shuffle_vector(joined, joined, ir.Constant(ir.VectorType(I32, 1), [0]))
                merged = combine(b, single, first, last)
                joined = b.insert_element(joined, b.extract_element(merged, I32(0)), I32(0))
            x, lanes = joined, half
        return b.extract_element(x, I32(0))

    return emit


def _reduction(combine: Binary) -> Any:
    fold = _fold_lanes(combine)

    def rule(vec: types.Type) -> Typed:
        if not isinstance(vec, Vec) or vec.is_mask:
            return None
        return vec.dtype, (vec,), lambda b, v: fold(b, vec, v[0])

    return rule


def _mask_reduction(operator: str) -> Any:
    def rule(mask: types.Type) -> Typed:
        if not isinstance(mask, Vec) or not mask.is_mask:
            return None
        name = overload_name(f"llvm.vector.reduce.{operator}", mask.llvm)
        return MASK, (mask,), lambda b, v: call(b, name, I1, [v[0]])

    return rule


def _extend(b: ir.IRBuilder, value: ir.Value, source: Vec, target: Vec) -> ir.Value:
    """Integer (or mask) to integer of another width."""
    before, after = source.llvm.element.width, target.llvm.element.width
    if before == after:
        return value
    if after < before:
        return b.trunc(value, target.llvm)
    return b.sext(value, target.llvm) if source.signed else b.zext(value, target.llvm)


def convert(b: ir.IRBuilder, value: ir.Value, source: Vec, target: Vec) -> ir.Value:
    """Convert lanes as a C cast does; to a mask: unequal to 0. Floats out of range give no promised integer."""
    if source.dtype == target.dtype:
        return value
    if target.is_mask:
        zero = constant(source.llvm, 0)
        return b.fcmp_unordered("!=", value, zero) if source.is_float else b.icmp_signed("!=", value, zero)
    if source.is_float and target.is_float:
        return b.fpext(value, target.llvm) if source.llvm.element == F32 else b.fptrunc(value, target.llvm)
    if target.is_float:
        return b.sitofp(value, target.llvm) if source.signed else b.uitofp(value, target.llvm)
    if source.is_float:
        return _float_to_int(b, value, source, target)
    return _extend(b, value, source, target)


def _float_to_int(b: ir.IRBuilder, value: ir.Value, source: Vec, target: Vec) -> ir.Value:
    width = target.llvm.element.width
    if width == 64:
        return b.fptosi(value, target.llvm) if target.signed else b.fptoui(value, target.llvm)
    # By way of a wider signed integer, so that what does not fit wraps as it does in C on x86.
    wide = Vec(types.int64 if width == 32 and not target.signed else types.int32, source.lanes)
    return _extend(b, b.fptosi(value, wide.llvm), wide, target)


def _cast_rule(dtype: types.Type) -> Any:
    def rule(vec: types.Type) -> Typed:
        if not isinstance(vec, Vec):
            return None
        target = Vec(dtype, vec.lanes)
        return target, (vec,), lambda b, v: convert(b, v[0], vec, target)

    return rule


def _bits_rule(dtype: types.Type) -> Any:
    def rule(vec: types.Type) -> Typed:
        if not isinstance(vec, Vec) or vec.is_mask:
            return None
        bits = vec.dtype.bitwidth * vec.lanes
        if bits % dtype.bitwidth:
            return None
        target = Vec(dtype, bits // dtype.bitwidth)
        return target, (vec,), lambda b, v: b.bitcast(v[0], target.llvm)

    return rule


def arithmetic_vocabulary() -> dict[str, object]:
    """The names of this part; they work at any lane count."""
    return dict(_NAMES)


_NAMES: dict[str, object] = {
    "vadd": elementwise("vadd", 2, _pick("fadd", "add")),
    "vsub": elementwise("vsub", 2, _pick("fsub", "sub")),
    "vmul": elementwise("vmul", 2, _pick("fmul", "mul")),
    "vdiv": elementwise("vdiv", 2, _divide),
    "vrem": elementwise("vrem", 2, _remainder),
    "vneg": elementwise("vneg", 1, _negate),
    "vabs": elementwise("vabs", 1, _absolute),
    "vfma": elementwise("vfma", 3, _fused),
    "vmax": elementwise("vmax", 2, nan_max),
    "vmin": elementwise("vmin", 2, nan_min),
    "vmaxq": elementwise("vmaxq", 2, _quick_max),
    "vminq": elementwise("vminq", 2, _quick_min),
    "vsqrt": elementwise("vsqrt", 1, _float_call("llvm.sqrt"), on="f"),
    "vround": elementwise("vround", 1, _float_call("llvm.rint"), on="f"),
    "vfloor": elementwise("vfloor", 1, _float_call("llvm.floor"), on="f"),
    "vceil": elementwise("vceil", 1, _float_call("llvm.ceil"), on="f"),
    "vtrunc": elementwise("vtrunc", 1, _float_call("llvm.trunc"), on="f"),
    "vcopysign": elementwise("vcopysign", 2, _float_call("llvm.copysign"), on="f"),
    "vlt": elementwise("vlt", 2, _compare("<"), mask=True),
    "vle": elementwise("vle", 2, _compare("<="), mask=True),
    "vgt": elementwise("vgt", 2, _compare(">"), mask=True),
    "vge": elementwise("vge", 2, _compare(">="), mask=True),
    "veq": elementwise("veq", 2, _compare("=="), mask=True),
    "vne": elementwise("vne", 2, _compare("!="), mask=True),
    "visnan": elementwise("visnan", 1, lambda b, vec, x: is_nan(b, x), mask=True, on="f"),
    "vand": elementwise("vand", 2, lambda b, vec, x, y: b.and_(x, y), on="im"),
    "vor": elementwise("vor", 2, lambda b, vec, x, y: b.or_(x, y), on="im"),
    "vxor": elementwise("vxor", 2, lambda b, vec, x, y: b.xor(x, y), on="im"),
    "vnot": elementwise("vnot", 1, lambda b, vec, x: b.not_(x), on="im"),
    "vshl": elementwise("vshl", 2, lambda b, vec, x, y: b.shl(x, y), on="i"),
    "vshr": elementwise("vshr", 2, _shift_right, on="i"),
    "vselect": primitive("vselect", _vselect, 3),
    "vsum": primitive("vsum", _reduction(_pick("fadd", "add")), 1),
    "vprod": primitive("vprod", _reduction(_pick("fmul", "mul")), 1),
    "vhmax": primitive("vhmax", _reduction(nan_max), 1),
    "vhmin": primitive("vhmin", _reduction(nan_min), 1),
    "vany": primitive("vany", _mask_reduction("or"), 1),
    "vall": primitive("vall", _mask_reduction("and"), 1),
    "vcast_mask": primitive("vcast_mask", _cast_rule(MASK), 1),
    **{f"vcast_{name}": primitive(f"vcast_{name}", _cast_rule(dtype), 1) for name, dtype in DTYPES.items()},
    **{f"vbits_{name}": primitive(f"vbits_{name}", _bits_rule(dtype), 1) for name, dtype in DTYPES.items()},
}
