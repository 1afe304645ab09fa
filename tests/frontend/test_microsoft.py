"""com.microsoft ops in plain ONNX: the imported model, run by onnxruntime, against onnxruntime's own kernels."""

from __future__ import annotations

from typing import Any

import numpy as np
import onnx
import onnx_ir as ir
import onnxruntime
import pytest
from onnx import helper, numpy_helper

import accelc
from accelc.frontend import load_model
from accelc.verification import prepare

RNG = np.random.default_rng(0)
Arrays = dict[str, np.ndarray]


def f(*shape: int) -> np.ndarray:
    return RNG.standard_normal(shape).astype(np.float32)


def u8(*shape: int) -> np.ndarray:
    return RNG.integers(0, 256, shape).astype(np.uint8)


def s(value: float) -> np.ndarray:
    return np.float32(value).reshape(())


def z(value: int) -> np.ndarray:
    return np.uint8(value).reshape(())


def _model(
    op: str, inputs: Arrays, weights: Arrays, names: list[str], outputs: list[str], attrs: dict[str, Any]
) -> onnx.ModelProto:
    node = helper.make_node(op, names, outputs, name="n", domain="com.microsoft", **attrs)
    declared = [
        helper.make_tensor_value_info(
            name,
            helper.np_dtype_to_tensor_dtype(array.dtype),
            [f"{name}_{i}" for i in range(array.ndim)],
        )
        for name, array in inputs.items()
    ]
    results = [helper.make_empty_tensor_value_info(name) for name in outputs if name]
    stored = [numpy_helper.from_array(array, name) for name, array in weights.items()]
    graph = helper.make_graph([node], "g", declared, results, stored)
    opsets = [helper.make_opsetid("", 17), helper.make_opsetid("com.microsoft", 1)]
    return helper.make_model(graph, opset_imports=opsets, ir_version=8)


def _check(
    op: str,
    inputs: Arrays,
    weights: Arrays | None = None,
    outputs: int | list[str] = 1,
    bound: float = 2e-5,
    order: str = "",
    **attrs: Any,
) -> None:
    weights = weights or {}
    names = order.split(",") if order else [*inputs, *weights]
    made = [f"y{i}" for i in range(outputs)] if isinstance(outputs, int) else outputs
    model = _model(op, inputs, weights, names, made, attrs)
    imported = load_model(model)
    assert not any(node.domain for node in imported.model.graph), imported.notes
    plain = ir.to_proto(imported.model).SerializeToString()
    wanted = onnxruntime.InferenceSession(model.SerializeToString()).run(None, inputs)
    found = onnxruntime.InferenceSession(plain).run(None, inputs)
    for want, got in zip(wanted, found, strict=True):
        assert want.shape == got.shape
        if want.dtype.kind in "iu":
            assert int(np.abs(want.astype(int) - got.astype(int)).max(initial=0)) <= 1
        else:
            np.testing.assert_allclose(got, want, atol=bound * max(1, np.abs(want).max()), rtol=0)


def test_norms() -> None:
    x, skip, gamma, beta, bias = f(2, 3, 7), f(2, 3, 7), f(7), f(7), f(7)
    operands = {"x": x, "skip": skip}
    weights = {"g": gamma, "b": beta, "bias": bias}
    _check("SkipLayerNormalization", operands, weights, ["y", "", "", "sum"], epsilon=1e-5)
    _check("SkipLayerNormalization", operands, {"g": gamma, "b": beta})
    _check("SkipSimplifiedLayerNormalization", operands, {"g": gamma, "bias": bias}, epsilon=1e-5)
    _check("SkipSimplifiedLayerNormalization", operands, {"g": gamma}, ["y", "", "", "sum"])


@pytest.mark.parametrize("masked", [False, True])
def test_embedding(masked: bool) -> None:
    ids = RNG.integers(0, 11, (2, 5)).astype(np.int32)
    inputs = {"ids": ids, "segments": ids % 2}
    weights = {"word": f(11, 8), "position": f(9, 8), "segment": f(2, 8), "g": f(8), "b": f(8)}
    order = "ids,segments,word,position,segment,g,b"
    if masked:
        inputs["mask"] = np.array([[1, 1, 1, 0, 0], [1, 1, 1, 1, 1]], np.int32)
        order += ",mask"
    _check("EmbedLayerNormalization", inputs, weights, 2, order=order)


def test_activations() -> None:
    x, bias = f(3, 5), {"b": f(5)}
    for op in ("FastGelu", "BiasGelu"):
        _check(op, {"x": x}, bias)
    for op in ("FastGelu", "Gelu", "QuickGelu"):
        _check(op, {"x": x})
    _check("QuickGelu", {"x": x}, alpha=0.5)


def test_products() -> None:
    _check("FusedMatMul", {"a": f(2, 5, 3), "b": f(2, 5, 4)}, transA=1, alpha=0.5)
    _check("FusedMatMul", {"a": f(2, 3, 5)}, {"b": f(4, 5)}, transB=1)
    gemm = {"a": f(3, 5)}, {"b": f(4, 5), "c": f(4)}
    _check("FusedGemm", *gemm, transB=1, alpha=0.5, activation="LeakyRelu", activation_alpha=0.2)


def test_convolutions() -> None:
    x, w = {"x": f(2, 3, 7, 6)}, {"w": f(4, 3, 3, 3), "b": f(4)}
    _check("FusedConv", x, w, activation="Relu", pads=[1, 1, 1, 1])
    _check("FusedConv", x, w, activation="Clip", activation_params=[-0.5, 1.0], strides=[2, 2])
    _check("FusedConv", {**x, "z": f(2, 4, 5, 4)}, w, order="x,w,b,z", activation="HardSigmoid",
           activation_params=[0.3, 0.4])  # fmt: skip


@pytest.mark.parametrize("mask", ["", "raw", "lengths", "causal"])
def test_attention(mask: str) -> None:
    inputs = {"x": f(2, 5, 8)}
    if mask == "raw":
        inputs["m"] = np.array([[1, 1, 1, 1, 0], [1, 1, 0, 0, 0]], np.int32)
    if mask == "lengths":
        inputs["m"] = np.array([4, 2], np.int32)
    weights = {"w": f(8, 24), "b": f(24)}
    order = "x,w,b,m" if "m" in inputs else "x,w,b"
    _check("Attention", inputs, weights, order=order, num_heads=2, unidirectional=int(mask == "causal"))


def test_multi_head_attention() -> None:
    q, k, v = f(2, 3, 8), f(2, 5, 8), f(2, 5, 8)
    _check("MultiHeadAttention", {"q": q, "k": k, "v": v}, num_heads=2)
    _check("MultiHeadAttention", {"q": q, "k": k, "v": v}, {"b": f(24)}, num_heads=4, scale=0.3)
    extra = {"m": np.array([[1, 1, 1, 1, 0], [1, 1, 0, 0, 0]], np.int32), "e": f(2, 2, 3, 5)}
    _check("MultiHeadAttention", {"q": q, "k": k, "v": v, **extra}, num_heads=2, order="q,k,v,,m,e")


def past(length: int) -> Arrays:
    return {"pk": f(2, 2, length, 4), "pv": f(2, 2, length, 4)}


MASK = np.array([[1, 1, 1, 1, 0], [1, 1, 0, 0, 0]], np.int32)


@pytest.mark.parametrize("causal", [0, 1])
def test_attention_with_a_cache(causal: int) -> None:
    weights = {"w": f(8, 24), "b": f(24)}
    step = {"x": f(2, 1, 8), "m": MASK, "p": f(2, 2, 2, 4, 4)}
    _check("Attention", step, weights, 2, order="x,w,b,m,p", num_heads=2, unidirectional=causal)
    several = {"x": f(2, 3, 8), "p": f(2, 2, 2, 4, 4)}
    _check("Attention", several, weights, 2, order="x,w,b,,p", num_heads=2, unidirectional=causal)
    _check("Attention", {"x": f(2, 3, 8)}, weights, 2, num_heads=2, unidirectional=causal)
    q, k, v = (f(2, 3, 8) for _ in range(3))
    made = {"q": q, "k": k, "v": v}
    order = "q,k,v,b,,,pk,pv"
    _check(
        "MultiHeadAttention",
        {**made, **past(4)},
        {"b": f(24)},
        3,
        order=order,
        num_heads=2,
        unidirectional=causal,
    )


def test_attention_of_keys_that_come_projected() -> None:
    q, projected = f(2, 3, 8), {"k": f(2, 2, 5, 4), "v": f(2, 2, 5, 4)}
    _check("MultiHeadAttention", {"q": q, **projected}, {"b": f(24)}, num_heads=2)
    step = {name: f(2, 1, 8) for name in "qkv"}
    order = "q,k,v,,m,,pk,pv"
    _check("MultiHeadAttention", {**step, "m": MASK, **past(4)}, {}, 3, order=order, num_heads=2)


ANGLES = np.arange(64 * 8).reshape(64, 8) / 50
TURNS = {"c": np.cos(ANGLES).astype(np.float32), "s": np.sin(ANGLES).astype(np.float32)}


@pytest.mark.parametrize("interleaved", [0, 1])
def test_rotary_embedding(interleaved: int) -> None:
    at = RNG.integers(0, 60, (2, 5))
    _check("RotaryEmbedding", {"x": f(2, 5, 48), "p": np.array([3])}, TURNS, interleaved=interleaved)
    _check("RotaryEmbedding", {"x": f(2, 3, 5, 16), "p": at}, TURNS, interleaved=interleaved)
    sizes = {"num_heads": 3, "rotary_embedding_dim": 16}
    _check("RotaryEmbedding", {"x": f(2, 5, 60), "p": at}, TURNS, interleaved=interleaved, **sizes)


@pytest.mark.parametrize(
    ("rows", "before", "lengths", "attrs"),
    [
        (5, 0, (4, 4), {"rotary_interleaved": 1, "scale": 0.3}),
        (1, 6, (6, 3), {"local_window_size": 3}),
        (1, 6, (6, 6), {"softcap": 2.0}),
    ],
)
@pytest.mark.parametrize("packed", [False, True])
def test_group_query_attention(
    rows: int, before: int, lengths: tuple[int, int], attrs: dict[str, Any], packed: bool
) -> None:
    inputs = (
        {"q": f(2, rows, 8 * 16)}
        if packed
        else {"q": f(2, rows, 64), "k": f(2, rows, 32), "v": f(2, rows, 32)}
    )
    inputs |= {"pk": f(2, 2, before, 16), "pv": f(2, 2, before, 16)}
    inputs |= {"last": np.array(lengths, np.int32), "total": np.array(rows + before, np.int32)}
    order = ("q,," if packed else "q,k,v") + ",pk,pv,last,total,c,s"
    sizes = {"num_heads": 4, "kv_num_heads": 2, "do_rotary": 1}
    _check("GroupQueryAttention", inputs, TURNS, 3, order=order, **sizes, **attrs)


def test_quantised() -> None:
    a, b = u8(2, 3, 4), u8(2, 3, 4)
    pair = {"a": a, "b": b}
    scales = {"as": s(0.02), "az": z(120), "bs": s(0.03), "bz": z(7), "cs": s(0.05), "cz": z(100)}
    for op in ("QLinearAdd", "QLinearMul"):
        _check(op, pair, scales, order="a,as,az,b,bs,bz,cs,cz")
    _check("QLinearSigmoid", {"a": a}, scales, order="a,as,az,cs,cz")
    _check("QLinearLeakyRelu", {"a": a}, scales, order="a,as,az,cs,cz", alpha=0.2)
    _check("QLinearConcat", pair, scales, order="cs,cz,a,as,az,b,bs,bz", axis=1)
    _check("QLinearGlobalAveragePool", {"a": u8(2, 3, 4, 5)}, scales, order="a,as,az,cs,cz", channels_last=0)
    pool = {"kernel_shape": [3, 2], "pads": [1, 0, 0, 1], "strides": [2, 1], "channels_last": 0}
    _check("QLinearAveragePool", {"a": u8(2, 3, 4, 5)}, scales, order="a,as,az,cs,cz", **pool)
    weights = {"b": u8(5, 4), "as": s(0.02), "bs": s(0.03), "az": z(120), "bz": z(7), "bias": f(4)}
    _check("MatMulIntegerToFloat", {"a": u8(3, 5)}, weights, order="a,b,as,bs,az,bz,bias")
    _check("DynamicQuantizeMatMul", {"x": f(3, 5)}, weights, order="x,b,bs,bz,bias")


def test_more_that_is_quantised() -> None:
    scales = {"xs": s(0.02), "xz": z(120), "ys": s(0.03), "yz": z(7), "zs": s(0.05), "zz": z(100)}
    x, y = u8(2, 3, 4), u8(2, 3, 4)
    condition = x > 100
    _check("QLinearWhere", {"c": condition, "x": x, "y": y}, scales, order="c,x,xs,xz,y,ys,yz,zs,zz")
    softmax = scales | {"zs": s(1 / 256), "zz": z(0)}
    _check("QLinearSoftmax", {"x": x}, softmax, order="x,xs,xz,zs,zz", axis=-1, opset=13)
    weights = scales | {"b": u8(4, 5), "c": RNG.integers(-99, 99, 4).astype(np.int32)}
    _check("QGemm", {"a": u8(3, 5)}, weights, order="a,xs,xz,b,ys,yz,c,zs,zz", transB=1)
    _check("QGemm", {"a": u8(3, 5)}, weights, order="a,xs,xz,b,ys,yz,c", transB=1)
    wide = {"s": s(0.001), "o": np.uint16(30000).reshape(())}
    _check("QuantizeLinear", {"x": f(3, 4)}, wide)
    _check("DequantizeLinear", {"x": RNG.integers(0, 60000, (3, 4)).astype(np.uint16)}, wide)
    attention = scales | {"w": u8(8, 24), "b": f(24)}
    order = "x,w,b,xs,ys,,xz,yz"
    _check("QAttention", {"x": u8(2, 5, 8)}, attention, order=order, num_heads=2, unidirectional=1)
    table = {"t": u8(7, 16), "s": f(7, 2), "z": u8(7, 1)}
    _check("GatherBlockQuantized", {"i": RNG.integers(0, 7, (2, 3))}, table, order="t,i,s,z", block_size=16)
    _check("GatherBlockQuantized", {"i": RNG.integers(0, 7, (2, 3))}, table, order="t,i,s", block_size=16)


@pytest.mark.parametrize("bits", [2, 4, 8])
@pytest.mark.parametrize("zero", ["", "packed"])
def test_few_bits(zero: str, bits: int) -> None:
    n, k, block = 5, 40, 16
    weights = {"b": u8(n, 3, block * bits // 8), "scales": f(n * 3)}
    order = "a,b,scales"
    if zero:
        weights["zero"] = u8(n * -(-3 * bits // 8))
        order += ",zero"
    _check("MatMulNBits", {"a": f(2, 3, k)}, weights, order=order, K=k, N=n, bits=bits, block_size=block,
           bound=1e-4)  # fmt: skip


def test_what_has_no_plain_form_stays() -> None:
    model = _model(
        "FusedMatMul", {"a": f(2, 3, 4), "b": f(2, 4, 3)}, {}, ["a", "b"], ["y"], {"transBatchA": 1}
    )
    imported = load_model(model)
    assert [node.domain for node in imported.model.graph] == ["com.microsoft"]
    assert any("stays as it is: batch dims are moved" in note for note in imported.notes)


def test_it_compiles_and_verifies() -> None:
    weights = {"g": f(8), "b": f(8)}
    model = _model(
        "SkipLayerNormalization", {"x": f(2, 8), "r": f(2, 8)}, weights, ["x", "r", "g", "b"], ["y"], {}
    )
    exe = accelc.compile(model, strict=True)
    assert exe.verification.status == "verified"


def test_cache_lengths_are_not_drawn_at_random() -> None:
    sizes = {"num_heads": 4, "kv_num_heads": 2}
    inputs = {
        "q": f(1, 1, 64),
        "k": f(1, 1, 32),
        "v": f(1, 1, 32),
        "pk": f(1, 2, 3, 16),
        "pv": f(1, 2, 3, 16),
    }
    inputs |= {"last": np.array([3], np.int32), "total": np.array(4, np.int32)}
    model = _model("GroupQueryAttention", inputs, {}, list(inputs), ["y", "a", "b"], sizes)
    original, imported = model.SerializeToString(), load_model(model).model
    assert "must fit its shapes" in prepare(original, imported.clone()).reason
    assert len(prepare(original, imported.clone(), data=inputs).cases) == 1
