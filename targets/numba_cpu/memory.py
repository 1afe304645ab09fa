"""Memory of one running call: an arena, and descriptors and step table with real addresses in them."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from accelc.targets.numba_cpu.bind import ALIGNMENT, BoundRegion

_WORD = 8


class CallMemory:
    """Reused by later calls of the same shapes; two calls at once have one each."""

    def __init__(self, region: BoundRegion) -> None:
        self._arena = aligned_bytes(region.plan.peak_bytes)
        self._words = region.words.copy()
        self._words[region.arena_words] += self._arena.ctypes.data
        self._steps = region.steps.copy()
        self._steps[:, 1] = self._words.ctypes.data + _WORD * self._steps[:, 1]
        self._counters = np.zeros(max(1, len(self._steps)) + 16, dtype=np.int64)
        self._view = self._words.data
        self._dynamic = region.dynamic_words
        self.steps_address = int(self._steps.ctypes.data)
        self.step_count = len(self._steps)
        self.counters_address = int(self._counters.ctypes.data)

    def point(self, addresses: Mapping[int, int]) -> None:
        """Write the addresses of inputs, outputs and other memory outside the arena into the descriptors."""
        view = self._view
        for index, root, offset in self._dynamic:
            view[index] = addresses[root] + offset


def aligned_bytes(size: int) -> np.ndarray:
    """Uninitialised bytes that start at a multiple of 64."""
    raw = np.empty(size + ALIGNMENT, dtype=np.uint8)
    start = -raw.ctypes.data % ALIGNMENT
    return raw[start : start + size]
