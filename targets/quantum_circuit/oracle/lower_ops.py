"""How each op acts on Linears: linear ops exactly, decisions as thresholds, logic on bits."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import onnx_ir as ir

from accelc.targets.quantum_circuit.oracle.lower import Handler, Lowering, Tensor
from accelc.targets.quantum_circuit.oracle.network import Linear


def _linear(array: Any) -> Tensor:
    """An object array of Linear."""
    array = np.asarray(array)
    out = np.empty(array.size, object)
    out[:] = [Linear.of(element) for element in array.ravel()]
    return out.reshape(array.shape)


def _map(function: Callable[..., Linear], *arrays: Any) -> Tensor:
    """``function`` on each element, arrays broadcast."""
    given = np.broadcast_arrays(*map(_linear, arrays))
    out = np.empty(given[0].size, object)
    out[:] = [function(*elements) for elements in zip(*(array.ravel() for array in given), strict=True)]
    return out.reshape(given[0].shape)


def _matmul(a: Any, b: Any) -> Tensor:
    return _linear(np.matmul(_linear(a), _linear(b)))


def _fold(function: Callable[[Linear, Linear], Linear]) -> Handler:
    """An op that joins any number of operands, or just two."""

    def handler(ctx: Lowering, node: ir.Node, operands: Sequence[Any]) -> Tensor:
        result = operands[0]
        for operand in operands[1:]:
            result = _map(function, result, operand)
        return _linear(result)

    return handler


def _matmul_node(ctx: Lowering, node: ir.Node, operands: Sequence[Any]) -> Tensor:
    """A @ B, one of them constant."""
    return _matmul(*operands)


def _matmul_integer(ctx: Lowering, node: ir.Node, operands: Sequence[Any]) -> Tensor:
    """(A - a_zero) @ (B - b_zero); a_zero per row, b_zero per column."""
    a, b, a_zero, b_zero = [*operands, None, None][:4]
    if a_zero is not None:
        rows = np.asarray(a_zero)
        a = _linear(a) - _linear(rows[:, None] if rows.ndim == 1 and rows.size > 1 else rows)
    if b_zero is not None:
        b = _linear(b) - _linear(b_zero)
    return _matmul(a, b)


def _gemm(ctx: Lowering, node: ir.Node, operands: Sequence[Any]) -> Tensor:
    """The sum alpha * A' @ B' + beta * C."""
    a, b = operands[0], operands[1]
    a = np.transpose(a) if node.attributes.get_int("transA", 0) else a
    b = np.transpose(b) if node.attributes.get_int("transB", 0) else b
    out = _matmul(a, b) * node.attributes.get_float("alpha", 1.0)
    if len(operands) > 2 and operands[2] is not None:
        out = out + _linear(operands[2]) * node.attributes.get_float("beta", 1.0)
    return out


def _less(strict: bool, flipped: bool) -> Handler:
    """Comparisons as thresholds of a difference."""

    def handler(ctx: Lowering, node: ir.Node, operands: Sequence[Any]) -> Tensor:
        a, b = reversed(operands) if flipped else operands
        return _map(lambda x, y: ctx.network.at_least(x - y, strict=strict), a, b)

    return handler


def _equal(ctx: Lowering, node: ir.Node, operands: Sequence[Any]) -> Tensor:
    return _map(ctx.network.equal, *operands)


def _sign(ctx: Lowering, node: ir.Node, operands: Sequence[Any]) -> Tensor:
    return _map(ctx.network.sign, operands[0])


def _and(ctx: Lowering, node: ir.Node, operands: Sequence[Any]) -> Tensor:
    return _map(lambda x, y: ctx.network.both((x, y)), *operands)


def _or(ctx: Lowering, node: ir.Node, operands: Sequence[Any]) -> Tensor:
    return _map(lambda x, y: ctx.network.any((x, y)), *operands)


def _xor(ctx: Lowering, node: ir.Node, operands: Sequence[Any]) -> Tensor:
    return _map(ctx.network.exclusive, *operands)


def _not(ctx: Lowering, node: ir.Node, operands: Sequence[Any]) -> Tensor:
    return _map(lambda x: 1.0 - x, operands[0])


def _neg(ctx: Lowering, node: ir.Node, operands: Sequence[Any]) -> Tensor:
    return _map(lambda x: -x, operands[0])


def _where(ctx: Lowering, node: ir.Node, operands: Sequence[Any]) -> Tensor:
    return _map(ctx.network.choose, *operands)


def _cast(ctx: Lowering, node: ir.Node, operands: Sequence[Any]) -> Tensor:
    """Numbers keep their value, which must not need rounding; to bool is ``x != 0``."""
    like = node.inputs[1].dtype if node.op_type == "CastLike" and node.inputs[1] is not None else None
    to = like or ir.DataType(node.attributes.get_int("to", 0))
    if to == ir.DataType.BOOL and not ctx.operands_are_bool:
        return _map(lambda x: 1.0 - ctx.network.equal(x, Linear.of(0.0)), operands[0])
    return _map(lambda x: Linear(x.constant, x.terms), operands[0])


def _argmax(ctx: Lowering, node: ir.Node, operands: Sequence[Any]) -> Tensor:
    """The index whose value beats those before it and is not beaten by those after it."""
    if node.attributes.get_int("select_last_index", 0):
        raise ValueError("select_last_index is not done")
    axis, keep = node.attributes.get_int("axis", 0), node.attributes.get_int("keepdims", 1)
    scores = np.moveaxis(operands[0], axis, -1)
    out = np.empty(scores.shape[:-1], object)
    for place in np.ndindex(out.shape):
        row, total = scores[place], Linear(0.0, {})
        for i in range(1, len(row)):
            wins = [ctx.network.at_least(row[i] - row[j], strict=j < i) for j in range(len(row)) if j != i]
            total = total + ctx.network.both(wins) * float(i)
        out[place] = total
    return np.expand_dims(out, axis) if keep else out


def _gather(ctx: Lowering, node: ir.Node, operands: Sequence[Any]) -> Tensor:
    """Slices along an axis, at places that depend on the inputs."""
    data, places = operands
    axis = node.attributes.get_int("axis", 0) % data.ndim
    rows = np.moveaxis(_linear(data), axis, 0)
    out = np.empty((*places.shape, *rows.shape[1:]), object)
    for place in np.ndindex(places.shape):
        for rest in np.ndindex(rows.shape[1:]):
            column = rows[(slice(None), *rest)]
            out[(*place, *rest)] = ctx.network.select(list(column), places[place])
    before = list(range(places.ndim, places.ndim + axis))
    after = list(range(places.ndim + axis, out.ndim))
    return np.transpose(out, [*before, *range(places.ndim), *after])


def _gather_elements(ctx: Lowering, node: ir.Node, operands: Sequence[Any]) -> Tensor:
    """One element per place, the place along one axis depending on the inputs."""
    data, places = _linear(operands[0]), operands[1]
    axis = node.attributes.get_int("axis", 0) % data.ndim
    out = np.empty(places.shape, object)
    for place in np.ndindex(places.shape):
        column = data[(*place[:axis], slice(None), *place[axis + 1 :])]
        out[place] = ctx.network.select(list(column), places[place])
    return out


def _reduce_sum(ctx: Lowering, node: ir.Node, operands: Sequence[Any]) -> Tensor:
    """The sum over constant axes; over all where there are none, unless that is to mean no sum."""
    axes = operands[1] if len(operands) > 1 else None
    keep = bool(node.attributes.get_int("keepdims", 1))
    if axes is None or axes.size == 0:
        if node.attributes.get_int("noop_with_empty_axes", 0):
            return _linear(operands[0])
        axes = np.arange(operands[0].ndim)
    return _linear(np.sum(operands[0], axis=tuple(int(axis) for axis in axes), keepdims=keep))


def _shape(ctx: Lowering, node: ir.Node, operands: Sequence[Any]) -> Tensor:
    """The shape, a constant."""
    start, end = node.attributes.get_int("start", 0), node.attributes.get_int("end", operands[0].ndim)
    return np.asarray(operands[0].shape[start:end], np.int64)


HANDLERS: dict[str, Handler] = {
    "Add": _fold(lambda x, y: x + y),
    "And": _and,
    "ArgMax": _argmax,
    "Cast": _cast,
    "CastLike": _cast,
    "Equal": _equal,
    "Gather": _gather,
    "GatherElements": _gather_elements,
    "Gemm": _gemm,
    "Greater": _less(strict=True, flipped=False),
    "GreaterOrEqual": _less(strict=False, flipped=False),
    "Less": _less(strict=True, flipped=True),
    "LessOrEqual": _less(strict=False, flipped=True),
    "MatMul": _matmul_node,
    "MatMulInteger": _matmul_integer,
    "Mul": _fold(lambda x, y: x * y),
    "Neg": _neg,
    "Not": _not,
    "Or": _or,
    "ReduceSum": _reduce_sum,
    "Shape": _shape,
    "Sign": _sign,
    "Sub": _fold(lambda x, y: x - y),
    "Sum": _fold(lambda x, y: x + y),
    "Where": _where,
    "Xor": _xor,
}
"""Op of the standard domain to its handler."""
