"""Child of test_hostile: compiles each hostile model through the command line, one JSON line per case."""

from __future__ import annotations

import contextlib
import importlib.util
import io
import json
import os
import resource
import sys
import time
from pathlib import Path


def main(folder: Path, target: str) -> None:
    here = Path(__file__).resolve().parent
    spec = importlib.util.spec_from_file_location("hostile", here.parent / "frontend" / "hostile.py")
    assert spec is not None
    assert spec.loader is not None
    hostile = importlib.util.module_from_spec(spec)
    sys.modules["hostile"] = hostile
    spec.loader.exec_module(hostile)

    from accelc.cli.main import main as accelc

    os.chdir(folder)
    for case in hostile.CASES:
        home = folder / case.name
        home.mkdir()
        model = case.build(home)
        print(json.dumps({"start": case.name}), flush=True)
        out, err = io.StringIO(), io.StringIO()
        start = time.monotonic()
        with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
            code = accelc(
                ["compile", str(model), "-t", target, "-o", str(folder / f"{case.name}.accel"), "--json"]
            )
        record = {
            "name": case.name,
            "expected": case.code,
            "code": code,
            "seconds": time.monotonic() - start,
            "peak_mb": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss >> 10,
            "text": out.getvalue() + err.getvalue(),
            "says": case.says,
        }
        print(json.dumps(record), flush=True)


if __name__ == "__main__":
    main(Path(sys.argv[1]), sys.argv[2])
