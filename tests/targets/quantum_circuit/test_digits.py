"""Classifiers of handwritten digits on circuits: equal to onnxruntime in float64, and right enough from 1,000 shots."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import pairwise
from typing import Any

import numpy as np
import onnx
import pytest
from hybrid_harness import node, program, proto

import accelc
from accelc.targets.quantum_circuit.executable import Settings

pytest.importorskip("scipy", reason="the quantum target needs SciPy (accelc[quantum])")
pytest.importorskip("qiskit", reason="the quantum target needs Qiskit (accelc[quantum])")
threadpoolctl = pytest.importorskip("threadpoolctl", reason="comes with scikit-learn (accelc[train])")
datasets = pytest.importorskip("sklearn.datasets", reason="needs scikit-learn (accelc[train])")

Layer = tuple[np.ndarray, np.ndarray]
TRAIN, TEST = slice(0, 1400), slice(1400, None)


@pytest.fixture(autouse=True)
def one_thread() -> Iterator[None]:
    """Products of small matrices wait for one another when tests run side by side."""
    with threadpoolctl.threadpool_limits(1):
        yield


@pytest.fixture(scope="module")
def digits() -> tuple[np.ndarray, np.ndarray]:
    """Images [1797, 64] of numbers from 0 to 1, and their classes."""
    data = datasets.load_digits()
    return data.data / 16.0, data.target


def trained(x: np.ndarray, classes: np.ndarray, sizes: Sequence[int], steps: int = 150) -> list[Layer]:
    """Weights [out, in] and biases of a perceptron, by plain gradient descent on the cross entropy."""
    rng = np.random.default_rng(0)
    layers = [
        [rng.standard_normal((out, into)) * np.sqrt((2 if len(sizes) > 2 else 0.01) / into), np.zeros(out)]
        for into, out in pairwise(sizes)
    ]
    wanted = np.eye(sizes[-1])[classes % sizes[-1]]
    for _ in range(steps):
        states = [x]
        for index, (w, b) in enumerate(layers):
            z = states[-1] @ w.T + b
            states.append(np.maximum(z, 0) if index < len(layers) - 1 else z)
        odds = np.exp(states[-1] - states[-1].max(axis=1, keepdims=True))
        back = (odds / odds.sum(axis=1, keepdims=True) - wanted) / len(x)
        for index in reversed(range(len(layers))):
            w, b = layers[index]
            step = back.T @ states[index], back.sum(axis=0)
            back = (back @ w) * (states[index] > 0)
            layers[index] = [w - 0.5 * step[0], b - 0.5 * step[1]]
    return [
        (w.astype(np.float32).astype(np.float64), b.astype(np.float32).astype(np.float64)) for w, b in layers
    ]


def perceptron(layers: Sequence[Layer], kind: str = "double") -> onnx.ModelProto:
    nodes, name = [], "x"
    for index in range(len(layers)):
        result = "y" if index == len(layers) - 1 else f"z{index}"
        nodes.append(node("Gemm", f"{name} w{index} b{index}", result, transB=1))
        if result != "y":
            name = f"h{index}"
            nodes.append(node("Relu", result, name))
    weights = {f"{kind}{i}": a for i, layer in enumerate(layers) for kind, a in zip("wb", layer, strict=True)}
    sizes = layers[0][0].shape[1], len(layers[-1][0])
    return proto(nodes, {"x": ["N", sizes[0]]}, weights, {"y": ["N", sizes[1]]}, kind)


def onnxruntime_says(model: onnx.ModelProto, x: np.ndarray) -> np.ndarray:
    import onnxruntime

    session = onnxruntime.InferenceSession(model.SerializeToString(), providers=["CPUExecutionProvider"])
    return np.asarray(session.run(None, {"x": x})[0])


def check_exact(model: onnx.ModelProto, expected: np.ndarray, x: np.ndarray) -> Any:
    """By real circuits, the ones found first: any circuit gives the same."""
    exe = accelc.compile(model, target="quantum", encoding_seconds=0.0, verify=False)
    y = exe(x=x.astype(exe.inputs[0].dtype))
    assert np.abs(y - expected).max() <= 1e-6 * np.abs(expected).max()
    np.testing.assert_array_equal(y.argmax(axis=1), expected.argmax(axis=1))
    return exe


@pytest.mark.parametrize("sizes", [(64, 10), (16, 8, 4), (64, 32, 16, 10)], ids=str)
def test_perceptrons_read_from_the_state(
    digits: tuple[np.ndarray, np.ndarray], sizes: tuple[int, ...]
) -> None:
    x, classes = digits
    if sizes[0] == 16:
        x = x.reshape(-1, 4, 2, 4, 2).mean(axis=(2, 4)).reshape(-1, 16)
    layers = trained(x[TRAIN], classes[TRAIN], sizes)
    model = perceptron(layers)
    expected = onnxruntime_says(model, x[TEST])
    exe = check_exact(model, expected, x[TEST])
    assert len(exe.circuits()) == len(sizes) - 1
    check_exact(perceptron(layers, "float"), expected, x[TEST])


def test_a_convolutional_network_read_from_the_state(digits: tuple[np.ndarray, np.ndarray]) -> None:
    """Random filters and a trained last layer; its reference is float64, which onnxruntime's Conv does not take."""
    x, classes = digits
    rng = np.random.default_rng(1)
    filters, shift = rng.standard_normal((4, 1, 3, 3)) / 3, rng.standard_normal(4) / 10
    nodes = [
        node("Conv", "x k c", "p", pads=[1, 1, 1, 1]),
        node("Relu", "p", "r"),
        node("AveragePool", "r", "a", kernel_shape=[2, 2], strides=[2, 2]),
        node("Flatten", "a", "f"),
    ]
    images = x.reshape(-1, 1, 8, 8)[800:]
    train, test = slice(0, 600), slice(600, None)
    weights = {"k": filters, "c": shift}
    features = proto(nodes, {"x": ["N", 1, 8, 8]}, weights, {"f": ["N", 64]})
    from onnx.reference import ReferenceEvaluator

    held = np.asarray(ReferenceEvaluator(features).run(None, {"x": images})[0])
    ((w, b),) = trained(held[train], classes[800:][train], (64, 10))
    model = proto(
        [*nodes, node("Gemm", "f w b", "y", transB=1)],
        {"x": ["N", 1, 8, 8]},
        weights | {"w": w, "b": b},
        {"y": ["N", 10]},
    )
    exe = check_exact(model, held[test] @ w.T + b, images[test])
    ops = [[each.op_type for each in segment.map.nodes] for segment in exe.program.cut.segments]
    assert ops[0] == ["Conv"]
    assert ops[-1][-1] == "Gemm"
    assert exe.readings[0].readings[0].inputs == 397 * 64


def test_a_thousand_shots_agree_with_the_exact_answer(digits: tuple[np.ndarray, np.ndarray]) -> None:
    """Circuits at the spectral norm. What tells signs apart is made from the weights: no image takes part in it."""
    x, classes = digits
    layers = trained(x[TRAIN], classes[TRAIN], (64, 10), steps=300)
    exe = program(perceptron(layers), Settings(shots=1000))
    exact = exe.run_exactly({"x": x[TEST]})[0]
    agreed = [
        (exe.run_measured({"x": x[TEST]}, shots=1000, seed=seed)[0].argmax(1) == exact.argmax(1)).mean()
        for seed in range(8)
    ]
    assert np.mean(agreed) >= 0.955
    assert exe.readings[0].readings[0].shots == 397_000
    mean, half_width = exe.intervals({"x": x[TEST]}, shots=1000, runs=8)[0]
    assert (np.abs(mean - exact) <= half_width).mean() > 0.9
