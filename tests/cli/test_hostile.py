"""Hostile models through the whole command line: the right exit code, a message that names the place, little memory."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

RUNNER = Path(__file__).with_name("hostile_runner.py")


@pytest.fixture(scope="module")
def records(tmp_path_factory: pytest.TempPathFactory) -> list[dict[str, Any]]:
    """One child for all cases; should a case kill or hang it, the last line names that case."""
    folder = tmp_path_factory.mktemp("hostile")
    try:
        done = subprocess.run(
            [sys.executable, str(RUNNER), str(folder), "cpu"],
            capture_output=True,
            text=True,
            timeout=240,
            check=False,
        )
        output, ending = done.stdout, f"exit code {done.returncode}: {done.stderr[-500:]}"
    except subprocess.TimeoutExpired as error:
        output, ending = (error.stdout or b"").decode(), "it hangs"
    lines = [json.loads(line) for line in output.splitlines()]
    found = [line for line in lines if "name" in line]
    started = [line["start"] for line in lines if "start" in line]
    complete = len(found) == len(started) and "exit code 0" in ending
    assert complete, f"{started[-1:]}: {ending}"
    return found


def test_there_are_many(records: list[dict[str, Any]]) -> None:
    assert len(records) >= 40


def test_each_ends_in_its_exit_code(records: list[dict[str, Any]]) -> None:
    wrong = [
        (r["name"], r["expected"], r["code"], r["text"][:300]) for r in records if r["code"] != r["expected"]
    ]
    assert wrong == []


def test_each_message_names_the_place(records: list[dict[str, Any]]) -> None:
    assert [(r["name"], r["says"], r["text"]) for r in records if r["says"] not in r["text"]] == []


def test_none_shows_a_traceback(records: list[dict[str, Any]]) -> None:
    assert [r["name"] for r in records if "Traceback" in r["text"]] == []


def test_memory_stays_bounded(records: list[dict[str, Any]]) -> None:
    assert max(r["peak_mb"] for r in records) < 1000
