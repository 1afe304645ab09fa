"""``accelc bench``: how fast a model is here, beside other systems, in interleaved rounds."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from accelc.cli import options as opt
from accelc.cli.output import emit_json, progress, table
from accelc.errors import UsageError
from accelc.quantities import duration_text, size_text, time_text

if TYPE_CHECKING:
    from accelc.bench_model import Report
    from accelc.benchmark import Ratio

app = opt.verb()


@app.command()
def bench(
    model: Annotated[Path, typer.Argument(metavar="MODEL|ART", help="A model file, or an artifact folder.")],
    vs: Annotated[
        str, typer.Option(help="Systems to compare with: onnxruntime,openvino,torch,torch-compile or none.")
    ] = "onnxruntime",
    threads: Annotated[str, typer.Option(help="Thread counts, as 1,2.")] = "1",
    rounds: Annotated[int, typer.Option(min=1, help="Turns that each system gets.")] = 12,
    dim: opt.Dims = None,
    inputs: opt.Inputs = None,
    original: Annotated[
        Path | None, typer.Option(help="Model file of the artifact, for the other systems.")
    ] = None,
    target: opt.TargetName = "cpu",
    level: opt.Level = 2,
    seed: opt.Seed = 0,
    as_json: opt.Json = False,
) -> None:
    """Time a model beside other systems, in interleaved rounds.

    Shows medians, percentiles, ratios and memory.
    Symbolic dims that --dim does not name are 1. Inputs that --input does not give are random.
    """
    from accelc.bench_model import bench_model

    options: dict[str, Any] = {} if opt.is_artifact(model) else {"target": target, "level": level}
    with progress(not as_json) as tell:
        report = bench_model(
            model,
            vs=() if vs == "none" else split_names(vs),
            threads=split_counts(threads),
            rounds=rounds,
            dims=opt.parse_dims(dim),
            feeds=opt.read_inputs(inputs) if inputs else None,
            original=original,
            seed=seed,
            progress=tell,
            **options,
        )
    if as_json:
        emit_json(report.to_json())
    else:
        print(report_text(report))


def split_names(text: str) -> list[str]:
    """``"a, b"`` as ``["a", "b"]``, each once, in order."""
    return list(dict.fromkeys(part.strip() for part in text.split(",") if part.strip()))


def split_counts(text: str) -> list[int]:
    """``"1,2"`` as ``[1, 2]``.

    Raises:
        UsageError: An item is not a positive number.
    """
    names = split_names(text)
    if not names or not all(name.isdecimal() and int(name) > 0 for name in names):
        raise UsageError(f"cannot read --threads {text}", fix="write --threads 1 or --threads 1,2")
    return [int(name) for name in names]


def report_text(report: Report) -> str:
    """The report for people."""
    inputs = ", ".join(f"{name} {kind}" for name, kind in report.inputs.items())
    header = ("system", "threads", "median", "p10", "p90", "p99", "calls", "ready in", "memory")
    lines = []
    for timing in report.timings:
        runner = timing.runner
        memory = "-" if runner.rss_growth_bytes is None else size_text(runner.rss_growth_bytes)
        times = [duration_text(timing.percentile(q)) for q in (50, 10, 90, 99)]
        name = f"{runner.system} {runner.version}"
        ready = time_text(runner.prepare_ms)
        lines.append((name, runner.threads, *times, len(timing.calls_ms), ready, memory))
    parts = [
        f"{report.model}, target {report.target}: {report.rounds} interleaved rounds on {inputs or 'no inputs'}",
        "",
        table(header, lines, right=range(1, len(header))),
        "",
        *(ratio_line(one) for one in report.ratios),
        *device_lines(report),
        *machine_lines(report),
    ]
    if report.fallbacks:
        parts.append(f"on the slow reference: {', '.join(report.fallbacks)}")
    return "\n".join(parts)


def device_lines(report: Report) -> list[str]:
    """Where a target with a device ran, and how well that was used."""
    use = report.device
    if use is None:
        return []
    busy = "utilisation not measured" if use.busy is None else f"{use.busy:.0%} busy"
    memory = "memory not told" if use.peak_bytes is None else f"{size_text(use.peak_bytes)} at most in use"
    count = f"{len(use.names)} device{'s' if len(use.names) != 1 else ''}"
    return [
        f"device time {duration_text(use.device_ms)} on {count} ({', '.join(use.names)}); {busy}; {memory}"
    ]


def machine_lines(report: Report) -> list[str]:
    """Where the report was measured, and with what."""
    machine = report.machine
    versions = machine["versions"]
    named = ", ".join(f"{k} {v}" for k, v in versions.items()) if isinstance(versions, dict) else ""
    peak = "" if report.peak_rss_bytes is None else f"; peak memory {size_text(report.peak_rss_bytes)}"
    return ["", f"{machine['cpu']}, {machine['usable_cpus']} CPUs, {machine['system']}{peak}", named]


def ratio_line(one: Ratio) -> str:
    """``accelc is 1.23x as fast as onnxruntime, 1 thread (p10 to p90 of rounds: 1.20 to 1.26)``."""
    spread = f"(p10 to p90 of rounds: {_factor(one.p10)} to {_factor(one.p90)})"
    count = f"{one.subject_threads} thread{'s' if one.subject_threads != 1 else ''}"
    if one.subject == one.baseline:
        other = f"on {one.baseline_threads}"
        return f"{one.subject} on {count} is {_factor(one.median)}x as fast as {other} {spread}"
    return f"{one.subject} is {_factor(one.median)}x as fast as {one.baseline}, {count} {spread}"


def _factor(value: float) -> str:
    return f"{value:.2f}" if value >= 0.1 else f"{value:.2g}"
