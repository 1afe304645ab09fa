"""Kernel text to object code: Numba types and lowers it, our own LLVM pipeline optimises it for an Isa.

The object holds one exported function per kernel, ``k_<digest>``, with the C interface
``void (int64 *d, int64 lo, int64 hi, int64 tid)``; everything else in it is internal. It may call only
the C functions in :data:`ALLOWED_SYMBOLS`. Kernels never raise and never allocate.
"""

from __future__ import annotations

import functools
import re
from typing import Any

import llvmlite.binding as llvm
from numba.core import codegen

from accelc.targets.numba_cpu.isa import Isa
from accelc.targets.numba_cpu.kernel_error import KernelCompileError
from accelc.targets.numba_cpu.kernels.base import KernelSource
from accelc.targets.numba_cpu.lower_kernel import kernel_ir

_LIBM = (
    "acos acosh asin asinh atan atan2 atanh cbrt ceil cos cosh erf erfc exp exp2 expm1 floor fmod "
    "log log10 log1p log2 pow rint round sin sinh sqrt tan tanh trunc fma ldexp lgamma tgamma nearbyint"
)
ALLOWED_SYMBOLS = frozenset(
    [name + suffix for name in _LIBM.split() for suffix in ("", "f")]
    + ["memcpy", "memset", "memmove", "sched_yield", "syscall", "usleep"]
)
"""C functions that an object may call."""


@functools.cache
def target_machine(isa: Isa) -> Any:
    """LLVM's target machine: position-independent code for the CPU of ``isa``."""
    codegen.initialize_llvm()
    target = llvm.Target.from_triple(llvm.get_process_triple())
    return target.create_target_machine(
        cpu=isa.cpu, features=isa.features, opt=3, reloc="pic", codemodel="default"
    )


def _set_attributes(text: str, isa: Isa) -> str:
    """Give every function the attributes of the Isa.

    Without ``prefer-vector-width`` LLVM would use 256-bit registers for 512-bit vectors on many CPUs.
    """
    text = re.sub(
        r"^attributes #\d+ = \{[^}]*\}\n", lambda m: _merge_attributes(m.group(0), isa), text, flags=re.M
    )
    extra = f" {_attribute_text(isa)} "
    # Definitions that carry no attribute group get the attributes in place.
    return re.sub(
        r"^(define [^\n]*\))((?: [a-z_()0-9]+)*?)( *\{)$", lambda m: m.group(1) + m.group(2) + extra + m.group(3),
        text, flags=re.M,
    )  # fmt: skip


def _attribute_text(isa: Isa) -> str:
    return (
        f'"prefer-vector-width"="{isa.vector_bits}" "min-legal-vector-width"="{isa.vector_bits}" '
        f'"target-cpu"="{isa.cpu}" "target-features"="{isa.features}" "no-trapping-math"="true" nounwind'
    )


def _merge_attributes(group: str, isa: Isa) -> str:
    head, _, body = group.partition("{")
    keep = re.sub(
        r'"(prefer-vector-width|min-legal-vector-width|target-cpu|target-features)"="[^"]*"', "", body
    )
    return f"{head}{{ {_attribute_text(isa)} {keep.replace('nounwind', '')}"


def optimised_module(source: KernelSource, isa: Isa) -> Any:
    """The kernel as an optimised LLVM module.

    Raises:
        KernelCompileError: Numba or LLVM rejects the text, or it calls a C function that is not allowed.
    """
    try:
        text = kernel_ir(source, isa)
    except Exception as error:  # Numba, llvmlite and the text itself fail in many ways
        raise KernelCompileError(
            f"kernel {source.name} does not compile",
            where=f"kernel {source.digest}",
            why=str(error).strip(),
            fix="this is a bug in accelc; please report it with the text of the kernel",
        ) from error
    module = llvm.parse_assembly(_set_attributes(text, isa))
    machine = target_machine(isa)
    module.data_layout = str(machine.target_data)
    symbol = f"k_{source.digest}"
    for function in module.functions:
        if not function.is_declaration and function.name != symbol:
            function.linkage = llvm.Linkage.internal
    for variable in module.global_variables:
        if not variable.is_declaration:
            variable.linkage = llvm.Linkage.internal
    _optimise(module, machine)
    _check_symbols(module, source)
    return module


def _optimise(module: Any, machine: Any) -> None:
    """LLVM's O3 module pipeline, without SLP (it undoes hand-placed vectors)."""
    options = llvm.create_pipeline_tuning_options(speed_level=3)
    options.loop_vectorization = True
    options.slp_vectorization = False
    builder = llvm.create_pass_builder(machine, options)
    builder.getModulePassManager().run(module, builder)
    clean = llvm.create_new_module_pass_manager()
    clean.add_global_dead_code_eliminate_pass()
    clean.run(module, builder)


def _check_symbols(module: Any, source: KernelSource) -> None:
    foreign = [
        item.name
        for group in (module.functions, module.global_variables)
        for item in group
        if item.is_declaration and not item.name.startswith("llvm.") and item.name not in ALLOWED_SYMBOLS
    ]
    if foreign:
        raise KernelCompileError(
            f"kernel {source.name} refers to symbols that kernels may not use",
            where=f"kernel {source.digest}",
            why=f"undefined: {', '.join(sorted(foreign))}",
            fix="this is a bug in accelc; please report it with the text of the kernel",
        )


def compile_kernel(source: KernelSource, isa: Isa) -> bytes:
    """Compile one kernel to a relocatable object that exports ``k_<digest>``.

    Raises:
        KernelCompileError: the text does not compile, or calls a C function that is not allowed.
    """
    module = optimised_module(source, isa)
    return bytes(target_machine(isa).emit_object(module))


def disassemble(source: KernelSource, isa: Isa) -> str:
    """The kernel's assembly, for people."""
    return str(target_machine(isa).emit_assembly(optimised_module(source, isa)))


__all__ = ["ALLOWED_SYMBOLS", "KernelCompileError", "compile_kernel", "disassemble", "target_machine"]
