"""The target's part of an artifact: circuits as OpenQASM 3, and in the manifest what they hold and where.

The graph is ``model.onnx``; it is cut as the decisions in the manifest say, not as this machine would. Circuits are
read by a reader of just what is written here, their qubits, angles and number checked, and each must hold the
weights of its segment. Nothing is executed or unpickled.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from accelc.artifact import read_model
from accelc.errors import ArtifactError, LimitError, UsageError
from accelc.ir.cost import inlined
from accelc.targets.quantum_circuit.circuit import Circuit
from accelc.targets.quantum_circuit.compose import Choices
from accelc.targets.quantum_circuit.emit_qasm import parse_qasm3
from accelc.targets.quantum_circuit.encode.base import BlockEncoding
from accelc.targets.quantum_circuit.executable import QuantumExecutable, Settings
from accelc.targets.quantum_circuit.lower import assemble
from accelc.targets.quantum_circuit.outputs import write_outputs
from accelc.targets.quantum_circuit.product import Product, check_qubits, with_constant
from accelc.targets.quantum_circuit.segments import Segment, cut

if TYPE_CHECKING:
    import numpy as np

SCHEMA = 1
_MOST_QASM_BYTES = 1 << 30
_SLACK = 1e-9  # of a circuit's error, for another machine's rounding


def write(exe: QuantumExecutable, folder: Path) -> dict[str, Any]:
    """Write the circuits of ``exe`` into ``folder``; returns the target's part of the manifest."""
    circuits = []
    for number, (segment, product) in enumerate(exe.circuits()):
        encoding = product.encoding
        name = f"circuit{number}"
        written = write_outputs(encoding.circuit, folder, name)
        circuits.append(
            {
                "segment": segment.name,
                "qasm": f"{name}.qasm",
                "files": sorted(path.name for path in written.values()),
                "row_qubits": list(encoding.row_qubits),
                "column_qubits": list(encoding.column_qubits),
                "alpha": encoding.alpha,
                "method": encoding.method,
                "constant": product.constant,
                "facts": product.facts(),
            }
        )
    settings = exe.settings
    return {
        "cpu": "any",
        "schema": SCHEMA,
        "shots": settings.shots,
        "seed": settings.seed,
        "encoding_error": settings.encoding_error,
        "decisions": list(exe.program.cut.decisions),
        "circuits": circuits,
    }


def read(folder: Path, manifest: Mapping[str, Any], shots: int | None) -> QuantumExecutable:
    """The executable of a checked artifact; ``shots`` in the place of those it was compiled for, if not None.

    Raises:
        ArtifactError: The files do not fit together.
    """
    payload = manifest["payload"]
    model = inlined(read_model(folder, manifest))
    try:
        if payload["schema"] != SCHEMA:
            raise ValueError(f"expected schema {SCHEMA}, found {payload['schema']!r}")
        decisions = tuple(str(each) for each in payload["decisions"])
        found = cut(model.graph, Choices.repeating(decisions))
        if found.decisions != decisions:
            raise ValueError("the decisions do not fit the graph")
        wanted = [
            (segment, group) for segment in found.segments for group in range(len(segment.map.matrices))
        ]
        entries = list(payload["circuits"])
        if len(entries) != len(wanted):
            raise ValueError(f"{len(entries)} circuits for {len(wanted)} matrices")
        products = [
            _read_product(folder, manifest, entry, segment, group)
            for entry, (segment, group) in zip(entries, wanted, strict=True)
        ]
        settings = Settings(
            shots=_count(payload["shots"]) if shots is None else shots,
            seed=_count(payload["seed"]),
            encoding_error=_number(payload["encoding_error"]),
        )
    except (KeyError, TypeError, ValueError, AttributeError, OverflowError, LimitError, UsageError) as error:
        why = error.what if isinstance(error, LimitError | UsageError) else str(error)
        raise ArtifactError("the artifact is damaged", where=f"circuits of {folder}", why=why) from error
    return QuantumExecutable(model, assemble(model, found, products), settings)


def _count(value: Any) -> int:
    if not isinstance(value, int) or isinstance(value, bool) or not 0 <= value < 2**62:
        raise ValueError(f"{value!r} is not a count")
    return value


def _number(value: Any) -> float:
    number = float(value)
    if not math.isfinite(number) or number < 0:
        raise ValueError(f"{value!r} is not a number from 0 up")
    return number


def _read_product(
    folder: Path, manifest: Mapping[str, Any], entry: Mapping[str, Any], segment: Segment, group: int
) -> Product:
    """One circuit, compared with the weights that it is to hold."""
    weights, bias = segment.map.matrices[group], segment.map.biases[group]
    constant, alpha = _number(entry["constant"]), _number(entry["alpha"])
    matrix = with_constant(weights, bias, constant)
    rows, columns = (_qubits(entry[name]) for name in ("row_qubits", "column_qubits"))
    file = str(entry["qasm"])
    if file not in manifest["files"] or manifest["files"][file]["size"] > _MOST_QASM_BYTES:
        raise ValueError(f"{file!r} is not a circuit of the artifact")
    circuit = parse_qasm3((folder / file).read_text(encoding="ascii"))
    _check_fit(matrix, rows, columns, circuit, file)
    check_qubits(circuit.qubits)
    encoding = BlockEncoding(matrix.shape, circuit, rows, columns, alpha, str(entry["method"])[:40])
    product = Product(weights, bias, constant, encoding)
    stated = _number(entry["facts"]["error"])
    if not product.error <= stated * (1 + 1e-6) + _SLACK:
        raise ValueError(
            f"{file} does not hold the weights of {segment.name}: relative error {product.error:.2g}"
        )
    return product


def _qubits(given: Any) -> tuple[int, ...]:
    return tuple(_count(qubit) for qubit in given)


def _check_fit(
    matrix: np.ndarray, rows: tuple[int, ...], columns: tuple[int, ...], circuit: Circuit, file: str
) -> None:
    """The qubits of rows and columns are different ones of the circuit, and enough."""
    for extent, qubits in zip(matrix.shape, (rows, columns), strict=True):
        fits = all(qubit < circuit.qubits for qubit in qubits) and len(set(qubits)) == len(qubits)
        if not fits or 1 << len(qubits) < extent:
            raise ValueError(f"qubits {list(qubits)} of {file} cannot number {extent} rows or columns")
