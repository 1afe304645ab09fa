"""The native entry: one call from Python runs a whole region of a program.

A region is a step table in the call's own memory: rows of eight int64 words,

====  ==========  ==============================================================================
word  name        meaning
====  ==========  ==============================================================================
0     function    address of the kernel, ``void (int64 *d, int64 lo, int64 hi, int64 tid)``
1     descriptor  address of its descriptor words
2     tasks       number of independent tasks; tasks [lo, hi) may be given to any thread
3     grain       fewest tasks worth a hand-over between threads
4     flags       bit 0: the steps before must be complete before this one starts
5, 6  (runtime)   tasks claimed and tasks done so far
7     (reserved)
====  ==========  ==============================================================================

A step with ``tasks < 2 * grain`` is run by the calling thread alone. Between barriers, steps of the calling
thread run in order, and a worker may be ahead or behind: neighbouring steps without a barrier must not
depend on each other unless the calling thread runs both. ``tid`` is below the number of threads, and no two
threads inside a region have the same one.

Threads never wait for a thread, only for work that a thread has claimed: a team whose workers sleep or lost
their processor runs at the caller's own speed. When another call holds the team, a call runs alone.
"""

from __future__ import annotations

from typing import Protocol

from accelc.targets.numba_cpu import native_text
from accelc.targets.numba_cpu.kernel_store import GUARD, KernelStore
from accelc.targets.numba_cpu.thread_pool import KERNEL, ThreadPool

SOURCES = (native_text.SERIAL, native_text.TEAM, native_text.WORKER, native_text.DISMISS)
"""The runtime's own kernels; required together with a program's, they are compiled at the same time."""
_POOLS: list[ThreadPool] = []


def team(store: KernelStore) -> ThreadPool:
    """The process's only pool, made on first use."""
    with GUARD.lock:
        if not _POOLS:
            worker, dismiss = store.address(native_text.WORKER), store.address(native_text.DISMISS)
            _POOLS.append(ThreadPool(worker, dismiss))
        return _POOLS[0]


class Native(Protocol):
    """What runs step tables: a NativeRunner, or one with a clock."""

    def run(self, steps_address: int, n_steps: int, threads: int) -> None:
        """See NativeRunner.run."""


class NativeRunner:
    """Runs step tables; safe to use from several Python threads at once.

    Args:
        store: Where the runtime's own kernels come from.
    """

    def __init__(self, store: KernelStore) -> None:
        store.require(SOURCES)
        self._serial = KERNEL(store.address(native_text.SERIAL))
        self._team = KERNEL(store.address(native_text.TEAM))
        self._pool = team(store)

    def run(self, steps_address: int, n_steps: int, threads: int) -> None:
        """Run a step table to its end.

        Args:
            steps_address: Address of the table; no other call may use the same table at the same time.
            n_steps: Its rows.
            threads: Threads to use at most, the calling one included.
        """
        if threads <= 1:
            self._serial(steps_address, 0, n_steps, 0)
        else:
            control = self._pool.grow(threads - 1)
            self._team(steps_address, n_steps, threads, control)
