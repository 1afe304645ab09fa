"""Quantities as people read them: bytes, counts, times."""

from __future__ import annotations


def size_text(count: float) -> str:
    """Bytes: ``27.5 KiB``."""
    for unit in ("B", "KiB", "MiB", "GiB"):
        if abs(count) < 1024:
            return f"{count:.0f} B" if unit == "B" else f"{count:.1f} {unit}"
        count /= 1024
    return f"{count:.1f} TiB"


def count_text(count: float) -> str:
    """Counts, large ones shortened: ``25.6 M``."""
    for limit, unit in ((1e12, "T"), (1e9, "G"), (1e6, "M"), (1e4, "k")):
        if count >= limit:
            return f"{count / (limit if unit != 'k' else 1e3):.1f} {unit}"
    return f"{count:.0f}"


def time_text(ms: float) -> str:
    """Milliseconds: ``12 us``, ``12 ms``, ``1.24 s``."""
    if ms < 1:
        return f"{ms * 1000:.0f} us"
    return f"{ms:.0f} ms" if ms < 1000 else f"{ms / 1000:.2f} s"


def duration_text(ms: float) -> str:
    """Milliseconds with three or four significant digits: ``11.9 us``, ``3.35 ms``."""
    if ms < 1:
        return f"{ms * 1e3:.1f} us"
    return f"{ms:.2f} ms" if ms < 100 else f"{ms:.1f} ms"
