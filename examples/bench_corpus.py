"""Compile, verify and time a folder of models: the table behind any claim of speed made for accelc.

    ACCELC_BENCH=~/bench python examples/bench_corpus.py                    # all models
    ACCELC_BENCH=~/bench python examples/bench_corpus.py resnet50 bert_base_s128 --rounds 20

The folder holds ``corpus.json``, an object from a model's name to
``{"path": "models/x.onnx", "inputs": {"x": {"shape": [1, 3, 224, 224], "dtype": "float32"}}}``; a relative path
counts from the folder. Every model runs in a process of its own with an empty kernel cache, so "cold" compiles
every kernel (``--shared-cache`` lets later models find those of earlier ones). "warm" is the same compile again,
"load" reads the saved artifact. Ratios compare with onnxruntime in interleaved rounds on one thread; the last but
one column is accelc with two threads against accelc with one (target cpu). ``--target xla`` measures the JAX target
on the CPU in the same way.
"""

from __future__ import annotations

import argparse
import json
import math
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

HEADER = ("model", "kernels", "cold s", "warm s", "load ms", "error", "slow ops", "accelc ms", "ort ms", "ratio",
          "spread", "2 threads", "peak MB")  # fmt: skip


def corpus() -> dict[str, dict[str, Any]]:
    """The models of ``$ACCELC_BENCH``, with absolute paths."""
    folder = os.environ.get("ACCELC_BENCH")
    if not folder or not (Path(folder) / "corpus.json").is_file():
        sys.exit("set ACCELC_BENCH to a folder with corpus.json (see this file's first lines)")
    models: dict[str, dict[str, Any]] = json.loads((Path(folder) / "corpus.json").read_text())
    for entry in models.values():
        entry["path"] = str(Path(folder) / entry["path"])  # an absolute path stays itself
    return models


def sizes_of(path: Path, shapes: dict[str, list[int]]) -> dict[str, int]:
    """Sizes of the model's symbolic dims for inputs of these shapes."""
    from accelc.frontend import load_model
    from accelc.ir.shapes import dims_of, unify

    sizes: dict[str, int] = {}
    for value in load_model(path).model.graph.inputs:
        dims = dims_of(value)
        if dims is not None and value.name in shapes:
            unify(dims, shapes[value.name], sizes)
    return sizes


def measure(entry: dict[str, Any], target: str, rounds: int, cache: Path) -> dict[str, Any]:
    """Everything about one model, as one row of plain data."""
    import accelc
    from accelc.bench_model import bench_model

    path = Path(entry["path"])
    dims = sizes_of(path, {name: about["shape"] for name, about in entry["inputs"].items()})
    options: dict[str, Any] = {"target": target, "dims": dims, "cache_dir": cache}
    exe = accelc.compile(path, threads=1, **options)
    times, verdict = exe.summary["times_ms"], exe.verification
    cold_ms = times["total"] - times.get("verify", 0.0)
    start = time.perf_counter()
    accelc.compile(path, threads=1, verify=False, **options)
    warm_ms = (time.perf_counter() - start) * 1e3
    with tempfile.TemporaryDirectory() as folder:
        saved = exe.save(Path(folder) / "model.accel")
        start = time.perf_counter()
        accelc.load(saved, threads=1, cache_dir=cache)
        load_ms = (time.perf_counter() - start) * 1e3
    # XLA keeps the threads that it starts with: a process has one or two of them, not both.
    counts = (1, 2) if target == "cpu" else (1,)
    report = bench_model(path, threads=counts, rounds=rounds, **options)
    median = {(t.runner.system, t.runner.threads): t.median_ms for t in report.timings}
    one = next(r for r in report.ratios if r.baseline == "onnxruntime" and r.subject_threads == 1)
    two = next((r.to_json() for r in report.ratios if r.baseline == "accelc"), None)
    return {
        "slowest": slowest(exe, dims),
        "kernels": exe.summary.get("kernels", 0),
        "cold_ms": cold_ms,
        "warm_ms": warm_ms,
        "load_ms": load_ms,
        "verification": verdict.status,
        "error": verdict.max_rel_error,
        "reason": verdict.reason,
        "fallbacks": list(exe.fallbacks),
        "accelc_ms": median["accelc", 1],
        "onnxruntime_ms": median["onnxruntime", 1],
        "ratio": one.to_json(),
        "scaling": two,
        "peak_rss_bytes": report.peak_rss_bytes,
        "machine": report.machine,
    }


def slowest(exe: Any, sizes: dict[str, int], count: int = 3) -> list[dict[str, Any]]:
    """The kernels that take most of a call."""
    from accelc.inputs import random_feeds

    steps = exe.step_times(random_feeds(exe.model, seed=1, sizes=sizes))
    total = sum(step.ms or 0.0 for step in steps) or 1.0
    steps.sort(key=lambda step: -(step.ms or 0.0))
    return [
        {
            "node": ", ".join(step.origin),
            "kernel": step.kernel,
            "ms": step.ms,
            "share": (step.ms or 0.0) / total,
        }
        for step in steps[:count]
    ]


def run_child(name: str, args: argparse.Namespace, cache: Path) -> dict[str, Any]:
    """Measure in a process of its own; a failure becomes a row with the error's first line."""
    command = [sys.executable, __file__, "--one", name, "--target", args.target, "--rounds", str(args.rounds)]
    done = subprocess.run(
        [*command, "--cache", str(cache)], capture_output=True, text=True, check=False, timeout=args.limit
    )
    if done.returncode != 0:
        lines = [line for line in done.stderr.strip().splitlines() if line.strip()] or ["no message"]
        return {"failed": next((line for line in lines if "Error" in line), lines[-1])}
    row: dict[str, Any] = json.loads(done.stdout.strip().splitlines()[-1])
    return row


def cells(name: str, row: dict[str, Any]) -> tuple[str, ...]:
    """One line of the table."""
    if "failed" in row:
        return (name, row["failed"])
    verdict = f"{row['error']:.1e}" if row["verification"] == "verified" else row["verification"]
    ratio, scaling = row["ratio"], row["scaling"]
    return (
        name,
        str(row["kernels"]),
        f"{row['cold_ms'] / 1e3:.1f}",
        f"{row['warm_ms'] / 1e3:.2f}",
        f"{row['load_ms']:.0f}",
        verdict,
        str(len(row["fallbacks"])),
        f"{row['accelc_ms']:.3f}",
        f"{row['onnxruntime_ms']:.3f}",
        f"{ratio['median']:.2f}",
        f"{ratio['p10']:.2f}-{ratio['p90']:.2f}",
        "-" if scaling is None else f"{scaling['median']:.2f}",
        f"{(row['peak_rss_bytes'] or 0) / 1e6:.0f}",
    )


def main() -> None:
    """Measure the named models, or all, and print the table as it grows."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("models", nargs="*", help="names in corpus.json; all by default")
    parser.add_argument("--target", default="cpu")
    parser.add_argument("--rounds", type=int, default=10)
    parser.add_argument("--limit", type=float, default=600.0, help="seconds per model")
    parser.add_argument("--shared-cache", action="store_true", help="one kernel cache for all models")
    parser.add_argument("--json", type=Path, help="also write all figures here")
    parser.add_argument("--one", help=argparse.SUPPRESS)
    parser.add_argument("--cache", type=Path, help=argparse.SUPPRESS)
    args = parser.parse_args()
    models = corpus()
    if args.one:
        print(json.dumps(measure(models[args.one], args.target, args.rounds, args.cache)))
        return
    unknown = [name for name in args.models if name not in models]
    if unknown:
        sys.exit(f"not in corpus.json: {', '.join(unknown)}")
    widths = (20, 7, 6, 6, 7, 12, 8, 9, 9, 5, 9, 9, 7)
    print("  ".join(text.ljust(width) for text, width in zip(HEADER, widths, strict=True)))
    rows: dict[str, dict[str, Any]] = {}
    with tempfile.TemporaryDirectory() as shared:
        for name in args.models or models:
            with tempfile.TemporaryDirectory() as own:
                rows[name] = run_child(name, args, Path(shared if args.shared_cache else own))
            line = zip(cells(name, rows[name]), widths, strict=False)
            print("  ".join(text.ljust(width) for text, width in line), flush=True)
            for step in rows[name].get("slowest", ()):
                print(f"    {step['share']:4.0%}  {step['kernel']}  {step['node'][-80:]}", flush=True)
    ratios = [row["ratio"]["median"] for row in rows.values() if "ratio" in row]
    if ratios:
        mean = math.exp(sum(map(math.log, ratios)) / len(ratios))
        print(
            f"\n{len(ratios)} models: geometric mean {mean:.2f}, least {min(ratios):.2f} of onnxruntime's speed"
        )
    machine = next((row["machine"] for row in rows.values() if "machine" in row), {})
    if machine:
        versions = ", ".join(f"{key} {value}" for key, value in machine["versions"].items())
        print(f"\n{machine['cpu']}, {machine['usable_cpus']} CPUs, {machine['system']}; {versions}")
    if args.json:
        args.json.write_text(json.dumps(rows, indent=1))


if __name__ == "__main__":
    main()
