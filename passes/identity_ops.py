"""Remove ops that return their operand."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
import onnx_ir as ir

from accelc.ir.rewrite import (
    Editor,
    Match,
    Refusal,
    Rule,
    RulePass,
    constant_ints,
    constant_value,
    input_of,
    rank,
    same_shape,
    use_count,
)

Answer = bool | Refusal
INT32_MAX = 2**31 - 1


def _identity(node: ir.Node, x: ir.Value, opset: int) -> Answer:
    return True


def _cast(node: ir.Node, x: ir.Value, opset: int) -> Answer:
    return x.dtype is not None and int(x.dtype) == node.attributes.get_int("to")


def _dropout(node: ir.Node, x: ir.Value, opset: int) -> Answer:
    if opset < 7:
        return False  # the attribute is_test decided
    if len(node.outputs) > 1 and (use_count(node.outputs[1]) or node.outputs[1].is_graph_output()):
        return Refusal("the mask of Dropout is used", at=node.outputs[1])
    training = input_of(node, 2)
    if training is None:
        return True
    value = constant_value(training, max_bytes=1)
    if value is None:
        return Refusal("training_mode of Dropout is not constant", at=training)
    return True if not value.any() else Refusal("Dropout is in training mode", at=training)


def _same_shape(node: ir.Node, x: ir.Value, opset: int) -> Answer:
    return same_shape(x, node.outputs[0])


def _transpose(node: ir.Node, x: ir.Value, opset: int) -> Answer:
    perm = node.attributes.get_ints("perm")
    if perm is None:
        return (rank(x) or 2) < 2
    return tuple(perm) == tuple(range(len(perm)))


def _slice(node: ir.Node, x: ir.Value, opset: int) -> Answer:
    if opset < 10:
        return same_shape(x, node.outputs[0])
    if input_of(node, 4) is not None:
        steps = constant_ints(node.inputs[4])
        if steps is None or min(steps, default=1) < 1:
            return False
        # With a step above 1 the shape is the same only for dims of at most one element.
        return same_shape(x, node.outputs[0])
    if same_shape(x, node.outputs[0]):
        return True
    starts, ends = constant_ints(input_of(node, 1)), constant_ints(input_of(node, 2))
    return starts is not None and ends is not None and not any(starts) and min(ends, default=0) >= INT32_MAX


def _tile(node: ir.Node, x: ir.Value, opset: int) -> Answer:
    repeats = constant_ints(input_of(node, 1))
    return (repeats is not None and set(repeats) <= {1}) or same_shape(x, node.outputs[0])


def _pad(node: ir.Node, x: ir.Value, opset: int) -> Answer:
    pads = node.attributes.get_ints("pads") if opset < 11 else constant_ints(input_of(node, 1))
    return pads is not None and not any(pads)


def _one_operand(node: ir.Node, x: ir.Value, opset: int) -> Answer:
    return len(node.inputs) == 1


def _split(node: ir.Node, x: ir.Value, opset: int) -> Answer:
    return len(node.outputs) == 1


def _reduce(node: ir.Node, x: ir.Value, opset: int) -> Answer:
    # Sum, mean, product, maximum or minimum of one element is that element.
    return node.attributes.get_int("keepdims", 1) == 1 and same_shape(x, node.outputs[0])


def _resize(node: ir.Node, x: ir.Value, opset: int) -> Answer:
    # Other modes compute x*1 + neighbour*0, which is NaN beside an infinity.
    nearest = node.attributes.get_string("mode", "nearest") == "nearest"
    crop = node.attributes.get_string("coordinate_transformation_mode", "half_pixel") == "tf_crop_and_resize"
    return nearest and not crop and same_shape(x, node.outputs[0])


def _neutral(node: ir.Node, x: ir.Value, opset: int) -> Answer:
    """Mul or Div by 1, Sub of 0, Add of -0.0 (of any 0 for integers), Pow 1: exact for every x."""
    other = constant_value(input_of(node, 1), max_bytes=1 << 16)
    if other is None or other.size == 0 or other.dtype.kind not in "iuf":
        return False
    if not same_shape(x, node.outputs[0]) or x.dtype != node.outputs[0].dtype:
        return False
    if node.op_type in ("Mul", "Div", "Pow"):
        return bool((other == 1).all())
    if (other != 0).any():
        return False
    if other.dtype.kind != "f":
        return True
    if bool((np.signbit(other) == (node.op_type == "Add")).all()):
        return True
    return Refusal("adding 0.0 turns -0.0 into 0.0", at=node)


CHECKS: dict[str, Callable[[ir.Node, ir.Value, int], Answer]] = {
    "Identity": _identity,
    "Cast": _cast,
    "Dropout": _dropout,
    "Transpose": _transpose,
    "Slice": _slice,
    "Tile": _tile,
    "Pad": _pad,
    "Split": _split,
    "Resize": _resize,
    **dict.fromkeys(("Reshape", "Flatten", "Squeeze", "Unsqueeze", "Expand"), _same_shape),
    **dict.fromkeys(("Concat", "Sum", "Max", "Min", "Mean"), _one_operand),
    **dict.fromkeys(("ReduceSum", "ReduceMean", "ReduceMax", "ReduceMin", "ReduceProd"), _reduce),
    **dict.fromkeys(("Add", "Sub", "Mul", "Div", "Pow"), _neutral),
}
"""Per op: whether it returns its first operand unchanged."""

COMMUTATIVE = frozenset(("Add", "Mul"))


class NoOp(Rule[ir.Value]):
    """An op that returns one of its operands."""

    name = "no-op"
    roots = tuple(CHECKS)

    def match(self, node: ir.Node, edit: Editor) -> Match[ir.Value] | Refusal | None:
        """Ask the op's check; a graph output keeps an Identity if its name has nowhere else to go."""
        x = input_of(node, 0)
        if x is None:
            return None
        answer = CHECKS[node.op_type](node, x, edit.opset)
        if answer is False and node.op_type in COMMUTATIVE:
            swapped = self._swapped(node, edit)
            if swapped is not None:
                x, answer = swapped
        if isinstance(answer, Refusal):
            return answer
        if not answer:
            return None
        if node.op_type == "Identity" and not edit.can_replace(node.outputs[0], x):
            return Refusal("it gives a graph output its name", at=node.outputs[0])
        return Match((node,), x, f"{node.op_type} returns its operand")

    def _swapped(self, node: ir.Node, edit: Editor) -> tuple[ir.Value, Answer] | None:
        """The same question with the constant first: 1 * x."""
        constant, x = node.inputs[0], input_of(node, 1)
        if x is None or constant_value(constant, max_bytes=1 << 16) is None:
            return None
        mirrored = ir.Node("", node.op_type, [x, constant], outputs=[_like(node.outputs[0])])
        answer = _neutral(mirrored, x, edit.opset)
        mirrored.resize_inputs(0)  # gives the uses back
        return x, answer

    def rewrite(self, match: Match[ir.Value], edit: Editor) -> ir.Node | None:
        """Let the readers read the operand."""
        edit.replace(match.nodes[0].outputs[0], match.found)
        return None


def _like(value: ir.Value) -> ir.Value:
    return ir.Value(name=value.name, shape=value.shape, type=value.type)


class ConcatOfEmpty(Rule[tuple[ir.Value, ...]]):
    """Operands of Concat with no elements along the axis contribute nothing."""

    name = "concat-of-empty"
    roots = ("Concat",)

    def match(self, node: ir.Node, edit: Editor) -> Match[tuple[ir.Value, ...]] | Refusal | None:
        """Some, but not all operands are empty along the axis."""
        axis = node.attributes.get_int("axis")
        if axis is None or len(node.inputs) < 2:
            return None
        kept = tuple(v for v in node.inputs if v is not None and not _is_empty(v, axis))
        if not kept or len(kept) == len(node.inputs):
            return None
        return Match((node,), kept)

    def rewrite(self, match: Match[tuple[ir.Value, ...]], edit: Editor) -> ir.Node | None:
        """Concat of the others."""
        root = match.nodes[0]
        new = edit.node(
            "Concat", match.found, {"axis": root.attributes["axis"]}, before=root, like=root.outputs[0]
        )
        edit.replace(root.outputs[0], new.outputs[0])
        return new


def _is_empty(value: ir.Value, axis: int) -> bool:
    if value.shape is None or not -len(value.shape) <= axis < len(value.shape):
        return False
    return value.shape[axis] == 0


@dataclass(frozen=True)
class IdentityOps(RulePass):
    """Remove ops that return their operand.

    These are Identity, Cast to the same dtype, Dropout at inference, no-op Reshape, Flatten, Squeeze,
    Unsqueeze, Expand, Tile, Transpose, Slice, Pad, Resize and reductions, Concat, Sum, Max, Min, Mean or Split
    of one, and arithmetic with the neutral element.

    Needs:    shapes, for the ops that are no-ops by shape.
    Keeps:    every result bit for bit; graph output names (an Identity stays where it gives the name).
    Skips:    Identity that gives a graph output its name; Dropout in training mode or with its mask used;
              adding 0.0 to floats.
    Cost:     O(nodes).
    Source:   the ONNX operator pages of these ops.
    """

    name: ClassVar[str] = "identity-ops"

    def rules(self) -> Sequence[Rule[Any]]:
        """No-ops, then empty operands of Concat."""
        return (NoOp(), ConcatOfEmpty())
