"""``accelc bench``: how fast a model is here, beside other systems, in interleaved rounds."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from accelc.errors import UsageError

if TYPE_CHECKING:
    from rich.console import Console

    from accelc.bench_model import Report


def bench(
    model: Annotated[Path, typer.Argument(help="A model file, or an artifact folder.")],
    vs: Annotated[
        str, typer.Option(help="Systems to compare with: onnxruntime, openvino; none.")
    ] = "onnxruntime",
    threads: Annotated[str, typer.Option(help="Thread counts, for example 1,2.")] = "1",
    rounds: Annotated[int, typer.Option(min=1, help="Turns that each system gets.")] = 12,
    dim: Annotated[list[str] | None, typer.Option(help="Size of a symbolic dim, N=8; others are 1.")] = None,
    data: Annotated[Path | None, typer.Option(help="Inputs by name in an .npz file; else random.")] = None,
    original: Annotated[
        Path | None, typer.Option(help="The model file of an artifact, for the other systems.")
    ] = None,
    target: Annotated[str, typer.Option(help="Target to compile for.")] = "cpu",
    level: Annotated[int, typer.Option("-O", min=0, max=3, help="Optimisation level.")] = 2,
    seed: Annotated[int, typer.Option(help="Seed of random inputs.")] = 0,
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON document.")] = False,
) -> None:
    """Time a model, interleaved with other systems: medians, percentiles, ratios, memory."""
    from accelc.bench_model import bench_model
    from accelc.cli.parse import dims_from, feeds_from, names_from

    try:
        counts = [int(part) for part in names_from(threads)]
    except ValueError:
        raise UsageError(f"cannot read --threads {threads}", fix="write for example --threads 1,2") from None
    console = _console()
    options: dict[str, Any] = {} if model.is_dir() else {"target": target, "level": level}
    with console.status("starting") as status:
        report = bench_model(
            model,
            vs=() if vs == "none" else names_from(vs),
            threads=counts,
            rounds=rounds,
            dims=dims_from(dim or ()),
            feeds=feeds_from(data) if data is not None else None,
            original=original,
            seed=seed,
            progress=lambda what, done, total: status.update(f"{what} {done}/{total}" if total else what),
            **options,
        )
    if as_json:
        print(json.dumps(report.to_json()))
    else:
        print_report(report)


def _console() -> Console:
    from rich.console import Console

    return Console(stderr=True)


def print_report(report: Report) -> None:
    """The report as tables for people, on standard output."""
    from rich.console import Console
    from rich.table import Table

    console = Console(highlight=False)
    inputs = ", ".join(f"{name} {kind}" for name, kind in report.inputs.items())
    console.print(
        f"{report.model} on target {report.target}, {report.rounds} interleaved rounds; {inputs}",
        markup=False,
    )
    table = Table(box=None, pad_edge=False, header_style="bold")
    table.add_column("system")
    for column in ("threads", "median ms", "p10", "p90", "p99", "calls", "ready in ms", "memory MB"):
        table.add_column(column, justify="right")
    for timing in report.timings:
        runner = timing.runner
        table.add_row(
            f"{runner.system} {runner.version}",
            str(runner.threads),
            *(_ms(timing.percentile(q)) for q in (50, 10, 90, 99)),
            str(len(timing.calls_ms)),
            f"{runner.prepare_ms:.0f}",
            "-" if runner.rss_growth_bytes is None else f"{runner.rss_growth_bytes / 1e6:.0f}",
        )
    console.print(table)
    for one in report.ratios:
        console.print(ratio_line(one), markup=False)
    machine = report.machine
    versions = machine["versions"]
    named = ", ".join(f"{k} {v}" for k, v in versions.items()) if isinstance(versions, dict) else ""
    peak = (
        ""
        if report.peak_rss_bytes is None
        else f"; peak memory of this process {report.peak_rss_bytes / 1e6:.0f} MB"
    )
    console.print(
        f"{machine['cpu']}, {machine['usable_cpus']} CPUs, {machine['system']}{peak}",
        style="dim",
        markup=False,
    )
    console.print(named, style="dim", markup=False)
    if report.fallbacks:
        console.print(
            f"ops on the slow reference: {', '.join(report.fallbacks)}", style="yellow", markup=False
        )


def ratio_line(one: Any) -> str:
    """``accelc is 1.23x as fast as onnxruntime, 1 thread (p10 to p90 of rounds: 1.20 to 1.26)``."""
    spread = f"(p10 to p90 of rounds: {one.p10:.2f} to {one.p90:.2f})"
    count = f"{one.subject_threads} thread{'s' if one.subject_threads != 1 else ''}"
    if one.subject == one.baseline:
        other = f"on {one.baseline_threads}"
        return f"{one.subject} on {count} is {one.median:.2f}x as fast as {other} {spread}"
    return f"{one.subject} is {one.median:.2f}x as fast as {one.baseline}, {count} {spread}"


def _ms(value: float) -> str:
    """Milliseconds with three significant digits."""
    digits = 4 if value < 0.1 else 3 if value < 1 else 2 if value < 100 else 1
    return f"{value:.{digits}f}"
