"""Random models through accelc: ``python tests/fuzz/run.py --count 200 --seed 0 [--target cpu] [--json FILE]``.

Every model is compiled at -O0 and -O3 and compared with onnxruntime for each binding of its dynamic dims. A
failing one is made small and written as ONNX text, with its seed, to ``--failures`` (a folder). The exit code is
1 if a model failed.
"""

from __future__ import annotations

import argparse
import faulthandler
import json
import sys
import time
from collections import Counter
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent))

import onnx.printer
from fuzz_check import check_case, smaller
from fuzz_model import make_case


def main(arguments: list[str] | None = None) -> int:
    """Run a batch; see the module."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    parser.add_argument("--count", type=int, default=100)
    parser.add_argument("--seed", type=int, default=0, help="seed of the first model")
    parser.add_argument("--target", default="cpu")
    parser.add_argument("--max-nodes", type=int, default=12)
    parser.add_argument("--json", type=Path, help="write verdicts here")
    parser.add_argument(
        "--failures", type=Path, default=Path("fuzz-failures"), help="folder for failing models"
    )
    parser.add_argument("--no-minimise", action="store_true")
    options = parser.parse_args(arguments)
    kinds: Counter[str] = Counter()
    fallbacks: Counter[str] = Counter()
    rows = []
    start = time.monotonic()
    for seed in range(options.seed, options.seed + options.count):
        row = run_seed(seed, options)
        kinds[str(row["kind"])] += 1
        fallbacks.update(row["fallbacks"])  # type: ignore[arg-type]
        rows.append(row)
    report = {
        "schema": 1,
        "target": options.target,
        "first_seed": options.seed,
        "count": options.count,
        "kinds": dict(kinds),
        "fallbacks": dict(fallbacks.most_common()),
        "models": rows,
    }
    if options.json is not None:
        options.json.write_text(json.dumps(report, indent=1) + "\n")
    print(f"{options.count} models in {time.monotonic() - start:.0f} s: {dict(kinds)}")
    for op, count in fallbacks.most_common(20):
        print(f"  on the reference {count:4d} x {op}")
    return 0 if set(kinds) <= {"equal", "skipped"} else 1


def run_seed(seed: int, options: argparse.Namespace) -> dict[str, object]:
    """The verdict on one seed, as a row of the report."""
    special = seed % 4 == 0
    case = make_case(seed, max_nodes=options.max_nodes)
    verdict = check_case(case, options.target, special=special)
    row: dict[str, object] = {"seed": seed, "kind": verdict.kind, "fallbacks": list(verdict.fallbacks)}
    if verdict.kind != "equal":
        row["detail"] = verdict.detail
        print(f"seed {seed}: {verdict.kind} at -O{verdict.level}: {verdict.detail[:300]}", flush=True)
    if verdict.failed:
        small = case
        if not options.no_minimise:
            small, verdict = smaller(case, options.target, verdict, special=special)
        options.failures.mkdir(parents=True, exist_ok=True)
        text = f"// seed {seed}, {verdict.kind} at -O{verdict.level}\n"
        text += "".join(f"// {line}\n" for line in verdict.detail.splitlines())
        model = small.model()
        (options.failures / f"{seed}.txt").write_text(text + onnx.printer.to_text(model) + "\n")
        (options.failures / f"{seed}.onnx").write_bytes(model.SerializeToString())
        print("    " + onnx.printer.to_text(model.graph).replace("\n", "\n    ")[:1500], flush=True)
    return row


if __name__ == "__main__":
    faulthandler.enable()  # a crash of native code says where
    sys.exit(main())
