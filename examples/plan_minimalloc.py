"""Plan memory for problems in MiniMalloc's CSV format, and write them back with the offsets.

    python examples/plan_minimalloc.py A.1048576.csv                     # the lowest peak; CSV to standard output
    python examples/plan_minimalloc.py *.csv --capacity 1048576 --json   # any plan of this size is good enough
    python examples/plan_minimalloc.py *.csv --output plans              # a file for each in the folder "plans"

Columns: ``id``, ``lower`` and ``upper`` (the steps of its life, ``upper`` not included; or ``start`` and ``end``,
``end`` included), ``size``, and if need be ``alignment``, ``gaps`` (``4-6 9-12@0:64``: free in steps 4 and 5, and
in 9 to 11 but for its first 64 bytes) and ``offset`` (where the buffer must lie; empty: anywhere).

Every plan has been checked for overlaps by code that shares nothing with the planner. Exit code 0, or 5 if a plan
needs more than ``--capacity`` when the time is up (``lower_bound`` above it: there is none), 2 if a file is wrong.
"""

from __future__ import annotations

import argparse
import csv
import io
import json
import re
import sys
import time
from dataclasses import dataclass
from pathlib import Path

from accelc.errors import EXIT_INTERRUPTED, EXIT_LIMIT, AccelcError, UsageError
from accelc.plan.arena import Buffer, Gap, MemoryPlan, allocate

SYNONYMS = {"buffer": "id", "buffer_id": "id", "start": "lower", "begin": "lower"}
GAP = re.compile(r"(\d+)-(\d+)(?:@(\d+):(\d+))?")


@dataclass(frozen=True)
class Problem:
    """A file: its columns and rows as they are, and the buffers that they mean."""

    path: Path
    columns: list[str]
    rows: list[dict[str, str]]
    ids: list[str]
    buffers: list[Buffer]


def read(path: Path) -> Problem:
    """Read a file; UsageError with the line if it does not say what a buffer needs."""
    try:
        with path.open(newline="", encoding="utf-8") as file:
            reader = csv.DictReader(file, restval="")
            rows = list(reader)
            columns = list(reader.fieldnames or [])
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise UsageError("a problem cannot be read", where=str(path), why=str(error)) from error
    named = [{SYNONYMS.get(key, key): text for key, text in row.items() if key} for row in rows]
    present = {SYNONYMS.get(column, column) for column in columns}
    missing = {"id", "lower", "size"} - present | ({"upper"} - present if "end" not in present else set())
    if missing:
        raise UsageError("a problem lacks columns", where=str(path), why=", ".join(sorted(missing)))
    buffers = []
    for line, row in enumerate(named, start=2):
        try:
            buffers.append(buffer_of(row))
        except ValueError as error:
            raise UsageError("a row is no buffer", where=f"{path}, line {line}", why=str(error)) from error
    ids = [row["id"] for row in named]
    if len(set(ids)) < len(ids):
        raise UsageError("two buffers have the same id", where=str(path))
    return Problem(path, columns, rows, ids, buffers)


def buffer_of(row: dict[str, str]) -> Buffer:
    """The buffer that a row means."""
    included = 1 if "end" in row else 0
    gaps = []
    for text in row.get("gaps", "").split():
        found = GAP.fullmatch(text)
        if found is None:
            raise ValueError(f"gap {text!r} is not of the form 4-6 or 4-6@0:64")
        window = (int(found[3]), int(found[4])) if found[3] else None
        gaps.append(Gap(int(found[1]), int(found[2]) + included - 1, window))
    return Buffer(
        size=int(row["size"]),
        first=int(row["lower"]),
        last=int(row["end" if included else "upper"]) + included - 1,
        gaps=tuple(sorted(gaps, key=lambda gap: gap.first)),
        offset=int(row["offset"]) if row.get("offset") else None,
        alignment=int(row.get("alignment") or 1),
    )


def written(problem: Problem, plan: MemoryPlan) -> str:
    """The file again, with offsets."""
    text = io.StringIO()
    columns = [column for column in problem.columns if column != "offset"]
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow([*columns, "offset"])
    for row, offset in zip(problem.rows, plan.offsets, strict=True):
        writer.writerow([*(row[column] for column in columns), offset])
    return text.getvalue()


def solve(problem: Problem, capacity: int | None, time_limit_s: float) -> tuple[MemoryPlan, float]:
    """The plan, and the seconds it took."""
    start = time.perf_counter()
    try:
        plan = allocate(problem.buffers, capacity_bytes=capacity, time_limit_s=time_limit_s, alignment=1)
    except UsageError as error:
        raise UsageError(error.what, where=str(problem.path), why=error.why) from error
    return plan, time.perf_counter() - start


def run(arguments: argparse.Namespace) -> int:
    """Solve and write; the exit code."""
    instances = []
    texts = []
    for problem in [read(path) for path in arguments.files]:
        plan, seconds = solve(problem, arguments.capacity, arguments.time_limit)
        fits = arguments.capacity is None or plan.peak_bytes <= arguments.capacity
        instances.append(
            {
                "file": str(problem.path),
                "capacity": arguments.capacity,
                "peak": plan.peak_bytes,
                "lower_bound": plan.lower_bound_bytes,
                "optimal": plan.optimal,
                "seconds": round(seconds, 4),
                "offsets": dict(zip(problem.ids, plan.offsets, strict=True)),
            }
        )
        verdict = (
            "optimal"
            if plan.optimal
            else f"at most {plan.peak_bytes / plan.lower_bound_bytes:.4f}x the optimum"
        )
        if not fits:
            verdict += f", does not fit {arguments.capacity}"
        print(f"{problem.path.name}: peak {plan.peak_bytes}, {verdict}, {seconds:.2f} s", file=sys.stderr)
        if arguments.output is not None:
            arguments.output.mkdir(parents=True, exist_ok=True)
            (arguments.output / problem.path.name).write_text(written(problem, plan), encoding="utf-8")
        else:
            texts.append(written(problem, plan))
    if arguments.json:
        print(json.dumps({"instances": instances}))
    elif texts:
        print("\n".join(texts), end="")
    over = arguments.capacity is not None and any(each["peak"] > arguments.capacity for each in instances)
    return EXIT_LIMIT if over else 0


def main() -> int:
    """Parse the command line and run."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n", 1)[0])
    parser.add_argument("files", nargs="+", type=Path, metavar="FILE.csv")
    parser.add_argument("--capacity", type=int, help="bytes that are good enough (default: the lowest peak)")
    parser.add_argument("--time-limit", type=float, default=60.0, help="seconds of search for each file")
    parser.add_argument("--json", action="store_true", help="print one JSON object instead of CSV")
    parser.add_argument("--output", type=Path, help="folder for the CSV files with offsets")
    try:
        return run(parser.parse_args())
    except AccelcError as error:
        print(error, file=sys.stderr)
        return error.exit_code
    except KeyboardInterrupt:
        return EXIT_INTERRUPTED


if __name__ == "__main__":
    sys.exit(main())
