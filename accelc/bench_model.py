"""Time one model on accelc and on other systems: what ``accelc bench`` and ``examples/bench_corpus.py`` report."""

from __future__ import annotations

import functools
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import onnx_ir as ir

from accelc.benchmark import (
    Ratio,
    Runner,
    Timing,
    accelc_runner,
    check_known,
    opponent,
    ratio,
    time_interleaved,
)
from accelc.device_use import DeviceUse, device_use
from accelc.errors import UsageError
from accelc.ir.shapes import dims_of, symbols_in
from accelc.machine import facts, peak_rss_bytes
from accelc.target import Executable

SCHEMA = 1

Feeds = Mapping[str, np.ndarray]


@dataclass(frozen=True)
class Report:
    """What was measured, on what, where.

    ``ratios`` compares accelc with every other system at the same thread count, and with itself on the first
    thread count.
    """

    model: str
    target: str
    inputs: dict[str, str]
    rounds: int
    timings: tuple[Timing, ...]
    ratios: tuple[Ratio, ...]
    machine: dict[str, object]
    peak_rss_bytes: int | None
    verification: dict[str, Any]
    fallbacks: tuple[str, ...]
    device: DeviceUse | None = None
    """Of a target that runs on a device of its own kind: where it ran, and how well that was used."""

    def to_json(self) -> dict[str, Any]:
        """JSON-able form; times in milliseconds, memory in bytes."""
        return {
            "schema": SCHEMA,
            **{key: value for key, value in vars(self).items() if key not in ("timings", "ratios", "device")},
            "timings": [timing.to_json() for timing in self.timings],
            "ratios": [one.to_json() for one in self.ratios],
            "fallbacks": list(self.fallbacks),
            "device": None if self.device is None else self.device.to_json(),
        }


def bench_model(
    source: Path,
    *,
    vs: Sequence[str] = ("onnxruntime",),
    threads: Sequence[int] = (1,),
    rounds: int = 12,
    dims: Mapping[str, int] | None = None,
    feeds: Feeds | None = None,
    original: Path | None = None,
    seed: int = 0,
    progress: Callable[[str, int, int], None] | None = None,
    **options: Any,
) -> Report:
    """Compile (or load) ``source`` for each thread count and time it, interleaved with the systems of ``vs``.

    Args:
        source: A model file, or an artifact folder.
        vs: Names of other systems (accelc.benchmark.OPPONENTS).
        threads: Thread counts; all of them are timed in the same rounds.
        rounds: Turns per system.
        dims: Sizes of symbolic dims; those not named are 1. A model file is compiled for them.
        feeds: Inputs; random ones by default.
        original: The model file that the other systems run if ``source`` is an artifact.
        seed: Seed of random inputs.
        progress: Called with (what, done, total).
        **options: For :func:`accelc.compile`; the model is not verified unless ``verify`` says so.

    Raises:
        UsageError: An artifact is compared without its original; no thread count; inputs that do not fit.
        AccelcError: As :func:`accelc.compile` and the systems' own failures.
    """
    if not threads or min(threads) < 1:
        raise UsageError("no thread count to time", fix="--threads 1,2")
    for name in vs:
        check_known(name)
    is_artifact = source.is_dir()
    if is_artifact and vs and original is None:
        raise UsageError(
            "other systems need the model file",
            why=f"{source} is an artifact: its weights may be in a layout of the target's own",
            fix="--original MODEL.onnx, or --vs none",
        )
    say = progress or (lambda what, done, total: None)
    if feeds is None:
        feeds = _random_inputs(original or source, dims or {}, seed)
    make = _loader(source) if is_artifact else _compiler(source, dims, options)
    first: list[Executable] = []
    runners: list[Runner] = []
    for count in threads:
        say(f"accelc, {count} thread(s)", 0, 0)
        runners.append(accelc_runner(functools.partial(_keep, make, count, first), feeds, threads=count))
        for name in vs:
            say(f"{name}, {count} thread(s)", 0, 0)
            device = "cuda" if first[0].target_name == "gpu" else "cpu"
            runners.append(opponent(name, str(original or source), feeds, threads=count, device=device))
    timings = time_interleaved(
        runners, rounds=rounds, progress=lambda done, total: say("rounds", done, total)
    )
    return Report(
        model=source.name,
        target=first[0].target_name,
        inputs={name: f"{array.dtype}{list(array.shape)}" for name, array in feeds.items()},
        rounds=rounds,
        timings=tuple(timings),
        ratios=tuple(_ratios(timings)),
        machine=facts(),
        peak_rss_bytes=peak_rss_bytes(),
        verification={"status": first[0].verification.status, "reason": first[0].verification.reason},
        fallbacks=tuple(first[0].fallbacks),
        device=_device(first[0], timings[0]),
    )


def _device(exe: Executable, timing: Timing) -> DeviceUse | None:
    """Use of the device that ``exe`` runs on; None on the CPU, whose times the table has."""
    facts = exe.summary.get("target_facts", exe.summary)
    if facts.get("platform", "cpu") == "cpu":
        return None
    return device_use((str(facts["device"]),), timing.median_ms, exe.device_peak_bytes, timing.runner.call)


def _keep(make: Callable[[int], Executable], threads: int, made: list[Executable]) -> Executable:
    made.append(make(threads))
    return made[-1]


def _compiler(
    source: Path, dims: Mapping[str, int] | None, options: dict[str, Any]
) -> Callable[[int], Executable]:
    from accelc.driver import compile as compile_model

    options = {"verify": False, **options}
    return lambda threads: compile_model(source, threads=threads, dims=dict(dims or {}), **options)


def _loader(source: Path) -> Callable[[int], Executable]:
    from accelc.driver import load

    return lambda threads: load(source, threads=threads)


def _random_inputs(source: Path, dims: Mapping[str, int], seed: int) -> Feeds:
    """Inputs the model accepts, with 1 for every free dim that has a name."""
    from accelc.inputs import random_feeds

    model = model_of(source)
    named = {
        symbol for value in model.graph.inputs for dim in dims_of(value) or () for symbol in _symbols(dim)
    }
    unknown = sorted(set(dims) - named)
    if unknown:
        raise UsageError(
            f"the model has no dim called {unknown[0]!r}",
            why=f"its free dims are: {', '.join(sorted(named)) or 'none'}",
            fix="leave the --dim out",
        )
    return random_feeds(model, seed=seed, sizes={**dict.fromkeys(named, 1), **dims})


def model_of(source: Path) -> ir.Model:
    """The graph behind ``source``: a model file as imported, or the optimised graph of an artifact."""
    if source.is_dir():
        from accelc import artifact

        return artifact.read_model(source, artifact.read(source))
    from accelc.frontend import load_model

    return load_model(source).model


def _symbols(dim: int | str | None) -> Sequence[str]:
    return tuple(symbols_in(dim)) if isinstance(dim, str) else ()


def _ratios(timings: Sequence[Timing]) -> list[Ratio]:
    """Of accelc over each other system at equal threads, and over itself at the first thread count."""
    ours = [timing for timing in timings if timing.runner.system == "accelc"]
    found = []
    for mine in ours:
        same = [t for t in timings if t.runner.threads == mine.runner.threads and t is not mine]
        found += [ratio(mine, other) for other in same]
        if mine is not ours[0]:
            found.append(ratio(mine, ours[0]))
    return found
