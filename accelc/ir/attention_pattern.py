"""Taking eager attention apart: ``softmax(q @ k^T * scale + mask) @ v``."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import onnx_ir as ir

from accelc.ir.bounds import MAX_BYTES, finite_bounds
from accelc.ir.pass_base import Refusal
from accelc.ir.patterns import scalar
from accelc.ir.pointwise import broadcasts_to
from accelc.ir.rewrite import constant_value, is_op, rank, same_dim, use_count

ABSORBING = -1e30
"""A float32 score plus anything at or below this is that number: adding it is the same as writing it."""

SWAPPED = (0, 1, 3, 2)


@dataclass(frozen=True)
class Mask:
    """What is added to the scores, or written where ``condition`` is false (true, if ``inverted``)."""

    value: ir.Value | None = None
    condition: ir.Value | None = None
    fill: float = 0.0
    inverted: bool = False


@dataclass(frozen=True)
class Scores:
    """``q @ k^T * scale`` and the mask; ``key`` is read through ``key_perm`` to be ``[B, H, S, D]``."""

    product: ir.Node
    query: ir.Value
    key: ir.Value
    key_perm: tuple[int, ...]
    scale: float
    mask: Mask
    nodes: tuple[ir.Node, ...]
    """From the softmax up to the product: nothing else may read them."""
    helpers: tuple[ir.Node, ...]
    """Scaling and transposing of q and k: they go if nothing else reads them."""


def read_scores(value: ir.Value | None) -> Scores | Refusal | None:
    """Read the operand of the softmax."""
    node = value.producer() if value is not None else None
    if node is None:
        return None
    if is_op(node, "Add"):
        for index in (0, 1):
            found = _read_product(node.inputs[index], Mask(value=node.inputs[1 - index]), (node,))
            if found is not None:
                return found
        return None
    if is_op(node, "Where"):
        for index in (1, 2):
            fill = scalar(node.inputs[3 - index])
            if fill is None:
                continue
            mask = Mask(condition=node.inputs[0], fill=fill, inverted=index == 2)
            found = _read_product(node.inputs[index], mask, (node,))
            if found is not None:
                return found
        return None
    return _read_product(value, Mask(), ())


def _read_product(value: ir.Value | None, mask: Mask, above: tuple[ir.Node, ...]) -> Scores | Refusal | None:
    value, scale, scaling = _unscaled(value)
    product = value.producer() if value is not None else None
    if product is None or not is_op(product, "MatMul"):
        return None
    query, query_scale, on_query = _unscaled(product.inputs[0])
    key, key_scale, on_key = _unscaled(product.inputs[1])
    transpose = key.producer() if key is not None else None
    if query is None or transpose is None or not is_op(transpose, "Transpose"):
        return Refusal("the keys are not the result of a transpose", at=product)
    inner, inner_scale, before = _unscaled(transpose.inputs[0])
    default = tuple(range(rank(inner) or 0))[::-1]
    perm = tuple(transpose.attributes.get_ints("perm", default))
    if inner is None or len(perm) != 4 or rank(query) != 4 or rank(inner) != 4:
        return Refusal(
            f"{product.inputs[0].name if product.inputs[0] else 'q'} has rank {rank(query)}, not 4",
            at=product,
        )
    nodes = (*above, *scaling, product)
    for node in nodes:
        if use_count(node.outputs[0]) > 1 or node.outputs[0].is_graph_output():
            return Refusal(f"{node.outputs[0].name} is also read elsewhere", at=node)
    factor = scale * query_scale * key_scale * inner_scale
    key_perm = tuple(perm[axis] for axis in SWAPPED)
    helpers = (*on_query, *on_key, transpose, *before)
    return Scores(product, query, inner, key_perm, factor, mask, nodes, helpers)


def _unscaled(value: ir.Value | None) -> tuple[ir.Value | None, float, tuple[ir.Node, ...]]:
    """``value`` before it was multiplied or divided by constants, their product, and the nodes that did."""
    factor = 1.0
    nodes: list[ir.Node] = []
    while value is not None and len(nodes) < 4:
        node = value.producer()
        if node is None or not is_op(node, "Mul", "Div"):
            break
        number, base = scalar(node.inputs[1]), node.inputs[0]
        if number is None and is_op(node, "Mul"):
            number, base = scalar(node.inputs[0]), node.inputs[1]
        if number is None or number == 0.0 or base is None or rank(base) != rank(value):
            break
        factor = factor * number if is_op(node, "Mul") else factor / number
        nodes.append(node)
        value = base
    return value, factor, tuple(nodes)


def refuse_shapes(scores: Scores, values: ir.Value) -> Refusal | None:
    """Why q, k and v do not have the shapes that Attention takes, or None."""
    if rank(values) != 4:
        return Refusal(f"{values.name} has rank {rank(values)}, not 4", at=values)
    query, key = scores.query.shape, scores.key.shape
    if query is None or key is None or values.shape is None:
        return Refusal("the shapes of q, k and v are not known", at=values)
    for axis, what in ((0, "batch"), (1, "heads")):
        dims = (query[axis], key[scores.key_perm[axis]], values.shape[axis])
        if not (same_dim(dims[0], dims[1]) and same_dim(dims[0], dims[2])):
            named = ", ".join(str(dim) for dim in dims)
            return Refusal(f"{what} of q, k and v are not known to be equal: {named}", at=values)
    if not np.isfinite(scores.scale) or scores.scale <= 0.0:
        return Refusal(f"the scale is {scores.scale:g}, Attention takes its square root", at=scores.product)
    return None


def refuse_mask(scores: Scores, *, trust_masks: bool) -> Refusal | None:
    """Why the mask does not mean the same inside Attention, or None."""
    mask = scores.mask
    value = mask.value if mask.value is not None else mask.condition
    result = scores.product.outputs[0]
    if value is None:
        return None
    if mask.value is not None and value.dtype != result.dtype:
        return Refusal(f"mask {value.name} has another dtype than the scores", at=value)
    if value.shape is None or not 2 <= len(value.shape) <= 4:
        return Refusal(f"mask {value.name} has rank {rank(value)}, not 2 to 4", at=value)
    # Attention pads a mask whose last dim is shorter, so it must not be left to broadcasting.
    if result.shape is None or not same_dim(value.shape[-1], result.shape[-1]):
        return Refusal(f"the last dim of mask {value.name} is not known to be that of the scores", at=value)
    if not broadcasts_to(value.shape, result.shape):
        return Refusal(f"mask {value.name} is not known to broadcast to the scores", at=value)
    if mask.condition is not None:
        return _refuse_condition(mask, result)
    if not trust_masks and not _rows_stay_open(value):
        return Refusal(
            f"mask {value.name} may be -inf along a whole row, where softmax gives NaN and Attention 0",
            at=value,
        )
    return None


def _refuse_condition(mask: Mask, result: ir.Value) -> Refusal | None:
    condition = constant_value(mask.condition, max_bytes=MAX_BYTES)
    if np.isneginf(mask.fill):
        if condition is None or not (~condition if mask.inverted else condition).any(axis=-1).all():
            return Refusal("a whole row may be masked by -inf, where softmax gives NaN and Attention 0")
        return None
    if not mask.fill <= ABSORBING or result.dtype not in (ir.DataType.FLOAT, ir.DataType.DOUBLE):
        return Refusal(f"masked scores become {mask.fill:g}, which adding cannot do")
    return None


def _rows_stay_open(value: ir.Value) -> bool:
    """Whether every row of an additive mask surely has an element above -inf."""
    array = constant_value(value, max_bytes=MAX_BYTES)
    if array is not None and array.dtype.kind == "f":
        return bool((~np.isneginf(array)).any(axis=-1).all())
    return finite_bounds(value) is not None
