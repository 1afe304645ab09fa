"""Costs of nodes and models against counts done by hand."""

from __future__ import annotations

import numpy as np
import onnx_ir as ir
import pytest

from accelc.ir.cost import Cost, model_cost, node_cost, parameter_count, weight_bytes
from accelc.ir.shapes import infer

HEADER = '<ir_version: 11, opset_import: ["" : 24, "accelc.fused" : 1]>\n'


def inferred(text: str) -> ir.Model:
    model = ir.from_onnx_text(HEADER + text)
    infer(model)
    return model


@pytest.mark.parametrize(
    ("text", "flops"),
    [
        ("g (float[4,8] a, float[8,5] b) => (float[4,5] c) { c = MatMul(a, b) }", 2 * 4 * 8 * 5),
        ("g (float[8,4] a, float[8,5] b) => (float[4,5] c) { c = Gemm<transA = 1>(a, b) }", 2 * 4 * 8 * 5),
        (
            "g (float[1,6,9,9] x, float[4,3,3,3] w) => (float[1,4,7,7] y) { y = Conv<group = 2>(x, w) }",
            2 * 4 * 49 * 27,
        ),
        (
            "g (float[1,3,5,5] x, float[3,2,2,2] w) => (float[1,2,6,6] y) { y = ConvTranspose(x, w) }",
            2 * 75 * 8,
        ),
        ("g (float[2,3] x) => (float[2,3] y) { y = Relu(x) }", 6),
        ("g (float[2,3] x) => (float[2,3] y) { y = Erf(x) }", 6 * 16),
        ("g (float[2,3] x) => (float[2,3] y) { y = Softmax(x) }", 6 * 13),
        ("g (float[2,3] x) => (float[3,2] y) { y = Transpose<perm = [1, 0]>(x) }", 0),
        ("g (float[0,3] x) => (float[0,3] y) { y = Relu(x) }", 0),
        (
            "g (float[1,1,4,4] x) => (float[1,1,2,2] y) { y = MaxPool<kernel_shape=[2,2],strides=[2,2]>(x) }",
            16,
        ),
        (
            "g (float[2,3,4,8] q, float[2,3,5,8] k, float[2,3,5,8] v) => (float[2,3,4,8] y)"
            "{ y = Attention(q, k, v) }",
            2 * 3 * 4 * 5 * (4 * 8 + 13),
        ),
    ],
)
def test_flops(text: str, flops: int) -> None:
    cost = model_cost(inferred(text))
    assert (cost.flops, cost.unknown) == (flops, 0)


def test_recurrent_counts_input_and_hidden_products() -> None:
    model = inferred(
        "g (float[7,2,3] x, float[1,16,3] w, float[1,16,4] r) => (float[7,1,2,4] y)"
        "{ y = LSTM<hidden_size = 4>(x, w, r) }"
    )
    assert model_cost(model).flops == 2 * 7 * 2 * 16 * (3 + 4)


def test_symbols_give_sizes_and_their_absence_is_said() -> None:
    model = inferred("g (float[N,8] a, float[8,5] b) => (float[N,5] c) { c = MatMul(a, b) }")
    assert model_cost(model, {"N": 3}).flops == 2 * 3 * 8 * 5
    assert model_cost(model) == Cost(0, 8 * 5 * 4, 0, 1)


def test_bytes_count_each_operand_once() -> None:
    model = inferred("g (float[4] a) => (float[4] c) { c = Mul(a, a) }")
    assert node_cost(next(iter(model.graph))) == Cost(4, 16, 16, 0)


def test_branches_count_once_each() -> None:
    model = inferred(
        "g (bool c, float[2] x) => (float[2] y) {"
        " y = If(c) <then_branch = t () => (float[2] a) { a = Relu(x) },"
        " else_branch = e () => (float[2] b) { b = Tanh(x) }> }"
    )
    assert model_cost(model).flops == 2 + 2 * 16


def test_fused_kernels_cost_what_their_bodies_cost() -> None:
    model = inferred(
        "g (float[4,8] a, float[8,5] b) => (float[4,5] c) { c = accelc.fused.matmul_relu(a, b) }"
        '<domain: "accelc.fused", opset_import: ["" : 24]>'
        "matmul_relu (a, b) => (y) { t = MatMul(a, b) y = Relu(t) }"
    )
    assert model_cost(model).flops == 2 * 4 * 8 * 5 + 20
    assert len(model.functions) == 1


def test_parameters_are_counted_once_per_tensor() -> None:
    model = inferred(
        "g (float[2,2] x) => (float[2,2] y) <float[2,2] w = {1, 2, 3, 4}> { t = MatMul(x, w) y = Add(t, w) }"
    )
    assert (parameter_count(model), weight_bytes(model)) == (4, 16)
    extra = ir.Value(name="v", const_value=model.graph.initializers["w"].const_value)
    model.graph.initializers.add(extra)
    assert parameter_count(model) == 4
    assert np.prod(extra.const_value.shape.numpy()) == 4
