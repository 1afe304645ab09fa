"""The classic first job on an accelerator: train an MLP on MNIST, export it to ONNX, compile it, evaluate it again.

784-128 (relu)-10 (softmax), Adam, batch 64, one-hot labels, pixels scaled to 0..1. Give the folder with MNIST's four
IDX files (``train-images-idx3-ubyte`` and so on, ``.gz`` or not). On a GPU it takes only the memory it needs.
Needs ``pip install '.[train]'``.
"""

from __future__ import annotations

import argparse
import gzip
import os
import time
from pathlib import Path
from typing import Any

os.environ.setdefault("XLA_PYTHON_CLIENT_PREALLOCATE", "false")  # before JAX starts: memory as needed

import jax
import jax.numpy as jnp
import numpy as np
import onnx
import optax
from onnx import TensorProto, helper, numpy_helper

import accelc

HIDDEN, CLASSES = 128, 10
RATE = 1e-3
_IDX_BYTES = 0x08
"""IDX's code for unsigned bytes."""

Params = dict[str, jax.Array]


def read_idx(folder: Path, name: str) -> np.ndarray:
    """An array of unsigned bytes in IDX form: 2 zero bytes, type, rank, big-endian dims, data."""
    path = next((p for p in (folder / name, folder / f"{name}.gz") if p.is_file()), None)
    if path is None:
        raise SystemExit(f"{folder} has no {name} (or {name}.gz)")
    content = gzip.decompress(path.read_bytes()) if path.suffix == ".gz" else path.read_bytes()
    if len(content) < 4 or content[:3] != bytes((0, 0, _IDX_BYTES)):
        raise SystemExit(f"{path} is no IDX file of bytes")
    rank = content[3]
    shape = np.frombuffer(content, ">u4", rank, offset=4).astype(int)
    if len(content) != 4 + 4 * rank + int(np.prod(shape)):
        raise SystemExit(f"{path} is cut off: {len(content)} bytes for shape {shape.tolist()}")
    return np.frombuffer(content, np.uint8, offset=4 + 4 * rank).reshape(shape)


def load(folder: Path, part: str) -> tuple[np.ndarray, np.ndarray]:
    """Pixels [N, 784] in 0..1 and labels [N] of ``train`` or ``t10k``."""
    images = read_idx(folder, f"{part}-images-idx3-ubyte")
    labels = read_idx(folder, f"{part}-labels-idx1-ubyte")
    if len(images) != len(labels):
        raise SystemExit(f"{len(images)} images but {len(labels)} labels in {folder}")
    return images.reshape(len(images), -1).astype(np.float32) / 255, labels.astype(np.int32)


def logits(p: Params, x: jax.Array) -> jax.Array:
    """[N, 10] of pixels [N, 784]."""
    return jax.nn.relu(x @ p["w1"] + p["b1"]) @ p["w2"] + p["b2"]


def train(x: np.ndarray, y: np.ndarray, *, epochs: int, batch: int, seed: int = 0) -> Params:
    """Weights after ``epochs`` passes with Adam over rows in random order."""
    keys = jax.random.split(jax.random.key(seed), 3)
    pixels = x.shape[1]
    params: Params = {
        "w1": jax.random.normal(keys[0], (pixels, HIDDEN)) * np.sqrt(2 / pixels),
        "b1": jnp.zeros(HIDDEN),
        "w2": jax.random.normal(keys[1], (HIDDEN, CLASSES)) * np.sqrt(2 / HIDDEN),
        "b2": jnp.zeros(CLASSES),
    }
    optimizer = optax.adam(RATE)
    images, one_hot = jnp.asarray(x), jax.nn.one_hot(y, CLASSES)
    steps = len(x) // batch

    def loss(p: Params, rows: jax.Array) -> jax.Array:
        return optax.softmax_cross_entropy(logits(p, images[rows]), one_hot[rows]).mean()

    def step(carry: Any, rows: jax.Array) -> tuple[Any, jax.Array]:
        p, state = carry
        value, grads = jax.value_and_grad(loss)(p, rows)
        updates, state = optimizer.update(grads, state, p)
        return (optax.apply_updates(p, updates), state), value

    @jax.jit
    def epoch(carry: Any, key: jax.Array) -> tuple[Any, jax.Array]:
        order = jax.random.permutation(key, len(x))[: steps * batch].reshape(steps, batch)
        carry, values = jax.lax.scan(step, carry, order)
        return carry, values.mean()

    carry = (params, optimizer.init(params))
    for number, key in enumerate(jax.random.split(keys[2], epochs), 1):
        start = time.perf_counter()
        carry, value = epoch(carry, key)
        print(f"epoch {number}: loss {float(value):.4f}, {time.perf_counter() - start:.2f} s")
    return carry[0]


def to_onnx(params: Params) -> onnx.ModelProto:
    """The network with a softmax at its end: ``pixels [batch, 784]`` to ``probabilities [batch, 10]``."""
    node = helper.make_node
    nodes = [
        node("Gemm", ["pixels", "w1", "b1"], ["a1"]),
        node("Relu", ["a1"], ["h1"]),
        node("Gemm", ["h1", "w2", "b2"], ["logits"]),
        node("Softmax", ["logits"], ["probabilities"], axis=-1),
    ]
    info = helper.make_tensor_value_info
    graph = helper.make_graph(
        nodes,
        "mnist_mlp",
        [info("pixels", TensorProto.FLOAT, ["batch", params["w1"].shape[0]])],
        [info("probabilities", TensorProto.FLOAT, ["batch", CLASSES])],
        [numpy_helper.from_array(np.asarray(value), name) for name, value in params.items()],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 21)], ir_version=10)
    onnx.checker.check_model(model, full_check=True)
    return model


def main() -> None:
    """Train, evaluate, export, compile, evaluate."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("data", type=Path, help="folder with MNIST's IDX files")
    parser.add_argument("-o", "--output", type=Path, default=Path("mnist_mlp.onnx"))
    parser.add_argument("--epochs", type=int, default=5)
    parser.add_argument("--batch", type=int, default=64)
    args = parser.parse_args()
    device = jax.devices()[0]
    print(f"device: {device.platform} ({device.device_kind})")

    x, y = load(args.data, "train")
    x_test, y_test = load(args.data, "t10k")
    params = train(x, y, epochs=args.epochs, batch=args.batch)
    trained = np.asarray(logits(params, jnp.asarray(x_test))).argmax(1)
    print(f"JAX:    {(trained == y_test).mean():.2%} of {len(y_test)} test rows right")

    onnx.save(to_onnx(params), args.output)
    exe = accelc.compile(args.output, target="xla")
    compiled = exe(pixels=x_test).argmax(1)
    print(f"accelc: {(compiled == y_test).mean():.2%} of {len(y_test)} test rows right, from {args.output}")


if __name__ == "__main__":
    main()
