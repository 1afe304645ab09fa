"""A small GPT-2 with past keys and values decodes token by token: one compile, a plan per length."""

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

import accelc
from accelc.reference import run_onnxruntime
from accelc.targets.numba_cpu.kernel_store import KernelStore

LAYERS, HEADS, WIDTH, WORDS = 2, 2, 16, 31


def decoder() -> onnx.ModelProto:
    """Token and past in, scores and present out; [B, S] tokens, [B, heads, past, width/heads] pasts."""
    rng = np.random.default_rng(0)
    nodes: list[onnx.NodeProto] = []
    weights: list[onnx.TensorProto] = []

    def weight(name: str, array: np.ndarray) -> str:
        weights.append(numpy_helper.from_array(array, name))
        return name

    def random(name: str, *shape: int) -> str:
        return weight(name, (rng.standard_normal(shape) * 0.2).astype(np.float32))

    def add(op: str, inputs: list[str], *outputs: str, **attrs: object) -> str:
        nodes.append(helper.make_node(op, inputs, list(outputs), **attrs))
        return outputs[0]

    one = weight("one", np.array([1], np.int64))
    heads = weight("heads", np.array([0, 0, HEADS, WIDTH // HEADS], np.int64))
    flat = weight("flat", np.array([0, 0, WIDTH], np.int64))
    past_length = add("Shape", ["past_0_k"], "past_length", start=2, end=3)
    count = add("Shape", ["tokens"], "count", start=1, end=2)
    total = add("Add", [past_length, count], "total")
    zero, step = weight("zero", np.array(0, np.int64)), weight("step", np.array(1, np.int64))
    scalars = [add("Squeeze", [name], f"{name}_s") for name in (past_length, total)]
    places = add("Range", [*scalars, step], "places")
    columns = add("Range", [zero, scalars[1], step], "columns")
    rows = add("Unsqueeze", [places, one], "rows")
    hidden = add("Greater", [columns, rows], "hidden")
    minus, nothing = weight("minus", np.float32(-1e9).reshape(1)), weight("nothing", np.zeros(1, np.float32))
    mask = add("Where", [hidden, minus, nothing], "mask")
    words = add("Gather", [random("wte", WORDS, WIDTH), "tokens"], "words")
    x = add("Add", [words, add("Gather", [random("wpe", 128, WIDTH), places], "spots")], "x0")
    for i in range(LAYERS):
        scale, shift = random(f"g{i}", WIDTH), random(f"h{i}", WIDTH)
        n = add("LayerNormalization", [x, scale, shift], f"n{i}")
        qkv = add("MatMul", [n, random(f"wqkv{i}", WIDTH, 3 * WIDTH)], f"qkv{i}")
        add("Split", [qkv], f"q{i}", f"k{i}", f"v{i}", axis=-1, num_outputs=3)
        for name in "qkv":
            split = add("Reshape", [f"{name}{i}", heads], f"{name}r{i}")
            add("Transpose", [split], f"{name}t{i}", perm=[0, 2, 1, 3])
        keys = add("Concat", [f"past_{i}_k", f"kt{i}"], f"present_{i}_k", axis=2)
        values = add("Concat", [f"past_{i}_v", f"vt{i}"], f"present_{i}_v", axis=2)
        scores = add("MatMul", [f"qt{i}", add("Transpose", [keys], f"kT{i}", perm=[0, 1, 3, 2])], f"s{i}")
        scaled = add("Mul", [scores, weight(f"c{i}", np.float32([(WIDTH // HEADS) ** -0.5]))], f"sc{i}")
        share = add("Softmax", [add("Add", [scaled, mask], f"sm{i}")], f"p{i}", axis=-1)
        mixed = add("Transpose", [add("MatMul", [share, values], f"m{i}")], f"mt{i}", perm=[0, 2, 1, 3])
        made = add(
            "MatMul", [add("Reshape", [mixed, flat], f"mf{i}"), random(f"wo{i}", WIDTH, WIDTH)], f"o{i}"
        )
        x = add("Add", [x, made], f"y{i}")
        up = add(
            "Gelu", [add("MatMul", [x, random(f"wu{i}", WIDTH, 32)], f"u{i}")], f"a{i}", approximate="tanh"
        )
        x = add("Add", [x, add("MatMul", [up, random(f"wd{i}", 32, WIDTH)], f"d{i}")], f"x{i + 1}")
    add("MatMul", [x, random("head", WIDTH, WORDS)], "scores")
    info = helper.make_tensor_value_info
    pasts = [f"{i}_{kind}" for i in range(LAYERS) for kind in "kv"]
    sizes = ["B", HEADS, "P", WIDTH // HEADS]
    graph = helper.make_graph(
        nodes,
        "decoder",
        [
            info("tokens", TensorProto.INT64, ["B", "S"]),
            *(info(f"past_{name}", TensorProto.FLOAT, sizes) for name in pasts),
        ],
        [
            info("scores", TensorProto.FLOAT, ["B", "S", WORDS]),
            *(
                info(f"present_{name}", TensorProto.FLOAT, ["B", HEADS, "T", WIDTH // HEADS])
                for name in pasts
            ),
        ],
        weights,
    )
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 20)], ir_version=10)


def test_decodes_without_compiling(monkeypatch: pytest.MonkeyPatch) -> None:
    model = decoder()
    exe = accelc.compile(model, verify=False)
    assert not exe.fallbacks

    def never(*_: object) -> None:
        raise AssertionError("compiled while decoding")

    names = [f"{i}_{kind}" for i in range(LAYERS) for kind in "kv"]
    empty = np.empty((1, HEADS, 0, WIDTH // HEADS), np.float32)
    feeds = {"tokens": np.array([[3, 7, 1]]), **{f"past_{name}": empty for name in names}}
    scores, *present = exe.run(None, feeds)
    monkeypatch.setattr(KernelStore, "require", never)
    said = [3, 7, 1]
    for _ in range(64):
        said.append(int(scores[0, -1].argmax()))
        feeds = {
            "tokens": np.array([said[-1:]]),
            **dict(zip((f"past_{n}" for n in names), present, strict=True)),
        }
        scores, *present = exe.run(None, feeds)
    assert present[0].shape[2] == len(said)
    whole = {"tokens": np.array([said]), **{f"past_{name}": empty for name in names}}
    wanted = run_onnxruntime(model.SerializeToString(), whole)
    np.testing.assert_allclose(scores[0, -1], wanted[0][0, -1], rtol=1e-3, atol=1e-4)
    np.testing.assert_allclose(present[-1], wanted[-1], rtol=1e-3, atol=1e-4)
