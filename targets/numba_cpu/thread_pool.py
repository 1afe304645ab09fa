"""The process's own team of threads, parked in native code between calls.

Workers are Python threads that call into native code once and stay there without the GIL. A caller that finds
the team busy runs alone, so any number of Python threads may call at once. A forked child starts with no
team and makes its own. The team is dismissed when the interpreter exits.
"""

from __future__ import annotations

import atexit
import ctypes
import os
import threading

from accelc.targets.numba_cpu.native_text import CONTROL_WORDS, SEQ

KERNEL = ctypes.CFUNCTYPE(None, ctypes.c_int64, ctypes.c_int64, ctypes.c_int64, ctypes.c_int64)
"""The C interface of all kernels; calls release the GIL."""
_WORD = 8
_CACHE_LINE = 64
_JOIN_SECONDS = 2.0


class ThreadPool:
    """Workers, and the control block that they share with callers.

    Args:
        worker: Address of native_text.WORKER.
        dismiss: Address of native_text.DISMISS.
    """

    def __init__(self, worker: int, dismiss: int) -> None:
        self._worker = KERNEL(worker)
        self._dismiss = KERNEL(dismiss)
        self.forget()
        atexit.register(self.stop)
        if hasattr(os, "register_at_fork"):
            os.register_at_fork(after_in_child=self.forget)

    def forget(self) -> None:
        """Start over with no workers: after a fork they are gone, and locks may be in any state."""
        self._lock = threading.Lock()
        self._threads: list[threading.Thread] = []
        self._memory = ctypes.create_string_buffer(CONTROL_WORDS * _WORD + _CACHE_LINE)
        start = ctypes.addressof(self._memory)
        self.control = start + -start % _CACHE_LINE
        """Address of the control block."""

    @property
    def size(self) -> int:
        """Workers started so far; a team is one more, with its caller."""
        return len(self._threads)

    def grow(self, workers: int) -> int:
        """Start workers until there are ``workers``; the address of the control block they listen on."""
        if len(self._threads) < workers:
            with self._lock:
                while len(self._threads) < workers:
                    self._start(len(self._threads) + 1)
        return self.control

    def _start(self, number: int) -> None:
        # A job in progress is not new to the worker: it joins the next one.
        seen = ctypes.c_int64.from_address(self.control + SEQ * _WORD).value
        thread = threading.Thread(
            target=self._worker, args=(self.control, seen, 0, number), name=f"accelc-{number}", daemon=True
        )
        thread.start()
        self._threads.append(thread)

    def stop(self) -> None:
        """End all workers; the next call starts new ones."""
        with self._lock:
            threads, memory = self._threads, self._memory
            if not threads:
                return
            self._dismiss(self.control, 0, 0, 0)
            for thread in threads:
                thread.join(_JOIN_SECONDS)
            if any(thread.is_alive() for thread in threads):
                _KEPT.append(memory)  # a straggler may still look at it
            self.forget()


_KEPT: list[object] = []
