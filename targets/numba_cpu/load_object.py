"""Machine code into memory: many objects through one LLVM engine, without Numba."""

from __future__ import annotations

import contextlib
import functools
from collections.abc import Mapping
from typing import Any

# Code is never unloaded: threads may be inside it until the process ends.
_ENGINES: list[Any] = []


def load_objects(objects: Mapping[str, bytes]) -> dict[str, int]:
    """Load objects that each export the symbol they are listed under.

    Args:
        objects: Object code by exported symbol.

    Returns:
        Address of each symbol.
    """
    import llvmlite.binding as llvm

    _initialise()
    machine = llvm.Target.from_triple(llvm.get_process_triple()).create_target_machine()
    engine = llvm.create_mcjit_compiler(llvm.parse_assembly(""), machine)
    for code in objects.values():
        engine.add_object_file(llvm.ObjectFileRef.from_data(code))
    engine.finalize_object()
    _ENGINES.append(engine)
    return {symbol: int(engine.get_function_address(symbol)) for symbol in objects}


@functools.cache
def _initialise() -> None:
    """Prepare LLVM for this CPU, and make libm's functions findable."""
    import llvmlite.binding as llvm

    llvm.initialize_native_target()
    llvm.initialize_native_asmprinter()
    # Python may be linked statically against libm, whose symbols then are not visible to LLVM.
    with contextlib.suppress(RuntimeError):
        llvm.load_library_permanently("libm.so.6")
