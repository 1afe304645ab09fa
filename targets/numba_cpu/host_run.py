"""Running a host call: one node on the single-op reference."""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache

import numpy as np
import onnx
import onnx_ir as ir

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


def run_host(step: HostCall, inputs: Sequence[np.ndarray | None]) -> list[np.ndarray]:
    """Results of the node, in order.

    Raises:
        UnsupportedError: The reference cannot evaluate it on these inputs.
    """
    from accelc.reference import evaluate_node

    count = len(inputs) - len(step.captures)
    captured = {
        name: array for name, array in zip(step.captures, inputs[count:], strict=True) if array is not None
    }
    return evaluate_node(_node(step.node), inputs[:count], captures=captured, opset=step.opset)
