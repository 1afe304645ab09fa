"""Merge chains of Cast."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

import onnx_ir as ir

from accelc.ir.rewrite import Editor, Match, Refusal, Rule, RulePass, input_of, operand

D = ir.DataType

# Exponent and mantissa bits (with the hidden one): a float holds another if it has as many of both.
_FLOATS = {D.FLOAT16: (5, 11), D.BFLOAT16: (8, 8), D.FLOAT: (8, 24), D.DOUBLE: (11, 53)}
# Value bits without the sign, and whether there is one.
_INTS = {
    D.INT8: (7, True),
    D.INT16: (15, True),
    D.INT32: (31, True),
    D.INT64: (63, True),
    D.UINT8: (8, False),
    D.UINT16: (16, False),
    D.UINT32: (32, False),
    D.UINT64: (64, False),
}


def holds(wide: ir.DataType, narrow: ir.DataType) -> bool:
    """Whether every value of ``narrow`` is a value of ``wide``, so that a Cast to ``wide`` loses nothing."""
    if wide == narrow:
        return True
    if narrow == D.BOOL:
        return wide in _FLOATS or wide in _INTS
    if narrow in _FLOATS:
        return wide in _FLOATS and all(a >= b for a, b in zip(_FLOATS[wide], _FLOATS[narrow], strict=True))
    if narrow not in _INTS:
        return False
    bits, signed = _INTS[narrow]
    if wide in _FLOATS:
        exponent, mantissa = _FLOATS[wide]
        return mantissa >= bits and 2 ** (exponent - 1) > bits
    if wide in _INTS:
        wide_bits, wide_signed = _INTS[wide]
        return wide_bits >= bits and (wide_signed or not signed)
    return False


class MergeCasts(Rule[ir.Value]):
    """Cast(Cast(x)) is one Cast if the inner one loses nothing."""

    name = "merge-casts"
    roots = ("Cast",)

    def match(self, node: ir.Node, edit: Editor) -> Match[ir.Value] | Refusal | None:
        """The operand is a Cast to a dtype that holds every value of its own operand."""
        inner = operand(node, 0, "Cast")
        x = input_of(inner, 0) if inner is not None else None
        if inner is None or x is None:
            return None
        middle = ir.DataType(inner.attributes.get_int("to", 0))
        if x.dtype is None or not holds(middle, x.dtype):
            source = x.dtype.name if x.dtype is not None else "an unknown dtype"
            return Refusal(f"the inner Cast from {source} to {middle.name} changes values", at=inner)
        return Match((node, inner), x)

    def rewrite(self, match: Match[ir.Value], edit: Editor) -> ir.Node | None:
        """Read the innermost operand; nothing is left if it has the wanted dtype."""
        root, inner = match.nodes
        x = match.found
        if x.dtype is not None and int(x.dtype) == root.attributes.get_int("to"):
            edit.replace(root.outputs[0], x)
            return None
        new = edit.node(
            "Cast",
            [x],
            dict(root.attributes),
            before=root,
            like=root.outputs[0],
            origin=(inner, root),
        )
        edit.replace(root.outputs[0], new.outputs[0])
        return new


class CastLikeToCast(Rule[ir.DataType]):
    """CastLike(x, y) only needs the dtype of y."""

    name = "cast-like-to-cast"
    roots = ("CastLike",)

    def match(self, node: ir.Node, edit: Editor) -> Match[ir.DataType] | Refusal | None:
        """The dtype of the second operand is known."""
        like = input_of(node, 1)
        if like is None or like.dtype is None:
            return Refusal("the dtype of the second operand is unknown", at=like)
        return Match((node,), like.dtype)

    def rewrite(self, match: Match[ir.DataType], edit: Editor) -> ir.Node | None:
        """Cast with the same rules for saturation and rounding."""
        root = match.nodes[0]
        attributes = {"to": ir.AttrInt64("to", int(match.found)), **root.attributes}
        new = edit.node("Cast", root.inputs[:1], attributes, before=root, like=root.outputs[0])
        edit.replace(root.outputs[0], new.outputs[0])
        return new


@dataclass(frozen=True)
class CastChains(RulePass):
    """Replace chains of Cast by one, and CastLike by Cast.

    Needs:    dtypes of values.
    Keeps:    every result bit for bit.
    Skips:    chains whose inner Cast changes values (float to int, to a narrower dtype), and dtypes of fewer than
              8 bits or of unknown range; CastLike of an unknown dtype.
    Cost:     O(nodes).
    Source:   ONNX operators, Cast-24.
    """

    name: ClassVar[str] = "cast-chains"

    def rules(self) -> Sequence[Rule[Any]]:
        """CastLike first, so that chains through it merge."""
        return (CastLikeToCast(), MergeCasts())
