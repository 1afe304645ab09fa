"""What evaluating a node on constants would cost, said before it is done.

A hostile model asks for a constant of a terabyte in one small node; so sizes are computed from the operands with
Python integers, never by trying.
"""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np
import onnx_ir as ir

from accelc.ir.cost import node_cost
from accelc.ir.pointwise import BINARY, UNARY, VARIADIC
from accelc.ir.reading import (
    constant_ints,
    constant_tensor,
    constant_value,
    input_of,
    is_op,
    static_shape,
    subgraphs_of,
)

MAX_SLOW_ELEMENTS = 1 << 14
"""Elements in and out of an op that the reference computes in Python loops: a fraction of a second."""
MAX_FLOPS = 2 * 10**9
MAX_LOOP_STEPS = 10_000
"""Nodes that folding a Loop or If may evaluate, over all iterations."""


def _ops(names: str) -> frozenset[str]:
    return frozenset(names.split())


_WIDE = _ops(
    "Reshape Flatten Squeeze Unsqueeze Transpose Concat Slice Split Gather Expand Tile Pad ConstantOfShape "
    "Range Shape Size CastLike Clip Where ReduceSum ReduceMean ReduceMax ReduceMin ReduceProd ReduceSumSquare "
    "ReduceL1 ReduceL2 ArgMax ArgMin EyeLike Trilu OneHot QuantizeLinear DepthToSpace SpaceToDepth MatMul Gemm "
    "Softmax LayerNormalization BatchNormalization"
)
FAST: frozenset[str] = (UNARY | BINARY | VARIADIC | _WIDE) - {"Erf", "Gelu", "PRelu"}
"""Ops that the reference computes with whole-array NumPy calls."""

_SAME_SIZE = UNARY | frozenset(
    ("Reshape", "Flatten", "Squeeze", "Unsqueeze", "Transpose", "Clip", "CastLike")
)


def output_bytes(node: ir.Node) -> int | None:
    """Bytes of all outputs of ``node`` on its constant operands; None if that cannot be said beforehand."""
    total = 0
    for value in node.outputs:
        if not value.name:
            continue
        elements = _elements(node, value)
        if elements is None:
            return None
        itemsize = value.dtype.itemsize if value.dtype is not None and value.dtype.itemsize else 8
        total += math.ceil(elements * itemsize)
    return total


def _elements(node: ir.Node, value: ir.Value) -> int | None:
    rule = _GROWTH.get(node.op_type) if node.domain == "" else None
    if rule is not None:
        return rule(node)  # never the declared shape: the model may lie about it
    shape = static_shape(value)
    if shape is not None:
        return math.prod(shape)
    sizes = [tensor.size for v in node.inputs if (tensor := constant_tensor(v)) is not None]
    if is_op(node, *_SAME_SIZE):
        return sizes[0] if sizes else None
    if is_op(node, "Concat"):
        return sum(sizes)
    if is_op(node, "NonZero"):
        tensor = constant_tensor(input_of(node, 0))
        return tensor.size * max(1, len(tensor.shape)) if tensor is not None else None
    return None


def _shape_of(node: ir.Node, index: int) -> tuple[int, ...] | None:
    tensor = constant_tensor(input_of(node, index))
    return tuple(int(d) for d in tensor.shape.numpy()) if tensor is not None else None


def _constant_of_shape(node: ir.Node) -> int | None:
    shape = constant_ints(input_of(node, 0))
    return math.prod(max(0, d) for d in shape) if shape is not None else None


def _range(node: ir.Node) -> int | None:
    values = [constant_value(input_of(node, i), max_bytes=8) for i in range(3)]
    if any(v is None or v.size != 1 for v in values):
        return None
    start, limit, delta = (v.reshape(-1)[0].item() for v in values if v is not None)
    if delta == 0 or not all(math.isfinite(v) for v in (start, limit, delta)):
        return None
    if all(isinstance(v, int) for v in (start, limit, delta)):
        return max(0, -int((start - limit) // delta))
    steps = float((limit - start) / delta)
    return max(0, math.ceil(steps)) if math.isfinite(steps) else None


def _expand(node: ir.Node) -> int | None:
    shape, target = _shape_of(node, 0), constant_ints(input_of(node, 1))
    return _broadcast(shape, target) if shape is not None and target is not None else None


def _tile(node: ir.Node) -> int | None:
    shape, repeats = _shape_of(node, 0), constant_ints(input_of(node, 1))
    if shape is None or repeats is None:
        return None
    return math.prod(shape) * math.prod(max(0, r) for r in repeats)


def _pad(node: ir.Node) -> int | None:
    shape, pads = _shape_of(node, 0), constant_ints(input_of(node, 1))
    if shape is None or pads is None:
        return None
    # An upper bound, whatever the axes: every dim grown by all the padding there is.
    total = sum(max(0, p) for p in pads)
    if input_of(node, 3) is not None or len(pads) != 2 * len(shape):
        return math.prod(d + total for d in shape)
    half = len(shape)
    return math.prod(max(0, d + pads[i] + pads[i + half]) for i, d in enumerate(shape))


def _one_hot(node: ir.Node) -> int | None:
    shape, depth = _shape_of(node, 0), constant_value(input_of(node, 1), max_bytes=8)
    if shape is None or depth is None or depth.size != 1 or not np.isfinite(depth).all():
        return None
    return math.prod(shape) * max(0, int(depth.reshape(-1)[0]))


def _elementwise(node: ir.Node) -> int | None:
    shapes = [_shape_of(node, i) for i in range(len(node.inputs))]
    known = [s for s in shapes if s is not None]
    return _broadcast(*known) if known and len(known) == len(shapes) else None


def _matmul(node: ir.Node) -> int | None:
    a, b = _shape_of(node, 0), _shape_of(node, 1)
    if a is None or b is None:
        return None
    if not a or not b:
        return None
    batch = _broadcast(a[:-2], b[:-2])
    return None if batch is None else batch * (a[-2] if len(a) > 1 else 1) * (b[-1] if len(b) > 1 else 1)


def _broadcast(*shapes: tuple[int, ...]) -> int | None:
    """Elements of the broadcast shape, in Python integers; None if the shapes do not fit."""
    rank = max((len(s) for s in shapes), default=0)
    total = 1
    for place in range(1, rank + 1):
        dims = {s[-place] for s in shapes if len(s) >= place} - {1}
        if len(dims) > 1 or any(d < 0 for d in dims):
            return None
        total *= dims.pop() if dims else 1
    return total


_GROWTH: dict[str, Callable[[ir.Node], int | None]] = {
    "ConstantOfShape": _constant_of_shape,
    "Range": _range,
    "Expand": _expand,
    "Tile": _tile,
    "Pad": _pad,
    "OneHot": _one_hot,
    "MatMul": _matmul,
    **dict.fromkeys((*BINARY, *VARIADIC, "Where"), _elementwise),
}


def too_slow(node: ir.Node, elements: int) -> str:
    """Why evaluating ``node`` would take long; empty if it does not.

    Args:
        node: A node whose operands are constant.
        elements: Elements of its operands and results.
    """
    if any(True for _ in subgraphs_of(node)):
        steps = _loop_steps(node)
        if steps is None:
            return "its number of iterations is not known beforehand"
        return f"it evaluates {steps} nodes, more than {MAX_LOOP_STEPS}" if steps > MAX_LOOP_STEPS else ""
    if node.domain == "" and node.op_type in FAST:
        flops = node_cost(node).flops
        return f"it takes {flops} operations, more than {MAX_FLOPS}" if flops > MAX_FLOPS else ""
    if elements > MAX_SLOW_ELEMENTS:
        return f"{node.op_type} on {elements} elements is slow to evaluate"
    return ""


def _loop_steps(node: ir.Node) -> int | None:
    """Nodes evaluated in the subgraphs of ``node``, nested ones multiplied; None if a trip count is unknown.

    Results inside must be small and known too, so that no body hides a huge constant.
    """
    total = 0
    pending = [(node, 1)]
    while pending:
        current, times = pending.pop()
        trips = _trips(current)
        if trips is None:
            return None
        for graph in subgraphs_of(current):
            for inner in graph:
                total += times * trips
                if total > MAX_LOOP_STEPS:
                    return total
                if any(True for _ in subgraphs_of(inner)):
                    pending.append((inner, times * trips))
                elif not _is_small(inner):
                    return None
    return total


def _trips(node: ir.Node) -> int | None:
    if is_op(node, "If"):
        return 1
    if is_op(node, "Loop"):
        trips = constant_ints(input_of(node, 0))
        return max(0, trips[0]) if trips is not None and len(trips) == 1 else None
    return None  # Scan, SequenceMap: their length is in shapes that the body may not repeat


def _is_small(node: ir.Node) -> bool:
    if is_op(node, "Constant"):
        return True
    sizes = [static_shape(value) for value in node.outputs if value.name]
    return all(size is not None and math.prod(size) <= MAX_SLOW_ELEMENTS for size in sizes)
