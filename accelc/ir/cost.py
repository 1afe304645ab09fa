"""What a node costs: floating-point operations, bytes moved, parameters.

A multiply-add counts as two operations. Transcendental functions count what a vector implementation of them
executes (range reduction, polynomial, reconstruction), so that a cluster of cheap ops and one of ``Erf``
do not look alike.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass

import onnx_ir as ir

from accelc.errors import AccelcError
from accelc.ir.inline import inline_all
from accelc.ir.shapes import dims_of, evaluate, infer
from accelc.ir.walk import all_nodes
from accelc.ir.weights import all_initializers, subgraphs_of

ELEMENTWISE_FLOPS: Mapping[str, int] = {
    **dict.fromkeys(
        ("Abs", "Add", "Ceil", "Floor", "Max", "Min", "Mul", "Neg", "Relu", "Round", "Sign", "Sub"), 1
    ),
    **dict.fromkeys(
        ("And", "Not", "Or", "Xor", "Equal", "Greater", "GreaterOrEqual", "Less", "LessOrEqual"), 1
    ),
    **dict.fromkeys(("IsInf", "IsNaN", "Sqrt", "Where", "Div", "Reciprocal", "BitwiseAnd", "BitwiseOr"), 1),
    **dict.fromkeys(("Clip", "LeakyRelu", "PRelu", "ThresholdedRelu", "HardSigmoid", "QuantizeLinear"), 2),
    **dict.fromkeys(("DequantizeLinear", "BatchNormalization", "Shrink", "Mod"), 2),
    **dict.fromkeys(("HardSwish", "Softsign"), 4),
    **dict.fromkeys(("Exp", "Log"), 10),
    **dict.fromkeys(("Sigmoid", "Elu", "Selu", "Celu", "Swish", "Sin", "Cos"), 13),
    **dict.fromkeys(("Tanh", "Erf", "Softplus", "Tan", "Sinh", "Cosh", "Asin", "Acos", "Atan"), 16),
    **dict.fromkeys(("Gelu", "Mish", "Pow"), 20),
}
"""Operations per output element of an elementwise op; other ops compute nothing."""

_PER_INPUT_ELEMENT: Mapping[str, int] = {
    **dict.fromkeys(
        ("ReduceSum", "ReduceMean", "ReduceMax", "ReduceMin", "ReduceProd", "ReduceL1", "CumSum"), 1
    ),
    **dict.fromkeys(("GlobalAveragePool", "GlobalMaxPool", "ArgMax", "ArgMin"), 1),
    **dict.fromkeys(("ReduceL2", "ReduceSumSquare"), 2),
    **dict.fromkeys(("ReduceLogSumExp", "ReduceLogSum", "Softmax", "LogSoftmax"), 13),
    **dict.fromkeys(("RMSNormalization", "LpNormalization"), 4),
    **dict.fromkeys(("LayerNormalization", "InstanceNormalization", "GroupNormalization"), 7),
    **dict.fromkeys(("LRN", "MeanVarianceNormalization"), 25),
}

Dims = tuple[int, ...]


@dataclass(frozen=True)
class Cost:
    """Cost of a node or model.

    Args:
        flops: Floating-point operations (for integer kernels: integer operations).
        bytes_read: Bytes of the operands, each counted once.
        bytes_written: Bytes of the results.
        unknown: Nodes whose shapes are not known; they count nothing.
    """

    flops: int = 0
    bytes_read: int = 0
    bytes_written: int = 0
    unknown: int = 0

    def __add__(self, other: Cost) -> Cost:
        """Both after each other."""
        return Cost(
            self.flops + other.flops,
            self.bytes_read + other.bytes_read,
            self.bytes_written + other.bytes_written,
            self.unknown + other.unknown,
        )


def concrete_dims(value: ir.Value | None, symbols: Mapping[str, int]) -> Dims | None:
    """Shape of ``value`` with ``symbols`` put in; None if a dim stays unknown."""
    if value is None:
        return None
    if value.const_value is not None:
        return tuple(int(dim) for dim in value.const_value.shape.numpy())
    dims = dims_of(value)
    if dims is None:
        return None
    try:
        known = [evaluate(dim, symbols) for dim in dims if dim is not None]
    except AccelcError:
        return None
    return tuple(known) if len(known) == len(dims) else None


def nbytes(value: ir.Value, symbols: Mapping[str, int]) -> int | None:
    """Bytes of a tensor value; None if its shape or dtype is not known."""
    dims = concrete_dims(value, symbols)
    if dims is None or value.dtype is None or value.dtype == ir.DataType.STRING:
        return None
    return math.ceil(math.prod(dims) * value.dtype.itemsize)


def node_cost(node: ir.Node, symbols: Mapping[str, int] | None = None) -> Cost:
    """Cost of one node of a standard op; the bodies of If, Loop and Scan are not counted.

    Args:
        node: The node; calls of functions cost only their bytes here (see :func:`model_cost`).
        symbols: Sizes of symbolic dims.
    """
    sizes = symbols or {}
    read = [nbytes(value, sizes) for value in {id(v): v for v in node.inputs if v is not None}.values()]
    written = [nbytes(value, sizes) for value in node.outputs if value.name]
    flops = _flops(node, sizes)
    unknown = flops is None or None in read or None in written
    return Cost(flops or 0, sum(n or 0 for n in read), sum(n or 0 for n in written), int(unknown))


def _flops(node: ir.Node, symbols: Mapping[str, int]) -> int | None:
    """Operations of one node; None if the shapes they follow from are unknown."""
    out = concrete_dims(node.outputs[0], symbols) if node.outputs else None
    if node.op_type in ELEMENTWISE_FLOPS:
        return None if out is None else ELEMENTWISE_FLOPS[node.op_type] * math.prod(out)
    first = concrete_dims(node.inputs[0], symbols) if node.inputs else None
    if node.op_type in _PER_INPUT_ELEMENT:
        return None if first is None else _PER_INPUT_ELEMENT[node.op_type] * math.prod(first)
    rule = _ANCHORS.get(node.op_type)
    if rule is None:
        return 0
    second = concrete_dims(node.inputs[1], symbols) if len(node.inputs) > 1 else None
    if first is None or out is None or (second is None and node.op_type not in _POOLS):
        return None
    return rule(node, first, second or (), out)


def _matmul(node: ir.Node, a: Dims, b: Dims, out: Dims) -> int:
    return 2 * math.prod(out) * (a[-1] if a else 1)


def _gemm(node: ir.Node, a: Dims, b: Dims, out: Dims) -> int:
    depth = a[0] if node.attributes.get_int("transA", 0) else a[1]
    return 2 * math.prod(out) * depth


def _conv(node: ir.Node, a: Dims, b: Dims, out: Dims) -> int:
    return 2 * math.prod(out) * math.prod(b[1:])


def _conv_transpose(node: ir.Node, a: Dims, b: Dims, out: Dims) -> int:
    return 2 * math.prod(a) * math.prod(b[1:])


def _pool(node: ir.Node, a: Dims, b: Dims, out: Dims) -> int:
    return math.prod(out) * math.prod(node.attributes.get_ints("kernel_shape", ()))


def _attention(node: ir.Node, q: Dims, k: Dims, out: Dims) -> int:
    """Two products of [queries, keys, head] and the softmax between them (Attention-23, 3-D or 4-D)."""
    if len(q) == 4:
        batch, heads, queries, head = q
        keys = k[2]
    else:
        heads = node.attributes.get_int("q_num_heads", 1)
        batch, queries, width = q
        head, keys = width // max(heads, 1), k[1]
    return batch * heads * queries * keys * (4 * head + _PER_INPUT_ELEMENT["Softmax"])


def _recurrent(node: ir.Node, x: Dims, w: Dims, out: Dims) -> int:
    """Gate products over the sequence: x is [seq, batch, in], w is [directions, gates * hidden, in]."""
    gates = {"LSTM": 4, "GRU": 3, "RNN": 1}[node.op_type]
    hidden = w[1] // gates
    return 2 * x[0] * x[1] * w[0] * w[1] * (w[2] + hidden)


_POOLS = ("MaxPool", "AveragePool", "LpPool")
_ANCHORS: Mapping[str, Callable[[ir.Node, Dims, Dims, Dims], int]] = {
    "MatMul": _matmul,
    "MatMulInteger": _matmul,
    "Gemm": _gemm,
    "Conv": _conv,
    "ConvInteger": _conv,
    "ConvTranspose": _conv_transpose,
    "Attention": _attention,
    "LSTM": _recurrent,
    "GRU": _recurrent,
    "RNN": _recurrent,
    **dict.fromkeys(_POOLS, _pool),
}


def model_cost(model: ir.Model, symbols: Mapping[str, int] | None = None) -> Cost:
    """Cost of one run of the main graph and of every branch and loop body once.

    Function calls are counted by their bodies. Near-linear in nodes; ``model`` is not changed.
    """
    flat = inlined(model)
    if flat is not model:
        infer(flat)
    total = Cost()
    pending: list[ir.Graph] = [flat.graph]
    while pending:
        for node in pending.pop():
            total += node_cost(node, symbols)
            pending.extend(subgraphs_of(node))
    return total


def inlined(model: ir.Model) -> ir.Model:
    """A copy of ``model`` without calls of fused functions; ``model`` itself if it has no functions."""
    if not model.functions:
        return model
    copy = model.clone()
    inline_all(copy)
    return copy


def parameter_count(model: ir.Model) -> int:
    """Elements of all floating-point and quantised weights; a weight used twice counts once."""
    return sum(tensor.size for _, tensor in _distinct(model) if tensor.dtype != ir.DataType.STRING)


def weight_bytes(model: ir.Model) -> int:
    """Bytes of all weights."""
    return sum(tensor.nbytes for _, tensor in _distinct(model) if tensor.dtype != ir.DataType.STRING)


def _distinct(model: ir.Model) -> list[tuple[str, ir.TensorProtocol]]:
    """Each tensor once; some exporters write weights as Constant nodes."""
    found = [*all_initializers(model), *_constants(model)]
    return list({id(tensor): (name, tensor) for name, tensor in found}.values())


def _constants(model: ir.Model) -> Iterator[tuple[str, ir.TensorProtocol]]:
    for node in all_nodes(model.graph):
        if node.op_type == "Constant" and node.domain == "" and "value" in node.attributes:
            yield str(node.outputs[0].name), node.attributes["value"].as_tensor()
