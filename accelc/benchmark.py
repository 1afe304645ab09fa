"""Fair timings of several systems on one model: interleaved rounds, one input, ratios within a round.

Machines drift (clock, neighbours, page cache), so two systems are never timed one after the other: each round
times all of them, in an order that rotates, and a ratio is taken inside one round. What is reported is the
median of those ratios with its spread, beside the percentiles of the calls.
"""

from __future__ import annotations

import gc
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from accelc.errors import UnsupportedError, UsageError
from accelc.machine import peak_rss_bytes, reset_peak_rss, rss_bytes, versions
from accelc.target import Executable

ROUND_MS = 60.0
"""Time that one system gets in one round: long against timer noise, short against drift."""
MAX_CALLS_PER_ROUND = 2000
WARMUP_CALLS = 3
SETTLE_S = 0.005
"""Pause before a turn: thread pools spin for a few milliseconds after a call and would slow the next system."""
WARM_TURNS = 4
"""From so many calls per turn on, the first one is not timed; below, it is too dear and matters too little."""


@dataclass(frozen=True)
class Runner:
    """One system, prepared: ``call`` runs the model once on the fixed inputs.

    Args:
        system: For people, and the key of ratios: ``accelc``, ``onnxruntime``.
        threads: Threads that one call may use.
        version: Version of the system's package.
        call: One inference, outputs returned.
        prepare_ms: What it took to get ready (compile, load or session creation).
        rss_growth_bytes: By how much the process's resident memory rose at most while it was prepared and
            first called; None where the system does not tell (other than Linux).
    """

    system: str
    threads: int
    version: str
    call: Callable[[], Sequence[np.ndarray]]
    prepare_ms: float = 0.0
    rss_growth_bytes: int | None = None

    @property
    def label(self) -> str:
        """``onnxruntime, 2 threads``."""
        return f"{self.system}, {self.threads} thread{'s' if self.threads != 1 else ''}"


@dataclass(frozen=True)
class Timing:
    """Times of one runner: all its calls, and the median of each round; milliseconds."""

    runner: Runner
    calls_ms: np.ndarray = field(repr=False)
    rounds_ms: np.ndarray = field(repr=False)

    def percentile(self, q: float) -> float:
        """The ``q``-th percentile over all calls, in ms."""
        return float(np.percentile(self.calls_ms, q))

    @property
    def median_ms(self) -> float:
        """The median over all calls."""
        return self.percentile(50)

    def to_json(self) -> dict[str, Any]:
        """JSON-able form; times in milliseconds."""
        return {
            "system": self.runner.system,
            "version": self.runner.version,
            "threads": self.runner.threads,
            "calls": len(self.calls_ms),
            "median_ms": self.median_ms,
            "p10_ms": self.percentile(10),
            "p90_ms": self.percentile(90),
            "p99_ms": self.percentile(99),
            "prepare_ms": self.runner.prepare_ms,
            "rss_growth_bytes": self.runner.rss_growth_bytes,
        }


@dataclass(frozen=True)
class Ratio:
    """How many times as fast ``subject`` is as ``baseline``: median over rounds, and p10 to p90."""

    subject: str
    baseline: str
    subject_threads: int
    baseline_threads: int
    median: float
    p10: float
    p90: float

    def to_json(self) -> dict[str, Any]:
        """JSON-able form."""
        return dict(vars(self))


def ratio(subject: Timing, baseline: Timing) -> Ratio:
    """Compare two timings of the same :func:`time_interleaved` call, round by round."""
    if len(subject.rounds_ms) != len(baseline.rounds_ms):
        raise UsageError(
            "the timings are not of one interleaved run", fix="time both in one time_interleaved call"
        )
    per_round = baseline.rounds_ms / np.maximum(subject.rounds_ms, 1e-9)
    p10, median, p90 = (float(x) for x in np.percentile(per_round, (10, 50, 90)))
    a, b = subject.runner, baseline.runner
    return Ratio(a.system, b.system, a.threads, b.threads, median, p10, p90)


def time_interleaved(
    runners: Sequence[Runner],
    *,
    rounds: int = 12,
    round_ms: float = ROUND_MS,
    clock: Callable[[], int] | None = None,
    progress: Callable[[int, int], None] | None = None,
) -> list[Timing]:
    """Time all ``runners`` against each other.

    Args:
        runners: Prepared systems; each is warmed up first.
        rounds: How often each gets its turn; at least 1.
        round_ms: Time of one turn; a slow model still makes one call.
        clock: Nanoseconds; wall time by default. ``time.process_time_ns`` compares single-threaded systems fairly
            on a busy machine.
        progress: Called with (rounds done, rounds).

    Returns:
        One timing per runner, in the given order.

    Raises:
        UsageError: No runner, or fewer rounds than one.
    """
    if not runners or rounds < 1:
        raise UsageError(
            f"cannot time {len(runners)} systems in {rounds} rounds", fix="give at least one of each"
        )
    clock = clock or time.perf_counter_ns
    turns = [_calls_per_round(runner, round_ms, clock) for runner in runners]
    calls: list[list[float]] = [[] for _ in runners]
    medians: list[list[float]] = [[] for _ in runners]
    collecting = gc.isenabled()
    gc.disable()  # a collection inside one system's turn would be charged to it
    try:
        for done in range(rounds):
            for place in range(len(runners)):
                index = (place + done) % len(runners)
                _settle(runners[index], turns[index])
                times = _time_calls(runners[index].call, turns[index], clock)
                calls[index] += times
                medians[index].append(float(np.median(times)))
            gc.collect()
            if progress is not None:
                progress(done + 1, rounds)
    finally:
        if collecting:
            gc.enable()
    return [Timing(runner, np.asarray(calls[i]), np.asarray(medians[i])) for i, runner in enumerate(runners)]


def _calls_per_round(runner: Runner, round_ms: float, clock: Callable[[], int]) -> int:
    """Warm up, and find how many calls fill a round."""
    _time_calls(runner.call, WARMUP_CALLS, clock)
    times = _time_calls(runner.call, WARMUP_CALLS, clock)
    return max(1, min(MAX_CALLS_PER_ROUND, int(round_ms / max(min(times), 1e-6))))


def _settle(runner: Runner, turns: int) -> None:
    """Let the last system's idle threads stop spinning, and fetch this one's weights into the caches."""
    time.sleep(SETTLE_S)
    if turns >= WARM_TURNS:
        runner.call()


def _time_calls(call: Callable[[], object], count: int, clock: Callable[[], int]) -> list[float]:
    """Milliseconds of ``count`` calls, each timed by itself."""
    times = []
    for _ in range(count):
        start = clock()
        call()
        times.append((clock() - start) / 1e6)
    return times


def accelc_runner(
    make: Callable[[], Executable], feeds: Mapping[str, np.ndarray], *, threads: int = 1
) -> Runner:
    """Our own side: ``make`` compiles or loads for ``threads`` threads; calls go through ``run``."""

    def prepare() -> Callable[[], Sequence[np.ndarray]]:
        run, given = make().run, dict(feeds)
        return lambda: run(None, given)

    return _prepared("accelc", threads, versions().get("accelc", ""), prepare)


def onnxruntime_runner(
    model: str | Path | bytes, feeds: Mapping[str, np.ndarray], *, threads: int = 1
) -> Runner:
    """The CPU provider of onnxruntime with all optimisations: ``threads`` intra-op threads, one inter-op."""
    import onnxruntime as ort

    def prepare() -> Callable[[], Sequence[np.ndarray]]:
        options = ort.SessionOptions()
        options.intra_op_num_threads = threads
        options.inter_op_num_threads = 1
        options.log_severity_level = 3
        session = ort.InferenceSession(model, options, providers=["CPUExecutionProvider"])
        run, given = session.run, dict(feeds)
        return lambda: run(None, given)

    return _prepared("onnxruntime", threads, ort.__version__, prepare)


def openvino_runner(
    model: str | Path | bytes, feeds: Mapping[str, np.ndarray], *, threads: int = 1
) -> Runner:
    """OpenVINO's CPU plug-in in float32 with the latency hint, inputs and outputs shared instead of copied.

    Raises:
        UsageError: OpenVINO is not installed.
    """
    try:
        import openvino as ov
    except ImportError as error:
        raise UsageError("OpenVINO is not installed", fix="pip install 'accelc[openvino]'") from error

    def prepare() -> Callable[[], Sequence[np.ndarray]]:
        core = ov.Core()
        read = core.read_model(model) if not isinstance(model, bytes) else core.read_model(model, b"")
        read.reshape({name: ov.PartialShape(list(array.shape)) for name, array in feeds.items()})
        compiled = core.compile_model(
            read,
            "CPU",
            {
                "PERFORMANCE_HINT": "LATENCY",
                "NUM_STREAMS": "1",
                "INFERENCE_NUM_THREADS": threads,
                "INFERENCE_PRECISION_HINT": "f32",
            },
        )
        request, given = compiled.create_infer_request(), dict(feeds)
        return lambda: list(request.infer(given, share_inputs=True, share_outputs=True).values())

    return _prepared("openvino", threads, ov.__version__.split("-")[0], prepare)


def torch_runner(
    model: str | Path | bytes,
    feeds: Mapping[str, np.ndarray],
    *,
    threads: int = 1,
    device: str = "cpu",
    compiled: bool = False,
) -> Runner:
    """PyTorch on ``device``, eager or through torch.compile (accelc.benchmark_torch)."""
    from accelc.benchmark_torch import torch_call

    version = ""

    def prepare() -> Callable[[], Sequence[np.ndarray]]:
        nonlocal version
        call, version = torch_call(model, feeds, threads=threads, device=device, compiled=compiled)
        return call

    runner = _prepared("torch-compile" if compiled else "torch", threads, version, prepare)
    return replace(runner, version=version)


OPPONENTS: Mapping[str, Callable[..., Runner]] = {
    "onnxruntime": onnxruntime_runner,
    "openvino": openvino_runner,
    "torch": torch_runner,
    "torch-compile": partial(torch_runner, compiled=True),
}
ON_DEVICES = ("torch", "torch-compile")
"""Those of them that can run on a GPU."""


def check_known(name: str) -> None:
    """Raise UsageError unless ``name`` is a system that accelc can be compared with."""
    if name not in OPPONENTS:
        raise UsageError(f"cannot compare with {name!r}", fix=f"known systems: {', '.join(OPPONENTS)}")


def opponent(
    name: str,
    model: str | Path | bytes,
    feeds: Mapping[str, np.ndarray],
    *,
    threads: int = 1,
    device: str = "cpu",
) -> Runner:
    """Prepare the system called ``name`` (a key of OPPONENTS) on ``model``, on ``device`` if it can run there.

    Raises:
        UsageError: Unknown, or not installed.
        UnsupportedError: It cannot load or run this model.
    """
    check_known(name)
    try:
        where = {"device": device} if name in ON_DEVICES else {}
        return OPPONENTS[name](model, feeds, threads=threads, **where)
    except (UsageError, UnsupportedError):
        raise
    except Exception as error:  # each system raises its own classes
        why = " ".join(str(error).split())[:300]
        raise UnsupportedError(
            f"{name} cannot run the model", why=why, fix=f"leave {name} out of --vs"
        ) from error


def _prepared(
    system: str, threads: int, version: str, prepare: Callable[[], Callable[[], Sequence[np.ndarray]]]
) -> Runner:
    """Prepare, call once, and note time and memory."""
    gc.collect()
    measurable = reset_peak_rss()
    before = rss_bytes()
    start = time.perf_counter()
    call = prepare()
    elapsed_ms = (time.perf_counter() - start) * 1e3
    call()
    peak = peak_rss_bytes()
    growth = max(0, peak - before) if measurable and peak is not None and before is not None else None
    return Runner(system, threads, version, call, elapsed_ms, growth)
