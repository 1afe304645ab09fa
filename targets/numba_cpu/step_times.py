"""How long each step of a program takes: the program is run step by step, with a clock between."""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping
from typing import Any

from accelc.target import StepTime
from accelc.targets.numba_cpu.bind import STEP_WORDS
from accelc.targets.numba_cpu.native_run import NativeRunner
from accelc.targets.numba_cpu.program import BodyCall, HostCall
from accelc.targets.numba_cpu.runner import ProgramRunner

_ROW_BYTES = 8 * STEP_WORDS


class TimingRunner:
    """Takes the place of a NativeRunner: runs the rows of a step table one by one.

    Attributes:
        seconds: Least time of each row, by the address of its table and its number.
    """

    def __init__(self, native: NativeRunner) -> None:
        self._native = native
        self.seconds: dict[tuple[int, int], float] = {}

    def run(self, steps_address: int, n_steps: int, threads: int) -> None:
        """As NativeRunner.run; steps that ran side by side there run one after the other here."""
        for row in range(n_steps):
            start = time.perf_counter()
            self._native.run(steps_address + row * _ROW_BYTES, 1, threads)
            spent = time.perf_counter() - start
            key = (steps_address, row)
            self.seconds[key] = min(spent, self.seconds.get(key, spent))


def step_times(runner: ProgramRunner, timing: TimingRunner, arrays: list[Any], rounds: int) -> list[StepTime]:
    """Steps of a program and of its bodies with the least time of ``rounds`` runs, in program order.

    Args:
        runner: A runner of its own, made with ``timing`` in the place of the native one.
        timing: Where the times are.
        arrays: Inputs in order.
        rounds: Runs.
    """
    for _ in range(max(rounds, 1)):
        runner.run(arrays)
    found: list[StepTime] = []
    for each in _runners(runner):
        for plan in each.all_plans():
            for memory in plan.free:
                for row, call in enumerate(plan.region.calls):
                    seconds = timing.seconds.get((memory.steps_address, row))
                    if seconds is not None:
                        found.append(StepTime(call.family, call.origin, seconds * 1e3, dict(call.params)))
        for step in each.program.steps:
            if isinstance(step, HostCall | BodyCall):
                what: Mapping[str, Any] = {"reason": step.reason} if isinstance(step, HostCall) else {}
                found.append(StepTime(f"host {step.op}", step.origin, None, what))
    return found


def _runners(runner: ProgramRunner) -> Iterator[ProgramRunner]:
    pending = [runner]
    while pending:
        each = pending.pop()
        yield each
        pending.extend(reversed(each.bodies))
