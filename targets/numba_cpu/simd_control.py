"""Vocabulary of the native runtime: atomics, waiting, calls through addresses. Kernels do not need it."""

from __future__ import annotations

import platform
import sys
from collections.abc import Sequence
from typing import Any

from llvmlite import ir
from numba import types

from accelc.targets.numba_cpu.simd_types import I32, I64, call, primitive

Typed = tuple[types.Type, Sequence[types.Type], Any] | None
_WORDS = types.CPointer(types.int64)
_INT = types.int64
_MACHINE = platform.machine().lower()
_X86 = _MACHINE in ("x86_64", "amd64")
_ARM = _MACHINE in ("aarch64", "arm64")
_FUTEX = {"x86_64": 202, "amd64": 202, "aarch64": 98, "arm64": 98}.get(_MACHINE)
HAS_FUTEX = sys.platform == "linux" and _FUTEX is not None
_WAIT_PRIVATE, _WAKE_PRIVATE = 128, 129


def _place(b: ir.IRBuilder, v: Sequence[ir.Value]) -> ir.Value:
    return b.gep(v[0], [v[1]], source_etype=I64)


def _load(pointer: types.Type, offset: types.Type) -> Typed:
    if pointer != _WORDS:
        return None

    def emit(b: ir.IRBuilder, v: Sequence[ir.Value]) -> ir.Value:
        return b.load_atomic(_place(b, v), "seq_cst", 8, typ=I64)

    return _INT, (_WORDS, _INT), emit


def _store(pointer: types.Type, offset: types.Type, value: types.Type) -> Typed:
    if pointer != _WORDS:
        return None

    def emit(b: ir.IRBuilder, v: Sequence[ir.Value]) -> None:
        b.store_atomic(v[2], _place(b, v), "release", 8)

    return types.void, (_WORDS, _INT, _INT), emit


def _add(pointer: types.Type, offset: types.Type, value: types.Type) -> Typed:
    if pointer != _WORDS:
        return None

    def emit(b: ir.IRBuilder, v: Sequence[ir.Value]) -> ir.Value:
        return b.atomic_rmw("add", _place(b, v), v[2], "seq_cst")

    return _INT, (_WORDS, _INT, _INT), emit


def _swap(pointer: types.Type, offset: types.Type, expected: types.Type, value: types.Type) -> Typed:
    if pointer != _WORDS:
        return None

    def emit(b: ir.IRBuilder, v: Sequence[ir.Value]) -> ir.Value:
        pair = b.cmpxchg(_place(b, v), v[2], v[3], "seq_cst", "seq_cst")
        return b.zext(b.extract_value(pair, 1), I64)

    return _INT, (_WORDS, _INT, _INT, _INT), emit


def _pause() -> Typed:
    def emit(b: ir.IRBuilder, v: Sequence[ir.Value]) -> None:
        if _X86:
            call(b, "llvm.x86.sse2.pause", ir.VoidType(), [])
        elif _ARM:
            call(b, "llvm.aarch64.hint", ir.VoidType(), [I32(1)])

    return types.void, (), emit


def _yield() -> Typed:
    return types.int32, (), lambda b, v: call(b, "sched_yield", I32, [])


def _wait(pointer: types.Type, offset: types.Type, value: types.Type) -> Typed:
    if pointer != _WORDS:
        return None

    def emit(b: ir.IRBuilder, v: Sequence[ir.Value]) -> None:
        if HAS_FUTEX:
            args = [
                I64(_FUTEX),
                b.ptrtoint(_place(b, v), I64),
                I64(_WAIT_PRIVATE),
                v[2],
                I64(0),
                I64(0),
                I64(0),
            ]
            call(b, "syscall", I64, args)
        else:
            call(b, "usleep", I32, [I32(200)])

    return types.void, (_WORDS, _INT, _INT), emit


def _wake(pointer: types.Type, offset: types.Type, count: types.Type) -> Typed:
    if pointer != _WORDS:
        return None

    def emit(b: ir.IRBuilder, v: Sequence[ir.Value]) -> None:
        if HAS_FUTEX:
            args = [
                I64(_FUTEX),
                b.ptrtoint(_place(b, v), I64),
                I64(_WAKE_PRIVATE),
                v[2],
                I64(0),
                I64(0),
                I64(0),
            ]
            call(b, "syscall", I64, args)

    return types.void, (_WORDS, _INT, _INT), emit


def _call_kernel(*operands: types.Type) -> Typed:
    def emit(b: ir.IRBuilder, v: Sequence[ir.Value]) -> None:
        kind = ir.FunctionType(ir.VoidType(), [I64, I64, I64, I64])
        b.call(b.inttoptr(v[0], kind.as_pointer()), list(v[1:]))

    return types.void, (_INT,) * 5, emit


def control_vocabulary() -> dict[str, object]:
    """The names of this part; pointers are to int64.

    ``futex_wait(p, o, value)`` sleeps while the low 32 bits of the word are ``value`` (it may return early);
    ``atomic_cas(p, o, expected, new)`` gives 1 if it stored.
    """
    return {
        "atomic_load": primitive("atomic_load", _load, 2),
        "atomic_store": primitive("atomic_store", _store, 3),
        "atomic_add": primitive("atomic_add", _add, 3),
        "atomic_cas": primitive("atomic_cas", _swap, 4),
        "cpu_pause": primitive("cpu_pause", _pause, 0),
        "cpu_yield": primitive("cpu_yield", _yield, 0),
        "futex_wait": primitive("futex_wait", _wait, 3),
        "futex_wake": primitive("futex_wake", _wake, 3),
        "call_kernel": primitive("call_kernel", _call_kernel, 5),
    }
