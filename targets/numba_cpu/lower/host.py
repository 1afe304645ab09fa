"""Nodes without a kernel: one call of the single-op reference, made from data that an artifact can hold."""

from __future__ import annotations

from collections.abc import Callable, Mapping

import onnx_ir as ir

from accelc.ir.pass_base import Refusal
from accelc.targets.numba_cpu.lower.attributes import dtype_name
from accelc.targets.numba_cpu.lower.context import LowerContext
from accelc.targets.numba_cpu.program import Dims, HostCall, Value


def host_call(
    ctx: LowerContext,
    node: ir.Node,
    value_of: Callable[[ir.Value], Value],
    dims_of: Callable[[ir.Value], Dims],
    opsets: Mapping[str, int],
    reason: str,
) -> HostCall | Refusal:
    """The host call for ``node``, its outputs made as values of kind ``host``.

    Values that subgraphs take from outside are passed along by name.
    """
    if node.domain not in ("", "ai.onnx.ml"):
        return Refusal(f"there is neither a kernel nor a reference for {node.domain}::{node.op_type}")
    for output in node.outputs:
        if output.name and (dtype_name(output.dtype) is None or output.shape is None):
            return Refusal(f"output '{output.name}' is not a tensor of known dtype and rank")
    captured = _captures(node)
    inputs = tuple(-1 if value is None else value_of(value).id for value in node.inputs)
    captures = tuple((str(value.name), value_of(value).id) for value in captured)
    outputs = []
    for output in node.outputs:
        if not output.name:
            continue
        made = Value(
            len(ctx.program.values), str(output.name), str(dtype_name(output.dtype)), dims_of(output), "host"
        )
        ctx.program.values.append(made)
        ctx.by_name[made.name] = made
        outputs.append(made.id)
    return HostCall(
        bytes(ir.serde.serialize_node(node).SerializeToString(deterministic=True)),
        node.op_type,
        inputs + tuple(id_ for _, id_ in captures),
        tuple(outputs),
        ctx.origin,
        reason,
        node.version or opsets.get(node.domain, 1),
        tuple(name for name, _ in captures),
    )


def _captures(node: ir.Node) -> list[ir.Value]:
    """Values that the node's subgraphs, at any depth, use from outside of them."""
    inside: set[ir.Value] = set()
    used: dict[ir.Value, None] = {}
    stack = [graph for attr in node.attributes.values() for graph in _graphs(attr)]
    while stack:
        graph = stack.pop()
        inside.update(graph.inputs)
        inside.update(graph.initializers.values())
        for inner in graph:
            inside.update(inner.outputs)
            used.update((value, None) for value in inner.inputs if value is not None)
            stack.extend(graph for attr in inner.attributes.values() for graph in _graphs(attr))
        used.update((value, None) for value in graph.outputs)
    return [value for value in used if value not in inside]


def _graphs(attr: ir.Attr) -> list[ir.Graph]:
    if attr.type == ir.AttributeType.GRAPH:
        return [attr.as_graph()]
    if attr.type == ir.AttributeType.GRAPHS:
        return list(attr.as_graphs())
    return []
