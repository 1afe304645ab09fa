"""Take a model's weights out of the graph: a small skeleton and the tensors, each stored once."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import onnx_ir as ir

ALIGNMENT = 64
"""Bytes; weights start on cache lines so that they can be mapped and read by vector loads."""


@dataclass(frozen=True)
class Weight:
    """One tensor taken out: its name, its bytes' place in the weights file, and the tensor itself."""

    name: str
    offset: int
    nbytes: int
    tensor: ir.TensorProtocol


def skeleton(model: ir.Model, *, location: str, min_bytes: int = 1024) -> tuple[ir.Model, tuple[Weight, ...]]:
    """A copy of ``model`` whose large weights are references into the file ``location``.

    Nothing is written and ``model`` is not touched. Equal tensor objects share one place in the file. Only
    the main graph's initializers move; those of subgraphs and constants in function bodies stay, for
    readers that resolve references in the main graph only.

    Args:
        model: Any model.
        location: File name that the references carry.
        min_bytes: Smaller weights stay in the graph.

    Returns:
        The copy, and the weights in the order of their offsets.
    """
    copy = model.clone()
    weights: list[Weight] = []
    placed: dict[int, Weight] = {}
    offset = 0
    for name, value in copy.graph.initializers.items():
        tensor = value.const_value
        if tensor is None or tensor.nbytes < min_bytes or tensor.dtype == ir.DataType.STRING:
            continue
        known = placed.get(id(tensor))
        start = known.offset if known is not None else offset
        weight = Weight(str(name), start, tensor.nbytes, tensor)
        if known is None:
            placed[id(tensor)] = weight
            offset = -(-(offset + tensor.nbytes) // ALIGNMENT) * ALIGNMENT
        weights.append(weight)
        value.const_value = reference_to(weight, location)
    return copy, tuple(weights)


def reference_to(weight: Weight, location: str) -> ir.ExternalTensor:
    """The reference that stands for ``weight`` in a skeleton."""
    tensor = weight.tensor
    return ir.ExternalTensor(
        location,
        weight.offset,
        weight.nbytes,
        tensor.dtype,
        shape=ir.Shape([int(dim) for dim in tensor.shape.numpy()]),
        name=weight.name,
    )


def all_initializers(model: ir.Model) -> Iterator[tuple[str, ir.TensorProtocol]]:
    """Name and tensor of every initializer of the main graph and its subgraphs."""
    seen: set[int] = set()
    graphs: list[ir.Graph] = [model.graph]
    while graphs:
        graph = graphs.pop()
        if id(graph) in seen:
            continue
        seen.add(id(graph))
        for name, value in graph.initializers.items():
            if value.const_value is not None:
                yield str(name), value.const_value
        for node in graph:
            graphs.extend(subgraphs_of(node))


def subgraphs_of(node: ir.Node) -> list[ir.Graph]:
    """The graphs in the attributes of ``node`` (branches, loop bodies)."""
    found: list[ir.Graph] = []
    for attr in node.attributes.values():
        if not isinstance(attr, ir.Attr):
            continue
        if attr.type == ir.AttributeType.GRAPH:
            found.append(attr.as_graph())
        elif attr.type == ir.AttributeType.GRAPHS:
            found.extend(attr.as_graphs())
    return found
