"""Take the Reshapes around a Gemm away."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
import onnx_ir as ir

from accelc.ir.reshape_target import reshape_target
from accelc.ir.rewrite import (
    Editor,
    Match,
    Refusal,
    Rule,
    RulePass,
    input_of,
    operand,
    rank,
    same_dim,
    sole_user,
)
from accelc.ir.shapes import Dim, dims_of, same


@dataclass(frozen=True)
class _Found:
    """The operand before flattening, and the Reshape target it needs (None: it already has the shape)."""

    x: ir.Value
    target: tuple[int, ...] | None


class ProductBetweenReshapes(Rule[_Found]):
    """Reshape(Gemm(Reshape(x), w, b)) is MatMul(x, w) + b with the front dims of the result."""

    name = "product-between-reshapes"
    roots = ("Reshape",)

    def match(self, node: ir.Node, edit: Editor) -> Match[_Found] | Refusal | None:
        """A Gemm or MatMul of matrices between two Reshapes."""
        product = operand(node, 0, "Gemm", "MatMul")
        flatten = operand(product, 0, "Reshape", "Flatten") if product is not None else None
        x = input_of(flatten, 0) if flatten is not None else None
        if product is None or flatten is None or x is None or (rank(node.outputs[0]) or 0) < 3:
            return None
        refusal = _check_product(product)
        if refusal is not None:
            return refusal
        out, w, dims = node.outputs[0], dims_of(product.inputs[1]), dims_of(node.outputs[0])
        if w is None or dims is None or w[1] is None or dims[-1] is None or not same(w[1], dims[-1]):
            return Refusal("the second Reshape splits or joins the columns", at=out)
        known = dims_of(x)
        if known is None or 0 in known or 0 in dims:
            return Refusal("the operand is empty or of unknown rank", at=x)
        # The rows of the product are the front dims of the result, whatever x calls them.
        wanted = (*dims[:-1], w[0])
        if len(known) == len(wanted) and all(_surely_same(a, b) for a, b in zip(known, wanted, strict=True)):
            return Match((node, product, flatten), _Found(x, None))
        target = reshape_target(known, wanted)
        if isinstance(target, str):
            return Refusal(target, at=x)
        return Match((node, product, flatten), _Found(x, target))

    def rewrite(self, match: Match[_Found], edit: Editor) -> ir.Node | None:
        """MatMul over the front dims as they are, then Add."""
        restore, product, flatten = match.nodes
        out, x, w = restore.outputs[0], match.found.x, product.inputs[1]
        if match.found.target is not None:
            target = edit.constant(np.array(match.found.target), near=restore, name=f"{x.name}_rows")
            reshape = edit.node("Reshape", [x, target], before=restore, origin=(flatten,))
            x = reshape.outputs[0]
            x.type = match.found.x.type
            if out.shape is not None and w is not None and w.shape is not None:
                x.shape = ir.Shape([*out.shape.dims[:-1], w.shape[0]])
        origin = (flatten, product, restore)
        new = edit.node("MatMul", [x, w], before=restore, like=out, origin=origin)
        bias = input_of(product, 2)
        if bias is not None:
            new = edit.node("Add", [new.outputs[0], bias], before=restore, like=out, origin=origin)
        edit.replace(out, new.outputs[0])
        return new


def _surely_same(a: Dim | None, b: Dim | None) -> bool:
    return a is not None and b is not None and same(a, b)


def _check_product(product: ir.Node) -> Refusal | None:
    """Why the product is no MatMul of matrices with one bias for all rows."""
    attributes = product.attributes
    w, bias = product.inputs[1], input_of(product, 2)
    if attributes.get_int("transA", 0) or attributes.get_int("transB", 0):
        return Refusal("an operand of Gemm is transposed", at=product)
    if attributes.get_float("alpha", 1.0) != 1.0 or attributes.get_float("beta", 1.0) != 1.0:
        return Refusal("Gemm scales an operand", at=product)
    if sole_user(product.outputs[0]) is None:
        return Refusal(f"the result of {product.op_type} is also read elsewhere", at=product)
    if w is None or rank(w) != 2:
        return Refusal(f"w has rank {rank(w)}, a matrix has 2", at=product)
    if rank(product.inputs[0]) != 2:
        return Refusal(f"the first Reshape gives rank {rank(product.inputs[0])}, a matrix has 2", at=product)
    if bias is not None and not _is_row(bias, w):
        return Refusal("C of Gemm is not the same for all rows", at=bias)
    return None


def _is_row(bias: ir.Value, w: ir.Value) -> bool:
    """Whether ``bias`` is [], [1], [N] or [1, N]: it adds the same to every row."""
    if bias.shape is None or rank(bias) not in (0, 1, 2):
        return False
    if len(bias.shape) == 0:
        return True
    last = bias.shape[-1] == 1 or (w.shape is not None and same_dim(bias.shape[-1], w.shape[-1]))
    return last and (len(bias.shape) == 1 or bias.shape[0] == 1)


@dataclass(frozen=True)
class UnflattenGemm(RulePass):
    """Replace ``Reshape(Gemm(Reshape(x), w, b))`` by ``MatMul(x, w) + b``; the same for MatMul in the middle.

    Exporters of models with linear layers on [batch, sequence, features] write the former. Without the Reshapes
    what follows the product (an activation, a residual) is its neighbour and fuses with it.

    Needs:    inferred shapes.
    Keeps:    results within the dtype's tolerance.
    Skips:    Gemm that transposes or scales; a product that is read elsewhere or is none of matrices; a second
              Reshape that splits or joins the columns; C that is not the same for all rows; empty operands.
    Cost:     O(nodes).
    Source:   ONNX operators, Gemm-13 and MatMul-13.
    """

    name: ClassVar[str] = "unflatten-gemm"

    def rules(self) -> Sequence[Rule[Any]]:
        """One rule."""
        return (ProductBetweenReshapes(),)
