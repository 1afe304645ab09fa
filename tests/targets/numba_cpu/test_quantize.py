"""Quantised ops: exact integers, ties to even, saturation; narrow and integer products; weights known at run time."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from lower_harness import check_node, lower_node, reference

from accelc.ir.pass_base import Refusal
from accelc.targets.numba_cpu.lower import attention, conv, matmul, quantize, quantized_products

RNG = np.random.default_rng(8)


def bytes_of(*shape: int, dtype: Any = np.uint8) -> np.ndarray:
    info = np.iinfo(dtype)
    return RNG.integers(info.min, info.max, shape, dtype, endpoint=True)


def f32(*values: float) -> np.ndarray:
    return np.array(values, np.float32)


TIES = f32(0.5, 1.5, 2.5, -0.5, -1.5, 300, -300, 0).reshape(2, 4)
QUANTIZE: list[tuple[list[Any], dict[str, Any]]] = [
    ([TIES, np.float32(1.0), np.uint8(3)], {}),
    ([TIES, f32(0.5, 2.0), np.array([-3, 7], np.int8)], {"axis": 0}),
    ([TIES, f32(0.5, 1.0, 2.0, 4.0).reshape(2, 2), np.zeros((2, 2), np.int16)], {"axis": 1, "block_size": 2}),
]


@pytest.mark.parametrize(("inputs", "attrs"), QUANTIZE)
def test_quantize(inputs: list[Any], attrs: dict[str, Any]) -> None:
    inputs = [np.asarray(array) for array in inputs]
    check_node(quantize.TABLE, "QuantizeLinear", inputs, attrs)


def test_dequantize() -> None:
    x = bytes_of(2, 3, 4, dtype=np.int8)
    zero = np.array([-128, 0, 127], np.int8)
    check_node(quantize.TABLE, "DequantizeLinear", [x, f32(0.5, 3.0, 1e-3), zero])
    wide = np.array([[2**24 + 1, -(2**30)]], np.int32)
    check_node(quantize.TABLE, "DequantizeLinear", [wide, np.asarray(np.float32(2.0))], {"axis": 0})


@pytest.mark.parametrize("x", [f32(0, 2, -3, -2.5, 1.34, 0.5), f32(0, 0), f32(-1, -3.5)])
def test_dynamic_quantize(x: np.ndarray) -> None:
    check_node(quantize.TABLE, "DynamicQuantizeLinear", [x], outputs=3)


@pytest.mark.parametrize("depth", [5, 300])
def test_matmul_integer_is_exact(depth: int) -> None:
    a, b = np.full((3, depth), 255, np.uint8), bytes_of(depth, 4, dtype=np.int8)
    inputs = [a, b, np.asarray(np.uint8(1)), np.array([1, -2, 3, -128], np.int8)]
    check_node(quantized_products.TABLE, "MatMulInteger", inputs, constant=(1, 3))


def test_qlinear_matmul() -> None:
    a, b = bytes_of(2, 4, 6), bytes_of(2, 6, 3)
    scales = [np.asarray(np.float32(s)) for s in (0.02, 0.5, 1.0)]
    zero = [np.asarray(np.uint8(z)) for z in (110, 120, 100)]
    inputs = [a, scales[0], zero[0], b, scales[1], zero[1], scales[2], zero[2]]
    check_node(quantized_products.TABLE, "QLinearMatMul", inputs)


def test_qlinear_conv_by_channel() -> None:
    x, w = bytes_of(1, 4, 5, 6), bytes_of(2, 4, 3, 3, dtype=np.int8)
    inputs = [
        x, np.asarray(np.float32(0.02)), np.asarray(np.uint8(120)), w, f32(0.05, 0.2), np.array([0, 0], np.int8),
        np.asarray(np.float32(1.5)), np.asarray(np.uint8(127)), np.array([1000, -5000], np.int32),
    ]  # fmt: skip
    sums = np.zeros((1, 2, 5, 6), np.int64)
    padded = np.pad(x.astype(np.int64) - 120, ((0, 0), (0, 0), (1, 1), (1, 1)))
    for i in range(3):
        for j in range(3):
            patch = padded[:, :, i : i + 5, j : j + 6]
            sums += np.einsum("nchw,oc->nohw", patch, w[:, :, i, j].astype(np.int64))
    sums += inputs[8].reshape(1, 2, 1, 1)
    factor = (np.float32(0.02) * inputs[4] / np.float32(1.5)).reshape(1, 2, 1, 1)
    wanted = np.clip(np.rint(sums.astype(np.float32) * factor) + 127, 0, 255).astype(np.uint8)
    attrs = {"pads": [1, 1, 1, 1]}
    check_node(quantized_products.TABLE, "QLinearConv", inputs, attrs, expected=[wanted], constant=(3, 5))


def test_conv_integer_with_weights_at_run_time() -> None:
    x, w = bytes_of(1, 1, 4, 4), bytes_of(1, 1, 2, 2)
    check_node(
        quantized_products.TABLE, "ConvInteger", [x, w, np.asarray(np.uint8(9))], {"pads": [1, 1, 1, 1]}
    )


@pytest.mark.parametrize(("group", "channels"), [(1, 4), (2, 2), (4, 1)])
def test_conv_with_weights_at_run_time(group: int, channels: int) -> None:
    x = RNG.normal(size=(2, 4, 7, 6)).astype(np.float32)
    w = RNG.normal(size=(12, channels, 3, 2)).astype(np.float32)
    if group == 4:
        w = w[:4]
    check_node(
        conv.TABLE, "Conv", [x, w], {"group": group, "strides": [2, 1], "kernel_shape": [3, 2]}, atol=1e-4
    )


@pytest.mark.parametrize("dtype", [np.int32, np.uint64])
def test_integer_products_wrap(dtype: Any) -> None:
    a, b = bytes_of(2, 1, 3, 4, dtype=dtype), bytes_of(3, 4, 5, dtype=dtype)
    with np.errstate(over="ignore"):
        check_node(matmul.TABLE, "MatMul", [a, b], expected=[a @ b])
        check_node(matmul.TABLE, "MatMul", [a[0, 0], b[0, :, 0]], expected=[a[0, 0] @ b[0, :, 0]])
        c = bytes_of(5, dtype=dtype)
        wanted = dtype(2) * (a[0, 0] @ b[0]) + c
    check_node(matmul.TABLE, "Gemm", [a[0, 0], b[0], c], {"alpha": 2.0}, expected=[wanted])


def test_half_precision_products() -> None:
    a, b = RNG.normal(size=(3, 8)).astype(np.float16), RNG.normal(size=(8, 5)).astype(np.float16)
    wanted = (a.astype(np.float64) @ b.astype(np.float64)).astype(np.float16)
    check_node(matmul.TABLE, "MatMul", [a, b], expected=[wanted], constant=(1,), rtol=2e-3, atol=2e-3)


def test_half_precision_attention() -> None:
    q, k, v = (RNG.normal(size=(1, 2, 3, 8)).astype(np.float16) for _ in range(3))
    wide = [array.astype(np.float32) for array in (q, k, v)]
    wanted = reference("Attention", wide, {})[0].astype(np.float16)
    check_node(attention.TABLE, "Attention", [q, k, v], expected=[wanted], rtol=2e-3, atol=2e-3)


def test_other_dtypes_are_refused() -> None:
    x = np.ones((2, 2), np.int16)
    found = lower_node(quantized_products.TABLE, "MatMulInteger", [x, x], specs=[("int32", (2, 2))])
    assert isinstance(found, Refusal)
    assert found.why == "MatMulInteger of int16 and int16 has no kernel"
