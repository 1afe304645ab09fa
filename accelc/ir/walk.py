"""Iteration over graphs with their subgraphs: no recursion, and quick on nodes that have none."""

from __future__ import annotations

from collections.abc import Iterator

import onnx_ir as ir

_GRAPH_TYPES = (ir.AttributeType.GRAPH, ir.AttributeType.GRAPHS)


def subgraphs_of(node: ir.Node) -> list[ir.Graph]:
    """The graphs that a node's attributes hold, in order of the attributes."""
    found: list[ir.Graph] = []
    for attr in node.attributes.values():
        if attr.type in _GRAPH_TYPES and not attr.is_ref():
            if attr.type == ir.AttributeType.GRAPH:
                found.append(attr.as_graph())
            else:
                found.extend(attr.as_graphs())
    return found


def all_graphs(graph: ir.Graph) -> Iterator[ir.Graph]:
    """``graph`` and every graph nested in it, outer ones first."""
    work = [graph]
    while work:
        current = work.pop()
        yield current
        for node in current:
            if node.attributes:
                work.extend(subgraphs_of(node))


def all_nodes(graph: ir.Graph) -> Iterator[ir.Node]:
    """Every node of ``graph`` and of the graphs nested in it; nodes of one graph come in order."""
    for current in all_graphs(graph):
        yield from current


def all_values(graph: ir.Graph) -> Iterator[tuple[ir.Graph, ir.Value]]:
    """Every value that ``graph`` and the graphs nested in it define, with its graph."""
    for owner in all_graphs(graph):
        for value in (*owner.inputs, *owner.initializers.values()):
            yield owner, value
        for node in owner:
            for out in node.outputs:
                yield owner, out
