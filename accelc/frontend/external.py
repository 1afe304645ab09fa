"""External data: weights in files beside the model, mapped, and only from where a model may point.

A location is a relative path to a regular file inside the model's folder. No ``..``, absolute path, hard link,
device, pipe or socket; symlinks only if they end inside a folder that the user allowed.
Source: https://onnx.ai/onnx/repo-docs/ExternalData.html
"""

from __future__ import annotations

import contextlib
import mmap
import os
import stat
from pathlib import Path, PurePosixPath, PureWindowsPath

import onnx
import onnx_ir as ir

from accelc.errors import InvalidModelError, UnsafeModelError
from accelc.frontend.tensors import byte_count, data_type, element_count, mapped


class ExternalData:
    """Opens each file of a model's folder once and maps it.

    Args:
        folder: Folder of the model; None if the model did not come from a file.
        allow_links: Folder into which symlinks may point.
    """

    def __init__(self, folder: Path | None, allow_links: Path | None = None) -> None:
        self._folder = folder
        self._allow_links = allow_links
        self._maps: dict[str, memoryview] = {}

    def tensor(self, proto: onnx.TensorProto, where: str) -> ir.TensorProtocol:
        """The tensor that ``proto`` refers to, mapped.

        Raises:
            UnsafeModelError: It points to something that a model may not read.
            InvalidModelError: The file is missing, or size and offset do not fit it.
        """
        dtype = data_type(proto.data_type, where)
        return mapped(self.bytes_of(proto, where), dtype, proto.dims, proto.name)

    def bytes_of(self, proto: onnx.TensorProto, where: str) -> memoryview:
        """The bytes that ``proto`` refers to; errors as ``tensor``."""
        entries = {entry.key: entry.value for entry in proto.external_data}
        location = entries.get("location", "")
        data = self._open(location, where)
        size = byte_count(data_type(proto.data_type, where), element_count(proto.dims, where))
        offset = _number(entries, "offset", 0, where)
        length = _number(entries, "length", size, where)
        if length != size:
            raise InvalidModelError(
                "external data has the wrong length",
                where=(where, f"file {location}"),
                why=f"the shape {list(proto.dims)} needs {size} bytes, length is {length}",
            )
        if offset + length > len(data):
            raise InvalidModelError(
                "external data lies beyond the end of its file",
                where=(where, f"file {location}"),
                why=f"bytes {offset} to {offset + length} of {len(data)}",
                fix="the file is truncated: download it again",
            )
        return data[offset : offset + length]

    def _open(self, location: str, where: str) -> memoryview:
        if location not in self._maps:
            places = (where, f"external data {location!r}")
            self._maps[location] = _map(self._resolve(location, places), places)
        return self._maps[location]

    def _resolve(self, location: str, where: tuple[str, ...]) -> str:
        """The real path of a location; refuses everything that leaves the folder."""
        if self._folder is None:
            raise UnsafeModelError(
                "external data needs a folder, and this model did not come from a file",
                where=where,
                fix="pass the path of the model instead of its bytes",
            )
        posix, windows = PurePosixPath(location), PureWindowsPath(location)
        if not location or "\0" in location or location != location.strip():
            raise UnsafeModelError("external data has no usable location", where=where)
        if posix.is_absolute() or windows.is_absolute() or windows.drive or windows.root:
            raise UnsafeModelError(
                "external data has an absolute path", where=where, why="only files in the folder"
            )
        if ".." in posix.parts or ".." in windows.parts:
            raise UnsafeModelError(
                "external data leaves the model's folder", where=where, why="the path holds '..'"
            )
        folder = os.path.realpath(self._folder)
        plain = os.path.join(folder, *posix.parts)
        real = os.path.realpath(plain)
        if real == plain:
            return real
        if self._allow_links is not None:
            allowed = os.path.realpath(self._allow_links)
            if os.path.commonpath([allowed, real]) == allowed:
                return real
        raise UnsafeModelError(
            "external data is a symlink",
            where=where,
            why=f"it leads to {real}",
            fix="copy the file, or allow the folder it leads to (--allow-links DIR)",
        )


def _number(entries: dict[str, str], key: str, default: int, where: str) -> int:
    text = entries.get(key)
    if text is None or text == "":
        return default
    value = int(text) if text.isascii() and text.isdigit() and len(text) < 20 else -1
    if not 0 <= value < 2**63:
        raise InvalidModelError(
            f"external data has an invalid {key}", where=where, why=f"{key} is {text[:40]!r}"
        )
    return value


def _map(path: str, where: tuple[str, ...]) -> memoryview:
    """Map a regular file that has one name; opening never blocks (a pipe would)."""
    flags = (
        os.O_RDONLY
        | getattr(os, "O_NONBLOCK", 0)
        | getattr(os, "O_NOFOLLOW", 0)
        | getattr(os, "O_CLOEXEC", 0)
    )
    try:
        if not stat.S_ISREG(os.lstat(path).st_mode):
            # Before opening: even opening some devices has effects.
            raise UnsafeModelError("external data is not a regular file", where=where)
        descriptor = os.open(path, flags)
    except (OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or str(error)
        raise InvalidModelError(
            "external data cannot be read", where=where, why=reason, fix="put the file beside the model"
        ) from error
    with contextlib.ExitStack() as stack:
        stack.callback(os.close, descriptor)
        status = os.fstat(descriptor)
        if not stat.S_ISREG(status.st_mode):
            raise UnsafeModelError("external data is not a regular file", where=where)
        if status.st_nlink > 1:
            raise UnsafeModelError(
                "external data is a hard link",
                where=where,
                why=f"the file has {status.st_nlink} names",
                fix="copy the file",
            )
        if status.st_size == 0:
            return memoryview(b"")
        return memoryview(mmap.mmap(descriptor, status.st_size, access=mmap.ACCESS_READ))
