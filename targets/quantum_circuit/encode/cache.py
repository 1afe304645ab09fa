"""Finished encodings on disk: JSON named by the hash of what was asked.

Data only. A file is written under a temporary name and renamed; one that is damaged, or is no encoding of that
shape, reads as a miss. Whoever reads one still checks the circuit against the matrix.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import math
import os
import tempfile
from pathlib import Path
from typing import Any

import numpy as np

from accelc.errors import AccelcError
from accelc.targets.quantum_circuit.circuit import Circuit, Gate
from accelc.targets.quantum_circuit.encode.base import BlockEncoding, bits
from accelc.targets.quantum_circuit.synthesis.cache import default_folder

VERSION = 1  # raised whenever the same question may get a better answer
_MOST_BYTES = 64 << 20  # of a file: larger ones are made anew rather than read


class EncodingCache:
    """Encodings by the matrix and the settings that they were made for.

    Args:
        folder: Where to keep them (a subfolder ``encodings`` is used); None is the user's cache, False keeps nothing.
    """

    def __init__(self, folder: Path | bool | None = None) -> None:
        self.folder: Path | None = None
        if folder is not False:
            given = default_folder() if folder is None or folder is True else Path(folder)
            self.folder = given.expanduser().absolute() / "encodings"

    def get(
        self, matrix: np.ndarray, settings: dict[str, object], time_limit_s: float
    ) -> BlockEncoding | None:
        """The encoding kept; None if there is none, or one that was cut short at less than ``time_limit_s``."""
        if self.folder is None:
            return None
        path = self._path(matrix, settings)
        try:
            if path.stat().st_size > _MOST_BYTES:
                return None
            found = json.loads(path.read_text(encoding="utf-8"))
            limit = found["limit_s"]
            if limit is not None and float(limit) < time_limit_s:
                return None
            return _encoding(found, (matrix.shape[0], matrix.shape[1]))
        except (OSError, ValueError, KeyError, TypeError, IndexError, RecursionError, AccelcError):
            return None

    def put(
        self, matrix: np.ndarray, settings: dict[str, object], encoding: BlockEncoding, limit_s: float | None
    ) -> None:
        """Keep an encoding, if the folder can be written.

        Args:
            matrix: float64 [M, N].
            settings: What else was asked, as JSON values.
            encoding: The answer.
            limit_s: The time that cut the search short; None if nothing did.
        """
        if self.folder is None:
            return
        text = json.dumps(_record(encoding, limit_s), separators=(",", ":"))
        if len(text) > _MOST_BYTES:
            return
        name = None
        try:
            self.folder.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
            self.folder.mkdir(mode=0o700, exist_ok=True)
            handle, name = tempfile.mkstemp(prefix=".", suffix=".tmp", dir=self.folder)
            with os.fdopen(handle, "w", encoding="utf-8") as file:
                file.write(text)
            os.replace(name, self._path(matrix, settings))
            name = None
        except OSError:
            pass  # a cache that cannot be written is none
        finally:
            if name is not None:
                with contextlib.suppress(OSError):
                    os.unlink(name)

    def _path(self, matrix: np.ndarray, settings: dict[str, object]) -> Path:
        assert self.folder is not None
        head = json.dumps([VERSION, matrix.shape, settings], sort_keys=True).encode()
        content = np.ascontiguousarray(matrix, "<f8").tobytes()
        return self.folder / (hashlib.sha256(head + b"\n" + content).hexdigest() + ".json")


def _record(encoding: BlockEncoding, limit_s: float | None) -> dict[str, object]:
    gates = encoding.circuit.gates
    return {
        "limit_s": limit_s,
        "method": encoding.method,
        "alpha": encoding.alpha,
        "row_qubits": encoding.row_qubits,
        "column_qubits": encoding.column_qubits,
        "qubits": encoding.circuit.qubits,
        "gates": [
            [gate.name, *gate.qubits, *([gate.angle] if gate.name[0] == "r" else [])] for gate in gates
        ],
    }


def _encoding(found: dict[str, Any], shape: tuple[int, int]) -> BlockEncoding:
    """The encoding of a record.

    Raises:
        ValueError, KeyError, TypeError, UsageError: It is none of that shape.
    """
    gates: list[Gate] = []
    for entry in _list(found["gates"]):
        name, *rest = _list(entry)
        angle = float(rest.pop()) if str(name)[0] == "r" else 0.0
        if not math.isfinite(angle):
            raise ValueError("an angle is not finite")
        gates.append(Gate(str(name), tuple(int(qubit) for qubit in rest), angle))
    qubits = int(found["qubits"])
    if qubits > bits(shape[0]) + bits(shape[1]) + 2:
        raise ValueError("there are more qubits than any encoding takes")
    circuit = Circuit(qubits, tuple(gates))
    rows = tuple(int(qubit) for qubit in _list(found["row_qubits"]))
    columns = tuple(int(qubit) for qubit in _list(found["column_qubits"]))
    for places, count in ((rows, shape[0]), (columns, shape[1])):
        if len(set(places)) != len(places) or not all(0 <= place < qubits for place in places):
            raise ValueError("a register is not of the circuit's qubits")
        if count > 1 << len(places):
            raise ValueError("a register is too small")
    alpha = float(found["alpha"])
    if not (math.isfinite(alpha) and alpha > 0):
        raise ValueError("alpha is not a positive number")
    return BlockEncoding(shape, circuit, rows, columns, alpha, str(found["method"]))


def _list(value: Any) -> list[Any]:
    if not isinstance(value, list):
        raise TypeError("a list is expected")
    return value
