"""The command line: which cases to run, and what to print of them."""

from __future__ import annotations

import argparse
import json
import re
import sys
from collections.abc import Sequence
from pathlib import Path

from accelc.conformance.cases import CATEGORIES, Case, all_cases, features
from accelc.conformance.isolated import run_cases
from accelc.conformance.report import Report, read_known_wrong
from accelc.errors import EXIT_NUMERICS, EXIT_OK, EXIT_USAGE


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the suite as the arguments say.

    Returns:
        0 if no case crashed, hung or gave a wrong answer that is not listed; 1 if one did; 2 for wrong usage.
    """
    args = _parser().parse_args(arguments)
    try:
        wanted = select(category=args.category, pattern=args.pattern, names=args.only)
    except re.error as error:
        print(f"-k is no regular expression: {error}", file=sys.stderr)
        return EXIT_USAGE
    if not wanted:
        print("no case fits", file=sys.stderr)
        return EXIT_USAGE
    report = run(wanted, target=args.target, level=args.level, jobs=args.jobs, time_limit=args.time_limit)
    print(report.text())
    if args.reasons:
        for reason, names in report.refusals():
            print(f"{len(names):5}  {reason}\n       {' '.join(names[:6])}")
    if args.json is not None:
        args.json.write_text(json.dumps(report.to_json(), indent=1) + "\n", encoding="utf-8")
    return EXIT_NUMERICS if report.faults else EXIT_OK


def select(*, category: str = "all", pattern: str = "", names: Path | None = None) -> list[Case]:
    """Cases of a category whose name holds a match of ``pattern``; of those in the file ``names`` if given."""
    expression = re.compile(pattern)
    listed = set(names.read_text(encoding="utf-8").split()) if names is not None else None
    return [
        case
        for case in all_cases()
        if expression.search(case.name)
        and (listed is None or case.name in listed)
        and category in ("all", features(case).category)
    ]


def run(
    cases: Sequence[Case], *, target: str = "cpu", level: int = 2, jobs: int = 1, time_limit: float = 120.0
) -> Report:
    """Run ``cases``; a line on standard error tells how far it is if that is a terminal."""
    show = sys.stderr.isatty()
    results = []
    for result in run_cases(cases, {"target": target, "level": level}, jobs=jobs, time_limit=time_limit):
        results.append(result)
        if show:
            print(f"\r{len(results)}/{len(cases)} {result.name:<70.70}", end="", file=sys.stderr)
    if show:
        print(file=sys.stderr)
    order = {(case.kind, case.name): i for i, case in enumerate(cases)}
    results.sort(key=lambda result: order[result.kind, result.name])
    return Report(target, level, tuple(results), read_known_wrong())


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m accelc.conformance", description="Run ONNX's backend suite against a target."
    )
    add = parser.add_argument
    add("--target", default="cpu", help="the target (cpu); what onnx emits is judged in onnxruntime")
    add("-O", dest="level", type=int, default=2, choices=range(4), help="optimisation level (2)")
    add("--category", default="all", choices=(*CATEGORIES, "all"))
    add("-k", dest="pattern", default="", metavar="PATTERN", help="regular expression on case names")
    add("--only", type=Path, metavar="FILE", help="file with the names of the cases to run")
    add("--jobs", type=int, default=1, help="worker processes (1)")
    add("--time-limit", type=float, default=120.0, metavar="S", help="seconds for one case (120)")
    add("--reasons", action="store_true", help="group refusals and fallbacks by reason")
    add("--json", type=Path, metavar="FILE", help="write all results as JSON")
    return parser
