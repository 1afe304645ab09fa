"""Which pixels would change a binary classifier's mind? Grover's search asks the network itself, as a circuit.

A 9-5-1 network of signs tells images of 3x3 pixels with a full row or column from others. It becomes an exact
reversible circuit, checked against onnxruntime on all 512 images; the search finds the images at most two pixels from
a given one that the network takes for the other class.

    python examples/quantum/search.py [FOLDER]

writes the network and the circuit of the search (OpenQASM 3, Quil, QPY, SVG) to FOLDER. Needs ``pip install accelc``;
QPY also ``accelc[quantum]``. The same from the shell: ``accelc oracle FOLDER/lines.onnx --property "within 2 of ..."``.
"""

from __future__ import annotations

import sys
import tempfile
from pathlib import Path

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

from accelc.frontend import load_model
from accelc.targets.quantum_circuit.oracle.properties import Within
from accelc.targets.quantum_circuit.oracle.search import build_oracle, check_oracle, search
from accelc.targets.quantum_circuit.outputs import write_outputs
from accelc.targets.quantum_circuit.resources import resources

SIDE, HIDDEN = 3, 5
GIVEN = (True, True, True, False, False, True, False, True, False)
"""The image asked about, pixel by pixel: a full row, and two pixels more."""
SHOTS = 1000


def all_images() -> np.ndarray:
    """Every image as signs: float32 [512, 9]."""
    return (np.arange(2 ** (SIDE * SIDE))[:, None] >> np.arange(SIDE * SIDE) & 1) * 2.0 - 1.0


def has_line(images: np.ndarray) -> np.ndarray:
    """Whether a row or column is full: bool [N]."""
    square = images.reshape(-1, SIDE, SIDE) > 0
    return np.asarray(square.all(axis=1).any(axis=1) | square.all(axis=2).any(axis=1))


def answer(images: np.ndarray, weights: tuple[np.ndarray, ...]) -> np.ndarray:
    """The network's sign for every image."""
    w, b, v, c = weights
    return np.sign(np.sign(images @ w + b) @ v + c)[:, 0]


def learned(seed: int = 1, tries: int = 4000) -> tuple[np.ndarray, ...]:
    """Weights of -1, 0 and 1 and biases that leave no sum at 0, changed one at a time as long as that helps."""
    rng = np.random.default_rng(seed)
    images = all_images()
    wanted = np.where(has_line(images), 1.0, -1.0)
    share = np.where(wanted > 0, 0.5 / (wanted > 0).sum(), 0.5 / (wanted < 0).sum())
    w = rng.choice([-1.0, 0.0, 1.0], (SIDE * SIDE, HIDDEN))
    b = np.full(HIDDEN, -2.5)
    v, c = np.ones((HIDDEN, 1)), np.array([3.5])
    best = 0.0
    for _ in range(tries):
        trial = [part.copy() for part in (w, b, v, c)]
        trial[0][rng.integers(SIDE * SIDE), rng.integers(HIDDEN)] = rng.choice([-1.0, 0.0, 1.0])
        if rng.random() < 0.3:
            trial[1][rng.integers(HIDDEN)] += rng.choice([-1.0, 1.0])
        right = float(share[answer(images, tuple(trial)) == wanted].sum())
        if right >= best:
            best, (w, b, v, c) = right, trial
    return w, b, v, c


def write_network(file: Path, weights: tuple[np.ndarray, ...]) -> None:
    """The network as ONNX: MatMul, Add, Sign, twice."""
    nodes, last = [], "image"
    for layer in range(2):
        made = "line" if layer else "hidden"
        nodes += [
            helper.make_node("MatMul", [last, f"w{layer}"], [f"product{layer}"]),
            helper.make_node("Add", [f"product{layer}", f"b{layer}"], [f"sum{layer}"]),
            helper.make_node("Sign", [f"sum{layer}"], [made]),
        ]
        last = made
    names = ("w0", "b0", "w1", "b1")
    values = [numpy_helper.from_array(x.astype(np.float32), n) for x, n in zip(weights, names, strict=True)]
    image = helper.make_tensor_value_info("image", TensorProto.FLOAT, [1, SIDE * SIDE])
    line = helper.make_tensor_value_info("line", TensorProto.FLOAT, [1, 1])
    graph = helper.make_graph(nodes, "lines", [image], [line], values)
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 21)], ir_version=10), file)


def picture(bits: str) -> list[str]:
    """An image as lines of text."""
    return [" ".join(".#"[int(bit)] for bit in bits[row : row + SIDE]) for row in range(0, len(bits), SIDE)]


def main(folder: Path) -> None:
    """Learn, compile, check, search, write."""
    weights = learned()
    right = np.where(has_line(all_images()), 1.0, -1.0) == answer(all_images(), weights)
    folder.mkdir(parents=True, exist_ok=True)
    write_network(folder / "lines.onnx", weights)
    model = load_model(folder / "lines.onnx").model
    oracle = build_oracle(model)
    outputs, checked = check_oracle(oracle, model)
    cost = resources(oracle.oracle.circuit)
    print(f"network 9-5-1, right on {right.mean():.1%} of the images")
    print(f"circuit: {cost.qubits} qubits, {cost.toffoli} Toffoli, {cost.t} T; equal on {checked} images")

    found = search(model, Within(2, GIVEN), outputs=outputs)
    circuit = found.circuit()
    if found.plan is None or circuit is None:
        print("no image that near is taken for the other class")
        return
    counts = found.sample(SHOTS, seed=0)
    print(
        f"{found.marked.sum()} of {len(found.marked)} images are at most two pixels away and of the other class; "
        f"after {found.plan.iterations} rounds a measurement is one of them with {found.success_probability():.1%} "
        f"(a guess: {found.marked.mean():.1%})"
    )
    shown = [("asked", picture("".join("01"[bit] for bit in GIVEN)))]
    shown += [(f"{times} x", picture(bits)) for bits, times in list(counts.items())[:6]]
    print("\n" + "   ".join(f"{title:<6}" for title, _ in shown))
    for row in range(SIDE):
        print("   ".join(f"{lines[row]:<6}" for _, lines in shown))
    files = write_outputs(circuit, folder, "search")
    print("\nwrote", ", ".join(file.name for file in files.values()), f"({len(circuit.gates)} gates)")


if __name__ == "__main__":
    if len(sys.argv) > 1:
        main(Path(sys.argv[1]))
    else:
        with tempfile.TemporaryDirectory() as made:
            main(Path(made))
