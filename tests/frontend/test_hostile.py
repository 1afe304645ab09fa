"""Every hostile model ends in its own error, names the place, and takes neither time nor memory."""

from __future__ import annotations

import importlib.util
import json
import subprocess
import sys
from pathlib import Path
from types import ModuleType

import pytest


def _load() -> ModuleType:
    spec = importlib.util.spec_from_file_location("accelc_hostile", Path(__file__).with_name("hostile.py"))
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module
    spec.loader.exec_module(module)
    return module


hostile = _load()


def test_there_are_enough_and_names_are_unique() -> None:
    names = [case.name for case in hostile.CASES]
    assert len(set(names)) == len(names)
    assert sum(case.code != 0 for case in hostile.CASES) >= 40


@pytest.mark.parametrize("case", hostile.CASES, ids=lambda case: case.name)
def test_ends_in_the_right_error(case: object, tmp_path: Path) -> None:
    code, message = hostile.run_case(case.build(tmp_path))  # type: ignore[attr-defined]
    assert code == case.code, message  # type: ignore[attr-defined]
    assert case.says in message  # type: ignore[attr-defined]


def test_all_within_time_and_memory() -> None:
    """In one process of its own: nothing crashes, nothing takes 5 s or 1 GB."""
    script = Path(__file__).with_name("hostile.py")
    done = subprocess.run(
        [sys.executable, str(script)], capture_output=True, text=True, timeout=120, check=False
    )
    assert done.returncode == 0, done.stderr[-2000:]
    rows = [json.loads(line) for line in done.stdout.splitlines()]
    assert len(rows) == len(hostile.CASES)
    assert max(row["seconds"] for row in rows) < 5
    assert max(row["peak_mb"] for row in rows) < 1024
