"""Plan the memory of a folder of models: the table behind any claim of memory made for accelc.

    ACCELC_BENCH=~/bench python examples/memory_corpus.py                       # all models
    ACCELC_BENCH=~/bench python examples/memory_corpus.py densenet121 --limit 0.8 --run --sanitize

The folder is that of bench_corpus.py. For each model, in bytes of one call without inputs, outputs and weights:

- own order: the model's own nodes in their own order, a buffer for each result, planned greedily, nothing in place;
- arena: what the compiled model's plan takes, workspaces of kernels included;
- / bound: the arena as a share of the most bytes alive at one step of the compiled program;
- / own: the arena as a share of the first.

``--limit 0.8`` compiles once more with ``mem_limit`` at that share of the arena, runs both, and says what it costs.
``--run`` runs the model and compares the arena allocated with the plan; ``--sanitize`` watches every step.
"""

from __future__ import annotations

import argparse
import json
import math
import sys
from pathlib import Path
from typing import Any

from bench_corpus import corpus, sizes_of

HEADER = ("model", "steps", "own order", "arena", "/ bound", "/ own", "allocated", "limit", "")
WIDTHS = (20, 6, 11, 11, 8, 7, 10, 9, 30)


def own_order_bytes(path: Path, sizes: dict[str, int]) -> int:
    """The greedy plan of the model's nodes as they are."""
    from accelc.frontend import load_model
    from accelc.ir.dims import evaluate
    from accelc.ir.shapes import dims_of, infer
    from accelc.plan.arena import Buffer, allocate

    model = load_model(path, dims=sizes).model
    infer(model)
    outputs = set(model.graph.outputs)
    first: dict[Any, int] = {}
    last: dict[Any, int] = {}
    for step, node in enumerate(model.graph):
        for value in node.inputs:
            if value in first:
                last[value] = step
        for value in node.outputs if node.op_type != "Constant" else ():
            if value.name and value not in outputs and dims_of(value) is not None and value.dtype is not None:
                first[value] = last[value] = step
    buffers = []
    for value, step in first.items():
        extents = [evaluate(dim, sizes) for dim in dims_of(value) or () if dim is not None]
        buffers.append(Buffer(math.ceil(math.prod(extents) * value.dtype.itemsize), step, last[value]))
    return allocate(buffers).peak_bytes


def measure(path: Path, args: argparse.Namespace, sizes: dict[str, int]) -> dict[str, Any]:
    """Everything about one model, as one row of plain data."""
    import accelc

    exe = accelc.compile(path, dims=sizes, verify=False, sanitize=args.sanitize)
    plan = exe.memory_plan
    row: dict[str, Any] = {
        "steps": len(exe.program.steps),
        "own_order_bytes": own_order_bytes(path, sizes),
        "arena_bytes": plan.peak_bytes,
        "lower_bound_bytes": plan.lower_bound_bytes,
    }
    if args.run:
        from accelc.inputs import random_feeds

        feeds = random_feeds(exe.model, seed=1, sizes=sizes)
        results = exe.run(None, feeds)
        if not args.sanitize:  # watched calls have arenas of their own, with guards
            row["allocated_bytes"] = exe.arena_bytes
    if args.limit:
        row["limit"] = limited(path, sizes, plan.peak_bytes * args.limit)
        if args.run and row["limit"]["met"]:
            again = accelc.compile(
                path, dims=sizes, verify=False, mem_limit=int(plan.peak_bytes * args.limit)
            )
            row["limit"]["max_difference"] = difference(results, again.run(None, feeds))
    return row


def limited(path: Path, sizes: dict[str, int], limit_bytes: float) -> dict[str, Any]:
    """What a memory limit leads to."""
    import accelc
    from accelc.errors import LimitError

    try:
        exe = accelc.compile(path, dims=sizes, verify=False, mem_limit=int(limit_bytes))
    except LimitError as error:
        return {"met": False, "why": error.why}
    cost = exe.memory_plan.limit
    return {
        "met": True,
        "arena_bytes": exe.memory_plan.peak_bytes,
        "more_calls": cost.recomputed_calls,
        "more_flops": cost.recomputed_flops,
        "flops": exe.info.facts["flops"],
    }


def difference(left: list[Any], right: list[Any]) -> float:
    """Largest difference as a share of the largest result; 0 where results are the same."""
    import numpy as np

    worst = 0.0
    for a, b in zip(left, right, strict=True):
        if a.size and not np.array_equal(a, b, equal_nan=a.dtype.kind == "f"):
            gap = np.abs(a.astype(np.float64) - b.astype(np.float64)).max()
            worst = max(worst, float(gap / max(np.abs(a.astype(np.float64)).max(), 1e-30)))
    return worst


def cells(name: str, row: dict[str, Any]) -> tuple[str, ...]:
    """One line of the table."""
    if "failed" in row:
        return (name, row["failed"])
    arena, bound, own = row["arena_bytes"], row["lower_bound_bytes"], row["own_order_bytes"]
    allocated = row.get("allocated_bytes")
    equal = "" if allocated is None else "= plan" if allocated == arena else str(allocated)
    limit = row.get("limit", {})
    shown = note = ""
    if limit.get("met"):
        shown = str(limit["arena_bytes"])
        note = f"+{limit['more_calls']} calls, +{limit['more_flops'] / max(limit['flops'], 1):.2%} FLOPs"
        if "max_difference" in limit:
            note += (
                f", differs by {limit['max_difference']:.1g}" if limit["max_difference"] else ", same results"
            )
    elif limit:
        shown = "not met"
    return (
        name,
        str(row["steps"]),
        str(own),
        str(arena),
        f"{arena / max(bound, 1):.3f}",
        f"{arena / max(own, 1):.3f}",
        equal,
        shown,
        note,
    )


def main() -> None:
    """Measure the named models, or all, and print the table as it grows."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("models", nargs="*", help="names in corpus.json; all by default")
    parser.add_argument("--limit", type=float, help="also compile with mem_limit at this share of the arena")
    parser.add_argument(
        "--run", action="store_true", help="run, and compare the arena allocated with the plan"
    )
    parser.add_argument("--sanitize", action="store_true", help="run with every step watched")
    parser.add_argument("--json", type=Path, help="also write all figures here")
    args = parser.parse_args()
    args.run = args.run or args.sanitize
    models = corpus()
    unknown = [name for name in args.models if name not in models]
    if unknown:
        sys.exit(f"not in corpus.json: {', '.join(unknown)}")
    print("  ".join(text.ljust(width) for text, width in zip(HEADER, WIDTHS, strict=True)))
    rows: dict[str, dict[str, Any]] = {}
    for name in args.models or models:
        path = Path(models[name]["path"])
        try:
            shapes = {key: about["shape"] for key, about in models[name]["inputs"].items()}
            rows[name] = measure(path, args, sizes_of(path, shapes))
        except Exception as error:  # one bad model must not end the table
            rows[name] = {"failed": f"{type(error).__name__}: {str(error).splitlines()[0]}"}
        line = zip(cells(name, rows[name]), WIDTHS, strict=False)
        print("  ".join(text.ljust(width) for text, width in line).rstrip(), flush=True)
    print(summary([row for row in rows.values() if "failed" not in row]))
    if args.json:
        args.json.write_text(json.dumps(rows, indent=1))


def summary(rows: list[dict[str, Any]]) -> str:
    """The worst share of the bound, and the mean share of the model's own order."""
    ratios = [row["arena_bytes"] / row["own_order_bytes"] for row in rows if row["own_order_bytes"]]
    if not ratios:
        return "\nno model was planned"
    worst = max(row["arena_bytes"] / max(row["lower_bound_bytes"], 1) for row in rows)
    mean = math.exp(sum(map(math.log, ratios)) / len(ratios))
    return f"\n{len(ratios)} models: at most {worst:.3f} of the bound; geometric mean {mean:.3f} of the own order"


if __name__ == "__main__":
    main()
