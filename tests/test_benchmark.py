"""The timing engine: fair turns, ratios within a round, and a report that names everything. No times are asserted."""

from __future__ import annotations

import gc
import importlib.util
import itertools
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import accelc.benchmark as benchmark
from accelc.benchmark import Runner, Timing, opponent, ratio, time_interleaved
from accelc.errors import UnsupportedError, UsageError
from accelc.machine import facts, peak_rss_bytes, rss_bytes, usable_cpus

MLP = Path(__file__).parents[1] / "examples" / "digits" / "mlp.onnx"
PIXELS = {"pixels": np.random.default_rng(0).uniform(0, 16, (2, 64)).astype(np.float32)}


class Clock:
    """A clock that the runners move, so that results are exact."""

    def __init__(self) -> None:
        self.now_ns = 0
        self.calls: list[str] = []

    def runner(self, name: str, costs_ms: list[float]) -> Runner:
        costs = itertools.cycle(costs_ms)

        def call() -> list[np.ndarray]:
            self.calls.append(name)
            self.now_ns += int(next(costs) * 1e6)
            return []

        return Runner(name, 1, "1.0", call)


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    fake = Clock()
    monkeypatch.setattr(benchmark.time, "perf_counter_ns", lambda: fake.now_ns)
    monkeypatch.setattr(benchmark.time, "sleep", lambda seconds: None)
    return fake


def test_turns_are_interleaved_and_rotate(clock: Clock) -> None:
    runners = [clock.runner("a", [40.0]), clock.runner("b", [80.0])]
    done: list[tuple[int, int]] = []
    a, b = time_interleaved(runners, rounds=3, round_ms=60, progress=lambda i, n: done.append((i, n)))
    warm_up = 2 * benchmark.WARMUP_CALLS
    assert clock.calls[: 2 * warm_up] == ["a"] * warm_up + ["b"] * warm_up
    assert clock.calls[2 * warm_up :] == ["a", "b", "b", "a", "a", "b"]
    assert done == [(1, 3), (2, 3), (3, 3)]
    assert (a.median_ms, b.median_ms, len(a.calls_ms), len(b.rounds_ms)) == (40.0, 80.0, 3, 3)


def test_fast_calls_fill_a_round(clock: Clock) -> None:
    (timing,) = time_interleaved([clock.runner("a", [1.0])], rounds=2, round_ms=20)
    assert len(timing.calls_ms) == 40
    (timing,) = time_interleaved([clock.runner("b", [0.0])], rounds=1, round_ms=20)
    assert len(timing.calls_ms) == benchmark.MAX_CALLS_PER_ROUND


def timing(name: str, rounds_ms: list[float]) -> Timing:
    array = np.array(rounds_ms)
    return Timing(Runner(name, 1, "1.0", list), array, array)


def test_a_ratio_is_taken_within_a_round() -> None:
    fast, slow = timing("fast", [1, 10, 100]), timing("slow", [2, 20, 400])
    result = ratio(fast, slow)
    assert (result.median, result.subject, result.baseline) == (2.0, "fast", "slow")
    assert result.p10 == 2.0
    assert 2.0 < result.p90 <= 4.0
    assert ratio(slow, fast).median == 0.5
    with pytest.raises(UsageError, match="not of one interleaved run"):
        ratio(fast, timing("other", [1.0]))


def test_percentiles() -> None:
    one = timing("a", [float(i) for i in range(101)])
    assert (one.percentile(10), one.median_ms, one.percentile(99)) == (10, 50, 99)
    assert one.to_json()["p99_ms"] == 99


@pytest.mark.parametrize(("runners", "rounds"), [([], 3), ([Runner("a", 1, "1", list)], 0)])
def test_nothing_to_time(runners: list[Runner], rounds: int) -> None:
    with pytest.raises(UsageError, match="cannot time"):
        time_interleaved(runners, rounds=rounds)


def test_garbage_collection_is_on_again_after_a_failure() -> None:
    calls = itertools.count()

    def fails_later() -> list[np.ndarray]:
        if next(calls) > 2 * benchmark.WARMUP_CALLS:
            raise RuntimeError("broken")
        return []

    with pytest.raises(RuntimeError, match="broken"):
        time_interleaved([Runner("a", 1, "1", fails_later)], rounds=3)
    assert gc.isenabled()


def test_onnxruntime_as_opponent() -> None:
    runner = opponent("onnxruntime", MLP, PIXELS, threads=2)
    assert runner.call()[0].shape == (2, 10)
    assert runner.label == "onnxruntime, 2 threads"
    assert runner.prepare_ms > 0
    with pytest.raises(UnsupportedError, match="onnxruntime cannot run the model") as caught:
        opponent("onnxruntime", b"not a model", PIXELS)
    assert caught.value.fix == "leave onnxruntime out of --vs"
    with pytest.raises(UsageError, match="cannot compare with 'abacus'"):
        opponent("abacus", MLP, PIXELS)


def test_openvino_as_opponent() -> None:
    if importlib.util.find_spec("openvino") is None:
        with pytest.raises(
            UsageError, match=r"OpenVINO is not installed\n  fix    pip install 'accelc\[openvino\]'"
        ):
            opponent("openvino", MLP, PIXELS)
        return
    assert opponent("openvino", MLP, PIXELS).call()[0].shape == (2, 10)


def test_facts_name_machine_and_versions() -> None:
    found = facts()
    versions: Any = found["versions"]
    assert found["cpu"]
    assert found["usable_cpus"] == usable_cpus() >= 1
    assert {"python", "accelc", "numpy", "onnxruntime"} <= set(versions)


def test_memory_of_this_process() -> None:
    now, peak = rss_bytes(), peak_rss_bytes()
    if now is None or peak is None:
        pytest.skip("this system does not tell a process's memory")
    assert 1 << 20 < now <= peak * 1.01


def test_a_model_beside_onnxruntime() -> None:
    from accelc.bench_model import bench_model

    said: list[str] = []
    tell: Callable[[str, int, int], None] = lambda what, done, total: said.append(what)  # noqa: E731
    report = bench_model(MLP, threads=(1, 2), rounds=1, dims={"batch": 3}, progress=tell)
    assert report.inputs == {"pixels": "float32[3, 64]"}
    assert [(t.runner.system, t.runner.threads) for t in report.timings] == [
        ("accelc", 1),
        ("onnxruntime", 1),
        ("accelc", 2),
        ("onnxruntime", 2),
    ]
    assert [(r.subject_threads, r.baseline, r.baseline_threads) for r in report.ratios] == [
        (1, "onnxruntime", 1),
        (2, "onnxruntime", 2),
        (2, "accelc", 1),
    ]
    assert {"rounds", "accelc, 1 thread(s)"} <= set(said)
    document = report.to_json()
    assert document["schema"] == 1
    assert document["verification"]["status"] == "off"


def test_dims_that_are_not_there() -> None:
    from accelc.bench_model import bench_model

    with pytest.raises(UsageError, match="no dim called 'N'\n  why    its free dims are: batch"):
        bench_model(MLP, dims={"N": 2}, rounds=1)
    with pytest.raises(UsageError, match="no thread count"):
        bench_model(MLP, threads=(), rounds=1)


def test_an_artifact_needs_its_original(tmp_path: Path) -> None:
    from accelc.bench_model import bench_model

    with pytest.raises(UsageError, match="other systems need the model file"):
        bench_model(tmp_path, rounds=1)
