"""Merge chains of ops that only change the shape."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
import onnx_ir as ir

from accelc.ir.reshape_target import reshape_target
from accelc.ir.rewrite import Editor, Match, Refusal, Rule, RulePass, input_of, operand, same_shape
from accelc.ir.shapes import dims_of

VIEWS = ("Reshape", "Flatten", "Squeeze", "Unsqueeze")
"""Ops that keep the elements in order and change the shape only."""


class MergeViews(Rule[tuple[int, ...] | None]):
    """A view of a view is one Reshape of the inner operand, or that operand itself."""

    name = "merge-views"
    roots = VIEWS

    def match(self, node: ir.Node, edit: Editor) -> Match[tuple[int, ...] | None] | Refusal | None:
        """The operand is a view too, and the result's shape can be asked for from the inner operand."""
        inner = operand(node, 0, *VIEWS)
        x = input_of(inner, 0) if inner is not None else None
        if inner is None or x is None:
            return None
        if same_shape(x, node.outputs[0]):
            return Match((node, inner), None)
        target = reshape_target(dims_of(x), dims_of(node.outputs[0]))
        if isinstance(target, str):
            return Refusal(target, at=node.outputs[0])
        return Match((node, inner), target)

    def rewrite(self, match: Match[tuple[int, ...] | None], edit: Editor) -> ir.Node | None:
        """Put one Reshape, or nothing, in place of both."""
        root, inner = match.nodes
        x = inner.inputs[0]
        assert x is not None  # match looked
        if match.found is None:
            edit.replace(root.outputs[0], x)
            return None
        target = edit.constant(
            np.array(match.found, np.int64), near=root, name=f"{root.outputs[0].name}_shape"
        )
        new = edit.node("Reshape", [x, target], before=root, like=root.outputs[0], origin=(inner, root))
        edit.replace(root.outputs[0], new.outputs[0])
        return new


@dataclass(frozen=True)
class ReshapeChains(RulePass):
    """Replace chains of Reshape, Flatten, Squeeze and Unsqueeze by one Reshape with a constant target.

    Needs:    inferred shapes.
    Keeps:    every result bit for bit, for every value of the symbolic dims, zero included.
    Skips:    chains whose result has several unknown dims that are not copied from the operand, or an unknown
              dim beside dims that may be 0.
    Cost:     O(nodes).
    Source:   ONNX operators, Reshape-24.
    """

    name: ClassVar[str] = "reshape-chains"

    def rules(self) -> Sequence[Rule[Any]]:
        """One rule."""
        return (MergeViews(),)
