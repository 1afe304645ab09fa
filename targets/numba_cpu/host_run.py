"""Running a host call: one node in NumPy or on the single-op reference."""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache
from typing import Any

import onnx
import onnx_ir as ir

from accelc.errors import CallError
from accelc.ir.attributes import attributes
from accelc.targets.host_ops import HOST_OPS
from accelc.targets.numba_cpu.program import HostCall


@lru_cache(maxsize=256)
def _node(serialized: bytes) -> ir.Node:
    """The node, in a graph that declares what it reads (captures included)."""
    node = onnx.NodeProto.FromString(serialized)
    graph = onnx.GraphProto(name="host", node=[node])
    produced: set[str] = set()
    _declare(node, produced, graph)
    found = ir.serde.deserialize_graph(graph)
    return next(iter(found))


def _declare(node: onnx.NodeProto, produced: set[str], graph: onnx.GraphProto) -> None:
    """Declare every name that the node or its subgraphs read as an input of ``graph``, once."""
    stack = [node]
    names: dict[str, None] = {}
    while stack:
        current = stack.pop()
        names.update((name, None) for name in current.input if name)
        for attribute in current.attribute:
            for subgraph in (attribute.g, *attribute.graphs):
                produced.update(value.name for value in subgraph.input)
                produced.update(tensor.name for tensor in subgraph.initializer)
                produced.update(name for inner in subgraph.node for name in inner.output)
                names.update((value.name, None) for value in subgraph.output)
                stack.extend(subgraph.node)
    for name in names:
        if name not in produced:
            graph.input.add(name=name)


@lru_cache(maxsize=1024)
def _attributes(serialized: bytes) -> tuple[str, dict[str, Any]]:
    """Domain and attributes of a node that NumPy runs."""
    node = _node(serialized)
    return node.domain, attributes(node)


def run_host(step: HostCall, inputs: Sequence[Any]) -> list[Any]:
    """Results of the node, in order.

    Raises:
        CallError: NumPy cannot do it with these values.
        UnsupportedError: The reference cannot evaluate it on these inputs.
    """
    if step.kind == "numpy":
        domain, attrs = _attributes(step.node)
        results = HOST_OPS[domain, step.op](inputs, attrs)
        if len(results) < len(step.outputs):
            raise CallError(f"{step.op} has {len(results)} outputs", why=f"{len(step.outputs)} are wanted")
        return results[: len(step.outputs)]
    from accelc.reference import evaluate_node

    count = len(inputs) - len(step.captures)
    captured = {
        name: array for name, array in zip(step.captures, inputs[count:], strict=True) if array is not None
    }
    return list(evaluate_node(_node(step.node), inputs[:count], captures=captured, opset=step.opset))
