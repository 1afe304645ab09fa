"""Take the Reshapes around a Gemm away."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

import onnx_ir as ir

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


class GemmBetweenReshapes(Rule[ir.Value]):
    """Reshape(Gemm(Reshape(x), w, b)) is MatMul(x, w) + b if the Reshapes only flatten and restore x's front dims."""

    name = "unflatten-gemm"
    roots = ("Reshape",)

    def match(self, node: ir.Node, edit: Editor) -> Match[ir.Value] | Refusal | None:
        """A Gemm between two Reshapes."""
        gemm = operand(node, 0, "Gemm")
        flatten = operand(gemm, 0, "Reshape", "Flatten") if gemm is not None else None
        x = input_of(flatten, 0) if flatten is not None else None
        if gemm is None or flatten is None or x is None:
            return None
        refusal = self.check(node, gemm, x)
        return refusal or Match((node, gemm, flatten), x)

    def check(self, restore: ir.Node, gemm: ir.Node, x: ir.Value) -> Refusal | None:
        """Why the three are no MatMul and Add; None if they are."""
        attributes = gemm.attributes
        if attributes.get_int("transA", 0) or attributes.get_int("transB", 0):
            return Refusal("Gemm transposes an operand", at=gemm)
        if attributes.get_float("alpha", 1.0) != 1.0 or attributes.get_float("beta", 1.0) != 1.0:
            return Refusal("Gemm scales an operand", at=gemm)
        if sole_user(gemm.outputs[0]) is None:
            return Refusal("the Gemm has a second user", at=gemm)
        flat, out, w = gemm.inputs[0], restore.outputs[0], gemm.inputs[1]
        if x.shape is None or out.shape is None or w is None or w.shape is None or flat is None:
            return Refusal("a shape is unknown", at=x)
        if len(x.shape) < 2 or len(x.shape) != len(out.shape):
            return Refusal("the second Reshape does not restore what the first one flattened", at=restore)
        # With the same last dim before and after, flattening keeps the rows of x.
        rows_kept = flat.shape is not None and same_dim(x.shape[-1], flat.shape[-1])
        fronts = zip(x.shape.dims[:-1], out.shape.dims[:-1], strict=True)
        restored = all(same_dim(a, b) for a, b in fronts) and same_dim(out.shape[-1], w.shape[-1])
        if not (rows_kept and restored):
            return Refusal("the second Reshape does not restore what the first one flattened", at=restore)
        bias = input_of(gemm, 2)
        if bias is not None and not _is_row(bias, w):
            return Refusal("C of Gemm is not one value per column", at=bias)
        return None

    def rewrite(self, match: Match[ir.Value], edit: Editor) -> ir.Node | None:
        """MatMul over the front dims as they are, then Add."""
        restore, gemm, flatten = match.nodes
        out = restore.outputs[0]
        origin = (flatten, gemm, restore)
        new = edit.node("MatMul", [match.found, gemm.inputs[1]], before=restore, like=out, origin=origin)
        bias = input_of(gemm, 2)
        if bias is not None:
            new = edit.node("Add", [new.outputs[0], bias], before=restore, like=out, origin=origin)
        edit.replace(out, new.outputs[0])
        return new


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
    """Replace ``Reshape(Gemm(Reshape(x), w, b))`` by ``MatMul(x, w) + b``.

    Exporters of models with linear layers on [batch, sequence, features] write the former. Without the Reshapes
    what follows the product (an activation, a residual) is its neighbour and fuses with it.

    Needs:    inferred shapes.
    Keeps:    results within the dtype's tolerance.
    Skips:    Gemm that transposes or scales, or has a second user; Reshapes that do more than flatten and restore
              the front dims; C that is not one value per column.
    Cost:     O(nodes).
    Source:   ONNX operators, Gemm-13 and MatMul-13.
    """

    name: ClassVar[str] = "unflatten-gemm"

    def rules(self) -> Sequence[Rule[Any]]:
        """One rule."""
        return (GemmBetweenReshapes(),)
