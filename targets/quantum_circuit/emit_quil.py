"""Circuits as Quil text."""

from __future__ import annotations

from accelc.targets.quantum_circuit.circuit import ROTATIONS, Circuit

_NAMES = {
    "x": "X",
    "z": "Z",
    "h": "H",
    "rx": "RX",
    "ry": "RY",
    "rz": "RZ",
    "cx": "CNOT",
    "cz": "CZ",
    "ccx": "CCNOT",
}


def quil(circuit: Circuit) -> str:
    """The circuit as Quil text, measured into the memory ``ro``; the unitary is the same, phase included.

    Source: https://quil-lang.github.io/ (standard gates; qubit 0 is the least significant here as there)
    """
    lines = [f"DECLARE ro BIT[{len(circuit.measured)}]"] if circuit.measured else []
    for gate in circuit.gates:
        angle = f"({gate.angle!r})" if gate.name in ROTATIONS else ""
        lines.append(f"{_NAMES[gate.name]}{angle} {' '.join(map(str, gate.qubits))}")
    lines += [f"MEASURE {qubit} ro[{bit}]" for bit, qubit in enumerate(circuit.measured)]
    return "".join(f"{line}\n" for line in lines)
