"""Reading a graph: constants, users, operands, regions. Nothing here changes anything."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import onnx_ir as ir

from accelc.ir.pass_base import node_name


def subgraphs_of(node: ir.Node) -> Iterator[ir.Graph]:
    """The graphs held by the attributes of ``node`` (If, Loop, Scan), in attribute order."""
    for attribute in node.attributes.values():
        if attribute.is_ref():
            continue
        if attribute.type == ir.AttributeType.GRAPH:
            yield attribute.as_graph()
        elif attribute.type == ir.AttributeType.GRAPHS:
            yield from attribute.as_graphs()


def regions(model: ir.Model) -> Iterator[ir.Graph]:
    """The main graph and every subgraph, outer before inner; function bodies are not regions."""
    pending = [model.graph]
    while pending:
        graph = pending.pop()
        yield graph
        inner = [sub for node in graph for sub in subgraphs_of(node)]
        pending.extend(reversed(inner))


def describe(node: ir.Node) -> str:
    """How errors name a node: ``node conv1 (Conv)``."""
    domain = f"{node.domain}." if node.domain else ""
    return f"node {node_name(node)} ({domain}{node.op_type})"


def use_count(value: ir.Value) -> int:
    """How many node inputs read ``value``, those in subgraphs included; a graph output is not a use."""
    # uses() copies, which is quadratic for a constant with 10,000 users when each user asks.
    uses = getattr(value, "_uses", None)
    return len(uses) if uses is not None else len(value.uses())


def sole_user(value: ir.Value) -> ir.Node | None:
    """The node that reads ``value``, if it is read exactly once and is no graph output."""
    if value.is_graph_output() or use_count(value) != 1:
        return None
    return next(iter(value.uses())).node


def operand(node: ir.Node, index: int, *ops: str) -> ir.Node | None:
    """Producer of input ``index``, if it is one of ``ops`` (standard domain) in the same region."""
    if index >= len(node.inputs):
        return None
    value = node.inputs[index]
    producer = value.producer() if value is not None else None
    if producer is None or producer.domain != "" or producer.graph is not node.graph:
        return None
    return producer if producer.op_type in ops else None


def is_op(node: ir.Node | None, *ops: str) -> bool:
    """Whether ``node`` is one of the standard-domain ``ops``."""
    return node is not None and node.domain == "" and node.op_type in ops


def input_of(node: ir.Node, index: int) -> ir.Value | None:
    """Input ``index`` of ``node``; None if it is absent or left out."""
    return node.inputs[index] if index < len(node.inputs) else None


def constant_tensor(value: ir.Value | None) -> ir.TensorProtocol | None:
    """The tensor behind a constant, unread: an initializer or the output of a Constant node of any region."""
    if value is None or value.is_graph_input():
        return None  # a graph input with a default may be fed, so it is no constant
    if value.is_initializer():
        return value.const_value
    node = value.producer()
    if not is_op(node, "Constant"):
        return None
    assert node is not None
    return _constant_node_tensor(node)


def _constant_node_tensor(node: ir.Node) -> ir.TensorProtocol | None:
    for name, attribute in node.attributes.items():
        if attribute.is_ref():
            return None
        if name == "value":
            return attribute.as_tensor()
        if name in ("value_int", "value_ints"):
            return ir.Tensor(np.asarray(attribute.value, dtype=np.int64))
        if name in ("value_float", "value_floats"):
            return ir.Tensor(np.asarray(attribute.value, dtype=np.float32))
    return None  # strings and sparse values are left alone


def constant_value(value: ir.Value | None, *, max_bytes: int | None = None) -> np.ndarray | None:
    """The array behind a constant, or None.

    None also for strings, for tensors larger than ``max_bytes``, and for external data that is absent.
    The array may be a read-only view of the model: never write to it.
    """
    tensor = constant_tensor(value)
    if tensor is None or tensor.dtype == ir.DataType.STRING:
        return None
    if max_bytes is not None and tensor.nbytes > max_bytes:
        return None
    try:
        return np.asarray(tensor.numpy())
    except (OSError, ValueError):
        return None  # external data that is not there, or shorter than it says


def constant_ints(value: ir.Value | None, *, max_size: int = 4096) -> tuple[int, ...] | None:
    """A small constant integer tensor of rank 0 or 1 as Python ints, or None."""
    array = constant_value(value, max_bytes=8 * max_size)
    if array is None or array.ndim > 1 or array.dtype.kind not in "iu":
        return None
    return tuple(int(x) for x in array.reshape(-1))


def rank(value: ir.Value | None) -> int | None:
    """Rank of ``value``, or None if unknown."""
    return len(value.shape) if value is not None and value.shape is not None else None


def static_shape(value: ir.Value | None) -> tuple[int, ...] | None:
    """Shape of ``value`` if every dim is a known int, else None."""
    if value is None or value.shape is None:
        return None
    dims = tuple(d for d in value.shape.dims if isinstance(d, int))
    return dims if len(dims) == len(value.shape) else None


def same_dim(a: int | ir.SymbolicDim, b: int | ir.SymbolicDim) -> bool:
    """Whether two dims are surely equal: equal ints, or the same named expression; unknown equals nothing."""
    if isinstance(a, int) or isinstance(b, int):
        return isinstance(a, int) and isinstance(b, int) and a == b
    return a.value is not None and a == b


def same_shape(a: ir.Value | None, b: ir.Value | None) -> bool:
    """Whether two values surely have the same shape."""
    if a is None or b is None or a.shape is None or b.shape is None or len(a.shape) != len(b.shape):
        return False
    return all(same_dim(x, y) for x, y in zip(a.shape.dims, b.shape.dims, strict=True))


def is_dead(node: ir.Node) -> bool:
    """Whether nothing reads any output of ``node`` and none is a graph output."""
    return not any(value.is_graph_output() or use_count(value) for value in node.outputs)


RANDOM_OPS = frozenset(
    ("RandomNormal", "RandomNormalLike", "RandomUniform", "RandomUniformLike", "Multinomial", "Bernoulli")
)


SOURCE_OPSET = "accelc.source_opset"
"""Key in the main graph's meta: the version of the standard domain that the model came in."""
NEEDS_DATA = "accelc.needs_data"
"""Key in the ``meta`` of an imported graph: why inputs for it cannot be drawn at random."""


def is_random(node: ir.Node) -> bool:
    """Whether ``node``, or a node in its subgraphs, may give another result each time; when in doubt, yes."""
    pending = [node]
    while pending:
        current = pending.pop()
        if is_op(current, *RANDOM_OPS):
            return True
        if is_op(current, "Dropout") and _may_train(current):
            return True
        pending.extend(inner for graph in subgraphs_of(current) for inner in graph)
    return False


def _may_train(dropout: ir.Node) -> bool:
    training = input_of(dropout, 2)
    if training is None:
        return False
    value = constant_value(training, max_bytes=1)
    return value is None or bool(value.any())
