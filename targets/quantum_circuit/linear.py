"""Ops of ONNX that multiply by a constant matrix, as that matrix and the layout of its inputs."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np
import onnx_ir as ir

from accelc.ir.affine import batch_norm_affine
from accelc.ir.pass_base import Refusal
from accelc.ir.reading import constant_ints, constant_value, input_of, rank
from accelc.ir.shapes import dims_of
from accelc.targets.quantum_circuit.layouts import Axes, Layout, Windows


@dataclass(frozen=True)
class LinearMap:
    """``y = A x + b`` on every vector of a tensor.

    Args:
        nodes: What it stands for, in order.
        source: The operand.
        result: The value that it makes.
        layout: Where vectors and results lie.
        matrices: float64 [rows, columns] for each group of channels; usually one.
        biases: float64 [rows] for each, None for none.
    """

    nodes: tuple[ir.Node, ...]
    source: ir.Value
    result: ir.Value
    layout: Layout
    matrices: tuple[np.ndarray, ...]
    biases: tuple[np.ndarray | None, ...]

    def apply(self, x: np.ndarray, *, biased: bool = True) -> np.ndarray:
        """The result for the tensor ``x``, float64, by plain products; ``biased`` off leaves ``b`` out."""
        results = []
        for vectors, matrix, bias in zip(self.layout.gather(x), self.matrices, self.biases, strict=True):
            y = vectors @ matrix.T
            results.append(y if bias is None or not biased else y + bias)
        return self.layout.place(np.stack(results), x.shape)


Reader = Callable[[ir.Node], "LinearMap | str | None"]
"""Gives the map of a node; a reason if it is none although its op may be; None if it never was meant to be."""


def linear_map(node: ir.Node) -> LinearMap | str | None:
    """The linear map of a node, or why it has none; None for ops that are not linear at all."""
    reader = READERS.get(node.op_type) if node.domain == "" else None
    if reader is None or node.outputs[0].dtype not in _FLOATS:
        return None
    return reader(node)


_FLOATS = (ir.DataType.FLOAT, ir.DataType.DOUBLE, ir.DataType.FLOAT16, ir.DataType.BFLOAT16)


def _constant(node: ir.Node, index: int) -> np.ndarray | None:
    found = constant_value(input_of(node, index))
    return None if found is None else found.astype(np.float64)


def _made(
    node: ir.Node, source: ir.Value, layout: Layout, matrix: np.ndarray, bias: np.ndarray | None = None
) -> LinearMap:
    return LinearMap((node,), source, node.outputs[0], layout, (np.ascontiguousarray(matrix),), (bias,))


def _operands(node: ir.Node) -> tuple[ir.Value, ir.Value] | str:
    """Both operands of a product, of which just one may depend on the inputs."""
    a, b = node.inputs[0], node.inputs[1]
    if a is None or b is None:
        return "an operand is absent"
    if constant_value(a) is None and constant_value(b) is None:
        return f"both operands of {node.op_type} depend on the model's inputs: their product is not linear"
    return a, b


def _matmul(node: ir.Node) -> LinearMap | str | None:
    """MatMul with a constant vector or matrix on either side. Source: ONNX MatMul-13."""
    operands = _operands(node)
    if isinstance(operands, str):
        return operands
    right, left = _constant(node, 1), _constant(node, 0)
    weights, source = (right, operands[0]) if right is not None else (left, operands[1])
    found = rank(source)
    if weights is None or weights.ndim not in (1, 2) or found is None:
        return "the weights of MatMul are no matrix, or the rank of its operand is not known"
    if right is not None:
        axis, matrix = found - 1, (right if right.ndim == 2 else right[:, None]).T
    else:
        axis, matrix = max(0, found - 2), np.atleast_2d(weights)
    if weights.ndim == 1:
        return _made(node, source, Axes((axis,), (), ()), matrix)
    return _made(node, source, Axes((axis,), (axis,), (len(matrix),)), matrix)


def _gemm(node: ir.Node) -> LinearMap | str | None:
    """Gemm with a constant factor. Source: ONNX Gemm-13."""
    operands = _operands(node)
    if isinstance(operands, str):
        return operands
    attributes = node.attributes
    alpha, beta = attributes.get_float("alpha", 1.0), attributes.get_float("beta", 1.0)
    flipped = [bool(attributes.get_int(name, 0)) for name in ("transA", "transB")]
    side = 0 if constant_value(operands[1]) is not None else 1  # of the operand that is no constant
    weights = _constant(node, 1 - side)
    if weights is None or weights.ndim != 2:
        return "the weights of Gemm are no matrix"
    stored = weights.T if flipped[1 - side] else weights
    matrix = alpha * (stored.T if side == 0 else stored)
    axis = (1 - side) if not flipped[side] else side
    bias = None
    if input_of(node, 2) is not None:
        bias = _constant(node, 2)
        if (
            bias is None
            or side == 1
            or bias.size not in (1, len(matrix))
            or (bias.ndim == 2 and len(bias) > 1)
        ):
            return "C of Gemm is not one constant for each column"
        bias = np.broadcast_to(beta * bias.reshape(-1), (len(matrix),))
    return _made(node, operands[side], Axes((axis,), (1 - side,), (len(matrix),)), matrix, bias)


def _conv(node: ir.Node) -> LinearMap | str | None:
    """Conv: the weights of a filter are a row, a patch is a vector. Source: ONNX Conv-22."""
    source, weights = node.inputs[0], _constant(node, 1)
    bias = None if input_of(node, 2) is None else _constant(node, 2)
    if source is None or weights is None or (input_of(node, 2) is not None and bias is None):
        return "the weights of Conv depend on the model's inputs"
    spatial = weights.ndim - 2
    groups = node.attributes.get_int("group", 1) or 1
    layout = _windows(node, weights.shape[2:], groups=groups)
    rows = len(weights) // groups
    matrices = tuple(
        np.ascontiguousarray(weights[g * rows : (g + 1) * rows].reshape(rows, -1)) for g in range(groups)
    )
    biases = tuple(None if bias is None else bias[g * rows : (g + 1) * rows] for g in range(groups))
    ones = (1,) * spatial
    is_pointwise = _windows(node, weights.shape[2:]) == Windows(ones, ones, ones, (0,) * 2 * spatial)
    made = LinearMap((node,), source, node.outputs[0], layout, matrices, biases)
    return replace(made, layout=Axes((1,), (1,), (rows,))) if is_pointwise and groups == 1 else made


def _windows(node: ir.Node, kernel: tuple[int, ...], *, groups: int = 1) -> Windows:
    """The window that the node's attributes tell of."""
    spatial, attributes = len(kernel), node.attributes
    return Windows(
        tuple(int(k) for k in kernel),
        tuple(int(n) for n in attributes.get_ints("strides", (1,) * spatial)),
        tuple(int(n) for n in attributes.get_ints("dilations", (1,) * spatial)),
        tuple(int(n) for n in attributes.get_ints("pads", (0,) * 2 * spatial)),
        attributes.get_string("auto_pad", "NOTSET"),
        groups=groups,
    )


def _average_pool(node: ir.Node) -> LinearMap | str | None:
    """AveragePool: every channel's patch times one row. Source: ONNX AveragePool-22."""
    source, attributes = node.inputs[0], node.attributes
    kernel = tuple(int(k) for k in attributes.get_ints("kernel_shape", ()))
    if source is None or not kernel:
        return "AveragePool has no kernel"
    window = replace(
        _windows(node, kernel), per_channel=True, ceil_mode=bool(attributes.get_int("ceil_mode", 0))
    )
    if window.is_padded:
        window = replace(window, counts="padded" if attributes.get_int("count_include_pad", 0) else "inside")
    taps = int(np.prod(kernel))
    return _made(node, source, window, np.full((1, taps), 1.0 / taps))


def _global_average_pool(node: ir.Node) -> LinearMap | str | None:
    """GlobalAveragePool: the spatial axes of a channel times one row. Source: ONNX GlobalAveragePool-22."""
    source = node.inputs[0]
    if source is None or rank(source) is None:
        return "the rank of the operand is not known"
    return _reduced(node, source, tuple(range(2, rank(source) or 0)), keeps=True, is_mean=True)


def _reduce(node: ir.Node) -> LinearMap | str | None:
    """ReduceMean and ReduceSum over constant axes. Source: ONNX ReduceSum-13, ReduceMean-18."""
    source, given = node.inputs[0], input_of(node, 1)
    found = rank(source)
    axes = () if given is None else constant_ints(given)
    if source is None or axes is None or found is None:
        return "the axes are not known"
    if not axes and node.attributes.get_int("noop_with_empty_axes", 0) != 0:
        return None
    over = tuple(sorted({axis % found for axis in axes})) if axes else tuple(range(found))
    keeps = bool(node.attributes.get_int("keepdims", True))
    return _reduced(node, source, over, keeps=keeps, is_mean=node.op_type == "ReduceMean")


def _reduced(
    node: ir.Node, source: ir.Value, axes: tuple[int, ...], *, keeps: bool, is_mean: bool
) -> LinearMap | str:
    dims = dims_of(source) or ()
    extents = [dims[axis] for axis in axes]
    sizes = [extent for extent in extents if isinstance(extent, int)]
    if not axes or len(sizes) < len(extents):
        return f"the number of elements that {node.op_type} takes together is not known before running"
    count = math.prod(sizes)
    if count > _LONGEST_SUM:
        return f"{node.op_type} takes {count} elements together, more than {_LONGEST_SUM}"
    layout = Axes(axes, axes, (1,) * len(axes)) if keeps else Axes(axes, (), ())
    return _made(node, source, layout, np.full((1, count), 1.0 / max(1, count) if is_mean else 1.0))


def _batch_norm(node: ir.Node) -> LinearMap | str | None:
    """BatchNormalization at inference: a diagonal matrix on the channels."""
    affine, source = batch_norm_affine(node), node.inputs[0]
    if isinstance(affine, Refusal) or source is None:
        return affine.why if isinstance(affine, Refusal) else "the operand is absent"
    layout = Axes((1,), (1,), (affine.scale.size,))
    return _made(node, source, layout, np.diag(affine.scale), affine.shift)


def _arithmetic(node: ir.Node) -> LinearMap | str | None:
    """Add, Sub, Mul, Div by a constant and Neg: a diagonal matrix on the axes along which the constant changes."""
    found = next((s for s in (0, 1) if constant_value(input_of(node, 1 - s)) is not None), None)
    if node.op_type == "Neg":
        found = 0
    source, dims = None if found is None else node.inputs[found], dims_of(node.outputs[0])
    if found is None or source is None or dims is None or rank(source) != len(dims):
        return None
    constant = np.ones(()) if node.op_type == "Neg" else _constant(node, 1 - found)
    if constant is None or (node.op_type == "Div" and (found == 1 or not constant.all())):
        return None
    full = constant.reshape((1,) * (len(dims) - constant.ndim) + constant.shape)
    axes = tuple(axis for axis, extent in enumerate(full.shape) if extent != 1)
    extents = static_dims(source, axes)
    if extents != tuple(full.shape[axis] for axis in axes):
        return None  # the constant makes the operand larger
    c = full.reshape(-1)
    scale, shift = {
        "Add": (np.ones_like(c), c),
        "Sub": (np.ones_like(c), -c) if found == 0 else (-np.ones_like(c), c),
        "Mul": (c, None),
        "Div": (1.0 / c if node.op_type == "Div" else c, None),
        "Neg": (-c, None),
    }[node.op_type]
    if c.size > _LARGEST_DIAGONAL:
        return None
    return _made(node, source, Axes(axes, axes, extents), np.diag(scale), shift)


_LARGEST_DIAGONAL = 4096  # elements of a constant that is made a matrix
_LONGEST_SUM = 4096  # elements of a sum that is made a circuit: the circuit has as many basis states


def static_dims(value: ir.Value, axes: tuple[int, ...]) -> tuple[int, ...] | None:
    """Extents along ``axes``, None if one is not a number."""
    dims = dims_of(value) or ()
    found = tuple(dim for axis in axes if axis < len(dims) and isinstance(dim := dims[axis], int))
    return found if len(found) == len(axes) else None


def item_shape(value: ir.Value) -> tuple[int, ...] | None:
    """Shape behind the first axis, if it is known."""
    dims = dims_of(value)
    return None if not dims else static_dims(value, tuple(range(1, len(dims))))


READERS: dict[str, Reader] = {
    "Add": _arithmetic,
    "AveragePool": _average_pool,
    "BatchNormalization": _batch_norm,
    "Conv": _conv,
    "Div": _arithmetic,
    "Gemm": _gemm,
    "GlobalAveragePool": _global_average_pool,
    "MatMul": _matmul,
    "Mul": _arithmetic,
    "Neg": _arithmetic,
    "ReduceMean": _reduce,
    "ReduceSum": _reduce,
    "Sub": _arithmetic,
}
"""Ops that may be linear, by name."""
