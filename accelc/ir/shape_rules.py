"""Rules that the inference library lacks: element values through ConstantOfShape, Equal and Where.

PyTorch exports ``expand`` as ``Where(Equal(shape, -1), ones, shape)``: without these rules every shape behind
it is lost, in static models as well.
"""

from __future__ import annotations

import functools
from typing import Any

import onnx_ir as ir

from accelc.ir.dims import symbols_in

MAX_ELEMENTS = 1024
"""Longest shape-like tensor whose elements are tracked."""
Elements = list[int | ir.SymbolicDim]


@functools.cache
def install() -> None:
    """Add the rules to the library's registry, once per process; its own rules still run first."""
    from onnx_shape_inference import registry

    registry.collect()
    for op_type, rule in (("ConstantOfShape", _constant_of_shape), ("Equal", _equal), ("Where", _where)):
        for since in registry.version_boundaries("", op_type):
            inner = registry.get("", op_type, version=since)
            registry.register("", op_type, since_version=since)(_then(inner, rule))


def _then(inner: Any, rule: Any) -> Any:
    def both(ctx: Any, node: ir.Node) -> None:
        inner(ctx, node)
        if node.outputs and node.outputs[0].const_value is None:
            rule(ctx, node)

    return both


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
