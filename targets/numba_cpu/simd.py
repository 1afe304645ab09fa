"""The vocabulary of kernel text: every name that a kernel may use besides Python's own.

pointers   ``ptr_f32(address)`` (also f64 i8 u8 i16 u16 i32 u32 i64 u64), ``at(p, n)``, ``addr(p)``,
           ``get(p, n)``, ``put(p, n, x)``, ``pf(p, n)`` (prefetch)
loads      ``vload(p, o)``, ``vloadm(p, o, count)`` (first ``count`` lanes, the others 0),
           ``vloads(p, o, stride)``, ``vget(p, o)`` (one element to all lanes), and with a literal lane count
           ``vloadn(p, o, n)``, ``vloadmn(p, o, count, n)``, ``vgetn(p, o, n)``
stores     ``vstore(p, o, v)``, ``vstorem(p, o, v, count)``, ``vstores(p, o, stride, v)``
values     ``vset(x)``, ``vzero(p)``, ``vzeron(p, n)``, ``vlike(v, x)``, ``vlane(v, i)``, ``vsetlane(v, i, x)``,
           ``vshuffle(a, b, (i, j, ...))``, ``vmask(v, count)`` (mask of the first lanes)
arithmetic see simd_arith.py; mathematics see simd_math.py; atomics and calls see simd_control.py
scalars    ``f32(x) f64(x) i32(x) ...`` convert; ``math.*`` as in Python
"""

from __future__ import annotations

import math

from accelc.targets.numba_cpu.isa import Isa
from accelc.targets.numba_cpu.simd_arith import arithmetic_vocabulary
from accelc.targets.numba_cpu.simd_control import control_vocabulary
from accelc.targets.numba_cpu.simd_math import math_vocabulary
from accelc.targets.numba_cpu.simd_memory import memory_vocabulary
from accelc.targets.numba_cpu.simd_types import DTYPES


def base_vocabulary(vector_bits: int) -> dict[str, object]:
    """All names except ``inline``, which belongs to the compiler."""
    return {
        **DTYPES,
        **memory_vocabulary(vector_bits),
        **arithmetic_vocabulary(),
        **math_vocabulary(),
        **control_vocabulary(),
        "math": math,
    }


def vocabulary(isa: Isa) -> dict[str, object]:
    """The globals that a kernel text is executed with."""
    from accelc.targets.numba_cpu.lower_kernel import kernel_globals

    return kernel_globals(isa)
