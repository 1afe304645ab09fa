"""Memory of one running call: an arena, and descriptors and step table with real addresses in them."""

from __future__ import annotations

from ctypes import addressof, c_char

import numpy as np

from accelc.targets.numba_cpu.bind import BoundRegion
from accelc.targets.numba_cpu.region_memory import ALIGNMENT

_WORD = 8
_from_buffer = c_char.from_buffer


class CallMemory:
    """Reused by later calls of the same shapes; two calls at once have one each.

    ``words`` is the descriptor block as a memoryview of int64, for the addresses of memory outside the arena;
    ``steps_address`` and ``step_count`` are the step table. ``whole`` is the arena, with the guard zones around it
    that were asked for.
    """

    def __init__(self, region: BoundRegion, guard_bytes: int = 0) -> None:
        self.whole = aligned_bytes(region.plan.peak_bytes + 2 * guard_bytes)
        self._words = region.words.copy()
        self._words[region.arena_words] += self.whole.ctypes.data + guard_bytes
        self._steps = region.steps.copy()
        self._steps[:, 1] = self._words.ctypes.data + _WORD * self._steps[:, 1]
        self.words = self._words.data
        self.steps_address = int(self._steps.ctypes.data)
        self.step_count = len(self._steps)


def address(array: np.ndarray) -> int:
    """Address of an array's first element; for writable arrays in 0.6 µs, a seventh of NumPy's own way."""
    try:
        return addressof(_from_buffer(array))  # type: ignore[arg-type]  # arrays are buffers
    except (TypeError, ValueError, BufferError):  # read-only, empty, or a dtype without buffer format
        base: int = array.__array_interface__["data"][0]
        return base


def aligned_bytes(size: int) -> np.ndarray:
    """Uninitialised bytes that start at a multiple of 64."""
    raw = np.empty(size + ALIGNMENT, dtype=np.uint8)
    start = -raw.ctypes.data % ALIGNMENT
    return raw[start : start + size]
