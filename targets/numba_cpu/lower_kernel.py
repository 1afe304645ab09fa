"""Kernel text to LLVM IR: Numba's typing and lowering, in contexts of our own.

Nothing leaks into a user's own use of Numba: the typing and target contexts are private, helpers marked
``@inline`` are linked as IR, and no machine code is made here.
"""

from __future__ import annotations

import contextlib
import functools
import gc
import linecache
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

from accelc.targets.numba_cpu.isa import Isa
from accelc.targets.numba_cpu.kernels.base import KernelSource
from accelc.targets.numba_cpu.simd import base_vocabulary
from accelc.targets.numba_cpu.simd_types import Emit, Primitive

KERNEL_ARGS = (types.CPointer(types.int64), types.int64, types.int64, types.int64)


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
    """Numba's pipeline without the passes that cannot matter to kernel text (a third of its time).

    IR legalisation is left out too: it places the ends of lifetimes, and kernels count no references.
    """

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
    _HELPERS.append(function)
    return function


# Helpers of the kernel at hand; a long-lived process would otherwise keep those of all kernels.
_HELPERS: list[FunctionType] = []


def _forget(helper: FunctionType) -> None:
    typing_context, target_context = _contexts()
    with contextlib.suppress(KeyError):
        typing_context._remove_global(helper)
    with contextlib.suppress(KeyError):
        target_context.remove_user_function(helper)


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
def kernel_ir(source: KernelSource, isa: Isa) -> str:
    """Unoptimised LLVM IR of a kernel, with its C entry ``k_<digest>``.

    Raises:
        Exception: Whatever the text itself, Numba or llvmlite raise about it.
    """
    filename = f"<accelc kernel {source.name} {source.digest}>"
    # Lets Numba quote the line it stumbled over.
    linecache.cache[filename] = (len(source.text), None, source.text.splitlines(True), filename)
    try:
        with _no_collection():
            return _kernel_ir(source, isa, filename)
    finally:
        del linecache.cache[filename]
        while _HELPERS:
            _forget(_HELPERS.pop())


def _kernel_ir(source: KernelSource, isa: Isa, filename: str) -> str:
    _, target_context = _contexts()
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
