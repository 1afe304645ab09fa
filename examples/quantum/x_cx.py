"""Two qubits, X and CX: written in every format, read back, and measured with and without noise.

    python examples/quantum/x_cx.py [FOLDER]

Both bits are 1 in every run without noise. Needs ``pip install 'accelc[quantum]'``.
"""

from __future__ import annotations

import sys
import tempfile
from pathlib import Path

import numpy as np
from qiskit import qasm3
from qiskit.quantum_info import Operator

from accelc.targets.quantum_circuit.circuit import Circuit, Gate
from accelc.targets.quantum_circuit.devices import device
from accelc.targets.quantum_circuit.noise import sample, sample_on
from accelc.targets.quantum_circuit.outputs import write_outputs

SHOTS = 1000


def counts_text(counts: np.ndarray) -> str:
    """Outcomes that were measured, highest bit first, with their counts."""
    return ", ".join(f"{outcome:02b}: {times}" for outcome, times in enumerate(counts) if times)


def main(folder: Path) -> None:
    """Write, read back, measure."""
    circuit = Circuit(2, (Gate("x", (0,)), Gate("cx", (0, 1))), measured=(0, 1))
    files = write_outputs(circuit, folder, "x_cx")
    for file in files.values():
        print(f"wrote {file}  ({file.stat().st_size} bytes)")
    read = qasm3.loads(files["qasm"].read_text())
    difference = np.abs(
        Operator(read.remove_final_measurements(inplace=False)).data - circuit.unitary()
    ).max()
    print(f"read back by Qiskit: the unitary differs by {difference:.1e}")
    print(f"without noise        {counts_text(sample(circuit, shots=SHOTS))}")
    print(f"on device line-2     {counts_text(sample_on(circuit, device('line-2'), shots=SHOTS))}")


if __name__ == "__main__":
    if len(sys.argv) > 1:
        main(Path(sys.argv[1]))
    else:
        with tempfile.TemporaryDirectory() as made:
            main(Path(made))
