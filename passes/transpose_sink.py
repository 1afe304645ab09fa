"""Merge Transposes, and move them through elementwise ops where that removes one."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
import onnx_ir as ir

from accelc.ir.pointwise import BINARY, UNARY
from accelc.ir.reshape_target import reshape_target
from accelc.ir.rewrite import (
    Editor,
    Match,
    Refusal,
    Rule,
    RulePass,
    constant_value,
    input_of,
    operand,
    rank,
    same_shape,
    sole_user,
)
from accelc.ir.shapes import dims_of

Perm = tuple[int, ...]
MAX_CHAIN = 32
"""Elementwise ops a Transpose is moved through at a time: bounds the walk up from each Transpose."""
MAX_CONSTANT_BYTES = 1 << 20
"""Constants up to this size are transposed along with the op that reads them."""
_BINARY = BINARY - {"PRelu"}  # PRelu broadcasts its slope only


def perm_of(node: ir.Node) -> Perm | None:
    """The permutation of a Transpose; None if it is the default one of an operand of unknown rank."""
    perm = node.attributes.get_ints("perm")
    if perm is not None:
        return tuple(perm)
    n = rank(input_of(node, 0))
    return tuple(reversed(range(n))) if n is not None else None


def compose(first: Perm, second: Perm) -> Perm:
    """The permutation that does ``first``, then ``second``."""
    return tuple(first[axis] for axis in second)


class MergeTransposes(Rule[Perm]):
    """Transpose(Transpose(x)) is one Transpose, or x."""

    name = "merge-transposes"
    roots = ("Transpose",)

    def match(self, node: ir.Node, edit: Editor) -> Match[Perm] | Refusal | None:
        """The operand is a Transpose; a second user of that one does not matter."""
        inner = operand(node, 0, "Transpose")
        if inner is None:
            return None
        first, second = perm_of(inner), perm_of(node)
        if first is None or second is None:
            return Refusal("the rank of the operand is unknown", at=inner)
        return Match((node, inner), compose(first, second))

    def rewrite(self, match: Match[Perm], edit: Editor) -> ir.Node | None:
        """Read the innermost operand."""
        root, inner = match.nodes
        x = inner.inputs[0]
        assert x is not None
        if match.found == tuple(range(len(match.found))):
            edit.replace(root.outputs[0], x)
            return None
        new = edit.node(
            "Transpose", [x], {"perm": match.found}, before=root, like=root.outputs[0], origin=(inner, root)
        )
        edit.replace(root.outputs[0], new.outputs[0])
        return new


class TransposeToReshape(Rule[tuple[int, ...]]):
    """A Transpose that moves only dims of one element keeps the elements in order: it is a Reshape."""

    name = "transpose-to-reshape"
    roots = ("Transpose",)

    def match(self, node: ir.Node, edit: Editor) -> Match[tuple[int, ...]] | Refusal | None:
        """The other dims stay in order, and the shape can be asked for."""
        x, perm = input_of(node, 0), perm_of(node)
        if x is None or x.shape is None or perm is None or perm == tuple(range(len(perm))):
            return None
        moved = [axis for axis in perm if x.shape[axis] != 1]
        if moved != sorted(moved):
            return None
        target = reshape_target(dims_of(x), dims_of(node.outputs[0]))
        if isinstance(target, str):
            return Refusal(target, at=node.outputs[0])
        return Match((node,), target)

    def rewrite(self, match: Match[tuple[int, ...]], edit: Editor) -> ir.Node | None:
        """Reshape with a constant target."""
        root = match.nodes[0]
        target = edit.constant(
            np.array(match.found, np.int64), near=root, name=f"{root.outputs[0].name}_shape"
        )
        new = edit.node("Reshape", [root.inputs[0], target], before=root, like=root.outputs[0])
        edit.replace(root.outputs[0], new.outputs[0])
        return new


@dataclass(frozen=True)
class _Sink:
    """Ops between two Transposes, last one first, and the permutation of the first Transpose."""

    chain: tuple[ir.Node, ...]
    sources: tuple[ir.Node, ...]
    perm: Perm


class SinkThrough(Rule[_Sink]):
    """Move Transposes down through elementwise ops to where one of them goes away.

    That is a Transpose below the ops (the two merge), or a binary op that joins two equal Transposes.
    """

    name = "sink-through"
    roots = ("Transpose", *sorted(_BINARY))

    def match(self, node: ir.Node, edit: Editor) -> Match[_Sink] | Refusal | None:
        """Walk up from a Transpose, or look at the operands of a binary op."""
        if node.op_type == "Transpose":
            return self._above(node)
        left, right = operand(node, 0, "Transpose"), operand(node, 1, "Transpose")
        if left is None or right is None or left is right:
            return None
        perm = perm_of(left)
        if perm is None or perm != perm_of(right):
            return Refusal("the operands are transposed differently", at=node)
        if rank(left.outputs[0]) != rank(right.outputs[0]):
            return Refusal("the operands have different ranks", at=node)
        for source in (left, right):
            if sole_user(source.outputs[0]) is None:
                return Refusal("a Transpose has a second user", at=source)
        return Match((node, left, right), _Sink((node,), (left, right), perm))

    def _above(self, node: ir.Node) -> Match[_Sink] | Refusal | None:
        """The chain of elementwise ops from ``node`` up to another Transpose."""
        chain: list[ir.Node] = []
        value = input_of(node, 0)
        while value is not None and len(chain) < MAX_CHAIN:
            producer = value.producer()
            if producer is None or producer.graph is not node.graph:
                return None
            if producer.domain == "" and producer.op_type == "Transpose":
                return self._checked(node, chain, producer)
            side = _moving_side(producer)
            if side is None:
                return None
            chain.append(producer)
            value = producer.inputs[side]
        return None

    def _checked(self, node: ir.Node, chain: list[ir.Node], top: ir.Node) -> Match[_Sink] | Refusal | None:
        if not chain:
            return None  # MergeTransposes does that
        perm = perm_of(top)
        if perm is None:
            return Refusal("the rank of the operand is unknown", at=top)
        for inner in (*chain, top):
            if sole_user(inner.outputs[0]) is None:
                return Refusal(f"the {inner.op_type} between two Transposes has a second user", at=inner)
        return Match((*chain, top), _Sink(tuple(chain), (top,), perm))

    def rewrite(self, match: Match[_Sink], edit: Editor) -> ir.Node | None:
        """Redo the ops on the operand of the Transpose, then transpose."""
        sink = match.found
        inverse = tuple(int(axis) for axis in np.argsort(sink.perm))
        moved: dict[ir.Value, ir.Value] = {}
        for source in sink.sources:
            x = source.inputs[0]
            assert x is not None
            moved[source.outputs[0]] = x
        last = sink.chain[0]
        for node in reversed(sink.chain):
            inputs = [_moved_operand(value, node, moved, sink.perm, edit) for value in node.inputs]
            new = edit.node(node.op_type, inputs, dict(node.attributes), before=last, origin=(node,))
            out, old = new.outputs[0], node.outputs[0]
            out.type = old.type
            if old.shape is not None:
                out.shape = ir.Shape([old.shape[axis] for axis in inverse])
            moved[old] = out
        bottom = edit.node(
            "Transpose",
            [moved[last.outputs[0]]],
            {"perm": sink.perm},
            before=last,
            like=last.outputs[0],
            origin=sink.sources,
        )
        edit.replace(last.outputs[0], bottom.outputs[0])
        return bottom


def _moving_side(node: ir.Node) -> int | None:
    """Which operand of an elementwise op may be untransposed, the other (if any) being a small constant."""
    if node.domain != "":
        return None
    if node.op_type in UNARY:
        return 0
    if node.op_type not in _BINARY or len(node.inputs) != 2:
        return None
    for side in (0, 1):
        constant = constant_value(node.inputs[1 - side], max_bytes=MAX_CONSTANT_BYTES)
        moving = node.inputs[side]
        if constant is not None and moving is not None and same_shape(moving, node.outputs[0]):
            return side
    return None


def _moved_operand(
    value: ir.Value | None, node: ir.Node, moved: dict[ir.Value, ir.Value], perm: Perm, edit: Editor
) -> ir.Value | None:
    """The operand before the Transpose: already moved, or a constant put into the order before it."""
    if value is None or value in moved:
        return moved[value] if value is not None else None
    array = constant_value(value)
    if array is None or array.size == 1:
        if array is not None and array.ndim > 0:
            return edit.constant(array.reshape(()), near=node, name=f"{value.name}_scalar")
        return value
    padded = array.reshape((1,) * (len(perm) - array.ndim) + array.shape)
    before = np.transpose(padded, np.argsort(perm))
    return edit.constant(np.ascontiguousarray(before), near=node, name=f"{value.name}_transposed")


@dataclass(frozen=True)
class TransposeSink(RulePass):
    """Merge Transposes, replace those that move no data, sink them where one goes away.

    Needs:    inferred shapes.
    Keeps:    every result bit for bit.
    Skips:    Transposes with a second user or of unknown rank; operands transposed differently; ops between two
              Transposes that have a second user.
    Cost:     O(nodes): a walk up is at most 32 ops long.
    Source:   ONNX operators, Transpose-24.
    """

    name: ClassVar[str] = "transpose-sink"

    def rules(self) -> Sequence[Rule[Any]]:
        """Merging first: it needs no other op."""
        return (MergeTransposes(), TransposeToReshape(), SinkThrough())
