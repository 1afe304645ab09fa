"""Repair a damaged classifier: fine-tune an ONNX model with JAX and optax, and write the new weights back to ONNX.

The digits CNN loses half of its second layer's filters (set to zero) and the rest of its weights get noise. Training
through ``accelc.to_jax`` brings the accuracy back; the file that comes out has the same graph with other weights.
Takes a few seconds on a CPU. Needs ``pip install '.[train]'``.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import onnx

import accelc

DIGITS = Path(__file__).parents[1] / "digits"
SEED = 0
NOISE = 0.3
"""Standard deviation of the damage, as a share of each weight's own."""
EPOCHS, BATCH, RATE = 10, 32, 2e-3

Arrays = dict[str, np.ndarray]


def damage(params: Arrays) -> Arrays:
    """Half of the filters of the second layer gone, noise on everything."""
    rng = np.random.default_rng(SEED)
    broken = {
        name: (w + NOISE * (w.std() + 1e-3) * rng.standard_normal(w.shape)).astype(w.dtype)
        for name, w in params.items()
    }
    broken["w2"][::2] = 0
    return broken


def accuracy(probabilities: np.ndarray, labels: np.ndarray) -> str:
    """Share of rows that are right, for people."""
    return f"{(probabilities.argmax(1) == labels).mean():.2%} of {len(labels)} held-out rows right"


def fit(forward: Callable[..., dict[str, object]], params: Arrays, x: np.ndarray, y: np.ndarray) -> Arrays:
    """Minimise the cross entropy of the probabilities that the model gives, with Adam."""
    import jax
    import jax.numpy as jnp
    import optax

    steps = len(x) // BATCH
    optimizer = optax.adam(optax.cosine_decay_schedule(RATE, EPOCHS * steps))

    def loss(p: Arrays, image: jax.Array, label: jax.Array) -> jax.Array:
        probabilities = jnp.asarray(forward(p, {"image": image})["probabilities"])
        return -jnp.log(jnp.take_along_axis(probabilities, label[:, None], 1) + 1e-7).mean()

    @jax.jit
    def step(
        p: Arrays, state: optax.OptState, image: jax.Array, label: jax.Array
    ) -> tuple[Arrays, optax.OptState]:
        updates, state = optimizer.update(jax.grad(loss)(p, image, label), state, p)
        return optax.apply_updates(p, updates), state

    state = optimizer.init(params)
    rng = np.random.default_rng(SEED)
    for _ in range(EPOCHS):
        for rows in rng.permutation(len(x))[: steps * BATCH].reshape(steps, BATCH):
            params, state = step(params, state, x[rows], y[rows])
    return {name: np.asarray(value) for name, value in params.items()}


def training_rows() -> tuple[np.ndarray, np.ndarray]:
    """The rows that the model was trained on (see examples/digits/train.py): images [N, 1, 8, 8] and labels."""
    from sklearn.datasets import load_digits
    from sklearn.model_selection import train_test_split

    digits = load_digits()
    x, _, y, _ = train_test_split(
        digits.data, digits.target, test_size=0.2, random_state=SEED, stratify=digits.target
    )
    return x.astype(np.float32).reshape(-1, 1, 8, 8), y.astype(np.int32)


def main() -> None:
    """Damage, repair, write, and report the accuracy on held-out rows at each stage."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("-o", "--output", type=Path, default=Path("digits_cnn_finetuned.onnx"))
    output = parser.parse_args().output
    path = DIGITS / "cnn.onnx"
    held_out = np.load(DIGITS / "digits_test.npz")
    images, labels = held_out["pixels"].astype(np.float32).reshape(-1, 1, 8, 8), held_out["labels"]

    start = time.perf_counter()
    forward, weights = accelc.to_jax(path)
    params = {name: np.asarray(value) for name, value in weights.items()}
    broken = damage(params)
    repaired = fit(forward, broken, *training_rows())
    onnx.save(accelc.with_params(path, repaired), output)

    for stage, weights in (("original", params), ("damaged", broken)):
        print(
            f"{stage:<11} {accuracy(np.asarray(forward(weights, {'image': images})['probabilities']), labels)}"
        )
    exe = accelc.compile(output, target="xla")
    print(f"{'fine-tuned':<11} {accuracy(exe(image=images), labels)}")
    print(f"wrote {output} after {time.perf_counter() - start:.1f} s")


if __name__ == "__main__":
    main()
