"""Quadratic behaviour is a bug: ten times the nodes may take at most twenty times as long."""

from __future__ import annotations

import gc
import time

import numpy as np
import onnx_ir as ir
import pytest

import accelc.passes as registry
from accelc.ir.pass_base import PassContext
from accelc.pipeline import CLEAN, EMIT, Pipeline
from accelc.reference import evaluate_node

SMALL, LARGE, RATIO = 1_000, 10_000, 20.0


def value(name: str, dims: list[int | str], dtype: ir.DataType = ir.DataType.FLOAT) -> ir.Value:
    return ir.Value(name=name, shape=ir.Shape(dims), type=ir.TensorType(dtype))


def weight(array: np.ndarray, name: str) -> ir.Value:
    tensor = ir.Tensor(array, name=name)
    return ir.Value(
        name=name, shape=ir.Shape(array.shape), type=ir.TensorType(tensor.dtype), const_value=tensor
    )


def build(count: int) -> ir.Model:
    """About ``count`` nodes in which every clean-up pass finds work all the way.

    There are no-ops, pairs of Cast, Reshape and Transpose, shape arithmetic, equal nodes, constants, MatMul + Add,
    Gemm * constant, scales and shifts, Softmax between views, Ifs of a known condition, dead ends, and a value
    with a user in every block.
    """
    x = value("x", ["N", 4])
    w, b = weight(np.eye(4, dtype=np.float32), "w"), weight(np.ones(4, np.float32), "b")
    flat, wide = weight(np.array([-1], np.int64), "flat"), weight(np.array([-1, 4], np.int64), "wide")
    nodes: list[ir.Node] = []
    current = x

    def add(op: str, inputs: list[ir.Value], dims: list[int | str], *attributes: ir.Attr) -> ir.Value:
        out = value(f"v{len(nodes)}", dims)
        nodes.append(ir.Node("", op, inputs, attributes, outputs=[out], name=f"n{len(nodes)}"))
        return out

    def branch(op: str) -> ir.Graph:
        out = value(f"{op}{len(nodes)}", ["N", 4])
        return ir.Graph([], [out], nodes=[ir.Node("", op, [current], outputs=[out])], name=op)

    half, scale = (
        weight(np.float32(0.5).reshape(()), "half"),
        weight(np.arange(4, dtype=np.float32).reshape(4, 1), "k"),
    )
    column = weight(np.array([-1, 4, 1], np.int64), "column")
    perm = ir.AttrInt64s("perm", [1, 0])
    yes = weight(np.array(True), "yes")
    while len(nodes) < count:
        current = add("Identity", [current], ["N", 4])
        current = add("Cast", [current], ["N", 4], ir.AttrInt64("to", 11))
        nodes[-1].outputs[0].dtype = ir.DataType.DOUBLE
        current = add("Cast", [current], ["N", 4], ir.AttrInt64("to", 1))
        add("Shape", [current], [2])
        nodes[-1].outputs[0].dtype = ir.DataType.INT64
        current = add("Transpose", [current], [4, "N"], perm)
        current = add("Relu", [current], [4, "N"])
        current = add("Transpose", [current], ["N", 4], perm)
        current = add("Reshape", [current, flat], ["4*N"])
        current = add("Reshape", [current, wide], ["N", 4])
        left, right = add("Neg", [current], ["N", 4]), add("Neg", [current], ["N", 4])
        current = add("Add", [left, right], ["N", 4])
        folded = add("Mul", [b, b], [4])
        product = add("MatMul", [current, w], ["N", 4])
        current = add("Add", [product, folded], ["N", 4])
        product = add("Gemm", [current, w], ["N", 4])
        current = add("Mul", [product, b], ["N", 4])
        taken, left_out = branch("Tanh"), branch("Sin")
        branches = ir.AttrGraph("then_branch", taken), ir.AttrGraph("else_branch", left_out)
        current = add("If", [yes], ["N", 4], *branches)
        current = add("Mul", [current, b], ["N", 4])
        current = add("Div", [current, half], ["N", 4])
        current = add("Reshape", [current, column], ["N", 4, 1])
        current = add("Mul", [current, scale], ["N", 4, 1])
        current = add("Add", [current, scale], ["N", 4, 1])
        current = add("Tanh", [current], ["N", 4, 1])
        current = add("Reshape", [current, wide], ["N", 4])
        current = add("Reshape", [current, column], ["N", 4, 1])
        current = add("Softmax", [current], ["N", 4, 1], ir.AttrInt64("axis", 1))
        current = add("Reshape", [current, wide], ["N", 4])
        current = add("Abs", [current], ["N", 4])
        add("Exp", [x], ["N", 4])
    last = nodes[-2].outputs[0]
    weights = [w, b, flat, wide, yes, half, scale, column]
    graph = ir.Graph([x], [last], nodes=nodes, initializers=weights, opset_imports={"": 24}, name="g")
    return ir.Model(graph, ir_version=11)


def seconds(name: str, count: int) -> tuple[float, int]:
    """CPU time of one run, and how many rewrites there were."""
    model = build(count)
    ctx = PassContext(evaluator=evaluate_node)
    gc.collect()
    start = time.process_time()
    registry.resolve(name).apply(model, ctx)
    return time.process_time() - start, len(ctx.record.rewrites)


@pytest.mark.parametrize(
    "name", sorted({*Pipeline((*CLEAN, "merge-affine", *EMIT)).names()} - {"infer-shapes"})
)
def test_near_linear(name: str) -> None:
    seconds(name, 50)  # loads and warms what both runs need
    small, rewrites = seconds(name, SMALL)
    large, _ = seconds(name, LARGE)
    assert rewrites > 10, "the model gives this pass nothing to do"
    assert large <= RATIO * max(small, 5e-3), f"{name}: {small * 1e3:.1f} ms to {large * 1e3:.1f} ms"
