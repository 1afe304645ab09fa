"""What a benchmark says of its device, with a driver's tool that the test writes."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

import accelc.device_use as device_use
from accelc.cli.bench import device_lines


@pytest.fixture
def short(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(device_use, "WATCHED_S", 0.05)


def driver(folder: Path, answer: str) -> None:
    tool = folder / "nvidia-smi"
    tool.write_text(f"#!/bin/sh\necho '{answer}'\n")
    tool.chmod(0o755)


@pytest.mark.usefixtures("short")
def test_counters_are_read_while_calls_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    driver(tmp_path, "75")
    monkeypatch.setenv("PATH", f"{tmp_path}{os.pathsep}{os.environ['PATH']}")
    calls: list[int] = []
    use = device_use.device_use(("cuda:0", "cuda:1"), 2.5, 1024, lambda: calls.append(1))
    assert calls
    assert use.busy == 0.75
    assert use.to_json() == {
        "names": ["cuda:0", "cuda:1"],
        "device_ms": 5.0,
        "peak_bytes": 1024,
        "busy": 0.75,
    }


@pytest.mark.usefixtures("short")
def test_no_counter_is_said_not_guessed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    driver(tmp_path, "[N/A]")
    monkeypatch.setenv("PATH", f"{tmp_path}{os.pathsep}/bin{os.pathsep}/usr/bin")
    assert device_use.device_use(("cuda:0",), 1.0, None, lambda: None).busy is None
    monkeypatch.setenv("PATH", str(tmp_path / "nothing"))
    assert device_use.device_use(("cuda:0",), 1.0, None, lambda: None).busy is None


@pytest.mark.parametrize(
    ("use", "text"),
    [
        (None, []),
        (
            device_use.DeviceUse(("cuda:0",), 1.5, 2**20, 0.5),
            ["device time 1.50 ms on 1 device (cuda:0); 50% busy; 1.0 MiB at most in use"],
        ),
        (
            device_use.DeviceUse(("tpu:0", "tpu:1"), 3.0, None, None),
            ["device time 3.00 ms on 2 devices (tpu:0, tpu:1); utilisation not measured; memory not told"],
        ),
    ],
)
def test_lines(use: device_use.DeviceUse | None, text: list[str]) -> None:
    report = type("Report", (), {"device": use})()
    assert device_lines(report) == text
