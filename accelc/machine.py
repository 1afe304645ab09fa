"""Facts about the machine and this process that a measurement must name: CPU, versions, resident memory."""

from __future__ import annotations

import os
import platform
import sys
from importlib import metadata
from pathlib import Path

_STATUS = Path("/proc/self/status")
_PACKAGES = ("accelc", "numpy", "numba", "llvmlite", "onnx", "onnxruntime", "openvino", "jax", "torch")


def cpu_name() -> str:
    """The CPU's name as the system gives it; the architecture where it gives none."""
    try:
        for line in Path("/proc/cpuinfo").read_text(encoding="utf-8", errors="replace").splitlines():
            if line.startswith("model name"):
                return line.split(":", 1)[1].strip()
    except OSError:
        pass  # not Linux
    return platform.processor() or platform.machine()


def usable_cpus() -> int:
    """CPUs that this process may run on."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def versions() -> dict[str, str]:
    """Versions of Python and of the packages that matter to speed, those installed."""
    found = {"python": platform.python_version()}
    for name in _PACKAGES:
        try:
            found[name] = metadata.version(name)
        except metadata.PackageNotFoundError:
            continue
    return found


def facts() -> dict[str, object]:
    """What a report says about where it was measured; JSON-able."""
    return {
        "cpu": cpu_name(),
        "usable_cpus": usable_cpus(),
        "system": f"{platform.system()} {platform.release()}",
        "versions": versions(),
    }


def rss_bytes() -> int | None:
    """Resident memory of this process now; None where the system does not tell."""
    return _status_bytes("VmRSS:")


def peak_rss_bytes() -> int | None:
    """Largest resident memory of this process so far (since :func:`reset_peak_rss` on Linux)."""
    found = _status_bytes("VmHWM:")
    if found is not None or sys.platform == "win32":
        return found
    import resource

    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak if sys.platform == "darwin" else peak * 1024


def reset_peak_rss() -> bool:
    """Start the peak anew from what is resident now; False where the system does not allow it."""
    try:
        Path("/proc/self/clear_refs").write_text("5", encoding="ascii")
    except OSError:
        return False
    return True


def _status_bytes(key: str) -> int | None:
    try:
        for line in _STATUS.read_text(encoding="ascii", errors="replace").splitlines():
            if line.startswith(key):
                return int(line.split()[1]) * 1024
    except OSError:
        pass  # not Linux
    return None
