"""What a benchmark says of the device it ran on: its time, how busy it was, and how much of its memory was used."""

from __future__ import annotations

import shutil
import subprocess
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

WATCHED_S = 1.0
"""How long calls are repeated while the device's counters are read: its driver updates them about 6 times a second."""
_QUERY = ("nvidia-smi", "--query-gpu=utilization.gpu", "--format=csv,noheader,nounits")


@dataclass(frozen=True)
class DeviceUse:
    """Use of the devices of one run.

    Args:
        names: The devices, as their runtime calls them.
        device_ms: Median time of a call times the number of devices.
        peak_bytes: Most memory in use on one device so far; None where it does not tell.
        busy: Share of time in which kernels ran, 0 to 1, by the driver's counter; None: not measured.
    """

    names: tuple[str, ...]
    device_ms: float
    peak_bytes: int | None
    busy: float | None

    def to_json(self) -> dict[str, Any]:
        """JSON-able form."""
        return {**vars(self), "names": list(self.names)}


def device_use(
    names: tuple[str, ...], median_ms: float, peak_bytes: int | None, call: Callable[[], object]
) -> DeviceUse:
    """Watch the devices while ``call`` is repeated for a second."""
    return DeviceUse(names, median_ms * len(names), peak_bytes, _busy(call))


def _busy(call: Callable[[], object]) -> float | None:
    """Mean of the driver's utilisation counter while calls run; None where there is no such counter."""
    if shutil.which(_QUERY[0]) is None:
        return None
    seen: list[float] = []
    over = threading.Event()

    def watch() -> None:
        while not over.is_set():
            seen.extend(read_counter())

    watcher = threading.Thread(target=watch, daemon=True)
    watcher.start()
    end = time.perf_counter() + WATCHED_S
    while time.perf_counter() < end:
        call()
    over.set()
    watcher.join()
    return sum(seen) / len(seen) if seen else None


def read_counter() -> list[float]:
    """The utilisation of the first GPU as a share; nothing where the driver does not answer."""
    try:
        done = subprocess.run(_QUERY, capture_output=True, text=True, timeout=5, check=False)
        return [float(done.stdout.splitlines()[0]) / 100]
    except (OSError, ValueError, IndexError, subprocess.TimeoutExpired):
        return []
