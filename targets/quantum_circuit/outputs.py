"""Files of a circuit: OpenQASM 3, Quil, QPY and a drawing, by the name's ending."""

from __future__ import annotations

import importlib.util
from collections.abc import Callable, Mapping
from pathlib import Path
from types import MappingProxyType

from accelc.errors import UnsupportedError, UsageError
from accelc.targets.quantum_circuit.circuit import Circuit
from accelc.targets.quantum_circuit.draw import svg
from accelc.targets.quantum_circuit.emit_qasm import qasm3
from accelc.targets.quantum_circuit.emit_qpy import qpy
from accelc.targets.quantum_circuit.emit_quil import quil

WRITERS: Mapping[str, Callable[[Circuit, str], bytes]] = MappingProxyType(
    {
        ".qasm": lambda circuit, _: qasm3(circuit).encode(),
        ".quil": lambda circuit, _: quil(circuit).encode(),
        ".svg": lambda circuit, name: svg(circuit, name).encode(),
        ".qpy": qpy,
    }
)
"""Bytes of a circuit under a name, by file ending; ``.qpy`` needs Qiskit."""


def check_place(place: Path) -> bool:
    """Whether a place to write to is a folder: one that exists, or a name without an ending.

    Raises:
        UsageError: It is a file whose ending names no format.
        UnsupportedError: It is a QPY file, and Qiskit is not installed.
    """
    if place.is_dir() or not place.suffix:
        return True
    if place.suffix.lower() not in WRITERS:
        raise UsageError(
            f"cannot tell the format of {place}",
            fix=f"name a file with one of the endings {', '.join(WRITERS)}, or a folder for all of them",
        )
    if place.suffix.lower() == ".qpy" and not _has_qiskit():
        raise UnsupportedError(
            f"cannot write {place}", why="QPY needs Qiskit", fix="pip install 'accelc[quantum]'"
        )
    return False


def write_output(circuit: Circuit, file: Path) -> Path:
    """Write a circuit in the format of the file's ending.

    Raises:
        UsageError: The ending is unknown, or the file cannot be written.
        UnsupportedError: QPY is asked for and Qiskit is not installed.
    """
    if check_place(file):
        raise UsageError(f"cannot write {file}", why="a file with an ending is needed")
    data = WRITERS[file.suffix.lower()](circuit, file.stem)
    try:
        file.write_bytes(data)
    except OSError as error:
        raise UsageError(f"cannot write {file}", why=error.strerror or str(error)) from error
    return file


def write_outputs(circuit: Circuit, folder: Path, name: str) -> dict[str, Path]:
    """Write a circuit in every format that can be written here: QPY only where Qiskit is installed.

    Args:
        circuit: The circuit.
        folder: Made if it does not exist.
        name: Name of the files, without ending.

    Returns:
        The files by ending without its dot, in the order of ``WRITERS``.

    Raises:
        UsageError: The folder or a file cannot be written.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise UsageError(f"cannot make the folder {folder}", why=error.strerror or str(error)) from error
    wanted = [ending for ending in WRITERS if ending != ".qpy" or _has_qiskit()]
    return {ending[1:]: write_output(circuit, folder / f"{name}{ending}") for ending in wanted}


def write(circuit: Circuit, place: Path, name: str) -> list[Path]:
    """Write a circuit to a file in the format of its ending, or every format to a folder under ``name``.

    Raises:
        UsageError, UnsupportedError: As ``write_output``.
    """
    return (
        list(write_outputs(circuit, place, name).values())
        if check_place(place)
        else [write_output(circuit, place)]
    )


def _has_qiskit() -> bool:
    return importlib.util.find_spec("qiskit") is not None
