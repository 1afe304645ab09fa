"""Train two small classifiers on scikit-learn's digits with JAX and write them as ONNX.

For ``mlp`` and ``cnn`` it writes the model (``mlp.onnx``) and test data in ONNX's own form, 32 rows
(``mlp_test_data_set_0/*.pb``); ``digits_test.npz`` has all held-out rows and their labels.
Takes about 20 s on two cores. Needs ``pip install '.[train]'``.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import onnx
import optax
from onnx import TensorProto, helper, numpy_helper
from sklearn.datasets import load_digits
from sklearn.model_selection import train_test_split

HERE = Path(__file__).parent
SEED = 0
OPSET = 21
IR_VERSION = 10
SCALE = 1.0 / 16.0
"""Pixels are 0..16."""
TEST_ROWS = 32
"""Rows in the ONNX test data; all held-out rows are in digits_test.npz."""

Params = dict[str, jax.Array]
Forward = Callable[[Params, jax.Array], jax.Array]


def init_params(key: jax.Array, shapes: dict[str, tuple[int, ...]], fan_in: dict[str, int]) -> Params:
    """He-normal weights, zero biases (those without a fan-in)."""
    keys = jax.random.split(key, len(shapes))
    return {
        name: jax.random.normal(k, shape) * np.sqrt(2.0 / fan_in[name])
        if name in fan_in
        else jnp.zeros(shape)
        for k, (name, shape) in zip(keys, shapes.items(), strict=True)
    }


MLP_SHAPES = {"w1": (64, 64), "b1": (64,), "w2": (64, 32), "b2": (32,), "w3": (32, 10), "b3": (10,)}
MLP_FAN_IN = {"w1": 64, "w2": 64, "w3": 32}
CNN_SHAPES = {
    "w1": (16, 1, 3, 3),
    "b1": (16,),
    "w2": (32, 16, 3, 3),
    "b2": (32,),
    "w3": (10, 128),
    "b3": (10,),
}
CNN_FAN_IN = {"w1": 9, "w2": 144, "w3": 128}


def mlp(p: Params, pixels: jax.Array) -> jax.Array:
    """Logits [N, 10] of pixels [N, 64]."""
    h = jax.nn.relu(pixels * SCALE @ p["w1"] + p["b1"])
    h = jax.nn.relu(h @ p["w2"] + p["b2"])
    return h @ p["w3"] + p["b3"]


def cnn(p: Params, image: jax.Array) -> jax.Array:
    """Logits [N, 10] of images [N, 1, 8, 8]."""
    h = image * SCALE
    for w, b in ((p["w1"], p["b1"]), (p["w2"], p["b2"])):
        h = jax.lax.conv_general_dilated(h, w, (1, 1), "SAME", dimension_numbers=("NCHW", "OIHW", "NCHW"))
        h = jax.nn.relu(h + b[:, None, None])
        h = jax.lax.reduce_window(h, -jnp.inf, jax.lax.max, (1, 1, 2, 2), (1, 1, 2, 2), "VALID")
    return h.reshape(h.shape[0], -1) @ p["w3"].T + p["b3"]


def fit(
    forward: Forward, params: Params, x: np.ndarray, y: np.ndarray, *, epochs: int, batch: int = 32
) -> Params:
    """Minimise the cross entropy with AdamW and a cosine schedule; the order of the rows is seeded."""
    steps = len(x) // batch
    optimizer = optax.adamw(optax.cosine_decay_schedule(3e-3, epochs * steps), weight_decay=1e-3)

    def loss(p: Params, rows: jax.Array, labels: jax.Array) -> jax.Array:
        return optax.softmax_cross_entropy_with_integer_labels(forward(p, rows), labels).mean()

    def step(
        carry: tuple[Params, optax.OptState], index: jax.Array
    ) -> tuple[tuple[Params, optax.OptState], None]:
        p, state = carry
        grads = jax.grad(loss)(p, x_all[index], y_all[index])
        updates, state = optimizer.update(grads, state, p)
        return (optax.apply_updates(p, updates), state), None

    @jax.jit
    def epoch(p: Params, state: optax.OptState, key: jax.Array) -> tuple[Params, optax.OptState]:
        order = jax.random.permutation(key, len(x))[: steps * batch].reshape(steps, batch)
        return jax.lax.scan(step, (p, state), order)[0]

    x_all, y_all = jnp.asarray(x), jnp.asarray(y)
    state = optimizer.init(params)
    for key in jax.random.split(jax.random.key(SEED + 1), epochs):
        params, state = epoch(params, state, key)
    return params


def graph_model(
    name: str, nodes: list[onnx.NodeProto], params: Params, input_shape: list[int | str]
) -> onnx.ModelProto:
    """A checked model from ``input_shape`` to ``probabilities [batch, 10]``."""
    weights = [numpy_helper.from_array(np.asarray(value, np.float32), key) for key, value in params.items()]
    weights.append(numpy_helper.from_array(np.float32(SCALE), "scale"))
    graph = helper.make_graph(
        nodes,
        name,
        [helper.make_tensor_value_info(nodes[0].input[0], TensorProto.FLOAT, input_shape)],
        [helper.make_tensor_value_info("probabilities", TensorProto.FLOAT, ["batch", 10])],
        initializer=weights,
    )
    model = helper.make_model(
        graph,
        opset_imports=[helper.make_opsetid("", OPSET)],
        ir_version=IR_VERSION,
        producer_name="accelc-digits",
    )
    onnx.checker.check_model(model, full_check=True)
    return model


def mlp_onnx(p: Params) -> onnx.ModelProto:
    """The MLP with MatMul and Add apart, as most exporters write it."""
    node = helper.make_node
    nodes = [node("Mul", ["pixels", "scale"], ["h0"], name="scale_pixels")]
    for i in (1, 2, 3):
        nodes.append(node("MatMul", [f"h{i - 1}", f"w{i}"], [f"m{i}"], name=f"dense{i}"))
        nodes.append(node("Add", [f"m{i}", f"b{i}"], [f"a{i}"], name=f"bias{i}"))
        if i < 3:
            nodes.append(node("Relu", [f"a{i}"], [f"h{i}"], name=f"relu{i}"))
    nodes.append(node("Softmax", ["a3"], ["probabilities"], name="softmax", axis=-1))
    return graph_model("digits_mlp", nodes, p, ["batch", 64])


def cnn_onnx(p: Params) -> onnx.ModelProto:
    """The CNN: twice Conv, Relu, MaxPool, then Flatten and Gemm."""
    node = helper.make_node
    nodes = [node("Mul", ["image", "scale"], ["h0"], name="scale_image")]
    for i in (1, 2):
        nodes += [
            node(
                "Conv",
                [f"h{i - 1}", f"w{i}", f"b{i}"],
                [f"c{i}"],
                name=f"conv{i}",
                kernel_shape=[3, 3],
                pads=[1] * 4,
            ),
            node("Relu", [f"c{i}"], [f"r{i}"], name=f"relu{i}"),
            node("MaxPool", [f"r{i}"], [f"h{i}"], name=f"pool{i}", kernel_shape=[2, 2], strides=[2, 2]),
        ]
    nodes += [
        node("Flatten", ["h2"], ["flat"], name="flatten"),
        node("Gemm", ["flat", "w3", "b3"], ["logits"], name="dense", transB=1),
        node("Softmax", ["logits"], ["probabilities"], name="softmax", axis=-1),
    ]
    return graph_model("digits_cnn", nodes, p, ["batch", 1, 8, 8])


def write(stem: str, model: onnx.ModelProto, rows: np.ndarray, probabilities: np.ndarray) -> None:
    """Write the model and its test data set: JAX's own answers are the expected outputs."""
    (HERE / f"{stem}.onnx").write_bytes(model.SerializeToString(deterministic=True))
    folder = HERE / f"{stem}_test_data_set_0"
    folder.mkdir(exist_ok=True)
    for name, label, array in (
        ("input_0.pb", model.graph.input[0].name, rows),
        ("output_0.pb", "probabilities", probabilities),
    ):
        tensor = numpy_helper.from_array(np.ascontiguousarray(array), label)
        (folder / name).write_bytes(tensor.SerializeToString(deterministic=True))


def main() -> None:
    """Train, report the accuracy on held-out rows, write the files."""
    digits = load_digits()
    pixels, labels = digits.data.astype(np.float32), digits.target.astype(np.int32)
    x, x_test, y, y_test = train_test_split(pixels, labels, test_size=0.2, random_state=SEED, stratify=labels)
    np.savez_compressed(
        HERE / "digits_test.npz", pixels=x_test.astype(np.uint8), labels=y_test.astype(np.uint8)
    )
    jobs = (
        ("mlp", mlp, mlp_onnx, MLP_SHAPES, MLP_FAN_IN, (-1, 64), 60),
        ("cnn", cnn, cnn_onnx, CNN_SHAPES, CNN_FAN_IN, (-1, 1, 8, 8), 30),
    )
    for stem, forward, export, shapes, fan_in, form, epochs in jobs:
        params = init_params(jax.random.key(SEED), shapes, fan_in)
        params = fit(forward, params, x.reshape(form), y, epochs=epochs)
        probabilities = np.asarray(jax.nn.softmax(forward(params, jnp.asarray(x_test.reshape(form)))))
        accuracy = float((probabilities.argmax(1) == y_test).mean())
        model = export(params)
        write(stem, model, x_test[:TEST_ROWS].reshape(form), probabilities[:TEST_ROWS])
        size = (HERE / f"{stem}.onnx").stat().st_size
        print(
            f"{stem}: accuracy {accuracy:.2%} on {len(y_test)} held-out rows, {size:,} bytes, opset {OPSET}"
        )


if __name__ == "__main__":
    main()
