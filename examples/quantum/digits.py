"""Digits on quantum circuits: compiled, verified, read from the state, from measurements, and from a noisy device.

    python examples/quantum/digits.py [--shots 1000] [--device h-7] [--images 20] [--json]

A linear classifier (64-10) and a perceptron (16-8-4, digits 0 to 3) are trained in NumPy, written as ONNX and compiled
with target ``quantum``: circuits for the layers, the host for what is between them. Then the perceptron's last layer
runs gate by gate on a simulated device with noise. Needs ``pip install 'accelc[quantum,train]'``.
"""

from __future__ import annotations

import argparse
import json
import math
import tempfile
from pathlib import Path
from typing import Any

import nets
import numpy as np

import accelc
from accelc.targets.quantum_circuit.circuit import Circuit, Gate
from accelc.targets.quantum_circuit.devices import Device, device, route
from accelc.targets.quantum_circuit.encode.base import BlockEncoding
from accelc.targets.quantum_circuit.native import encode_native, neighbourhood, prepare_native
from accelc.targets.quantum_circuit.noise import sample_on
from accelc.targets.quantum_circuit.readout import most_likely

REFERENCE = 0.5
"""Amplitude of the reference from which signs are read, beside an input of norm 1."""


def compiled(layers: nets.Layers, digits: nets.Digits, shots: int, seconds: float) -> dict[str, Any]:
    """Compile a net, verify it, classify the test images from the state and from ``shots`` measurements each."""
    with tempfile.TemporaryDirectory() as folder:
        file = nets.to_onnx(layers, Path(folder) / "net.onnx")
        exe = accelc.compile(str(file), target="quantum", shots=shots, encoding_seconds=seconds)
    pixels = digits.test.astype(np.float32)
    wanted = nets.logits(layers, digits.test).argmax(axis=1)
    exact = exe.run_exactly({"pixels": pixels})[0].argmax(axis=1)
    drawn = exe(pixels=pixels).argmax(axis=1)
    return {
        "net": "-".join(str(width) for width in (pixels.shape[1], *(len(bias) for _, bias in layers))),
        "images": len(pixels),
        "accuracy": float((exact == digits.test_labels).mean()),
        "verification": exe.verification.status,
        "max_rel_error": exe.verification.max_rel_error,
        "equal_from_state": float((exact == wanted).mean()),
        "equal_from_shots": float((drawn == exact).mean()),
        "shots": shots,
        "circuits": [product.facts() for _, product in exe.circuits()],
    }


def on_device(
    layers: nets.Layers, digits: nets.Digits, onto: Device, images: int, shots: int
) -> dict[str, Any]:
    """Classify with the last layer on a noisy device: signs from the interference with a reference."""
    (first, bias), (last, last_bias) = layers
    hidden = np.maximum(digits.test @ first.T + bias, 0)
    hidden = hidden[hidden.any(axis=1)][:images]
    encoding = encode_native(last, onto, beside=1)
    wanted = hidden @ last.T + last_bias
    read, gates = [], 0
    for vector in hidden:
        routed = route(interfering(encoding, vector, onto), onto)
        gates = max(gates, routed.two_qubit)
        read.append(estimated(encoding, sample_on(routed, onto, shots=shots), shots) * np.linalg.norm(vector))
    found = np.array(read) + last_bias
    return {
        "device": onto.name,
        "layer": "x".join(map(str, last.shape)),
        "images": len(hidden),
        "shots": shots,
        "cx": gates,
        "equal": float((found.argmax(axis=1) == wanted.argmax(axis=1)).mean()),
        "rms_error": float(np.linalg.norm(found - wanted) / np.linalg.norm(wanted)),
    }


def interfering(encoding: BlockEncoding, vector: np.ndarray, onto: Device) -> Circuit:
    """The layer on ``vector`` with one more qubit, whose two values add and subtract the reference.

    The reference is the state that the circuit turns into equal amplitudes of all rows; see accelc's readout.
    """
    inner = encoding.circuit
    rows, columns = encoding.shape
    equal = np.zeros(2**inner.qubits)
    equal[:rows] = 1 / math.sqrt(rows)
    loaded = np.zeros(2**inner.qubits)
    loaded[:columns] = vector / np.linalg.norm(vector)
    both = np.concatenate([loaded, REFERENCE * inner.inverse().apply(equal)])
    loading = prepare_native(both, neighbourhood(onto, inner.qubits + 1))
    gates = (*loading.gates, *inner.gates, Gate("h", (inner.qubits,)))
    others = [qubit for qubit in range(inner.qubits) if qubit not in encoding.row_qubits]
    return Circuit(inner.qubits + 1, gates, (*encoding.row_qubits, inner.qubits, *others))


def estimated(encoding: BlockEncoding, counts: np.ndarray, shots: int) -> np.ndarray:
    """The layer's outputs for an input of norm 1, from counts of rows, reference bit, other bits (all 0 kept)."""
    rows, half = encoding.shape[0], 2 ** len(encoding.row_qubits)
    plus, minus = counts[:rows], counts[half : half + rows]
    scale = np.full(rows, (1 + REFERENCE**2) / shots)
    return encoding.alpha * most_likely(plus, minus, REFERENCE / math.sqrt(rows), scale)


def show(found: dict[str, Any]) -> None:
    """One net, for people."""
    print(
        f"{found['net']}: right on {found['accuracy']:.1%} of {found['images']} test images, {found['verification']}"
    )
    for circuit in found["circuits"]:
        rows, columns = circuit["shape"]
        print(
            f"  {rows}x{columns}  {circuit['method']}: {circuit['qubits']} qubits, {circuit['cx']} CX, depth "
            f"{circuit['depth']}, alpha {circuit['alpha_ratio']:.2f} of the norm"
        )
    print(
        f"  same class as the model: {found['equal_from_state']:.1%} from the state, "
        f"{found['equal_from_shots']:.1%} from {found['shots']} shots"
    )


def main() -> None:
    """Train, compile, run."""
    parser = argparse.ArgumentParser(description="Digits classifiers on quantum circuits.")
    parser.add_argument("--shots", type=int, default=1000, help="Measurements of each image (default: 1000).")
    parser.add_argument("--device", default="h-7", help="Where noise is simulated (default: h-7).")
    parser.add_argument("--images", type=int, default=20, help="Images on the noisy device (default: 20).")
    parser.add_argument(
        "--encoding-seconds", type=float, default=30.0, help="Time to search for each circuit."
    )
    parser.add_argument("--json", action="store_true")
    given = parser.parse_args()
    found = []
    for side, classes, hidden in ((8, 10, ()), (4, 4, (8,))):
        digits = nets.load_digits(side=side, classes=classes)
        layers = nets.train(digits, hidden)
        found.append(compiled(layers, digits, given.shots, given.encoding_seconds))
        if not given.json:
            show(found[-1])
    noisy = on_device(layers, digits, device(given.device), given.images, 10 * given.shots)
    if given.json:
        print(json.dumps({"nets": found, "noisy": noisy}))
        return
    print(
        f"on device {noisy['device']} with noise, the {noisy['layer']} layer ({noisy['cx']} CX with its input, "
        f"{noisy['shots']} shots):\n  same class for {noisy['equal']:.0%} of {noisy['images']} images, "
        f"error {noisy['rms_error']:.0%} of the outputs"
    )


if __name__ == "__main__":
    main()
