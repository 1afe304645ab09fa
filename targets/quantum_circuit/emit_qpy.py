"""Circuits as QPY, Qiskit's binary file format."""

from __future__ import annotations

import io

from accelc.targets.quantum_circuit.circuit import Circuit


def qpy(circuit: Circuit, name: str = "circuit") -> bytes:
    """The circuit as QPY bytes, under a name.

    Raises:
        UnsupportedError: Qiskit is not installed.

    Source: https://quantum.cloud.ibm.com/docs/api/qiskit/qpy
    """
    made = circuit.to_qiskit()
    from qiskit import qpy as format_

    made.name = name
    file = io.BytesIO()
    format_.dump(made, file)
    return file.getvalue()
