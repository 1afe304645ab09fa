"""How long a model with free sizes takes to plan for a size it has not met: no kernel is compiled for it.

    python examples/replan.py                                   # the digits models, at ten batch sizes
    ACCELC_BENCH=~/bench python examples/replan.py              # and the OCR models of the benchmark folder
    python examples/replan.py model.onnx x=1,3,320,320 x=1,3,640,480     # your own, at sizes of your choice

Each size is planned once, timed; then the model runs at that size and is compared with onnxruntime.
"compiled" counts kernels that were missing after the compile: it stays 0. Exit code 1 if it does not, if an
answer differs, or with ``--limit MS`` if a plan takes longer than that.
"""

from __future__ import annotations

import argparse
import os
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import onnxruntime

import accelc
from accelc.machine import facts

Shape = tuple[int, ...]
DIGITS = Path(__file__).parent / "digits"


def known_models() -> Iterator[tuple[Path, str, list[Shape]]]:
    """(file, input, ten shapes) of the models at hand."""
    yield DIGITS / "mlp.onnx", "pixels", [(batch, 64) for batch in (1, 2, 3, 5, 8, 13, 21, 64, 100, 360)]
    yield DIGITS / "cnn.onnx", "image", [(batch, 1, 8, 8) for batch in (1, 2, 3, 5, 8, 13, 21, 64, 100, 360)]
    folder = Path(os.environ.get("ACCELC_BENCH", "")) / "models" / "dyn"
    if not os.environ.get("ACCELC_BENCH") or not folder.is_dir():
        print("without OCR models: set ACCELC_BENCH to a folder that has models/dyn", file=sys.stderr)
        return
    yield folder / "ppocr_det_640.onnx", "x", [(1, 3, 64 + 32 * i, 96 + 32 * (i % 5)) for i in range(10)]
    yield folder / "ppocr_rec_320.onnx", "x", [(1 + i % 6, 3, 48, 96 + 40 * i) for i in range(10)]
    yield folder / "ppocr_cls.onnx", "x", [(1 + i, 3, 48, 192) for i in range(10)]


def given_model(path: Path, shapes: list[str]) -> Iterator[tuple[Path, str, list[Shape]]]:
    """A model of the command line, with shapes of one input as ``x=1,3,64,64``."""
    pairs = [text.rpartition("=") for text in shapes]
    yield path, pairs[0][0], [tuple(int(dim) for dim in dims.split(",")) for _, _, dims in pairs]


def objects_in(folder: Path) -> int:
    """Compiled kernels in a cache folder."""
    return sum(1 for file in folder.rglob("*") if file.is_file() and file.stat().st_size > 0)


def measure(path: Path, name: str, shapes: list[Shape], cache: Path | None) -> tuple[list[float], int, float]:
    """Milliseconds of each plan, kernels made after the compile, largest error over max|output| of all sizes."""
    with tempfile.TemporaryDirectory() as own:
        folder = cache or Path(own)
        exe = accelc.compile(path, verify=False, cache_dir=folder)
        if exe.fallbacks:
            print(f"  {path.name}: without a kernel: {'; '.join(exe.fallbacks)}")
        session = onnxruntime.InferenceSession(str(path), providers=["CPUExecutionProvider"])
        before, times, worst, scale = objects_in(folder), [], 0.0, 1e-30
        rng = np.random.default_rng(0)
        for shape in shapes:
            x = rng.standard_normal(shape, dtype=np.float32)
            start = time.perf_counter()
            exe.plan_for({name: shape})
            times.append((time.perf_counter() - start) * 1e3)
            for got, want in zip(exe.run(None, {name: x}), session.run(None, {name: x}), strict=True):
                scale = max(scale, float(np.abs(want).max(initial=0)))
                worst = max(worst, float(np.abs(got - want).max(initial=0)))
        return times, objects_in(folder) - before, worst / scale


def main() -> None:
    """Measure all models and print one row for each."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("model", nargs="?", type=Path)
    parser.add_argument("shapes", nargs="*", help="NAME=DIM,DIM,...")
    parser.add_argument("--limit", type=float, metavar="MS")
    parser.add_argument("--cache-dir", type=Path, help="keep compiled kernels here")
    args = parser.parse_args()
    if args.model is not None and not args.shapes:
        parser.error("give at least one shape, as x=1,3,224,224")
    models = known_models() if args.model is None else given_model(args.model, args.shapes)
    failed = False
    print(f"{'model':20}  sizes  median ms  worst ms  compiled  error")
    for path, name, shapes in models:
        times, compiled, error = measure(path, name, shapes, args.cache_dir)
        row = f"{len(times):5}  {np.median(times):9.1f}  {max(times):8.1f}  {compiled:8}  {error:.1e}"
        print(f"{path.stem:20}  {row}", flush=True)
        slow = args.limit is not None and max(times) > args.limit
        failed = failed or compiled > 0 or not error <= 1e-4 or slow
    print(", ".join(f"{key} {value}" for key, value in facts().items() if key != "flags"))
    sys.exit(1 if failed else 0)


if __name__ == "__main__":
    main()
