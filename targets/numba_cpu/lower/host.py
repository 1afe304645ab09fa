"""Nodes without a kernel: one call of NumPy or the single-op reference, made from data that an artifact can hold."""

from __future__ import annotations

from collections.abc import Callable, Mapping

import onnx_ir as ir

from accelc.ir.attributes import dtype_name
from accelc.ir.pass_base import Refusal
from accelc.ir.walk import subgraphs_of
from accelc.targets.host_ops import HOST_OPS
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
    if node.domain not in ("", "ai.onnx.ml") and (node.domain, node.op_type) not in HOST_OPS:
        return Refusal(f"there is neither a kernel nor a reference for {node.domain}::{node.op_type}")
    captured = captures_of(*subgraphs_of(node))
    inputs = tuple(-1 if value is None else value_of(value).id for value in node.inputs)
    captures = tuple((str(value.name), value_of(value).id) for value in captured)
    outputs = tuple(host_value(ctx, output, dims_of) for output in node.outputs)
    numpy = not captures and (node.domain, node.op_type) in HOST_OPS
    while outputs and outputs[-1] < 0:
        outputs = outputs[:-1]
    return HostCall(
        bytes(ir.serde.serialize_node(node).SerializeToString(deterministic=True)),
        node.op_type,
        inputs + tuple(id_ for _, id_ in captures),
        outputs if numpy else tuple(output for output in outputs if output >= 0),
        ctx.origin,
        "" if numpy else reason,
        node.version or opsets.get(node.domain, 1),
        tuple(name for name, _ in captures),
        "numpy" if numpy else "reference",
    )


def host_value(ctx: LowerContext, output: ir.Value, dims_of: Callable[[ir.Value], Dims]) -> int:
    """The id of a new value that a host or body call makes; -1 for an output that nobody wants."""
    if not output.name:
        return -1
    dtype = tensor_dtype(output)
    dims = dims_of(output) if dtype != "object" else ()
    made = Value(len(ctx.program.values), str(output.name), dtype, dims, "host")
    ctx.program.values.append(made)
    ctx.by_name[made.name] = made
    return made.id


def tensor_dtype(value: ir.Value) -> str:
    """NumPy name of a tensor of known rank; ``object`` for all that kernels cannot read."""
    is_tensor = value.type is None or isinstance(value.type, ir.TensorType)
    dtype = dtype_name(value.dtype)
    return dtype if is_tensor and dtype is not None and value.shape is not None else "object"


def captures_of(*graphs: ir.Graph) -> list[ir.Value]:
    """Values that subgraphs, at any depth, use from outside of them."""
    inside: set[ir.Value] = set()
    used: dict[ir.Value, None] = {}
    stack = list(graphs)
    while stack:
        graph = stack.pop()
        inside.update(graph.inputs)
        inside.update(graph.initializers.values())
        for inner in graph:
            inside.update(inner.outputs)
            used.update((value, None) for value in inner.inputs if value is not None)
            stack.extend(subgraphs_of(inner))
        used.update((value, None) for value in graph.outputs)
    return [value for value in used if value not in inside]
