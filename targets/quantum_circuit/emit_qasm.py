"""Circuits as OpenQASM 3 text, and the circuits of such text read back without Qiskit."""

from __future__ import annotations

import re

from accelc.errors import UsageError
from accelc.targets.quantum_circuit.circuit import ROTATIONS, Circuit, Gate

_HEADER = ("OPENQASM 3.0;", 'include "stdgates.inc";')
_QUBITS = re.compile(r"qubit\[(\d{1,9})\] q;")
_BITS = re.compile(r"bit\[(\d{1,9})\] c;")
_GATE = re.compile(r"([a-z]{1,3})(?:\(([-+.0-9e]{1,32})\))? (q\[\d{1,9}\](?:, q\[\d{1,9}\]){0,2});")
_MEASURE = re.compile(r"c\[(\d{1,9})\] = measure q\[(\d{1,9})\];")
_INDEX = re.compile(r"\d+")


def qasm3(circuit: Circuit) -> str:
    """The circuit as OpenQASM 3 text: gates of ``stdgates.inc``, angles with all their digits.

    Source: https://openqasm.com/versions/3.0/index.html
    """
    lines = [*_HEADER]
    if circuit.qubits:
        lines.append(f"qubit[{circuit.qubits}] q;")
    if circuit.measured:
        lines.append(f"bit[{len(circuit.measured)}] c;")
    for gate in circuit.gates:
        angle = f"({gate.angle!r})" if gate.name in ROTATIONS else ""
        lines.append(f"{gate.name}{angle} {', '.join(f'q[{qubit}]' for qubit in gate.qubits)};")
    lines += [f"c[{bit}] = measure q[{qubit}];" for bit, qubit in enumerate(circuit.measured)]
    return "\n".join(lines) + "\n"


def parse_qasm3(text: str) -> Circuit:
    """The circuit of text that ``qasm3`` wrote; other OpenQASM 3 needs Qiskit's importer.

    Raises:
        UsageError: A line is not of that form, or its gate does not fit the circuit.
    """
    lines = [(number, line.strip()) for number, line in enumerate(text.splitlines(), 1) if line.strip()]
    if tuple(line for _, line in lines[:2]) != _HEADER:
        raise UsageError(
            "this is not a circuit that accelc wrote", why=f"it does not start with {_HEADER[0]}"
        )
    qubits = bits = 0
    gates: list[Gate] = []
    measured: list[int] = []
    for number, line in lines[2:]:
        if found := _GATE.fullmatch(line):
            gates.append(_gate(found, number))
        elif found := _MEASURE.fullmatch(line):
            if int(found[1]) != len(measured):
                raise _unreadable(number, line)
            measured.append(int(found[2]))
        elif (found := _QUBITS.fullmatch(line)) and not gates and not qubits:
            qubits = int(found[1])
        elif (found := _BITS.fullmatch(line)) and not gates and not bits:
            bits = int(found[1])
        else:
            raise _unreadable(number, line)
    if bits != len(measured):
        raise UsageError(f"the circuit declares {bits} bits and measures {len(measured)} qubits")
    return Circuit(qubits, tuple(gates), tuple(measured))


def _gate(found: re.Match[str], number: int) -> Gate:
    name, angle = found[1], found[2]
    if (angle is not None) != (name in ROTATIONS):
        raise _unreadable(number, found[0])
    try:
        turned = 0.0 if angle is None else float(angle)
    except ValueError as error:
        raise _unreadable(number, found[0]) from error
    return Gate(name, tuple(int(index) for index in _INDEX.findall(found[3])), turned)


def _unreadable(number: int, line: str) -> UsageError:
    return UsageError(f"cannot read line {number} of the circuit", where=line[:80])
