"""Worker processes that take case after case, and are replaced when a case kills or hangs one."""

from __future__ import annotations

import multiprocessing
import os
import signal
import sys
import threading
from collections import deque
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import suppress
from multiprocessing.connection import Connection, wait
from time import monotonic
from typing import Any

from accelc.conformance.cases import Case, all_cases, features
from accelc.conformance.judge import CRASH, HANG, Result, judge

_WITHOUT_JAX = ("cpu", "onnx")
"""Targets whose runs never call JAX."""


def run_cases(
    cases: Sequence[Case], options: Mapping[str, Any], *, jobs: int = 1, time_limit: float = 120.0
) -> Iterator[Result]:
    """Judge ``cases`` in worker processes; results come in the order in which they end.

    Args:
        cases: What to run.
        options: Arguments of ``accelc.compile`` that can be sent to another process.
        jobs: Worker processes.
        time_limit: Seconds for one case, its kernels' compilation included.
    """
    waiting = deque(cases)
    workers: list[_Worker] = []
    try:
        while waiting or any(worker.case for worker in workers):
            while waiting and len(workers) < max(1, jobs):
                workers.append(_Worker(options))
            for worker in workers:
                if worker.case is None and waiting:
                    worker.give(waiting.popleft(), time_limit)
            busy = [worker for worker in workers if worker.case is not None]
            patience = max(0.0, min(worker.deadline for worker in busy) - monotonic())
            wait([worker.pipe for worker in busy], timeout=patience)
            for worker in busy:
                if (result := worker.result(time_limit)) is None:
                    continue
                if not worker.alive:
                    workers.remove(worker)
                yield result
    finally:
        for worker in workers:
            worker.kill()


class _Worker:
    """One process, and the case that it has at the moment."""

    def __init__(self, options: Mapping[str, Any]) -> None:
        methods = multiprocessing.get_all_start_methods()
        # A forked worker has the suite's cases in memory; another one has to make them again. JAX does not live
        # through a fork: where this process runs it, a worker that needs it too starts anew.
        forks = "fork" in methods and not (
            "jax" in sys.modules and options.get("target", "cpu") not in _WITHOUT_JAX
        )
        context: Any = multiprocessing.get_context("fork" if forks else "spawn")
        self.pipe: Connection
        self.pipe, theirs = context.Pipe()
        self.process = context.Process(target=_serve, args=(theirs, dict(options)))
        self.process.start()
        theirs.close()
        self.case: Case | None = None
        self.deadline = 0.0
        self.alive = True

    def give(self, case: Case, time_limit: float) -> None:
        """Start a case."""
        self.case = case
        self.deadline = monotonic() + time_limit
        with suppress(OSError):  # a dead worker is noticed when its result is read
            self.pipe.send((case.kind, case.name))

    def result(self, time_limit: float) -> Result | None:
        """The result of its case if there is one, the case's end if it died or ran out of time."""
        case = self.case
        assert case is not None  # only busy workers are asked
        if self.pipe.poll():
            self.case = None
            try:
                received: Result = self.pipe.recv()
            except (EOFError, OSError):
                self.process.join(10)
                code = self.process.exitcode
                how = f"signal {-code}" if code is not None and code < 0 else f"exit code {code}"
                self.kill()
                return self._ended(case, CRASH, f"the process ended with {how}")
            return received
        if monotonic() >= self.deadline:
            self.case = None
            self.kill()
            return self._ended(case, HANG, f"no result within {time_limit:.0f} s")
        return None

    @staticmethod
    def _ended(case: Case, verdict: str, detail: str) -> Result:
        return Result(case.name, case.kind, features(case).category, verdict, detail)

    def kill(self) -> None:
        """End the process and its children."""
        self.alive = False
        if self.process.pid is not None and hasattr(os, "killpg"):
            with suppress(OSError):  # it has a group of its own unless it died before making it
                os.killpg(self.process.pid, signal.SIGKILL)
        self.process.kill()
        self.process.join(10)
        self.pipe.close()


def _serve(pipe: Connection, options: Mapping[str, Any]) -> None:
    """What a worker does: judge the cases that come through ``pipe`` until it closes."""
    if hasattr(os, "setsid"):
        os.setsid()  # a group of its own: killing it ends the compilers it started
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    threading.Thread(target=_end_with_parent, daemon=True).start()
    by_name: dict[tuple[str, str], Case] = {(case.kind, case.name): case for case in all_cases()}
    receive: Callable[[], Any] = pipe.recv
    while True:
        try:
            wanted = receive()
        except EOFError:
            return
        pipe.send(judge(by_name[wanted], options))


def _end_with_parent() -> None:
    """Wait for the process that started this one to end, however it does, and end this one and its children.

    The pipe does not tell: forked workers hold its other end too, and a case that hangs reads nothing.
    """
    parent = multiprocessing.parent_process()
    assert parent is not None  # this is a worker
    parent.join()
    if hasattr(os, "killpg"):
        os.killpg(0, signal.SIGKILL)
    os._exit(1)
