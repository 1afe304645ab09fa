"""Take the Reshapes around a Softmax away."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

import onnx_ir as ir

from accelc.ir.rewrite import Editor, Match, Refusal, Rule, RulePass, input_of, operand, same_shape, sole_user
from accelc.ir.shapes import Dim, dims_of, same

SINCE = 13
"""Opset from which these ops work along one axis; before, they flattened their operand."""
OPS = ("Softmax", "LogSoftmax", "Hardmax")
VIEWS = ("Reshape", "Flatten", "Squeeze", "Unsqueeze")


@dataclass(frozen=True)
class _Found:
    """The operand before the first view, and the axis there."""

    x: ir.Value
    axis: int


class SoftmaxBetweenViews(Rule[_Found]):
    """View(Softmax(View(x))) with the shape of x is Softmax(x) along the axis that the view kept whole."""

    name = "softmax-between-views"
    roots = VIEWS

    def match(self, node: ir.Node, edit: Editor) -> Match[_Found] | Refusal | None:
        """The second view undoes the first, and one axis of x is the axis of the Softmax."""
        softmax = operand(node, 0, *OPS)
        flatten = operand(softmax, 0, *VIEWS) if softmax is not None else None
        x = input_of(flatten, 0) if flatten is not None else None
        if softmax is None or flatten is None or x is None or not same_shape(x, node.outputs[0]):
            return None
        if edit.opset < SINCE:
            return Refusal(f"{softmax.op_type} of opset {edit.opset} flattens its operand", at=softmax)
        if sole_user(softmax.outputs[0]) is None:
            return Refusal(f"the result of {softmax.op_type} is also read elsewhere", at=softmax)
        axis = _axis_in(dims_of(x), dims_of(softmax.inputs[0]), softmax.attributes.get_int("axis", -1) or 0)
        if axis is None:
            return Refusal(f"no axis of {x.name} is the axis of {softmax.op_type}", at=softmax)
        return Match((node, softmax, flatten), _Found(x, axis))

    def rewrite(self, match: Match[_Found], edit: Editor) -> ir.Node:
        """The op on the operand as it was."""
        root, softmax, _ = match.nodes
        out = root.outputs[0]
        new = edit.node(
            softmax.op_type,
            [match.found.x],
            {"axis": match.found.axis},
            before=root,
            like=out,
            origin=(softmax,),
        )
        edit.replace(out, new.outputs[0])
        return new


def _axis_in(dims: Sequence[Dim | None] | None, flat: Sequence[Dim | None] | None, axis: int) -> int | None:
    """The axis of ``dims`` with as much before it and after it as ``axis`` has in ``flat``; None if there is none."""
    if dims is None or flat is None or not -len(flat) <= axis < len(flat):
        return None
    axis %= len(flat)
    for place in range(len(dims)):
        if (
            _same_count(dims[place : place + 1], flat[axis : axis + 1])
            and _same_count(dims[:place], flat[:axis])
            and _same_count(dims[place + 1 :], flat[axis + 1 :])
        ):
            return place
    return None


def _same_count(a: Sequence[Dim | None], b: Sequence[Dim | None]) -> bool:
    """Whether two lists of dims surely hold the same number of elements."""
    numbers = [d for d in (*a, *b) if isinstance(d, int)]
    if len(numbers) == len(a) + len(b):
        return math.prod(numbers[: len(a)]) == math.prod(numbers[len(a) :])
    left, right = ([d for d in dims if d != 1] for dims in (a, b))
    return len(left) == len(right) and all(
        p is not None and q is not None and same(p, q) for p, q in zip(left, right, strict=True)
    )


@dataclass(frozen=True)
class UnflattenSoftmax(RulePass):
    """Replace ``Reshape(Softmax(Flatten(x)))`` by ``Softmax(x)`` along one axis; also LogSoftmax and Hardmax.

    Before opset 13 these ops flattened their operand, so models of then, made new, hold the views.

    Needs:    inferred shapes.
    Keeps:    results within the dtype's tolerance.
    Skips:    opsets below 13; a result that is also read before the second view; an axis of the flat operand that
              is several axes of x, or not surely one of them.
    Cost:     O(nodes).
    Source:   ONNX operators, Softmax-13.
    """

    name: ClassVar[str] = "unflatten-softmax"

    def rules(self) -> Sequence[Rule[Any]]:
        """One rule."""
        return (SoftmaxBetweenViews(),)
