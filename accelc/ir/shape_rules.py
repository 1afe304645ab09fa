"""Rules that the inference library lacks or gets wrong.

Lacking: element values through ConstantOfShape, Equal and Where. Wrong: Split and Squeeze by sizes that are not
constant, long Concats, the Scan of opset 8.

PyTorch exports ``expand`` as ``Where(Equal(shape, -1), ones, shape)``: without these rules every shape behind
it is lost, in static models as well.
"""

from __future__ import annotations

import functools
import json
from typing import Any

import onnx_ir as ir

from accelc.ir.broadcast_rule import correct_broadcast
from accelc.ir.control_rules import infer_if, infer_loop
from accelc.ir.dims import symbols_in
from accelc.ir.pool_rule import correct_pool
from accelc.ir.resize_rule import correct_resize
from accelc.ir.slice_rule import correct_slice

MAX_ELEMENTS = 1024
"""Longest shape-like tensor whose elements are tracked."""
ELEMENTS = "accelc.elements"
"""Metadata of an integer graph input whose elements are dims: JSON list of ints and expressions."""
Elements = list[int | ir.SymbolicDim]


@functools.cache
def install() -> None:
    """Add the rules to the library's registry, once per process; its own rules still run first."""
    from onnx_shape_inference import ShapeInferenceContext, _broadcast, registry

    _bound_elements(ShapeInferenceContext)
    correct_broadcast(_broadcast)
    registry.collect()
    added = {"ConstantOfShape": _constant_of_shape, "Equal": _equal, "Where": _where, "Slice": correct_slice}
    added["OneHot"] = _one_hot
    added |= dict.fromkeys(("MaxPool", "AveragePool", "LpPool"), correct_pool) | {"Resize": correct_resize}
    for op_type, rule in added.items():
        for since in registry.version_boundaries("", op_type):
            inner = registry.get("", op_type, version=since)
            registry.register("", op_type, since_version=since)(_then(inner, rule))
    instead_of = {
        "Concat": _concat,
        "Split": _split,
        "Squeeze": _squeeze,
        "Scan": _scan,
        "If": infer_if,
        "Loop": infer_loop,
    }
    for op_type, instead in instead_of.items():
        for since in registry.version_boundaries("", op_type):
            inner = registry.get("", op_type, version=since)
            registry.register("", op_type, since_version=since)(_unless(instead, inner))


def _bound_elements(context: Any) -> None:
    """Stop the library from tracking tensors of any size element by element: a few Concats make gigabytes."""
    set_value, get_value = context.set_symbolic_value, context.get_symbolic_value

    def set_bounded(self: Any, value: ir.Value, data: Elements) -> None:
        if len(data) <= MAX_ELEMENTS:
            set_value(self, value, data)

    def get_bounded(self: Any, value: ir.Value) -> Elements | None:
        tensor = ir.convenience.get_const_tensor(value)
        if tensor is not None and tensor.size > MAX_ELEMENTS:
            return None
        known: Elements | None = get_value(self, value)
        if known is None and (text := value.metadata_props.get(ELEMENTS)) is not None:
            known = [item if isinstance(item, int) else ir.SymbolicDim(item) for item in json.loads(text)]
        return known

    context.set_symbolic_value, context.get_symbolic_value = set_bounded, get_bounded


def _then(inner: Any, rule: Any) -> Any:
    def both(ctx: Any, node: ir.Node) -> None:
        inner(ctx, node)
        if node.outputs and node.outputs[0].const_value is None:
            rule(ctx, node)

    return both


def _unless(instead: Any, inner: Any) -> Any:
    """``instead`` where it applies (it then returns True), because the library's own rule is wrong there."""

    def either(ctx: Any, node: ir.Node) -> None:
        if not instead(ctx, node):
            inner(ctx, node)

    return either


def _concat(ctx: Any, node: ir.Node) -> bool:
    """Long vectors: the library would make up a symbol for each element."""
    shapes = [value.shape if value is not None else None for value in node.inputs]
    lengths = [shape[0] if shape is not None and len(shape) == 1 else None for shape in shapes]
    known = [length for length in lengths if isinstance(length, int)]
    if len(known) < len(lengths) or sum(known) <= MAX_ELEMENTS:
        return False
    ctx.set_shape_and_dtype(
        node.outputs[0], ir.Shape([sum(known)]), next((v.dtype for v in node.inputs if v), None)
    )
    return True


def _split(ctx: Any, node: ir.Node) -> bool:
    """Sizes not known before running: the library assumes equal parts."""
    data, sizes = node.inputs[0], node.inputs[1] if len(node.inputs) > 1 else None
    if data is None or sizes is None or ctx.get_symbolic_value(sizes) is not None:
        return False
    axis = node.attributes.get_int("axis", 0)
    for out in node.outputs:
        if data.shape is not None and -len(data.shape) <= axis < len(data.shape):
            dims = list(data.shape.dims)
            dims[axis] = ctx.new_symbolic_dim()
            ctx.set_shape(out, ctx.name_anonymous_dims_in_shape(ir.Shape(dims)))
        if data.dtype is not None:
            ctx.set_dtype(out, data.dtype)
    return True


def _squeeze(ctx: Any, node: ir.Node) -> bool:
    """Axes not known before running: the library drops every axis of size 1."""
    axes = node.inputs[1] if len(node.inputs) > 1 else None
    if axes is None or ctx.get_symbolic_value(axes) is not None:
        return False
    if node.inputs[0] is not None and node.inputs[0].dtype is not None:
        ctx.set_dtype(node.outputs[0], node.inputs[0].dtype)
    return True


def _scan(ctx: Any, node: ir.Node) -> bool:
    """Scan of opset 8 has a batch axis, which the library does not know."""
    return bool(ctx.get_opset_version("") < 9)


def _constant_of_shape(ctx: Any, node: ir.Node) -> None:
    dims = ctx.get_symbolic_value(node.inputs[0])
    if dims is None:
        return
    if any(isinstance(dim, int) and dim < 0 for dim in dims):
        return
    value = node.attributes.get_tensor("value")
    ctx.set_shape_and_dtype(node.outputs[0], ir.Shape(dims), value.dtype if value else ir.DataType.FLOAT)
    if value is None or not value.dtype.is_integer() or value.size != 1:
        return
    if len(dims) == 0 or (len(dims) == 1 and isinstance(dims[0], int) and dims[0] <= MAX_ELEMENTS):
        ctx.set_symbolic_value(node.outputs[0], [int(value.numpy().item())] * (dims[0] if dims else 1))


def _one_hot(ctx: Any, node: ir.Node) -> None:
    """The depth, where it is computed from shapes."""
    depth, out = ctx.get_symbolic_value(node.inputs[1]), node.outputs[0]
    if depth is not None and len(depth) == 1 and out.shape is not None:
        dims = list(out.shape.dims)
        dims[node.attributes.get_int("axis", -1)] = depth[0]
        out.shape = ir.Shape(dims)


def _equal(ctx: Any, node: ir.Node) -> None:
    operands = _aligned(ctx, node.inputs[:2])
    if operands is None:
        return
    found = [_is_equal(ctx, left, right) for left, right in zip(*operands, strict=True)]
    if all(item is not None for item in found):
        ctx.set_symbolic_value(node.outputs[0], [int(bool(item)) for item in found])


def _is_equal(ctx: Any, left: int | ir.SymbolicDim, right: int | ir.SymbolicDim) -> bool | None:
    """True or False if that holds for every size of the symbols, else None."""
    if left == right:
        return True
    if isinstance(left, int) and isinstance(right, int):
        return False
    number, dim = (left, right) if isinstance(left, int) else (right, left)
    if not isinstance(number, int) or number >= 0 or not isinstance(dim, ir.SymbolicDim) or dim.value is None:
        return None
    # A size is never negative; a symbol the engine made up may stand for any number.
    invented = any(ctx.is_generated_symbol(name) for name in symbols_in(dim.value))
    return None if invented or "-" in dim.value else False


def _where(ctx: Any, node: ir.Node) -> None:
    condition = ctx.get_symbolic_value(node.inputs[0]) or _known_bools(node.inputs[0])
    if condition is None:
        return
    operands = _aligned(ctx, node.inputs[1:3], condition)
    if operands is None:
        return
    chosen = [yes if flag else no for flag, yes, no in zip(*operands, strict=True)]
    ctx.set_symbolic_value(node.outputs[0], chosen)


def _known_bools(value: ir.Value | None) -> Elements | None:
    tensor = ir.convenience.get_const_tensor(value) if value is not None else None
    if tensor is None or len(tensor.shape) > 1 or tensor.size > MAX_ELEMENTS:
        return None
    return [int(item) for item in tensor.numpy().reshape(-1)]


def _aligned(ctx: Any, values: Any, first: Elements | None = None) -> list[Elements] | None:
    """Elements of the operands, single ones repeated to the common length; None if any is not known."""
    lists: list[Elements] = [first] if first is not None else []
    for value in values:
        elements = ctx.get_symbolic_value(value) if value is not None else None
        if elements is None:
            return None
        lists.append(elements)
    length = max(len(elements) for elements in lists)
    if length > MAX_ELEMENTS or any(len(elements) not in (1, length) for elements in lists):
        return None
    return [elements * length if len(elements) == 1 else elements for elements in lists]
