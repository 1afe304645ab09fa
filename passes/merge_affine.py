"""Merge scales and shifts by constants that follow each other."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any, ClassVar

import numpy as np
import onnx_ir as ir

from accelc.ir.affine import Affine, arithmetic_affine
from accelc.ir.rewrite import Editor, Match, Refusal, Rule, RulePass, operand, rank, same_shape, sole_user

OPS = ("Add", "Sub", "Mul", "Div")
MAX_CHAIN = 32
"""Ops merged at a time: bounds the walk up from each op."""
MAX_CANCELLED = 1e4
"""Shifts that are this much larger than what is left of them stay: ``x + 2^23 - 2^23`` rounds."""
_FLOATS = (ir.DataType.FLOAT, ir.DataType.DOUBLE)


@dataclass(frozen=True)
class _Chain:
    """``nodes``, the last of them first, make ``scale * x + shift``; ``largest`` is the greatest |shift| on the way."""

    x: ir.Value
    affine: Affine
    nodes: tuple[ir.Node, ...]
    largest: np.ndarray


class MergeChain(Rule[_Chain]):
    """A chain of Add, Sub, Mul, Div by constants is one Mul and one Add, or one of them."""

    name = "merge-chain"
    roots = OPS

    def match(self, node: ir.Node, edit: Editor) -> Match[_Chain] | Refusal | None:
        """The last op of a chain that becomes shorter."""
        out = node.outputs[0]
        if _continues(out):
            return None
        found = _walk(node)
        if not isinstance(found, _Chain) or len(found.nodes) < 2:
            return found if isinstance(found, Refusal) else None
        if out.dtype not in _FLOATS:
            # Constants rounded to 16 bits once more cost more accuracy than the op is worth.
            return Refusal("constants of fewer than 32 bits would be rounded again", at=out)
        if not same_shape(found.x, out):
            return Refusal("a constant may enlarge the result", at=out)
        rounded = _rounded(found, out.dtype)
        if isinstance(rounded, Refusal) or len(found.nodes) <= _length(rounded):
            return rounded if isinstance(rounded, Refusal) else None
        return Match(found.nodes, replace(found, affine=rounded))

    def rewrite(self, match: Match[_Chain], edit: Editor) -> ir.Node | None:
        """Mul by the scale unless it is 1, Add of the shift unless it is 0."""
        root, out = match.nodes[0], match.nodes[0].outputs[0]
        value, node = match.found.x, None
        for op, part, neutral in (
            ("Mul", match.found.affine.scale, 1.0),
            ("Add", match.found.affine.shift, 0.0),
        ):
            if bool((part != neutral).any()):
                shape = (-1,) + (1,) * ((rank(out) or 2) - 2) if part.ndim else ()
                name = f"{out.name}_{'scale' if op == 'Mul' else 'shift'}"
                constant = edit.constant(part.reshape(shape), near=root, name=name)
                node = edit.node(op, [value, constant], before=root, like=out, origin=match.nodes)
                value = node.outputs[0]
        edit.replace(out, value)
        return node


def _continues(value: ir.Value) -> bool:
    """Whether the only reader of a value goes on with the chain."""
    user = sole_user(value)
    if user is None or user.domain != "" or user.op_type not in OPS:
        return False
    side = 0 if user.inputs[0] is value else 1
    return isinstance(_affine(user, side), Affine)


def _affine(node: ir.Node, side: int) -> Affine | Refusal | None:
    """What ``node`` does to operand ``side``, per channel of dim 1; or with one constant for all."""
    return arithmetic_affine(node, side, channel_axis=1)


def _walk(root: ir.Node) -> _Chain | Refusal | None:
    """The chain that ends in ``root``, followed up to the first value that is none of it."""
    chain: _Chain | None = None
    node: ir.Node | None = root
    while node is not None and (chain is None or len(chain.nodes) < MAX_CHAIN):
        side, step = _step(node)
        x = node.inputs[side]
        if x is None or not isinstance(step, Affine):
            if chain is None and isinstance(step, Refusal) and operand(node, side, *OPS) is not None:
                return step
            return chain  # what is no chain needs no reason
        longer = _prepended(chain, node, x, step)
        if isinstance(longer, Refusal):
            return longer
        chain = longer
        node = operand(node, side, *OPS) if sole_user(x) is not None else None
    return chain


def _step(node: ir.Node) -> tuple[int, Affine | Refusal | None]:
    """The operand that is no constant, and what the node does to it."""
    first = _affine(node, 0)
    if isinstance(first, Affine):
        return 0, first
    second = _affine(node, 1)
    return (1, second) if second is not None else (0, first)


def _prepended(chain: _Chain | None, node: ir.Node, x: ir.Value, step: Affine) -> _Chain | Refusal:
    """The chain with ``node``, which does ``step`` to ``x``, at its start."""
    if chain is None:
        return _Chain(x, step, (node,), np.abs(step.shift))
    parts = (step.scale, step.shift, chain.affine.scale, chain.affine.shift)
    if len({part.size for part in parts if part.ndim}) > 1:
        return Refusal("the constants have different numbers of channels", at=node)
    with np.errstate(all="ignore"):
        term = chain.affine.scale * step.shift
        affine = Affine(np.asarray(chain.affine.scale * step.scale), np.asarray(term + chain.affine.shift))
        return _Chain(x, affine, (*chain.nodes, node), np.maximum(chain.largest, np.abs(term)))


def _rounded(chain: _Chain, dtype: ir.DataType) -> Affine | Refusal:
    """The merged constants as they are stored, or why they cannot take the place of the chain."""
    scale, shift = chain.affine.scale, chain.affine.shift
    if bool((chain.largest > MAX_CANCELLED * (np.abs(shift) + np.abs(scale))).any()):
        return Refusal("large shifts cancel: they may be there to round", at=chain.nodes[0])
    with np.errstate(all="ignore"):
        parts = [np.asarray(part.astype(dtype.numpy())) for part in (scale, shift)]
    lost = (np.abs(parts[0]) < np.finfo(dtype.numpy()).tiny) & (scale != 0)
    if not all(bool(np.isfinite(part).all()) for part in parts) or bool(lost.any()):
        return Refusal(f"the merged constants leave the range of {dtype.name}", at=chain.nodes[0])
    return Affine(*parts)


def _length(affine: Affine) -> int:
    return int((affine.scale != 1).any()) + int((affine.shift != 0).any())


@dataclass(frozen=True)
class MergeAffine(RulePass):
    """Replace a chain of Add, Sub, Mul and Div by constants by one Mul and one Add, or one of them.

    Models that came from frameworks with a scale layer of its own hold four such ops per normalization.

    Needs:    constants as initializers, inferred shapes.
    Keeps:    graph inputs, outputs, their names; results within the dtype's tolerance: new constants are
              computed in float64 and rounded once.
    Skips:    values inside the chain that are also read elsewhere or are graph outputs; constants that are not
              one value per channel (dim 1), not finite, or may enlarge the result; shifts that cancel but for a
              small rest; merged constants that overflow or vanish; dtypes of fewer than 32 bits, and integers.
    Cost:     O(nodes): a chain is followed for at most 32 ops from its end.
    Source:   composition of affine maps.
    """

    name: ClassVar[str] = "merge-affine"

    def rules(self) -> Sequence[Rule[Any]]:
        """One rule."""
        return (MergeChain(),)
