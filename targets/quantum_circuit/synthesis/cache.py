"""Finished circuits on disk: arrays without pickle, named by the hash of what was asked.

A file that is damaged, or is no circuit, reads as a miss.
"""

from __future__ import annotations

import io
import math
import zipfile
from pathlib import Path

import numpy as np

from accelc.cache_folder import DataFolder, content_key
from accelc.errors import UsageError
from accelc.targets.quantum_circuit.circuit import Circuit, Gate

# Raised whenever the same question may get a better answer.
VERSION = 1
_NAMES = ("ry", "cx", "x", "z", "h", "cz")
_DAMAGED = (OSError, ValueError, KeyError, IndexError, TypeError, EOFError, zipfile.BadZipFile, UsageError)


class CircuitCache:
    """Circuits by the matrix and the settings that they were made for.

    Args:
        folder: Where to keep them (a subfolder ``circuits`` is used); None is the user's cache, False keeps nothing.
    """

    def __init__(self, folder: Path | bool | None = None) -> None:
        self.files = DataFolder("circuits", folder)

    def get(self, matrix: np.ndarray, settings: dict[str, object], time_limit_s: float) -> Circuit | None:
        """The circuit for a matrix; None if there is none, or one that less time was given for.

        Args:
            matrix: float64 [M, N].
            settings: What else was asked, as JSON values.
            time_limit_s: What may be spent on a better one.
        """
        content = self.files.read(_key(matrix, settings))
        if content is None:
            return None
        try:
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
        content = io.BytesIO()
        np.savez(
            content,
            width=circuit.qubits,
            limit=limit_s,
            names=np.array([_NAMES.index(gate.name) for gate in circuit.gates], np.int8),
            qubits=np.array([(*gate.qubits, -1)[:2] for gate in circuit.gates], np.int16).reshape(-1, 2),
            angles=np.array([gate.angle for gate in circuit.gates], np.float64),
        )
        self.files.write(_key(matrix, settings), content.getvalue())


def _key(matrix: np.ndarray, settings: dict[str, object]) -> str:
    return content_key([VERSION, matrix.shape, settings], matrix)
