"""Runs kernel text on NumPy arrays: the descriptor is the arrays' addresses, then plain integers."""

from __future__ import annotations

import ctypes
from functools import cache
from typing import Any

import numpy as np

from accelc.targets.numba_cpu.isa import Isa
from accelc.targets.numba_cpu.kernel_store import KernelStore
from accelc.targets.numba_cpu.kernels.base import KernelSource

ENTRY = ctypes.CFUNCTYPE(None, ctypes.c_int64, ctypes.c_int64, ctypes.c_int64, ctypes.c_int64)


@cache
def store(bits: int | None = None) -> KernelStore:
    """The tests' kernel store at a vector width."""
    return KernelStore(None, Isa.host(bits))


def run_text(text: str, *words: np.ndarray | int, bits: int | None = None, tasks: int = 1) -> None:
    """Compile (or find) the kernel and call it once."""
    function: Any = ENTRY(store(bits).address(KernelSource("test", text)))
    descriptor = np.array(
        [word.ctypes.data if isinstance(word, np.ndarray) else word for word in words], np.int64
    )
    function(descriptor.ctypes.data, 0, tasks, 0)
