"""Replace shape arithmetic by constants as far as shapes are known."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
import onnx_ir as ir

from accelc.ir.pointwise import UNARY
from accelc.ir.reshape_target import reshape_target
from accelc.ir.rewrite import (
    Editor,
    Match,
    Refusal,
    Rule,
    RulePass,
    constant_tensor,
    input_of,
    use_count,
)
from accelc.ir.shapes import Dim, dims_of, same, symbolic_value

MAX_HOIST = 32
"""Elementwise ops that a Shape is moved above at a time: bounds the walk up from each Shape."""

_ARITHMETIC = (
    *("Shape", "Size", "Gather", "Slice", "Concat", "Unsqueeze", "Squeeze", "Reshape", "Cast", "Identity"),
    *("Add", "Sub", "Mul", "Div", "Mod", "Min", "Max", "Neg", "Abs", "Where", "ReduceProd", "ReduceSum"),
    *("Expand", "ConstantOfShape", "Range", "Split"),
)
"""Ops that exporters compute shapes with."""

_INTS = (ir.DataType.INT64, ir.DataType.INT32)


class KnownValue(Rule[np.ndarray]):
    """An integer result that shape inference knows element by element is a constant."""

    name = "known-value"
    roots = _ARITHMETIC

    def match(self, node: ir.Node, edit: Editor) -> Match[np.ndarray] | Refusal | None:
        """Every element of the only result is a number."""
        if len(node.outputs) != 1 or not use_count(node.outputs[0]):
            return None
        value = node.outputs[0]
        known = symbolic_value(value)
        if known is None or value.dtype not in _INTS or value.is_graph_output() or value.shape is None:
            return None
        numbers = [item for item in known if isinstance(item, int)]
        dims = tuple(value.shape.dims)
        if len(numbers) != len(known) or dims not in ((), (len(known),)) or (dims == () and len(known) != 1):
            return None
        info = np.iinfo(np.int32 if value.dtype == ir.DataType.INT32 else np.int64)
        if not all(info.min <= number <= info.max for number in numbers):
            return Refusal(f"a known element is out of the range of {value.dtype.name}", at=value)
        return Match((node,), np.array(numbers, info.dtype).reshape(dims), f"known to be {numbers}")

    def rewrite(self, match: Match[np.ndarray], edit: Editor) -> ir.Node | None:
        """Put a weight in its place."""
        old = match.nodes[0].outputs[0]
        edit.replace(old, edit.constant(match.found, near=match.nodes[0], name=f"{old.name}_known"))
        return None


class HoistShape(Rule[ir.Value]):
    """Shape(f(x)) is Shape(x) for elementwise f, so that f's result has one user less."""

    name = "hoist-shape"
    roots = ("Shape",)

    def match(self, node: ir.Node, edit: Editor) -> Match[ir.Value] | Refusal | None:
        """Walk up through unary ops in the same region."""
        value = input_of(node, 0)
        start = value
        for _ in range(MAX_HOIST):
            producer = value.producer() if value is not None else None
            if producer is None or producer.graph is not node.graph:
                break
            if producer.domain != "" or producer.op_type not in UNARY:
                break
            value = input_of(producer, 0)
        if value is None or value is start:
            return None
        return Match((node,), value)

    def rewrite(self, match: Match[ir.Value], edit: Editor) -> ir.Node | None:
        """Read the shape further up."""
        root = match.nodes[0]
        edit.set_input(root, 0, match.found)
        return root


class ReshapeTarget(Rule[tuple[int, ...]]):
    """The computed target of a Reshape becomes constant: known numbers, copies (0), one inferred dim (-1)."""

    name = "reshape-target"
    roots = ("Reshape",)

    def match(self, node: ir.Node, edit: Editor) -> Match[tuple[int, ...]] | Refusal | None:
        """The target is computed, and the result's shape can be asked for by a constant."""
        x, target = input_of(node, 0), input_of(node, 1)
        if x is None or target is None or constant_tensor(target) is not None or target.is_graph_input():
            return None
        known = symbolic_value(target)
        inferred = known.index(-1) if known is not None and -1 in known else None
        answer = reshape_target(dims_of(x), self._wanted(node, known), inferred)
        if isinstance(answer, str):
            return Refusal(answer, at=target)
        return Match((node,), answer)

    def _wanted(self, node: ir.Node, known: Sequence[Dim] | None) -> Sequence[Dim | None] | None:
        """Dims of the result: what the target says where it is known, else what inference says."""
        inferred = dims_of(node.outputs[0])
        allow_zero = node.attributes.get_int("allowzero", 0)
        if known is None or allow_zero:
            return inferred
        if inferred is not None and len(inferred) != len(known):
            return None
        return [
            item if isinstance(item, str) or item > 0 else (inferred[i] if inferred is not None else None)
            for i, item in enumerate(known)
        ]

    def rewrite(self, match: Match[tuple[int, ...]], edit: Editor) -> ir.Node | None:
        """Reshape with a constant target and the default meaning of 0."""
        root = match.nodes[0]
        out = root.outputs[0]
        target = edit.constant(np.array(match.found, np.int64), near=root, name=f"{out.name}_shape")
        new = edit.node("Reshape", [root.inputs[0], target], before=root, like=out)
        edit.replace(out, new.outputs[0])
        return new


class ExpandTarget(Rule[tuple[int, ...]]):
    """The computed target of an Expand becomes constant: 1 where the operand already has the dim."""

    name = "expand-target"
    roots = ("Expand",)

    def match(self, node: ir.Node, edit: Editor) -> Match[tuple[int, ...]] | Refusal | None:
        """Every dim of the target is a number or the dim that the operand has there."""
        x, target = input_of(node, 0), input_of(node, 1)
        if x is None or target is None or constant_tensor(target) is not None or target.is_graph_input():
            return None
        known, dims = symbolic_value(target), dims_of(x)
        if known is None or dims is None:
            return Refusal("the target or the operand's rank is unknown", at=target)
        constant: list[int] = []
        for place, item in enumerate(known):
            own = place - len(known) + len(dims)
            twin = dims[own] if own >= 0 else None
            if isinstance(item, int):
                constant.append(item)
            elif twin is not None and same(item, twin):
                constant.append(1)
            else:
                return Refusal(f"dim {place} of the target, {item}, is not a dim of the operand", at=target)
        return Match((node,), tuple(constant))

    def rewrite(self, match: Match[tuple[int, ...]], edit: Editor) -> ir.Node | None:
        """Expand with a constant target."""
        root = match.nodes[0]
        out = root.outputs[0]
        target = edit.constant(np.array(match.found, np.int64), near=root, name=f"{out.name}_shape")
        new = edit.node("Expand", [root.inputs[0], target], before=root, like=out)
        edit.replace(out, new.outputs[0])
        return new


@dataclass(frozen=True)
class FoldShapes(RulePass):
    """Replace shape arithmetic by constants, so that also dynamic models lose most of it.

    Needs:    inferred shapes, and the known elements of small integer tensors that inference records.
    Keeps:    every result bit for bit, for every value of the symbolic dims, zero included.
    Skips:    Reshape with several unknown dims that are not copied from the operand, or with an unknown dim
              beside dims that may be 0; Expand to a dim that the operand does not have.
    Cost:     O(nodes): a Shape is moved above at most 32 ops at a time.
    Source:   accelc.ir.shapes; ONNX operators, Reshape-24 and Expand-13.
    """

    name: ClassVar[str] = "fold-shapes"

    def rules(self) -> Sequence[Rule[Any]]:
        """Known values first: they make the others unnecessary."""
        return (KnownValue(), HoistShape(), ReshapeTarget(), ExpandTarget())
