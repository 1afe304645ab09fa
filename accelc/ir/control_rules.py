"""Shape rules for If and Loop that hold whatever the data: the library's own take the first iteration for all.

A dim of a carried value is known behind a Loop only if every iteration keeps it; the number of iterations only
if nothing ends the Loop early; the shape behind an If only if both branches tell it.
"""

from __future__ import annotations

from typing import Any

import onnx_ir as ir

from accelc.ir.dims import symbols_in
from accelc.ir.walk import all_nodes


def infer_if(ctx: Any, node: ir.Node) -> bool:
    """Outputs of an If: what both branches agree on."""
    branches = [node.attributes.get(name) for name in ("then_branch", "else_branch")]
    if any(attr is None or attr.is_ref() for attr in branches):
        return False
    graphs = [attr.as_graph() for attr in branches if attr is not None]
    if any(len(graph.outputs) != len(node.outputs) for graph in graphs):
        return False
    one_sided = any(
        (first.shape is None) != (second.shape is None)
        for first, second in zip(graphs[0].outputs, graphs[1].outputs, strict=True)
    )
    if not one_sided:
        return False  # the library's rule holds
    for output, first, second in zip(node.outputs, graphs[0].outputs, graphs[1].outputs, strict=True):
        kind = first.type if first.type is not None else second.type
        if kind is not None and not isinstance(kind, ir.TensorType):
            ctx.set_type(output, kind)
            continue
        shape = None
        if first.shape is not None and second.shape is not None and len(first.shape) == len(second.shape):
            pairs = zip(first.shape.dims, second.shape.dims, strict=True)
            shape = ir.Shape([a if a == b else ctx.new_symbolic_dim() for a, b in pairs])
        ctx.set_shape_and_dtype(output, shape, first.dtype or second.dtype)
    return True


def infer_loop(ctx: Any, node: ir.Node) -> bool:
    """Outputs of a Loop: carried values keep the dims that its body keeps."""
    attr = node.attributes.get("body")
    count = len(node.inputs) - 2
    if attr is None or attr.is_ref() or count < 0:
        return False
    body = attr.as_graph()
    if len(body.inputs) != count + 2 or len(body.outputs) != len(node.outputs) + 1:
        return False
    inits, formals, made = node.inputs[2:], body.inputs[2:], body.outputs[1 : 1 + count]
    stable = all(
        formal.shape is None or _dims(formal) == _dims(result)
        for formal, result in zip(formals, made, strict=True)
    )
    for output, init, result in zip(node.outputs, inits, made, strict=False):
        if result.type is not None and not isinstance(result.type, ir.TensorType):
            ctx.set_type(output, result.type)
            continue
        known = init.shape if init is not None and stable else None
        same_rank = init is not None and init.shape is not None and result.shape is not None
        same_rank = same_rank and len(init.shape) == len(result.shape)  # type: ignore[union-attr,arg-type]
        shape = (
            known.copy() if known is not None and same_rank else _fresh(ctx, result) if same_rank else None
        )
        ctx.set_shape_and_dtype(output, shape, result.dtype)
    trips = _trips(ctx, node, body)
    own = {name for value in formals for dim in _dims(value) or () for name in symbols_in(dim)}
    own -= {name for value in inits for dim in _dims(value) or () for name in symbols_in(dim)}
    for output, result in zip(node.outputs[count:], body.outputs[1 + count :], strict=True):
        shape = None
        if result.shape is not None:
            dims = [
                dim if stable and not symbols_in(_text(dim)) & own else ctx.new_symbolic_dim()
                for dim in result.shape.dims
            ]
            shape = ir.Shape([trips if trips is not None else ctx.new_symbolic_dim(), *dims])
        ctx.set_shape_and_dtype(output, shape, result.dtype)
    if not stable:
        _forget(ctx, body)
    return True


def _text(dim: int | ir.SymbolicDim) -> int | str | None:
    return dim if isinstance(dim, int) else dim.value


def _dims(value: ir.Value | None) -> list[int | str | None] | None:
    return None if value is None or value.shape is None else [_text(dim) for dim in value.shape.dims]


def _fresh(ctx: Any, value: ir.Value) -> ir.Shape | None:
    return None if value.shape is None else ir.Shape([ctx.new_symbolic_dim() for _ in value.shape.dims])


def _trips(ctx: Any, node: ir.Node, body: ir.Graph) -> int | ir.SymbolicDim | None:
    """The number of iterations, if nothing but the trip count ends the Loop."""
    count, condition, again = node.inputs[0], node.inputs[1], body.outputs[0]
    producer = again.producer()
    if producer is not None and producer.op_type == "Identity" and producer.inputs[0] is not None:
        again = producer.inputs[0]
    runs_on = again is body.inputs[1] or _always(again)
    if count is None or not runs_on or not (condition is None or _always(condition)):
        return None
    known = ctx.get_symbolic_value(count)
    if known is None or len(known) != 1:
        return None
    trips: int | ir.SymbolicDim = known[0]
    if isinstance(trips, int):
        return max(0, trips)
    return trips if trips.value is not None and "-" not in trips.value else None


def _always(value: ir.Value) -> bool:
    tensor = ir.convenience.get_const_tensor(value)
    return tensor is not None and tensor.size == 1 and bool(tensor.numpy().reshape(-1)[0])


def _forget(ctx: Any, body: ir.Graph) -> None:
    """Shapes inside a body were inferred for its first iteration: drop them; its inputs keep their ranks."""
    for formal, made in zip(body.inputs[2:], body.outputs[1:], strict=False):
        same = formal.shape is not None and made.shape is not None and len(formal.shape) == len(made.shape)
        formal.shape = _fresh(ctx, formal) if same else None
    for node in all_nodes(body):
        for output in node.outputs:
            output.shape = None
