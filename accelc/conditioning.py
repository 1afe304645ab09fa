"""How far rounding can move a model's answers: each result is moved by what rounding does to it, up or down at random.

Two runs of one engine tell little where a difference of nearly equal numbers decides, as in a variance of rows that
are all alike, E[x^2] - E[x]^2: both round in the same way, and another engine, no less exact, does not. Moving each
result by itself is Monte Carlo arithmetic (Parker, "Monte Carlo Arithmetic: exploiting randomness in floating-point
arithmetic", 1997), here with one draw for each value instead of each element: models whose answers it moves are
ill-conditioned, however they are computed. The error of a sum of n terms grows as the square root of n (Higham and
Mary, "A New Approach to Probabilistic Rounding Error Analysis", 2019, theorem 2.4).
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

import numpy as np
import onnx_ir as ir

from accelc.errors import UnsupportedError
from accelc.inputs import Feeds, model_inputs
from accelc.ir.shapes import dims_of, evaluate, symbols_in, unify
from accelc.reference import Oracle, relative_error

RUNS = 8
"""Draws; the largest difference counts."""
MOST = 0.05
"""A larger error than this, of max|output|, is never put down to rounding."""
STEPS = {
    ir.DataType.FLOAT16: 2.0**-10,
    ir.DataType.BFLOAT16: 2.0**-7,
    ir.DataType.FLOAT: 2.0**-23,
    ir.DataType.DOUBLE: 2.0**-52,
}
"""Relative distance of neighbouring numbers."""
_EXACT = frozenset(
    ("Abs", "ArgMax", "Cast", "CastLike", "Ceil", "Clip", "Compress", "Concat", "Constant", "ConstantOfShape",
     "DepthToSpace", "Dropout", "EyeLike", "Expand", "Flatten", "Floor", "Gather", "GatherElements", "GatherND",
     "GlobalMaxPool", "Identity", "If", "Loop", "Max", "MaxPool", "MaxUnpool", "Min", "Neg", "OneHot", "Pad", "Range",
     "ReduceMax", "ReduceMin", "Relu", "Reshape", "ReverseSequence", "Round", "Scan", "ScatterElements", "ScatterND",
     "Sign", "Slice", "SpaceToDepth", "Split", "Squeeze", "Tile", "TopK", "Transpose", "Trilu", "Unique",
     "Unsqueeze", "Where")
)  # fmt: skip
"""Ops whose results are numbers that were there before, or have nothing to round."""
_OF_WEIGHTS = frozenset(("Conv", "ConvTranspose"))
_OF_ROWS = frozenset(
    (
        "Gemm",
        "MatMul",
        "Softmax",
        "LogSoftmax",
        "LayerNormalization",
        "RMSNormalization",
        "LSTM",
        "GRU",
        "RNN",
    )
)


def rounding_spread(model: ir.Model, feeds: Feeds, expected: Sequence[np.ndarray]) -> list[float]:
    """For each output, how far rounding moves it on these inputs: max|a-b| / max|a|, the largest of ``RUNS`` draws.

    Args:
        model: With inferred dtypes; not changed.
        feeds: The inputs.
        expected: The oracle's answers.

    Raises:
        UnsupportedError: onnxruntime does not run the model with its results moved.
    """
    largest = [0.0] * len(expected)
    sizes: dict[str, int] = {}
    for value in model_inputs(model):
        if value.name in feeds and (dims := dims_of(value)) is not None:
            unify(dims, feeds[value.name].shape, sizes, name=value.name)
    for seed in range(RUNS):
        moved = Oracle(moved_by_rounding(model, seed, sizes), optimize=False).run(feeds)
        if len(moved) != len(expected):
            raise UnsupportedError("the model has other outputs after its results were moved")
        errors = [relative_error(a, b) for a, b in zip(expected, moved, strict=True)]
        largest = [max(pair) for pair in zip(largest, errors, strict=True)]
    return largest


def moved_by_rounding(model: ir.Model, seed: int, sizes: Mapping[str, int]) -> ir.Model:
    """A copy of ``model`` in which each rounded result is multiplied by 1 plus or minus its rounding. O(nodes).

    Args:
        model: With inferred dtypes.
        seed: Of the signs.
        sizes: Sizes of symbols, by name.
    """
    rng = np.random.default_rng(seed)
    copy = model.clone()
    for number, node in enumerate(list(copy.graph)):
        if node.domain == "" and node.op_type in _EXACT:
            continue
        terms = math.sqrt(terms_of(node, sizes))
        for place, value in enumerate(node.outputs):
            step = STEPS.get(value.dtype) if value.dtype is not None else None
            if step is not None and value.name and isinstance(value.type, ir.TensorType):
                factor = 1 + min(terms * step, 0.5) * rng.choice((-1, 1))
                _multiply(copy.graph, node, value, factor, f"{number}_{place}")
    return copy


def terms_of(node: ir.Node, sizes: Mapping[str, int]) -> int:
    """How many numbers are added up for one element of a node's result; 1 where that is not known."""
    operands = [*node.inputs[:2], None, None]
    data, other = (_extents(value, sizes) for value in operands[:2])
    result = _extents(node.outputs[0], sizes)
    op = node.op_type
    if op in _OF_WEIGHTS and other:
        return max(1, math.prod(other) // max(1, other[0 if op == "Conv" else 1]))
    if op in _OF_ROWS and data:
        return max(1, data[0 if op == "Gemm" and node.attributes.get_int("transA", 0) == 1 else -1])
    if (op.startswith("Reduce") or op.endswith("AveragePool")) and data and result is not None:
        return max(1, math.prod(data) // max(1, math.prod(result)))
    return 1


def _extents(value: ir.Value | None, sizes: Mapping[str, int]) -> list[int] | None:
    dims = dims_of(value)
    if dims is None or any(dim is None or not symbols_in(dim) <= sizes.keys() for dim in dims):
        return None
    return [evaluate(dim, sizes) for dim in dims if dim is not None]


def _multiply(graph: ir.Graph, node: ir.Node, value: ir.Value, factor: float, number: str) -> None:
    """Insert a multiplication right behind ``node``; the product has the name that the value had."""
    assert value.dtype is not None  # the caller looked
    scale = ir.Value(name=f"rounding_{number}", const_value=ir.tensor(np.array(factor, value.dtype.numpy())))
    graph.register_initializer(scale)
    product = ir.Node("", "Mul", [None, None], num_outputs=1, name=f"move_{number}")
    moved = product.outputs[0]
    moved.type, moved.shape = value.type, value.shape
    ir.convenience.replace_all_uses_with(value, moved, replace_graph_outputs=True)
    moved.name, value.name = value.name, f"{value.name}_exact_{number}"
    product.replace_input_with(0, value)
    product.replace_input_with(1, scale)
    graph.insert_after(node, product)
