"""Finished circuits on disk: arrays without pickle, named by the hash of what was asked.

A file is written under a temporary name and renamed, so a reader sees all of it or nothing; one that is damaged,
or is no circuit, reads as a miss. The folder is the user's alone.
"""

from __future__ import annotations

import contextlib
import hashlib
import io
import json
import math
import os
import tempfile
import zipfile
from pathlib import Path

import numpy as np

from accelc.errors import UsageError
from accelc.targets.quantum_circuit.circuit import Circuit, Gate

# Raised whenever the same question may get a better answer.
VERSION = 1
_NAMES = ("ry", "cx", "x", "z", "h", "cz")
_DAMAGED = (OSError, ValueError, KeyError, IndexError, TypeError, EOFError, zipfile.BadZipFile, UsageError)


def default_folder() -> Path:
    """``$ACCELC_CACHE_DIR``, else the user's cache folder, as for compiled kernels."""
    given = os.environ.get("ACCELC_CACHE_DIR")
    if given:
        return Path(given)
    import platformdirs

    return Path(platformdirs.user_cache_dir("accelc"))


class CircuitCache:
    """Circuits by the matrix and the settings that they were made for.

    Args:
        folder: Where to keep them (a subfolder ``circuits`` is used); None is :func:`default_folder`, False keeps
            nothing.
    """

    def __init__(self, folder: Path | bool | None = None) -> None:
        self.folder: Path | None = None
        if folder is not False:
            given = default_folder() if folder is None or folder is True else folder
            self.folder = given.expanduser().absolute() / "circuits"

    def _path(self, matrix: np.ndarray, settings: dict[str, object]) -> Path:
        assert self.folder is not None
        head = json.dumps([VERSION, matrix.shape, settings], sort_keys=True).encode()
        content = np.ascontiguousarray(matrix, "<f8").tobytes()
        return self.folder / (hashlib.sha256(head + b"\n" + content).hexdigest() + ".npz")

    def get(self, matrix: np.ndarray, settings: dict[str, object], time_limit_s: float) -> Circuit | None:
        """The circuit for a matrix; None if there is none, or one that less time was given for.

        Args:
            matrix: float64 [M, N].
            settings: What else was asked, as JSON values.
            time_limit_s: What may be spent on a better one.
        """
        if self.folder is None:
            return None
        try:
            content = self._path(matrix, settings).read_bytes()
            with np.load(io.BytesIO(content), allow_pickle=False) as found:
                if float(found["limit"]) < time_limit_s:
                    return None
                qubits = [tuple(int(q) for q in row if q >= 0) for row in found["qubits"]]
                names = [_NAMES[int(name)] for name in found["names"]]
                angles = [float(angle) for angle in found["angles"]]
                if not all(map(math.isfinite, angles)):
                    return None
                gates = tuple(Gate(*gate) for gate in zip(names, qubits, angles, strict=True))
                return Circuit(int(found["width"]), gates)
        except _DAMAGED:
            return None

    def put(self, matrix: np.ndarray, settings: dict[str, object], circuit: Circuit, limit_s: float) -> None:
        """Keep a circuit, if the folder can be written.

        Args:
            matrix: float64 [M, N].
            settings: As for :meth:`get`.
            circuit: Of ``ry`` and gates without an angle on one or two qubits.
            limit_s: The time that cut the search short; infinity if nothing did.
        """
        if self.folder is None:
            return
        path = self._path(matrix, settings)
        try:
            self.folder.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
            self.folder.mkdir(mode=0o700, exist_ok=True)
            handle, name = tempfile.mkstemp(prefix=".", suffix=".tmp", dir=self.folder)
        except OSError:
            return
        try:
            with os.fdopen(handle, "wb") as file:
                np.savez(
                    file,
                    width=circuit.qubits,
                    limit=limit_s,
                    names=np.array([_NAMES.index(gate.name) for gate in circuit.gates], np.int8),
                    qubits=np.array([(*gate.qubits, -1)[:2] for gate in circuit.gates], np.int16).reshape(
                        -1, 2
                    ),
                    angles=np.array([gate.angle for gate in circuit.gates], np.float64),
                )
            os.replace(name, path)
        except OSError:
            with contextlib.suppress(OSError):
                os.unlink(name)
        except BaseException:
            with contextlib.suppress(OSError):
                os.unlink(name)
            raise
