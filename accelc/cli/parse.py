"""Reading option values of the command line."""

from __future__ import annotations

import zipfile
from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING

from accelc.errors import UsageError

if TYPE_CHECKING:
    import numpy as np


def dims_from(texts: Iterable[str]) -> dict[str, int]:
    """``["batch=1", "S=128"]`` as a dict.

    Raises:
        UsageError: A text is not NAME=SIZE.
    """
    dims: dict[str, int] = {}
    for text in texts:
        name, equals, size = text.rpartition("=")
        if not (name and equals and size.isascii() and size.isdigit()):
            raise UsageError(
                f"cannot read --dim {text}", fix="write --dim NAME=SIZE, for example --dim batch=1"
            )
        dims[name] = int(size)
    return dims


def names_from(text: str) -> list[str]:
    """``"a, b"`` as ``["a", "b"]``, each once, in order."""
    return list(dict.fromkeys(part.strip() for part in text.split(",") if part.strip()))


def feeds_from(path: Path) -> dict[str, np.ndarray]:
    """Arrays by name from an ``.npz`` file; nothing in it is unpickled.

    Raises:
        UsageError: The file is not there, is no ``.npz``, or holds Python objects.
    """
    import numpy as np

    try:
        with np.load(path, allow_pickle=False) as archive:
            if not isinstance(archive, np.lib.npyio.NpzFile):
                raise ValueError("it holds one array without a name")
            return {name: archive[name] for name in archive.files}
    except (OSError, ValueError, zipfile.BadZipFile) as error:
        raise UsageError(
            f"cannot read inputs from {path}",
            why=str(error),
            fix="write it with numpy.savez(path, name=array)",
        ) from error
