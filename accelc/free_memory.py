"""How much memory this process may still take."""

from __future__ import annotations

import os
from pathlib import Path

_CGROUP = Path("/sys/fs/cgroup")


def free_memory_bytes() -> int:
    """Memory available without swapping: the machine's, or the control group's if that is less.

    Where the system tells neither, half of the installed memory, or 4 GiB.
    """
    found = [size for size in (_available(), _group_rest()) if size is not None]
    if found:
        return min(found)
    try:
        return os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE") // 2
    except (ValueError, OSError, AttributeError):
        return 4 << 30


def _available() -> int | None:
    try:
        for line in Path("/proc/meminfo").read_text(encoding="ascii").splitlines():
            if line.startswith("MemAvailable:"):
                return int(line.split()[1]) << 10
    except (OSError, ValueError):
        pass  # not Linux
    return None


def _group_rest() -> int | None:
    """What the control group has left; page cache counts as free, for it can be dropped."""
    try:
        limit = (_CGROUP / "memory.max").read_text(encoding="ascii").strip()
        used = int((_CGROUP / "memory.current").read_text(encoding="ascii"))
        stat = (_CGROUP / "memory.stat").read_text(encoding="ascii").split()
        cache = int(stat[stat.index("inactive_file") + 1])
        return max(0, int(limit) - used + cache)
    except (OSError, ValueError):
        return None
