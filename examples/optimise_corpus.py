"""accelc as a graph optimiser: what `--target onnx` makes of a folder of models, for use with onnxruntime.

    python examples/optimise_corpus.py models/                                   # every .onnx file in it
    python examples/optimise_corpus.py resnet50.onnx --rounds 30 --keep out/     # keep the optimised models
    python examples/optimise_corpus.py models/ --peers ~/peers/bin/python        # also run onnxsim and onnxslim

Per model: nodes of the original, of accelc's result and of the peers' (Constant nodes do not count: they are weights);
bytes of the file and their share of the original's; onnxruntime's time on the original over its time on the result,
CPU time of one thread, in interleaved rounds with the spread from the 10th to the 90th percentile; the largest error,
as `accelc verify` measures it. Free dims are 1 unless `--dim` says otherwise. Every model is measured in a process of
its own. `--peers` names a Python that has onnxsim and onnxslim; what is missing there shows as `-`. The last lines name
the models that have more nodes than a peer's, are larger than 1.01 times the original, or ran slower by more than 3%.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

PEERS = {
    "onnxsim": "import onnxsim; model, _ = onnxsim.simplify(onnx.load(path))",
    "onnxslim": "import onnxslim; model = onnxslim.slim(path)",
}
COUNT = (
    "import onnx, sys; path = sys.argv[1]; {}; print(sum(n.op_type != 'Constant' for n in model.graph.node))"
)
HEADER = ("model", "nodes", "accelc", *PEERS, "MB", "size", "ort ms", "ratio", "spread", "error", "s")
WIDTHS = (20, 6, 6, 7, 8, 7, 6, 8, 5, 9, 12, 5)
MAX_SIZE, MIN_RATIO = 1.01, 0.97


def node_count(path: Path) -> int:
    """Nodes of the main graph of a model file, Constant nodes left out."""
    import onnx

    model = onnx.load(path, load_external_data=False)
    return sum(node.op_type != "Constant" for node in model.graph.node)


def size_of(path: Path) -> int:
    """Bytes of a model file and of the external data that it names."""
    import onnx
    from onnx.external_data_helper import ExternalDataInfo, uses_external_data

    tensors = onnx.load(path, load_external_data=False).graph.initializer
    beside = {ExternalDataInfo(t).location for t in tensors if uses_external_data(t)}
    return path.stat().st_size + sum((path.parent / name).stat().st_size for name in beside)


def peer_nodes(python: str, peer: str, path: Path, limit: float) -> int | None:
    """Nodes that are left when another optimiser has run; None if it is not installed or fails."""
    command = [python, "-c", COUNT.format(PEERS[peer]), str(path)]
    try:
        done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=limit)
        return int(done.stdout.split()[-1])
    except (subprocess.TimeoutExpired, IndexError, ValueError):
        return None


def measure(path: Path, args: argparse.Namespace) -> dict[str, Any]:
    """Everything about one model, as one row of plain data."""
    import accelc
    from accelc.bench_model import model_of
    from accelc.benchmark import onnxruntime_runner, ratio, time_interleaved
    from accelc.inputs import random_feeds
    from accelc.inspection import free_symbols

    exe = accelc.compile(path, target="onnx", verify=args.verify)
    original = model_of(path)
    sizes = dict.fromkeys(free_symbols(original), 1) | {
        name: int(size) for name, _, size in (text.partition("=") for text in args.dim or ())
    }
    feeds = random_feeds(original, seed=0, sizes=sizes)
    del original
    with tempfile.TemporaryDirectory() as folder:
        written = exe.save((args.keep or Path(folder)) / path.name)
        row: dict[str, Any] = {
            "nodes": {"original": node_count(path), "accelc": node_count(written)},
            "bytes": {"original": size_of(path), "accelc": size_of(written)},
            "verification": exe.verification.status,
            "reason": exe.verification.reason,
            "error": exe.verification.max_rel_error,
            "seconds": exe.summary["times_ms"]["total"] / 1e3
            - exe.summary["times_ms"].get("verify", 0.0) / 1e3,
        }
        del exe
        for peer in PEERS:
            row["nodes"][peer] = peer_nodes(args.peers, peer, path, args.limit) if args.peers else None
        if args.rounds:
            runners = [onnxruntime_runner(str(file), feeds) for file in (path, written)]
            before, after = time_interleaved(runners, rounds=args.rounds, clock=time.process_time_ns)
            row["original_ms"], row["optimised_ms"] = before.median_ms, after.median_ms
            row["ratio"] = ratio(after, before).to_json()
    return row


def run_child(path: Path, args: argparse.Namespace) -> dict[str, Any]:
    """Measure in a process of its own; a failure becomes a row with the error's first line."""
    command = [
        sys.executable,
        __file__,
        "--one",
        str(path),
        "--rounds",
        str(args.rounds),
        "--verify",
        str(args.verify),
    ]
    for flag, value in (("--peers", args.peers), ("--keep", args.keep), ("--limit", args.limit)):
        command += [flag, str(value)] if value is not None else []
    for dim in args.dim or ():
        command += ["--dim", dim]
    try:
        done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=4 * args.limit)
    except subprocess.TimeoutExpired:
        return {"failed": f"no result within {4 * args.limit:.0f} s"}
    if done.returncode != 0:
        lines = [line for line in done.stderr.strip().splitlines() if line.strip()] or ["no message"]
        return {"failed": next((line for line in lines if "Error" in line), lines[-1])}
    row: dict[str, Any] = json.loads(done.stdout.strip().splitlines()[-1])
    return row


def cells(name: str, row: dict[str, Any]) -> tuple[str, ...]:
    """One line of the table."""
    if "failed" in row:
        return (name, row["failed"])
    nodes, sizes, ratio = row["nodes"], row["bytes"], row.get("ratio")
    return (
        name,
        str(nodes["original"]),
        str(nodes["accelc"]),
        *("-" if nodes[peer] is None else str(nodes[peer]) for peer in PEERS),
        f"{sizes['original'] / 1e6:.1f}",
        f"{sizes['accelc'] / sizes['original']:.3f}",
        f"{row['optimised_ms']:.3f}" if ratio else "-",
        f"{ratio['median']:.2f}" if ratio else "-",
        f"{ratio['p10']:.2f}-{ratio['p90']:.2f}" if ratio else "-",
        f"{row['error']:.1e}" if row["verification"] == "verified" else row["verification"],
        f"{row['seconds']:.1f}",
    )


def shortfalls(rows: dict[str, dict[str, Any]]) -> list[str]:
    """What a user would hold against the result, model by model."""
    found = []
    for name, row in rows.items():
        if "failed" in row:
            found.append(f"{name}: {row['failed']}")
            continue
        least = min((row["nodes"][peer] for peer in PEERS if row["nodes"][peer] is not None), default=None)
        if least is not None and row["nodes"]["accelc"] > least:
            found.append(f"{name}: {row['nodes']['accelc']} nodes, a peer has {least}")
        if row["bytes"]["accelc"] > MAX_SIZE * row["bytes"]["original"]:
            found.append(
                f"{name}: {row['bytes']['accelc']} bytes, the original has {row['bytes']['original']}"
            )
        if "ratio" in row and row["ratio"]["median"] < MIN_RATIO:
            found.append(
                f"{name}: onnxruntime runs it at {row['ratio']['median']:.2f} of the original's speed"
            )
        if row["verification"] != "verified":
            found.append(f"{name}: {row['verification']}: {row['reason']}")
    return found


def models_of(paths: list[Path]) -> list[Path]:
    """The files named, and every .onnx file in the folders named."""
    found: list[Path] = []
    for path in paths:
        found += sorted(path.glob("*.onnx")) if path.is_dir() else [path]
    return found


def main() -> None:
    """Measure the models and print the table as it grows."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("paths", nargs="*", type=Path, help="models, or folders of models")
    parser.add_argument("--peers", help="a Python with onnxsim and onnxslim")
    parser.add_argument("--rounds", type=int, default=12, help="interleaved rounds; 0 times nothing")
    parser.add_argument("--verify", type=int, default=1, help="input sets to verify on")
    parser.add_argument("--dim", action="append", help="size of a free dim, as N=1")
    parser.add_argument("--limit", type=float, default=600.0, help="seconds per model and optimiser")
    parser.add_argument("--keep", type=Path, help="folder for the optimised models")
    parser.add_argument("--json", type=Path, help="also write all figures here")
    parser.add_argument("--one", type=Path, help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.one:
        print(json.dumps(measure(args.one, args)))
        return
    models = models_of(args.paths)
    if not models:
        sys.exit("give models, or a folder that holds some (see this file's first lines)")
    print("  ".join(text.ljust(width) for text, width in zip(HEADER, WIDTHS, strict=True)))
    rows: dict[str, dict[str, Any]] = {}
    for path in models:
        rows[path.stem] = run_child(path, args)
        line = zip(cells(path.stem, rows[path.stem]), WIDTHS, strict=False)
        print("  ".join(text.ljust(width) for text, width in line), flush=True)
    problems = shortfalls(rows)
    print("\n" + ("\n".join(problems) or "no model has more nodes than a peer's, more bytes, or runs slower"))
    if args.json:
        args.json.write_text(json.dumps(rows, indent=1))


if __name__ == "__main__":
    main()
