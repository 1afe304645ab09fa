"""Malformed and hostile models of our own making: ``CASES`` lists (name, builder, expected exit code).

A builder writes its model into a folder and returns the path to give to accelc. As a script, it imports each case
and prints one JSON line per case: ``python hostile.py [FOLDER]``; ``python hostile.py --write FOLDER`` only
writes the models and an index of expected exit codes, for the command line's own tests.
"""

from __future__ import annotations

import json
import resource
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent))  # the parts lie beside this file, which tests load by its path

import hostile_bombs
import hostile_data
import hostile_graphs
from hostile_kit import CASES, OK

PARTS = (hostile_graphs, hostile_data, hostile_bombs)


def run_case(path: Path) -> tuple[int, str]:
    """Import one model in this process: (exit code, message)."""
    from accelc.errors import AccelcError
    from accelc.frontend import load_model

    try:
        load_model(path)
    except AccelcError as error:
        return error.exit_code, str(error)
    return OK, ""


def main(arguments: Sequence[str]) -> int:
    """Script mode; the exit code is the number of cases with another outcome than expected."""
    only_write = "--write" in arguments
    folders = [argument for argument in arguments if argument != "--write"]
    with tempfile.TemporaryDirectory() as scratch:
        base, bad = Path(folders[0] if folders else scratch), 0
        for entry in CASES:
            folder = base / entry.name
            folder.mkdir(parents=True)
            path = entry.build(folder)
            row: dict[str, object] = {"name": entry.name, "path": str(path), "expected": entry.code}
            if not only_write:
                start = time.process_time()
                row["code"], row["message"] = run_case(path)
                row["seconds"] = round(time.process_time() - start, 3)
                row["peak_mb"] = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024
                bad += row["code"] != entry.code or entry.says not in str(row["message"])
            print(json.dumps(row), flush=True)
    return bad


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
