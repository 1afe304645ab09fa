"""What LayerNormalization and RMSNormalization have in common when exporters take them apart."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import onnx_ir as ir

from accelc.ir.patterns import Formula, is_finite_number, scalar
from accelc.ir.rewrite import (
    Editor,
    Match,
    Refusal,
    constant_ints,
    constant_value,
    input_of,
    is_op,
    operand,
    rank,
    same_dim,
    sole_user,
)


@dataclass(frozen=True)
class Quotient:
    """``numerator / sqrt(mean_square + epsilon)``: the node it is complete at, and its parts."""

    last: ir.Node
    numerator: ir.Value
    mean_square: ir.Node
    epsilon: float
    nodes: tuple[ir.Node, ...]


@dataclass(frozen=True)
class Affine:
    """What follows a normalisation: a scale and a bias, where there are such."""

    last: ir.Node
    scale: ir.Value | None
    bias: ir.Value | None
    nodes: tuple[ir.Node, ...]


@dataclass(frozen=True)
class Norm:
    """All that a normalisation op needs to know."""

    x: ir.Value
    axis: int
    epsilon: float
    affine: Affine


def quotient(node: ir.Node) -> Quotient | None:
    """The quotient that is complete at ``node``.

    Forms: ``d / sqrt(v)``, ``d * reciprocal(sqrt(v))``, ``d * (1 / sqrt(v))``, ``d * v ** -0.5`` and
    ``d / v ** 0.5``, with v = ReduceMean(...) + epsilon.
    """
    if is_op(node, "Div"):
        root = _square_root(node, 1)
        return _with_epsilon(node, node.inputs[0], root, (node,)) if root is not None else None
    if not is_op(node, "Mul"):
        return None
    for index in (0, 1):
        numerator = node.inputs[1 - index]
        power = operand(node, index, "Pow")
        if power is not None and scalar(power.inputs[1]) == -0.5:
            return _with_epsilon(node, numerator, power, (node,))
        inverse = operand(node, index, "Reciprocal", "Div")
        if inverse is None or (is_op(inverse, "Div") and scalar(inverse.inputs[0]) != 1.0):
            continue
        root = _square_root(inverse, 0 if is_op(inverse, "Reciprocal") else 1)
        if root is not None:
            return _with_epsilon(node, numerator, root, (node, inverse))
    return None


def _square_root(node: ir.Node, index: int) -> ir.Node | None:
    """The Sqrt, or the Pow by 0.5, that gives operand ``index``."""
    root = operand(node, index, "Sqrt", "Pow")
    if root is not None and is_op(root, "Pow") and scalar(root.inputs[1]) != 0.5:
        return None
    return root


def _with_epsilon(
    last: ir.Node, numerator: ir.Value | None, root: ir.Node, nodes: tuple[ir.Node, ...]
) -> Quotient | None:
    added = operand(root, 0, "Add")
    if numerator is None or added is None:
        return None
    for index in (0, 1):
        epsilon = scalar(added.inputs[1 - index])
        mean = operand(added, index, "ReduceMean")
        if mean is not None and epsilon is not None and is_finite_number(epsilon) and epsilon >= 0.0:
            return Quotient(last, numerator, mean, epsilon, (*nodes, root, added, mean))
    return None


def square_of(mean: ir.Node) -> tuple[ir.Value, ir.Node] | None:
    """The value whose square ``mean`` averages, and the node that squares it."""
    node = operand(mean, 0, "Mul", "Pow")
    if node is None or node.inputs[0] is None:
        return None
    squared = Formula([node.inputs[0]]).of(node.outputs[0])
    return (node.inputs[0], node) if squared == {(2,): 1.0} else None


def trailing_axis(mean: ir.Node, x: ir.Value) -> int | Refusal:
    """First of the axes ``mean`` reduces, if these are the last axes of ``x`` and are kept as ones."""
    if mean.attributes.get_int("keepdims", 1) != 1:
        return Refusal(f"{mean.op_type} drops the axes it reduces", at=mean)
    axes: tuple[int, ...] | None
    if "axes" in mean.attributes:
        axes = tuple(mean.attributes["axes"].as_ints())
    elif input_of(mean, 1) is not None:
        axes = constant_ints(mean.inputs[1])
    else:
        axes = ()
    known = rank(x)
    if axes is None or not axes:
        return Refusal(f"the axes of {mean.op_type} are not a list of constants", at=mean)
    if any(a >= 0 for a in axes):
        if known is None:
            return Refusal(f"the rank of {x.name} is not known", at=x)
        axes = tuple(a - known if a >= 0 else a for a in axes)
    if sorted(axes) != list(range(-len(axes), 0)):
        return Refusal(f"axes {list(axes)} are not the last of {x.name}", at=mean)
    return -len(axes)


def affine(last: ir.Node, x: ir.Value, axis: int, *, with_bias: bool) -> Affine:
    """The scale and bias that follow ``last``, as far as they have the shape of the axes from ``axis``."""
    scaled, scale = _next(last, "Mul", x, axis)
    if scaled is None:
        scaled, scale = last, None
    biased, bias = _next(scaled, "Add", x, axis) if with_bias else (None, None)
    nodes = tuple(node for node in (biased, scaled) if node is not None and node is not last)
    return Affine(biased or scaled, scale, bias, nodes)


def _next(node: ir.Node, op: str, x: ir.Value, axis: int) -> tuple[ir.Node | None, ir.Value | None]:
    user = sole_user(node.outputs[0])
    if user is None or not is_op(user, op) or user.graph is not node.graph:
        return None, None
    other = user.inputs[1] if user.inputs[0] is node.outputs[0] else user.inputs[0]
    if other is None or other is node.outputs[0] or not _is_parameter(other, x, axis):
        return None, None
    return user, other


def _is_parameter(value: ir.Value, x: ir.Value, axis: int) -> bool:
    """Whether ``value`` has exactly the normalised axes of ``x`` (a constant may have ones before them)."""
    if value.shape is None or x.shape is None or value.dtype != x.dtype or len(value.shape) > len(x.shape):
        return False
    extra = len(value.shape) + axis
    if extra < 0 or (extra > 0 and constant_value(value) is None):
        return False
    if any(dim != 1 for dim in value.shape.dims[:extra]):
        return False
    return all(same_dim(a, b) for a, b in zip(value.shape.dims[extra:], x.shape.dims[axis:], strict=True))


def normalized_shape(x: ir.Value, axis: int) -> tuple[int, ...] | None:
    """Sizes of the normalised axes, if known."""
    if x.shape is None or len(x.shape) < -axis:
        return None
    dims = [dim for dim in x.shape.dims[axis:] if isinstance(dim, int)]
    return tuple(dims) if len(dims) == -axis else None


def why_not(x: ir.Value, last: ir.Node, nodes: Sequence[ir.Node]) -> Refusal | None:
    """Why the nodes of a normalisation cannot become one op, or None.

    Args:
        x: What is normalised.
        last: The node whose result the op gives.
        nodes: All nodes of the formula.
    """
    if x.dtype not in (ir.DataType.FLOAT, ir.DataType.FLOAT16):
        kind = x.dtype.name if x.dtype is not None else "an unknown type"
        return Refusal(f"{x.name} has {kind}; the op computes in float32", at=x)
    if rank(x) is None or rank(x) != rank(last.outputs[0]):
        return Refusal(f"the result is not known to have the rank of {x.name}", at=last)
    for node in nodes:
        value = node.outputs[0]
        if node is not last and (
            value.is_graph_output() or any(usage.node not in nodes for usage in value.uses())
        ):
            return Refusal(f"{value.name} is also read outside the formula", at=value)
    return None


def write(match: Match[Norm], edit: Editor, op: str) -> ir.Node:
    """Put ``op`` in place of the matched nodes; a missing scale becomes ones."""
    norm, last = match.found, match.found.affine.last
    scale = norm.affine.scale
    if scale is None:
        dtype = norm.x.dtype.numpy() if norm.x.dtype is not None else np.dtype(np.float32)
        scale = edit.constant(
            np.ones(normalized_shape(norm.x, norm.axis) or (), dtype), near=last, name="scale"
        )
    inputs = [norm.x, _flat(scale, norm.axis, edit, last)]
    if norm.affine.bias is not None:
        inputs.append(_flat(norm.affine.bias, norm.axis, edit, last))
    attributes = {"axis": norm.axis, "epsilon": norm.epsilon}
    result = last.outputs[0]
    node = edit.node(op, inputs, attributes, before=last, like=result, origin=match.nodes)
    edit.replace(result, node.outputs[0])
    return node


def _flat(value: ir.Value, axis: int, edit: Editor, near: ir.Node) -> ir.Value:
    """``value`` without leading ones beyond the normalised axes."""
    if value.shape is None or len(value.shape) == -axis:
        return value
    array = constant_value(value)
    assert array is not None  # _is_parameter admits a longer shape only for constants
    return edit.constant(
        array.reshape(array.shape[len(array.shape) + axis :]), near=near, name=str(value.name)
    )
