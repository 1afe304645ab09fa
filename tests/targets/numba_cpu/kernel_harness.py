"""Runs one kernel on NumPy arrays: generate, compile (once per text and Isa), bind, call."""

from __future__ import annotations

import ctypes
from collections.abc import Sequence
from functools import cache
from typing import Any

import numpy as np

from accelc.targets.numba_cpu.isa import Isa
from accelc.targets.numba_cpu.kernel_store import KernelStore
from accelc.targets.numba_cpu.kernels.base import WORKSPACE, Address, Family, KernelSource, Tensor

_ENTRY = ctypes.CFUNCTYPE(None, ctypes.c_void_p, ctypes.c_int64, ctypes.c_int64, ctypes.c_int64)


@cache
def load_kernel(text: str, isa: Isa) -> Any:
    """The kernel of ``text`` as a Python callable (descriptor address, lo, hi, tid).

    Compiled objects come from the cache that users have, so that test processes share them.
    """
    return _ENTRY(KernelStore(None, isa).address(KernelSource("test", text)))


def tensor(array: np.ndarray, value: int) -> Tensor:
    """``array`` as an operand of a binding."""
    strides = tuple(stride // array.itemsize for stride in array.strides)
    return Tensor(value, array.dtype.name, array.shape, strides)


def run_family(
    family: Family,
    params: dict[str, Any],
    inputs: Sequence[np.ndarray | None],
    outputs: Sequence[np.ndarray],
    isa: Isa | None = None,
    threads_simulated: int = 1,
) -> None:
    """Run one kernel; ``outputs`` are written in place. Operands may have any strides.

    Args:
        family: The kernel family.
        params: Its literal parameters; they go through ``check`` and a JSON round trip, as from a manifest.
        inputs: Operands, None where absent.
        outputs: Results.
        isa: What to compile for; this machine if None.
        threads_simulated: The tasks are split among that many threads, which run one after the other,
            the last one first, so that a dependence between tasks shows.
    """
    import json

    isa = isa or Isa.host()
    params = json.loads(json.dumps(params))
    family.check(params)
    operands: list[np.ndarray | None] = [*inputs, *outputs]
    tensors = [None if array is None else tensor(array, k) for k, array in enumerate(operands)]
    n_inputs = len(inputs)
    given = [item for item in tensors[n_inputs:] if item is not None]
    binding = family.bind(params, tensors[:n_inputs], given, isa)
    if binding.tasks <= 0:
        return
    scratch_bytes = -(-binding.workspace_bytes // 64) * 64
    scratch = np.full(scratch_bytes * threads_simulated + 64, 0xAB, np.uint8)
    base = -(-scratch.ctypes.data // 64) * 64
    words = np.empty(max(1, len(binding.words)), np.int64)
    for k, word in enumerate(binding.words):
        if isinstance(word, Address):
            array = None if word.value == WORKSPACE else operands[word.value]
            start = base if array is None else array.ctypes.data
            words[k] = start + word.byte_offset
        else:
            words[k] = word
    kernel = load_kernel(family.source(params, isa).text, isa)
    bounds = [binding.tasks * t // threads_simulated for t in range(threads_simulated + 1)]
    for tid in reversed(range(threads_simulated)):
        if bounds[tid] < bounds[tid + 1]:
            kernel(words.ctypes.data, bounds[tid], bounds[tid + 1], tid)
