"""A pass of one's own: fold a constant scale of the input (``pixels / 255``) into the first layer's weights."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

import onnx_ir as ir

from accelc.ir.rewrite import Editor, Match, Refusal, Rule, RulePass, constant_value, operand


@dataclass(frozen=True)
class ScaleIntoWeight(Rule[Any]):
    """``MatMul(x * s, w)`` becomes ``MatMul(x, s * w)`` for a scalar s; Gemm and Conv alike."""

    name: ClassVar[str] = "scale-into-weight"
    roots: ClassVar[tuple[str, ...]] = ("MatMul", "Gemm", "Conv")

    def match(self, node: ir.Node, edit: Editor) -> Match[Any] | Refusal | None:
        """Look for a Mul by a scalar in front and a constant weight behind."""
        if (mul := operand(node, 0, "Mul")) is None or (scale := constant_value(mul.inputs[1])) is None:
            return None
        if scale.size != 1 or scale.ndim > 1:
            return Refusal(f"the scale has shape {list(scale.shape)}, one number is needed", at=mul)
        if (weight := constant_value(node.inputs[1])) is None:
            return Refusal("the weight is not a constant", at=node.inputs[1])
        return Match((node, mul), found=(mul, weight * scale.reshape(()).astype(weight.dtype)))

    def rewrite(self, match: Match[Any], edit: Editor) -> ir.Node:
        """Make the node read the unscaled input and the scaled weight; an unused Mul is swept away."""
        node, (mul, weight) = match.nodes[0], match.found
        edit.set_input(node, 1, edit.constant(weight, near=node, name=f"{node.inputs[1].name}_scaled"))
        edit.set_input(node, 0, mul.inputs[0])
        return node


@dataclass(frozen=True)
class FoldInputScale(RulePass):
    """Fold scalar scales into the weights that follow them."""

    name: ClassVar[str] = "fold-input-scale"

    def rules(self) -> Sequence[Rule[Any]]:
        """The one rule."""
        return (ScaleIntoWeight(),)
