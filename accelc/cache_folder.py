"""The user's cache folder, and files of plain data kept in it between runs.

Compiled kernels have a cache of their own with stricter rules, since they are run:
``accelc.targets.numba_cpu.object_cache``.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import tempfile
from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import numpy as np

# Kinds of data kept, each in a subfolder of its name, with the suffix of their files.
KINDS = {"circuits": ".npz", "encodings": ".json"}
LIMIT_BYTES = 512 << 20  # of one kind
_LARGEST_BYTES = 64 << 20  # of a file: larger ones are made anew rather than kept


def default_folder() -> Path:
    """``$ACCELC_CACHE_DIR``, else the user's cache folder."""
    given = os.environ.get("ACCELC_CACHE_DIR")
    if given:
        return Path(given)
    import platformdirs

    return Path(platformdirs.user_cache_dir("accelc"))


def content_key(settings: object, array: np.ndarray) -> str:
    """Name of what was made from an array under settings (JSON values): hex digits of a hash of both.

    Shapes: array float64, any shape; its shape belongs into the settings.
    """
    import numpy as np

    head = json.dumps(settings, sort_keys=True).encode()
    return hashlib.sha256(head + b"\n" + np.ascontiguousarray(array, "<f8").tobytes()).hexdigest()


def remove_oldest(entries: Iterable[tuple[float, int, str]], wanted_bytes: float) -> int:
    """Remove files (time, size, path), the oldest first, until ``wanted_bytes`` are free; the number removed."""
    removed = 0
    for _, size, path in sorted(entries):
        if wanted_bytes <= 0:
            break
        with contextlib.suppress(OSError):
            os.unlink(path)
            wanted_bytes -= size
            removed += 1
    return removed


def write_whole(path: Path, content: bytes) -> bool:
    """Write a file under a temporary name and rename it: a reader sees all or nothing. False if it cannot be."""
    name = None
    try:
        handle, name = tempfile.mkstemp(prefix=".", suffix=".tmp", dir=path.parent)
        with os.fdopen(handle, "wb") as file:
            file.write(content)
        os.replace(name, path)
        name = None
    except OSError:
        return False
    finally:
        if name is not None:
            with contextlib.suppress(OSError):
                os.unlink(name)
    return True


class DataFolder:
    """Files by key: written whole or not at all, the oldest removed above a limit. Who reads one checks what it says.

    Args:
        kind: One of :data:`KINDS`.
        folder: The cache folder; None or True is :func:`default_folder`, False keeps nothing.
        limit_bytes: Total size above which the files written first are removed.
    """

    def __init__(self, kind: str, folder: Path | bool | None = None, limit_bytes: int = LIMIT_BYTES) -> None:
        self.place: Path | None = None
        self.suffix = KINDS[kind]
        self.limit_bytes = limit_bytes
        if folder is not False:
            given = default_folder() if folder is None or folder is True else Path(folder)
            self.place = given.expanduser().absolute() / kind

    def path(self, key: str) -> Path | None:
        """Where the file of a key is or would be; None if nothing is kept."""
        return None if self.place is None else self.place / (key + self.suffix)

    def read(self, key: str) -> bytes | None:
        """The bytes kept for a key; None if there are none that can be read."""
        path = self.path(key)
        if path is None:
            return None
        try:
            if path.stat().st_size > _LARGEST_BYTES:
                return None
            return path.read_bytes()
        except OSError:
            return None

    def write(self, key: str, content: bytes) -> None:
        """Keep bytes, if the folder can be written; a cache that cannot be written is none."""
        path = self.path(key)
        if path is None or len(content) > _LARGEST_BYTES:
            return
        with contextlib.suppress(OSError):
            path.parent.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
            path.parent.mkdir(mode=0o700, exist_ok=True)
        if write_whole(path, content):
            self._evict()

    def stats(self) -> tuple[int, int]:
        """Number of files and their bytes."""
        entries = self._entries()
        return len(entries), sum(size for _, size, _ in entries)

    def clear(self) -> int:
        """Remove all files; the number removed."""
        return remove_oldest(self._entries(), float("inf"))

    def _evict(self) -> None:
        entries = self._entries()
        remove_oldest(entries, sum(size for _, size, _ in entries) - self.limit_bytes)

    def _entries(self) -> list[tuple[float, int, str]]:
        """(time of writing, size, path) of all files, temporary ones left out."""
        found: list[tuple[float, int, str]] = []
        if self.place is None:
            return found
        with contextlib.suppress(OSError), os.scandir(self.place) as entries:
            for entry in entries:
                if entry.name.endswith(self.suffix):
                    with contextlib.suppress(OSError):
                        status = entry.stat(follow_symlinks=False)
                        found.append((status.st_mtime, status.st_size, entry.path))
        return found
