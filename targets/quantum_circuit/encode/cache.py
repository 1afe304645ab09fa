"""Finished encodings on disk: JSON named by the hash of what was asked.

Data only. A file that is damaged, or is no encoding of that shape, reads as a miss. Whoever reads one still checks
the circuit against the matrix.
"""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any

import numpy as np

from accelc.cache_folder import DataFolder, content_key
from accelc.errors import AccelcError
from accelc.targets.quantum_circuit.circuit import Circuit, Gate
from accelc.targets.quantum_circuit.encode.base import BlockEncoding, bits

VERSION = 1  # raised whenever the same question may get a better answer


class EncodingCache:
    """Encodings by the matrix and the settings that they were made for.

    Args:
        folder: Where to keep them (a subfolder ``encodings`` is used); None is the user's cache, False keeps nothing.
    """

    def __init__(self, folder: Path | bool | None = None) -> None:
        self.files = DataFolder("encodings", folder)

    def get(
        self, matrix: np.ndarray, settings: dict[str, object], time_limit_s: float
    ) -> BlockEncoding | None:
        """The encoding kept; None if there is none, or one that was cut short at less than ``time_limit_s``."""
        content = self.files.read(_key(matrix, settings))
        if content is None:
            return None
        try:
            found = json.loads(content)
            limit = found["limit_s"]
            if limit is not None and float(limit) < time_limit_s:
                return None
            return _encoding(found, (matrix.shape[0], matrix.shape[1]))
        except (ValueError, KeyError, TypeError, IndexError, RecursionError, AccelcError):
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
        text = json.dumps(_record(encoding, limit_s), separators=(",", ":"))
        self.files.write(_key(matrix, settings), text.encode())


def _key(matrix: np.ndarray, settings: dict[str, object]) -> str:
    return content_key([VERSION, matrix.shape, settings], matrix)


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
