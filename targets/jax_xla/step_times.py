"""How long each step of a program takes: compiled functions as a whole, host steps by themselves."""

from __future__ import annotations

import time
from collections.abc import Sequence
from typing import Any

import jax

from accelc.ir.editor import origin_of
from accelc.target import StepTime
from accelc.targets.jax_xla.program import JitStep
from accelc.targets.jax_xla.program_run import ProgramRunner


def step_times(runner: ProgramRunner, given: Sequence[Any], rounds: int) -> list[StepTime]:
    """Every step with its least time of ``rounds`` runs, waiting for the device behind each."""
    program = runner.program
    best = [float("inf")] * len(program.steps)
    for _ in range(max(rounds, 1)):
        values: dict[Any, Any] = dict(zip(program.inputs, given, strict=True))
        for index, (each, dead) in enumerate(zip(runner.runners, program.last_use, strict=True)):
            start = time.perf_counter()
            each.run(values)
            jax.block_until_ready([x for x in values.values() if isinstance(x, jax.Array)])
            best[index] = min(best[index], (time.perf_counter() - start) * 1e3)
            for value in dead:
                values.pop(value, None)
    found = []
    for step, ms in zip(program.steps, best, strict=True):
        if isinstance(step, JitStep):
            origin = tuple(dict.fromkeys(name for node in step.nodes for name in origin_of(node)))
            found.append(StepTime("xla function", origin, ms, {"nodes": len(step.nodes)}))
        else:
            what = {"reason": step.reason}
            found.append(StepTime(f"host {step.node.op_type}", origin_of(step.node), ms, what))
    return found
