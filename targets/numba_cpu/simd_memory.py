"""Vocabulary of kernel text: pointers, scalar access, vector loads and stores, broadcasts.

Nothing is assumed about alignment beyond that of one element. Masked forms never touch masked-off memory.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from llvmlite import ir
from numba import types

from accelc.targets.numba_cpu.simd_types import (
    DTYPES,
    I32,
    I64,
    MASK,
    Vec,
    call,
    constant,
    element,
    overload_name,
    primitive,
    splat,
)

Typed = tuple[types.Type, Sequence[types.Type], Any] | None
INDEX = types.int64
VOID = types.void


def _is_pointer(kind: types.Type) -> bool:
    return isinstance(kind, types.CPointer)


def _is_index(*kinds: types.Type) -> bool:
    return all(isinstance(kind, types.Integer | types.Boolean) for kind in kinds)


def _is_scalar(kind: types.Type) -> bool:
    return isinstance(kind, types.Integer | types.Float | types.Boolean)


def _bytes(kind: types.Type) -> int:
    """Size of one element."""
    return int(kind.bitwidth) // 8


def _pointer_maker(dtype: types.Type) -> Any:
    pointer = types.CPointer(dtype)

    def rule(address: types.Type) -> Typed:
        if not _is_index(address):
            return None
        return pointer, (INDEX,), lambda b, v: b.inttoptr(v[0], element(dtype).as_pointer())

    return primitive("ptr", rule, 1)


def _gep(b: ir.IRBuilder, pointer: ir.Value, offset: ir.Value, kind: types.Type) -> ir.Value:
    """``pointer`` moved by ``offset`` elements."""
    return b.gep(pointer, [offset], source_etype=element(kind.dtype))


def _vector_place(b: ir.IRBuilder, pointer: ir.Value, offset: ir.Value, vec: Vec) -> ir.Value:
    """Address of a vector that starts ``offset`` elements after ``pointer``."""
    place = b.gep(pointer, [offset], source_etype=vec.llvm.element)
    return b.bitcast(place, vec.llvm.as_pointer())


def _at(pointer: types.Type, offset: types.Type) -> Typed:
    if not _is_pointer(pointer) or not _is_index(offset):
        return None
    return pointer, (pointer, INDEX), lambda b, v: _gep(b, v[0], v[1], pointer)


def _addr(pointer: types.Type) -> Typed:
    if not _is_pointer(pointer):
        return None
    return INDEX, (pointer,), lambda b, v: b.ptrtoint(v[0], I64)


def _get(pointer: types.Type, offset: types.Type) -> Typed:
    if not _is_pointer(pointer) or not _is_index(offset):
        return None

    def emit(b: ir.IRBuilder, v: Sequence[ir.Value]) -> ir.Value:
        return b.load(_gep(b, v[0], v[1], pointer), align=_bytes(pointer.dtype), typ=element(pointer.dtype))

    return pointer.dtype, (pointer, INDEX), emit


def _put(pointer: types.Type, offset: types.Type, value: types.Type) -> Typed:
    if not _is_pointer(pointer) or not _is_index(offset) or not _is_scalar(value):
        return None

    def emit(b: ir.IRBuilder, v: Sequence[ir.Value]) -> None:
        b.store(v[2], _gep(b, v[0], v[1], pointer), align=_bytes(pointer.dtype))

    return VOID, (pointer, INDEX, pointer.dtype), emit


def _load_rule(lanes_of: Any) -> Any:
    def rule(pointer: types.Type, offset: types.Type, *count: types.Type) -> Typed:
        if not _is_pointer(pointer) or not _is_index(offset):
            return None
        lanes = lanes_of(pointer.dtype, *count)
        if lanes is None:
            return None
        vec = Vec(pointer.dtype, lanes)

        def emit(b: ir.IRBuilder, v: Sequence[ir.Value]) -> ir.Value:
            return b.load(_vector_place(b, v[0], v[1], vec), align=_bytes(vec.dtype), typ=vec.llvm)

        return vec, (pointer, INDEX, *count), emit

    return rule


def _literal_lanes(_dtype: types.Type, *count: types.Type) -> int | None:
    if len(count) == 1 and isinstance(count[0], types.IntegerLiteral):
        return int(count[0].literal_value)
    return None


def _vstore(pointer: types.Type, offset: types.Type, vec: types.Type) -> Typed:
    if (
        not _is_pointer(pointer)
        or not _is_index(offset)
        or not isinstance(vec, Vec)
        or vec.dtype != pointer.dtype
    ):
        return None

    def emit(b: ir.IRBuilder, v: Sequence[ir.Value]) -> None:
        b.store(v[2], _vector_place(b, v[0], v[1], vec), align=_bytes(vec.dtype))

    return VOID, (pointer, INDEX, vec), emit


def _first_lanes(b: ir.IRBuilder, count: ir.Value, lanes: int) -> ir.Value:
    """Mask of the lanes below ``count`` (any int64; negative counts as 0, large as all)."""
    # Clamped before it is narrowed: a count of 2**32 must mean "all", not "none".
    top = I64(lanes)
    count = b.select(b.icmp_signed("<", count, top), count, top)
    narrow = b.trunc(count, I32)
    lane = ir.Constant(ir.VectorType(I32, lanes), list(range(lanes)))
    return b.icmp_signed("<", lane, splat(b, narrow, lanes))


def _masked_load_rule(lanes_of: Any) -> Any:
    def rule(pointer: types.Type, offset: types.Type, count: types.Type, *width: types.Type) -> Typed:
        if not _is_pointer(pointer) or not _is_index(offset, count):
            return None
        lanes = lanes_of(pointer.dtype, *width)
        if lanes is None:
            return None
        vec = Vec(pointer.dtype, lanes)

        def emit(b: ir.IRBuilder, v: Sequence[ir.Value]) -> ir.Value:
            place = _vector_place(b, v[0], v[1], vec)
            mask = _first_lanes(b, v[2], lanes)
            name = overload_name("llvm.masked.load", vec.llvm) + ".p0"
            args = [place, I32(_bytes(vec.dtype)), mask, constant(vec.llvm, 0)]
            return call(b, name, vec.llvm, args)

        return vec, (pointer, INDEX, INDEX, *width), emit

    return rule


def _vstorem(pointer: types.Type, offset: types.Type, vec: types.Type, count: types.Type) -> Typed:
    ok = _is_pointer(pointer) and _is_index(offset, count) and isinstance(vec, Vec)
    if not ok or vec.dtype != pointer.dtype:
        return None

    def emit(b: ir.IRBuilder, v: Sequence[ir.Value]) -> None:
        place = _vector_place(b, v[0], v[1], vec)
        mask = _first_lanes(b, v[3], vec.lanes)
        name = overload_name("llvm.masked.store", vec.llvm) + ".p0"
        call(b, name, ir.VoidType(), [v[2], place, I32(_bytes(vec.dtype)), mask])

    return VOID, (pointer, INDEX, vec, INDEX), emit


def _strided_load_rule(lanes_of: Any) -> Any:
    def rule(pointer: types.Type, offset: types.Type, stride: types.Type) -> Typed:
        if not _is_pointer(pointer) or not _is_index(offset, stride):
            return None
        vec = Vec(pointer.dtype, lanes_of(pointer.dtype))

        def emit(b: ir.IRBuilder, v: Sequence[ir.Value]) -> ir.Value:
            # Scalar loads and inserts: on AVX2 machines faster than the gather instruction.
            result = ir.Constant(vec.llvm, ir.Undefined)
            place = v[1]
            for lane in range(vec.lanes):
                item = b.load(_gep(b, v[0], place, pointer), align=_bytes(vec.dtype), typ=vec.llvm.element)
                result = b.insert_element(result, item, I32(lane))
                place = b.add(place, v[2])
            return result

        return vec, (pointer, INDEX, INDEX), emit

    return rule


def _strided_store(pointer: types.Type, offset: types.Type, stride: types.Type, vec: types.Type) -> Typed:
    ok = _is_pointer(pointer) and _is_index(offset, stride) and isinstance(vec, Vec)
    if not ok or vec.dtype != pointer.dtype:
        return None

    def emit(b: ir.IRBuilder, v: Sequence[ir.Value]) -> None:
        place = v[1]
        for lane in range(vec.lanes):
            item = b.extract_element(v[3], I32(lane))
            b.store(item, _gep(b, v[0], place, pointer), align=_bytes(vec.dtype))
            place = b.add(place, v[2])

    return VOID, (pointer, INDEX, INDEX, vec), emit


def _broadcast_load_rule(lanes_of: Any) -> Any:
    def rule(pointer: types.Type, offset: types.Type, *count: types.Type) -> Typed:
        if not _is_pointer(pointer) or not _is_index(offset):
            return None
        lanes = lanes_of(pointer.dtype, *count)
        if lanes is None:
            return None
        vec = Vec(pointer.dtype, lanes)

        def emit(b: ir.IRBuilder, v: Sequence[ir.Value]) -> ir.Value:
            item = b.load(_gep(b, v[0], v[1], pointer), align=_bytes(vec.dtype), typ=vec.llvm.element)
            return splat(b, item, lanes)

        return vec, (pointer, INDEX, *count), emit

    return rule


def _set_rule(lanes_of: Any) -> Any:
    def rule(value: types.Type) -> Typed:
        if isinstance(value, types.Boolean) or not _is_scalar(value):
            return None
        vec = Vec(value, lanes_of(value))
        return vec, (value,), lambda b, v: splat(b, v[0], vec.lanes)

    return rule


def _zero_rule(lanes_of: Any) -> Any:
    def rule(pointer: types.Type, *count: types.Type) -> Typed:
        if not _is_pointer(pointer):
            return None
        lanes = lanes_of(pointer.dtype, *count)
        if lanes is None:
            return None
        vec = Vec(pointer.dtype, lanes)
        return vec, (pointer, *count), lambda b, v: constant(vec.llvm, 0)

    return rule


def _vlike(vec: types.Type, value: types.Type) -> Typed:
    if not isinstance(vec, Vec) or not _is_scalar(value):
        return None
    return vec, (vec, vec.dtype), lambda b, v: splat(b, v[1], vec.lanes)


def _vlane(vec: types.Type, lane: types.Type) -> Typed:
    if not isinstance(vec, Vec) or vec.is_mask or not _is_index(lane):
        return None
    return vec.dtype, (vec, INDEX), lambda b, v: b.extract_element(v[0], v[1])


def _vsetlane(vec: types.Type, lane: types.Type, value: types.Type) -> Typed:
    if not isinstance(vec, Vec) or vec.is_mask or not _is_index(lane) or not _is_scalar(value):
        return None
    return vec, (vec, INDEX, vec.dtype), lambda b, v: b.insert_element(v[0], v[2], v[1])


def _vshuffle(left: types.Type, right: types.Type, lanes: types.Type) -> Typed:
    if not isinstance(left, Vec) or left != right or not isinstance(lanes, types.BaseTuple):
        return None
    if not all(isinstance(item, types.IntegerLiteral) for item in lanes):
        return None
    chosen = [int(item.literal_value) for item in lanes]
    if any(lane < 0 or lane >= 2 * left.lanes for lane in chosen):
        return None
    order = ir.Constant(ir.VectorType(I32, len(chosen)), chosen)
    return (
        Vec(left.dtype, len(chosen)),
        (left, right, lanes),
        lambda b, v: b.shuffle_vector(v[0], v[1], order),
    )


def _vmask(vec: types.Type, count: types.Type) -> Typed:
    if not isinstance(vec, Vec) or not _is_index(count):
        return None
    return Vec(MASK, vec.lanes), (vec, INDEX), lambda b, v: _first_lanes(b, v[1], vec.lanes)


def _prefetch(pointer: types.Type, offset: types.Type) -> Typed:
    if not _is_pointer(pointer) or not _is_index(offset):
        return None

    def emit(b: ir.IRBuilder, v: Sequence[ir.Value]) -> None:
        place = b.bitcast(_gep(b, v[0], v[1], pointer), ir.IntType(8).as_pointer())
        call(b, "llvm.prefetch.p0", ir.VoidType(), [place, I32(0), I32(3), I32(1)])

    return VOID, (pointer, INDEX), emit


def memory_vocabulary(vector_bits: int) -> dict[str, object]:
    """The names of this part at a vector width.

    ``vload``, ``vloadm``, ``vget`` and ``vzero`` give vectors of the natural width; their forms ending in ``n``
    take the lane count as a last, literal operand.
    """

    def natural(dtype: types.Type) -> int:
        return int(vector_bits // dtype.bitwidth)

    names: dict[str, object] = {f"ptr_{name}": _pointer_maker(dtype) for name, dtype in DTYPES.items()}
    names |= {
        "vload": primitive("vload", _load_rule(natural), 2),
        "vloadn": primitive("vloadn", _load_rule(_literal_lanes), 3, literal=True),
        "vloadm": primitive("vloadm", _masked_load_rule(natural), 3),
        "vloadmn": primitive("vloadmn", _masked_load_rule(_literal_lanes), 4, literal=True),
        "vloads": primitive("vloads", _strided_load_rule(natural), 3),
        "vget": primitive("vget", _broadcast_load_rule(natural), 2),
        "vgetn": primitive("vgetn", _broadcast_load_rule(_literal_lanes), 3, literal=True),
        "vset": primitive("vset", _set_rule(natural), 1),
        "vzero": primitive("vzero", _zero_rule(natural), 1),
        "vzeron": primitive("vzeron", _zero_rule(_literal_lanes), 2, literal=True),
    }
    return names | _WIDTH_FREE


_WIDTH_FREE: dict[str, object] = {
    "at": primitive("at", _at, 2),
    "addr": primitive("addr", _addr, 1),
    "get": primitive("get", _get, 2),
    "put": primitive("put", _put, 3),
    "vstore": primitive("vstore", _vstore, 3),
    "vstorem": primitive("vstorem", _vstorem, 4),
    "vstores": primitive("vstores", _strided_store, 4),
    "vlike": primitive("vlike", _vlike, 2),
    "vlane": primitive("vlane", _vlane, 2),
    "vsetlane": primitive("vsetlane", _vsetlane, 3),
    "vshuffle": primitive("vshuffle", _vshuffle, 3, literal=True),
    "vmask": primitive("vmask", _vmask, 2),
    "pf": primitive("pf", _prefetch, 2),
}
