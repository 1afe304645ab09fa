"""Every linear op as a matrix and a layout, against ONNX's own reference; and why others have no matrix."""

from __future__ import annotations

from typing import Any

import numpy as np
import onnx_ir as ir
import pytest
from hybrid_harness import imported, node, proto
from hypothesis import given, settings
from hypothesis import strategies as st

from accelc.reference import evaluate_node
from accelc.targets.quantum_circuit.linear import LinearMap, linear_map

RNG = np.random.default_rng(0)


def normal(*shape: int) -> np.ndarray:
    return RNG.standard_normal(shape)


def first(op: str, inputs: str, x: tuple[int, ...], weights: dict[str, Any], **attributes: Any) -> ir.Node:
    """The op's node in a model with operand ``x`` of that shape."""
    made = {name: np.asarray(w) for name, w in weights.items()}
    model = proto([node(op, inputs, "y", **attributes)], {"x": x}, made, {"y": []})
    del model.graph.output[0].type.tensor_type.shape.dim[:]
    model.graph.output[0].type.tensor_type.ClearField("shape")
    return next(each for each in imported(model).graph if each.op_type == op)


def check(
    op: str, inputs: str, shape: tuple[int, ...], weights: dict[str, Any], **attributes: Any
) -> LinearMap:
    """The op's map gives what the reference gives."""
    found = first(op, inputs, shape, weights, **attributes)
    mapped = linear_map(found)
    assert isinstance(mapped, LinearMap), mapped
    x = normal(*shape)
    operands = [
        x if value is mapped.source else None if value is None else value.const_value.numpy()
        for value in found.inputs
    ]
    (expected,) = evaluate_node(found, operands)
    assert mapped.result is found.outputs[0]
    y = mapped.apply(x)
    assert y.shape == expected.shape
    np.testing.assert_allclose(y, expected, rtol=1e-12, atol=1e-12)
    return mapped


@pytest.mark.parametrize("batch", [0, 1, 3])
def test_gemm(batch: int) -> None:
    w, b = normal(4, 5), normal(5)
    check("Gemm", "x w b", (batch, 4), {"w": w, "b": b})
    check("Gemm", "x w b", (batch, 4), {"w": w.T, "b": b[None]}, transB=1, alpha=0.5, beta=0.0)
    check("Gemm", "x w", (4, batch), {"w": w}, transA=1, alpha=-2.0)
    check("Gemm", "x w b", (batch, 4), {"w": w, "b": b[:1]}, beta=3.0)
    check("Gemm", "w x", (5, batch), {"w": w})
    check("Gemm", "w x", (batch, 4), {"w": w}, transA=1, transB=1)


@pytest.mark.parametrize(
    ("x", "w", "right"),
    [
        ((3, 4), (4, 5), True),
        ((2, 0, 4), (4, 5), True),
        ((4,), (4, 5), True),
        ((2, 3, 4), (4,), True),
        ((4, 3), (5, 4), False),
        ((2, 4, 3), (5, 4), False),
        ((4,), (5, 4), False),
        ((2, 4, 3), (4,), False),
    ],
)
def test_matmul(x: tuple[int, ...], w: tuple[int, ...], right: bool) -> None:
    check("MatMul", "x w" if right else "w x", x, {"w": normal(*w)})


@settings(max_examples=40, deadline=None)
@given(data=st.data())
def test_windows_of_any_geometry(data: st.DataObject) -> None:
    rank, groups = data.draw(st.integers(1, 2)), data.draw(st.sampled_from([1, 2]))

    def each(low: int, high: int, count: int = rank) -> list[int]:
        return data.draw(st.lists(st.integers(low, high), min_size=count, max_size=count))

    kernel, strides, dilations = each(1, 3), each(1, 3), each(1, 2)
    attributes: dict[str, Any] = {"strides": strides, "dilations": dilations}
    auto = data.draw(st.sampled_from(["NOTSET", "VALID", "SAME_UPPER", "SAME_LOWER"]))
    attributes |= {"auto_pad": auto} if auto != "NOTSET" else {"pads": each(0, 2, 2 * rank)}
    image = (data.draw(st.integers(0, 2)), 2 * groups, *each(5, 7))
    if auto.startswith("SAME"):  # the reference takes strides and dilations there as 1
        attributes |= {"dilations": [1] * rank, "strides": [1] * rank}
    w, b = normal(2 * groups, 2, *kernel), normal(2 * groups)
    mapped = check("Conv", "x w b", image, {"w": w, "b": b}, group=groups, **attributes)
    assert len(mapped.matrices) == groups


def test_convolution_of_single_pixels_is_a_matrix_on_channels() -> None:
    mapped = check("Conv", "x w", (2, 3, 4, 5), {"w": normal(6, 3, 1, 1)})
    assert mapped.layout.gather(np.zeros((2, 3, 4, 5))).shape == (1, 40, 3)


@pytest.mark.parametrize("inside", [0, 1])
@pytest.mark.parametrize("ceil", [0, 1])
def test_average_pool(inside: int, ceil: int) -> None:
    check(
        "AveragePool",
        "x",
        (2, 3, 7, 6),
        {},
        kernel_shape=[3, 2],
        strides=[2, 2],
        pads=[1, 0, 1, 1],
        ceil_mode=ceil,
        count_include_pad=inside,
    )
    check("AveragePool", "x", (1, 1, 4, 4), {}, kernel_shape=[2, 2], strides=[2, 2])


def test_reductions() -> None:
    check("GlobalAveragePool", "x", (2, 3, 4, 5), {})
    for keep in (0, 1):
        check("ReduceMean", "x axes", (2, 3, 4), {"axes": np.array([1, -1])}, keepdims=keep)
        check("ReduceSum", "x axes", (2, 3, 4), {"axes": np.array([2])}, keepdims=keep)
        check("ReduceSum", "x", (2, 3), {}, keepdims=keep)


def test_batch_norm() -> None:
    weights = {"s": normal(3), "b": normal(3), "m": normal(3), "v": normal(3) ** 2}
    check("BatchNormalization", "x s b m v", (2, 3, 4), weights)


@pytest.mark.parametrize("shape", [(), (1,), (4,), (3, 1), (3, 4), (1, 3, 1)])
def test_arithmetic_with_constants(shape: tuple[int, ...]) -> None:
    c = {"c": np.abs(normal(*shape)) + 1}
    for op in ("Add", "Sub", "Mul"):
        check(op, "x c", (2, 3, 4), c)
        check(op, "c x", (2, 3, 4), c)
    check("Div", "x c", (2, 3, 4), c)


def test_negative() -> None:
    check("Neg", "x", (2, 3), {})


@pytest.mark.parametrize(
    ("found", "reason"),
    [
        (first("MatMul", "x x", (3, 3), {}), "both operands of MatMul depend"),
        (first("MatMul", "x w", (2, 3, 4), {"w": normal(2, 4, 5)}), "weights of MatMul are no matrix"),
        (first("Gemm", "x w b", (3, 4), {"w": normal(4, 5), "b": normal(3, 1)}), "C of Gemm"),
        (first("Gemm", "x w x", (4, 4), {"w": normal(4, 4)}), "C of Gemm"),
        (first("GlobalAveragePool", "x", (2, 3, "H", 4), {}), "not known before running"),
        (first("Div", "c x", (3,), {"c": np.ones(3)}), None),
        (first("Div", "x c", (3,), {"c": np.zeros(3)}), None),
        (first("Add", "x c", (3, 1), {"c": np.ones(4)}), None),
        (first("Add", "x c", (3,), {"c": np.ones((2, 3))}), None),
        (first("Add", "x x", (3,), {}), None),
        (first("Relu", "x", (3,), {}), None),
    ],
)
def test_what_has_no_matrix(found: ir.Node, reason: str | None) -> None:
    said = linear_map(found)
    if reason is None:
        assert said is None
    else:
        assert isinstance(said, str)
        assert reason in said
