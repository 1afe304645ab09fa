"""Compiled kernels on disk: content-addressed, owner-only, bounded in size, safe between processes.

A file holds a magic line, the SHA-256 of the object, and the object. It is written under a temporary name
and renamed, so a reader sees all of it or nothing; a damaged file reads as a miss and is compiled again.
Objects are machine code, so the folder must be one that only the user (or root) can write.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
import stat
import time
from dataclasses import dataclass
from pathlib import Path

from accelc.cache_folder import default_folder, remove_oldest, write_whole
from accelc.errors import UsageError

MAGIC = b"accelc object 1\n"
DEFAULT_LIMIT_BYTES = 512 << 20
_SUFFIX = ".o"
# A hit renews a file's time only if it is older than this, so that warm starts do not write.
_RENEW_SECONDS = 3600.0
# What an interrupted writer left behind is removed after this time.
_STALE_SECONDS = 3600.0


@dataclass(frozen=True)
class CacheStats:
    """State of a cache folder; sizes in bytes."""

    folder: str
    objects: int
    total_bytes: int
    limit_bytes: int
    writable: bool


class ObjectCache:
    """Objects by key (hex digits).

    Args:
        folder: Where to keep them (a subfolder ``kernels`` is used); None is the user's cache.
        limit_bytes: Total size above which the least recently used objects are removed.

    Raises:
        UsageError: Others may write the folder.
    """

    def __init__(self, folder: Path | None = None, limit_bytes: int = DEFAULT_LIMIT_BYTES) -> None:
        self.folder = (folder or default_folder()).expanduser().absolute() / "kernels"
        self.limit_bytes = limit_bytes
        self._check()

    def _check(self) -> None:
        """Create the folder owner-only if it is not there; refuse one that is not the user's own."""
        with contextlib.suppress(OSError):  # a read-only place: objects then stay in memory
            self.folder.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
            self.folder.mkdir(mode=0o700, exist_ok=True)
        if os.name != "posix":
            return
        for place in (self.folder.parent, self.folder):
            try:
                found = place.stat()
            except OSError:
                continue
            mode = stat.S_IMODE(found.st_mode)
            if found.st_uid not in (os.geteuid(), 0) or mode & 0o022:
                raise UsageError(
                    "the kernel cache is in a folder that others can write",
                    where=str(place),
                    why=f"owner {found.st_uid}, mode {mode:o}; it holds machine code that accelc will run",
                    fix=f"chmod 700 {place}, or choose another folder with ACCELC_CACHE_DIR or --cache-dir",
                )

    def _path(self, key: str) -> Path:
        return self.folder / (key + _SUFFIX)

    @property
    def writable(self) -> bool:
        """Whether objects can be added."""
        return os.access(self.folder, os.W_OK | os.X_OK)

    def get(self, key: str) -> bytes | None:
        """The object for ``key``; None if it is missing or damaged."""
        path = self._path(key)
        try:
            data = path.read_bytes()
        except OSError:
            return None
        head = len(MAGIC) + 32
        if not data.startswith(MAGIC) or hashlib.sha256(data[head:]).digest() != data[len(MAGIC) : head]:
            with contextlib.suppress(OSError):
                path.unlink()
            return None
        self._renew(path)
        return data[head:]

    def _renew(self, path: Path) -> None:
        with contextlib.suppress(OSError):
            if time.time() - path.stat().st_mtime > _RENEW_SECONDS:
                os.utime(path)

    def put(self, key: str, code: bytes) -> bool:
        """Keep an object; False if the folder cannot be written (or is full)."""
        return write_whole(self._path(key), MAGIC + hashlib.sha256(code).digest() + code)

    def _entries(self) -> list[tuple[float, int, str]]:
        """(time of last use, size, path) of all objects."""
        found = []
        with contextlib.suppress(OSError), os.scandir(self.folder) as entries:
            for entry in entries:
                if entry.name.endswith(_SUFFIX):
                    with contextlib.suppress(OSError):
                        status = entry.stat(follow_symlinks=False)
                        found.append((status.st_mtime, status.st_size, entry.path))
        return found

    def evict(self) -> int:
        """Remove the least recently used objects until the limit holds; the number removed."""
        self._remove_leftovers()
        entries = self._entries()
        return remove_oldest(entries, sum(size for _, size, _ in entries) - self.limit_bytes)

    def _remove_leftovers(self) -> None:
        """Remove temporary files of writers that died."""
        limit = time.time() - _STALE_SECONDS
        with contextlib.suppress(OSError), os.scandir(self.folder) as entries:
            for entry in entries:
                if entry.name.endswith(".tmp"):
                    with contextlib.suppress(OSError):
                        if entry.stat(follow_symlinks=False).st_mtime < limit:
                            os.unlink(entry.path)

    def clear(self) -> int:
        """Remove all objects; the number removed."""
        return remove_oldest(self._entries(), float("inf"))

    def stats(self) -> CacheStats:
        """What is in the folder now."""
        entries = self._entries()
        total = sum(size for _, size, _ in entries)
        return CacheStats(str(self.folder), len(entries), total, self.limit_bytes, self.writable)
