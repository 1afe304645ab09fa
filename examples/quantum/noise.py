"""A layer of a digits classifier on a noisy device: accelc's encodings against FABLE.

The 4x8 output layer of a 16-8-4 net is block-encoded, images' hidden values are loaded as states, and the circuit
runs on a simulated device: a layout with uniform error rates or a calibration snapshot. Of the runs in which all
other qubits are 0, the distribution over the four classes is compared with the exact one (total-variation distance).

    python examples/quantum/noise.py [--device h-7] [--inputs 12] [--shots 20000] [--json]

Needs ``pip install 'accelc[quantum,train]'``. Source of FABLE: Camps and Van Beeumen, arXiv:2205.00081.
"""

from __future__ import annotations

import argparse
import json
from dataclasses import dataclass

import nets
import numpy as np

from accelc.targets.quantum_circuit.amplitudes import prepare
from accelc.targets.quantum_circuit.circuit import Circuit, Gate
from accelc.targets.quantum_circuit.devices import Device, Edges, device, route
from accelc.targets.quantum_circuit.encode.base import BlockEncoding
from accelc.targets.quantum_circuit.encode.choose import encode
from accelc.targets.quantum_circuit.native import encode_native, neighbourhood, prepare_native
from accelc.targets.quantum_circuit.noise import probabilities, sample_on, total_variation


@dataclass(frozen=True)
class Outcome:
    """How an encoding fared on a device.

    Args:
        method: Of the encoding.
        qubits: Of its circuit.
        cx: CX of the encoding.
        routed_cx: CX with the loading of the input, on the device; mean over the inputs.
        kept: Share of the runs in which all other qubits were 0.
        distance: Total-variation distance to the exact distribution, mean over the inputs.
    """

    method: str
    qubits: int
    cx: int
    routed_cx: float
    kept: float
    distance: float


def hidden_values(count: int) -> tuple[np.ndarray, np.ndarray]:
    """The 4x8 output layer of a 16-8-4 net, and the hidden values [count, 8] of test images."""
    digits = nets.load_digits(side=4, classes=4)
    (first, bias), (last, _) = nets.train(digits, (8,))
    values = np.maximum(digits.test @ first.T + bias, 0)
    return last, values[values.any(axis=1)][:count]


def circuit_for(encoding: BlockEncoding, vector: np.ndarray, edges: Edges = ()) -> Circuit:
    """Load ``vector`` (along ``edges``, if given), apply the encoding, measure rows, then every other qubit."""
    loading = prepare_native(vector, edges) if edges else prepare(vector)
    placed = [
        Gate(gate.name, tuple(encoding.column_qubits[qubit] for qubit in gate.qubits), gate.angle)
        for gate in loading.gates
    ]
    inner = encoding.circuit
    others = [qubit for qubit in range(inner.qubits) if qubit not in encoding.row_qubits]
    return Circuit(inner.qubits, (*placed, *inner.gates), (*encoding.row_qubits, *others))


def run(encoding: BlockEncoding, inputs: np.ndarray, onto: Device, *, shots: int, seed: int) -> Outcome:
    """Measure every input on the device and compare with the exact distribution."""
    rows = encoding.shape[0]
    distances, kept, gates = [], [], []
    edges = neighbourhood(onto, encoding.circuit.qubits) if encoding.method == "native" else ()
    for vector in inputs:
        circuit = circuit_for(encoding, vector, edges)
        routed = route(circuit, onto, seed=seed)
        counts = sample_on(routed, onto, shots=shots, seed=seed)[:rows]
        exact = probabilities(circuit)[:rows]
        distances.append(total_variation(counts, exact) if counts.any() else 1.0)
        kept.append(counts.sum() / shots)
        gates.append(routed.two_qubit)
    return Outcome(
        encoding.method,
        encoding.circuit.qubits,
        encoding.cx,
        float(np.mean(gates)),
        float(np.mean(kept)),
        float(np.mean(distances)),
    )


def compare(onto: Device, *, inputs: int, shots: int, seed: int) -> list[Outcome]:
    """An encoding along the device's couplings, the smallest one, FABLE: same device, inputs, number of shots."""
    matrix, values = hidden_values(inputs)
    encodings = [
        encode_native(matrix, onto, seed=seed),
        encode(matrix, seed=seed),
        encode(matrix, methods=("fable",)),
    ]
    return [run(encoding, values, onto, shots=shots, seed=seed) for encoding in encodings]


def main() -> None:
    """Print the comparison."""
    parser = argparse.ArgumentParser(
        description="A 4x8 layer on a noisy device: accelc's encoding and FABLE's."
    )
    parser.add_argument("--device", default="h-7", help="h-7, line-7, grid-2x4, nairobi, ... (default: h-7)")
    parser.add_argument("--inputs", type=int, default=12, help="Images measured (default: 12).")
    parser.add_argument("--shots", type=int, default=20_000, help="Runs for each (default: 20000).")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--json", action="store_true")
    given = parser.parse_args()
    found = compare(device(given.device), inputs=given.inputs, shots=given.shots, seed=given.seed)
    ratios = [outcome.distance / found[-1].distance for outcome in found]
    if given.json:
        rows = [{**vars(outcome), "ratio": ratio} for outcome, ratio in zip(found, ratios, strict=True)]
        print(json.dumps({"device": given.device, "outcomes": rows}))
        return
    print(f"device {given.device}, {given.inputs} images, {given.shots} shots each")
    print("encoding    qubits   CX   CX routed   runs kept   distance to exact   times FABLE's")
    for outcome, ratio in zip(found, ratios, strict=True):
        print(
            f"{outcome.method:<12}{outcome.qubits:>5}{outcome.cx:>6}{outcome.routed_cx:>12.1f}{outcome.kept:>12.1%}"
            f"{outcome.distance:>20.3f}{ratio:>16.2f}"
        )


if __name__ == "__main__":
    main()
