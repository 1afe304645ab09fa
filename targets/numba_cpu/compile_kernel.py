"""Kernel text to object code: Numba types and lowers it, our own LLVM pipeline optimises it for an Isa.

The object holds one exported function per kernel, ``k_<digest>``, with the C interface
``void (int64 *d, int64 lo, int64 hi, int64 tid)``; everything else in it is internal. It may call only
the C functions in :data:`ALLOWED_SYMBOLS`. Kernels never raise and never allocate.

Numba is used in a private target context, so that nothing leaks into a user's own use of Numba: helpers
marked ``@inline`` are linked as IR, and no machine code is made but the final object.
"""

from __future__ import annotations

import contextlib
import functools
import gc
import linecache
import re
from collections.abc import Callable, Iterator, Sequence
from types import FunctionType
from typing import Any

import llvmlite.binding as llvm
from llvmlite import ir
from numba import types
from numba.core import codegen, compiler, cpu, typed_passes, typing, untyped_passes
from numba.core.compiler_lock import global_compiler_lock
from numba.core.compiler_machinery import PassManager
from numba.core.typing.templates import AbstractTemplate

from accelc.errors import AccelcError
from accelc.targets.numba_cpu.isa import Isa
from accelc.targets.numba_cpu.kernels.base import KernelSource
from accelc.targets.numba_cpu.simd import base_vocabulary
from accelc.targets.numba_cpu.simd_types import Emit, Primitive

_LIBM = (
    "acos acosh asin asinh atan atan2 atanh cbrt ceil cos cosh erf erfc exp exp2 expm1 floor fmod "
    "log log10 log1p log2 pow rint round sin sinh sqrt tan tanh trunc fma ldexp lgamma tgamma nearbyint"
)
ALLOWED_SYMBOLS = frozenset(
    [name + suffix for name in _LIBM.split() for suffix in ("", "f")]
    + ["memcpy", "memset", "memmove", "sched_yield", "syscall", "usleep"]
)
"""C functions that an object may call."""

KERNEL_ARGS = (types.CPointer(types.int64), types.int64, types.int64, types.int64)


class KernelCompileError(AccelcError):
    """A generated kernel does not compile: a bug in its generator."""


class _IrLibrary(codegen.CPUCodeLibrary):  # type: ignore[misc]
    """Collects IR and links it; leaves all optimisation to :func:`compile_kernel`."""

    def _optimize_functions(self, ll_module: Any) -> None:
        ll_module.data_layout = self._codegen._data_layout

    def _optimize_final_module(self) -> None:
        pass

    def _finalize_final_module(self) -> None:
        self._finalized = True

    def _finalize_specific(self) -> None:
        pass


class _IrCodegen(codegen.JITCPUCodegen):  # type: ignore[misc]
    """Numba's code generator, stopped before it makes machine code."""

    _library_class = _IrLibrary

    def _check_llvm_bugs(self) -> None:
        """Numba's check costs a parse for each function; the locale cannot matter to generated text."""


class _TypingContext(typing.Context):  # type: ignore[misc]
    """Numba's typing rules without those of NumPy arrays, which it would try for every scalar operator."""

    def load_additional_registries(self) -> None:
        from numba.core.typing import mathdecl

        self.install_registry(mathdecl.registry)


class _KernelContext(cpu.CPUContext):  # type: ignore[misc]
    """Numba's CPU target with the code generator above and only the registries that kernels need."""

    def init(self) -> None:
        super().init()
        self._internal_codegen = _IrCodegen("accelc")
        self._sizes: dict[str, int] = {}

    def get_abi_sizeof(self, ty: ir.Type) -> int:
        # Asked for every variable; each answer costs Numba a parse by LLVM.
        name = str(ty)
        if name not in self._sizes:
            self._sizes[name] = super().get_abi_sizeof(ty)
        return self._sizes[name]

    def load_additional_registries(self) -> None:
        from numba.core import optional  # noqa: F401
        from numba.cpython import builtins, mathimpl, numbers, rangeobj, tupleobj  # noqa: F401
        from numba.misc import literal  # noqa: F401

        self.install_registry(mathimpl.registry)


class _KernelCompiler(compiler.CompilerBase):  # type: ignore[misc]
    """Numba's pipeline without the passes that cannot matter to kernel text (a third of its time)."""

    def define_pipelines(self) -> list[PassManager]:
        passes = PassManager("kernel")
        for step in (
            untyped_passes.TranslateByteCode,
            untyped_passes.FixupArgs,
            untyped_passes.IRProcessing,
            untyped_passes.GenericRewrites,
            untyped_passes.ReconstructSSA,
            typed_passes.NopythonTypeInference,
            typed_passes.PreLowerStripPhis,
            typed_passes.IRLegalization,
            typed_passes.NativeLowering,
            typed_passes.NoPythonBackend,
        ):
            passes.add_pass(step, step.__name__)
        passes.finalize()
        return [passes]


@functools.cache
def _contexts() -> tuple[Any, Any]:
    """The typing and the target context of kernels."""
    typing_context = _TypingContext()
    target_context = _KernelContext(typing_context)
    target_context.refresh()
    return typing_context, target_context


class _Template(AbstractTemplate):  # type: ignore[misc]
    """Base of the typing templates below."""

    def get_template_info(self) -> dict[str, Any]:
        """What Numba quotes in its error messages."""
        name = getattr(self.key, "name", getattr(self.key, "__name__", "?"))
        return {
            "kind": "kernel operation", "name": name, "sig": name, "filename": "simd.py", "lines": (0, 0),
            "docstring": "",
        }  # fmt: skip


@functools.cache
def _vocabulary(vector_bits: int) -> dict[str, object]:
    """The vocabulary at a width, known to the typing context."""
    names = base_vocabulary(vector_bits)
    for item in names.values():
        if isinstance(item, Primitive):
            _declare(item)
    return names


@functools.cache
def _declare(item: Primitive) -> None:
    """Make one operation known to Numba; lowerings are added as operand types come up."""
    typing_context, target_context = _contexts()
    seen: dict[tuple[types.Type, ...], Any] = {}

    class Template(_Template):
        key = item
        prefer_literal = item.literal

        def generic(self, args: tuple[types.Type, ...], kws: dict[str, types.Type]) -> Any:
            if kws or len(args) != item.arity:
                return None
            if args in seen:
                return seen[args]
            decided = item.rule(*args)
            if decided is None:
                return None
            result, wanted, emit = decided
            signature = result(*wanted)
            if signature not in seen.values():
                target_context.insert_func_defn([(_lowering(emit), item, signature.args)])
            seen[args] = signature
            return signature

    Template.__name__ = item.name
    typing_context.insert_user_function(item, Template)


def _lowering(emit: Emit) -> Callable[..., ir.Value]:
    """An emitter in the form in which Numba calls lowerings."""

    def implementation(context: Any, builder: ir.IRBuilder, _signature: Any, values: Any) -> ir.Value:
        emitted = emit(builder, values)
        return context.get_dummy_value() if emitted is None else emitted

    return implementation


def _lower(
    function: FunctionType, operands: Sequence[types.Type], result: types.Type | None, library: Any = None
) -> Any:
    """Type and lower one function to LLVM IR; Numba's compile result."""
    flags = compiler.Flags()
    flags.no_compile = True
    flags.no_cpython_wrapper = True
    flags.no_cfunc_wrapper = True
    flags.error_model = "numpy"
    flags.forceinline = True
    typing_context, target_context = _contexts()
    pipeline = _KernelCompiler(typing_context, target_context, library, tuple(operands), result, flags, {})
    return pipeline.compile_extra(function)


def inline(function: FunctionType) -> FunctionType:
    """Decorator of kernel text: a helper that is compiled into its callers, for each set of operand types."""
    typing_context, target_context = _contexts()
    signatures: dict[tuple[types.Type, ...], Any] = {}

    class Template(_Template):
        key = function

        def generic(self, args: tuple[types.Type, ...], kws: dict[str, types.Type]) -> Any:
            operands = tuple(types.unliteral(arg) for arg in args)
            if kws:
                return None
            if operands not in signatures:
                result = _lower(function, operands, None)
                target_context.insert_user_function(function, result.fndesc, [result.library])
                signatures[operands] = result.signature
            return signatures[operands]

    Template.__name__ = function.__name__
    typing_context.insert_user_function(function, Template)
    return function


def kernel_globals(isa: Isa) -> dict[str, Any]:
    """The globals that a kernel text is executed with: the vocabulary of simd.py and ``inline``."""
    return {**_vocabulary(isa.vector_bits), "inline": inline, "__name__": "accelc_kernel"}


@contextlib.contextmanager
def _no_collection() -> Iterator[None]:
    """Garbage collection off: Numba makes many long-lived objects, and a fifth of its time goes there."""
    enabled = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if enabled:
            gc.enable()


@global_compiler_lock  # type: ignore[untyped-decorator]
def _kernel_ir(source: KernelSource, isa: Isa) -> str:
    """Unoptimised LLVM IR of the kernel with its C entry."""
    _, target_context = _contexts()
    filename = f"<accelc kernel {source.name} {source.digest}>"
    # Lets Numba quote the line it stumbled over.
    linecache.cache[filename] = (len(source.text), None, source.text.splitlines(True), filename)
    namespace = kernel_globals(isa)
    exec(compile(source.text, filename, "exec"), namespace)
    library = target_context.codegen().create_library(f"k_{source.digest}")
    result = _lower(namespace["kernel"], KERNEL_ARGS, types.none, library)
    entry = _c_entry(target_context, result.fndesc, f"k_{source.digest}")
    library.finalize()
    final = library._final_module
    final.link_in(llvm.parse_assembly(str(entry)))
    return str(final)


def _c_entry(target_context: Any, fndesc: Any, symbol: str) -> ir.Module:
    """A module with the C function that calls the Numba function."""
    module = ir.Module(symbol)
    pointer, word = ir.IntType(64).as_pointer(), ir.IntType(64)
    entry = ir.Function(module, ir.FunctionType(ir.VoidType(), [pointer, word, word, word]), symbol)
    builder = ir.IRBuilder(entry.append_basic_block())
    callee = target_context.declare_function(module, fndesc)
    target_context.call_conv.call_function(builder, callee, types.none, KERNEL_ARGS, list(entry.args))
    builder.ret_void()
    return module


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
        with _no_collection():
            text = _kernel_ir(source, isa)
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
