"""A compile as one offline HTML page: what was done, how fast each kernel is, what was refused and why."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import onnx_ir as ir

from accelc.errors import AccelcError, UsageError
from accelc.machine import facts as machine_facts
from accelc.machine_speed import machine_speed
from accelc.report.facts import graph_facts
from accelc.report.page import page
from accelc.report.roofline import roof_over
from accelc.summary import trace_json
from accelc.target import Executable, StepTime

__all__ = ["report_html", "write_report"]


def report_html(
    exe: Executable,
    original: ir.Model,
    *,
    feeds: Mapping[str, Any] | None = None,
    symbols: Mapping[str, int] | None = None,
    command: str = "",
    threads: int = 1,
    rounds: int = 5,
) -> str:
    """The page as text.

    Args:
        exe: A compiled model.
        original: The model as imported, before any pass.
        feeds: Inputs to time the steps on; without them nothing is timed.
        symbols: Sizes of the free dims of these inputs; 1 for those not named.
        command: What was run, to be shown.
        threads: Threads that ``exe`` may use: the roof is measured with as many.
        rounds: Runs of which each step's least time counts.

    Raises:
        UsageError: The executable has no optimised graph (it was loaded from an artifact).
    """
    if exe.model is None:
        raise UsageError("there is no graph to report on", fix="compile the model, artifacts keep no trace")
    steps, untimed = _steps(exe, feeds, rounds)
    graph = graph_facts(original, exe.model, trace=exe.trace, steps=steps, symbols=symbols)
    try:
        speed = roof_over(graph.timed, machine_speed(threads))
    except AccelcError:
        speed = None  # a page without a roofline is better than none
    return page(
        exe.summary,
        trace_json(exe.trace),
        graph,
        command=command,
        machine=machine_facts(),
        speed=speed,
        memory=exe.memory_map(),
        untimed=untimed,
    )


def _steps(exe: Executable, feeds: Mapping[str, Any] | None, rounds: int) -> tuple[Sequence[StepTime], str]:
    """Steps with their times, or why there are none: drawn inputs may be such as the model refuses."""
    if feeds is None:
        return (), "no inputs were given, and none could be drawn"
    try:
        return exe.step_times(feeds, rounds), ""
    except AccelcError as error:
        return (), f"the model does not run on the inputs drawn ({error.what}); give some with --input"


def write_report(path: Path, text: str) -> None:
    """Write a page; what was there is replaced at once or not at all.

    Raises:
        UsageError: The file cannot be written.
    """
    try:
        with tempfile.NamedTemporaryFile(
            "w", dir=path.parent, prefix=f".{path.name}.", encoding="utf-8", errors="replace", delete=False
        ) as staging:
            staging.write(text)
        os.chmod(staging.name, 0o644)
        os.replace(staging.name, path)
    except OSError as error:
        raise UsageError(f"the report {path} cannot be written", why=str(error)) from error
