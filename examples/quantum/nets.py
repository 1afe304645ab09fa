"""Small classifiers of scikit-learn's digits, trained in NumPy in a second, for the examples beside this file."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

OPSET, IR_VERSION = 21, 10
TEST_SHARE = 5  # every fifth image is kept for testing

Layers = list[tuple[np.ndarray, np.ndarray]]


@dataclass(frozen=True)
class Digits:
    """Images and what they show.

    Args:
        train: float64 [N, pixels], 0 to 1.
        train_labels: int64 [N].
        test: float64 [M, pixels].
        test_labels: int64 [M].
    """

    train: np.ndarray
    train_labels: np.ndarray
    test: np.ndarray
    test_labels: np.ndarray


def load_digits(*, side: int = 8, classes: int = 10) -> Digits:
    """The first ``classes`` digits as images of ``side`` x ``side`` pixels, 8 divided by side a whole number."""
    from sklearn import datasets

    pixels, labels = datasets.load_digits(return_X_y=True)
    pixels, labels = pixels[labels < classes] / 16.0, labels[labels < classes].astype(np.int64)
    step = 8 // side
    pixels = pixels.reshape(-1, side, step, side, step).mean(axis=(2, 4)).reshape(-1, side * side)
    held_out = np.arange(len(labels)) % TEST_SHARE == 0
    return Digits(pixels[~held_out], labels[~held_out], pixels[held_out], labels[held_out])


def train(digits: Digits, hidden: tuple[int, ...] = (), *, steps: int = 300, seed: int = 0) -> Layers:
    """Weights [outputs, inputs] and bias [outputs] of every layer, ReLU between: Adam on the cross entropy."""
    rng = np.random.default_rng(seed)
    widths = [digits.train.shape[1], *hidden, int(digits.train_labels.max()) + 1]
    layers = [
        (rng.normal(size=(out, width)) * np.sqrt(2 / width), np.zeros(out)) for width, out in pairwise(widths)
    ]
    moments = [tuple((np.zeros_like(p), np.zeros_like(p)) for p in layer) for layer in layers]
    for step in range(1, steps + 1):
        gradients = _gradients(layers, digits.train, digits.train_labels)
        for layer, gradient, moment in zip(layers, gradients, moments, strict=True):
            for value, slope, (first, second) in zip(layer, gradient, moment, strict=True):
                slope += 1e-3 * value
                first += 0.1 * (slope - first)
                second += 0.01 * (slope**2 - second)
                scaled = first / (1 - 0.9**step) / (np.sqrt(second / (1 - 0.99**step)) + 1e-8)
                value -= 0.02 * scaled
    return layers


def logits(layers: Layers, pixels: np.ndarray) -> np.ndarray:
    """Outputs [N, classes] for ``pixels`` [N, inputs], in float64."""
    return _activations(layers, pixels)[-1]


def to_onnx(layers: Layers, file: Path) -> Path:
    """Write the net as an ONNX file of Gemm and Relu: ``pixels`` float32 [batch, inputs] to ``logits``."""
    nodes, weights, last = [], [], "pixels"
    for at, (matrix, bias) in enumerate(layers):
        is_last = at + 1 == len(layers)
        made = "logits" if is_last else f"sum{at}"
        nodes.append(
            helper.make_node("Gemm", [last, f"w{at}", f"b{at}"], [made], name=f"layer{at}", transB=1)
        )
        weights += [
            numpy_helper.from_array(value.astype(np.float32), f"{kind}{at}")
            for kind, value in (("w", matrix), ("b", bias))
        ]
        if not is_last:
            nodes.append(helper.make_node("Relu", [made], [f"hidden{at}"], name=f"relu{at}"))
        last = f"hidden{at}"
    pixels = helper.make_tensor_value_info("pixels", TensorProto.FLOAT, ["batch", layers[0][0].shape[1]])
    result = helper.make_tensor_value_info("logits", TensorProto.FLOAT, ["batch", layers[-1][0].shape[0]])
    graph = helper.make_graph(nodes, file.stem, [pixels], [result], weights)
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", OPSET)], ir_version=IR_VERSION)
    onnx.save(model, file)
    return file


def _activations(layers: Layers, pixels: np.ndarray) -> list[np.ndarray]:
    values = [pixels]
    for at, (matrix, bias) in enumerate(layers):
        made = values[-1] @ matrix.T + bias
        values.append(made if at + 1 == len(layers) else np.maximum(made, 0))
    return values


def _gradients(layers: Layers, pixels: np.ndarray, labels: np.ndarray) -> Layers:
    """Of the mean cross entropy, layer by layer."""
    values = _activations(layers, pixels)
    chances = np.exp(values[-1] - values[-1].max(axis=1, keepdims=True))
    slope = chances / chances.sum(axis=1, keepdims=True)
    slope[np.arange(len(labels)), labels] -= 1
    slope /= len(labels)
    found: Layers = []
    for (matrix, _), before in zip(reversed(layers), reversed(values[:-1]), strict=True):
        found.append((slope.T @ before, slope.sum(axis=0)))
        slope = (slope @ matrix) * (before > 0)
    return found[::-1]
