"""Replace MatMul and Add by Gemm."""

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

_DTYPES = (ir.DataType.FLOAT, ir.DataType.DOUBLE, ir.DataType.FLOAT16, ir.DataType.BFLOAT16)


class MatMulAdd(Rule[ir.Value]):
    """Add(MatMul(x, w), b) is Gemm(x, w, b)."""

    name = "matmul-add"
    roots = ("Add",)

    def match(self, node: ir.Node, edit: Editor) -> Match[ir.Value] | Refusal | None:
        """Find the MatMul on either side of the Add."""
        refusal: Refusal | None = None
        for side in (0, 1):
            matmul = operand(node, side, "MatMul")
            bias = input_of(node, 1 - side)
            if matmul is None or bias is None:
                continue
            reason = self.check(node, matmul, bias, edit)
            if reason is None:
                return Match((node, matmul), bias)
            refusal = refusal or reason
        return refusal

    def check(self, add: ir.Node, matmul: ir.Node, bias: ir.Value, edit: Editor) -> Refusal | None:
        """Why the pair is no Gemm; None if it is one."""
        x, w = matmul.inputs[0], matmul.inputs[1]
        for name, value in (("x", x), ("w", w)):
            if rank(value) != 2:
                known = "an unknown rank" if rank(value) is None else f"rank {rank(value)}"
                return Refusal(f"{name} has {known}, Gemm needs 2", at=value)
        if sole_user(matmul.outputs[0]) is None:
            return Refusal("the MatMul has a second user", at=matmul)
        if x is not None and x.dtype not in _DTYPES:
            return Refusal(f"Gemm on {x.dtype.name if x.dtype else 'an unknown dtype'} is not portable", at=x)
        if edit.opset < 11:
            return Refusal(f"opset {edit.opset} has no Gemm with optional C", at=add)
        if not _broadcasts_into(bias, matmul.outputs[0]):
            return Refusal("b does not surely broadcast to [M, N]", at=bias)
        return None

    def rewrite(self, match: Match[ir.Value], edit: Editor) -> ir.Node | None:
        """Gemm with its default attributes."""
        add, matmul = match.nodes
        new = edit.node(
            "Gemm", [*matmul.inputs, match.found], before=add, like=add.outputs[0], origin=(matmul, add)
        )
        edit.replace(add.outputs[0], new.outputs[0])
        return new


def _broadcasts_into(bias: ir.Value, result: ir.Value) -> bool:
    """Whether ``bias`` broadcasts to the shape of ``result`` without enlarging it."""
    if bias.shape is None or result.shape is None or len(bias.shape) > len(result.shape):
        return False
    tail = result.shape.dims[len(result.shape) - len(bias.shape) :]
    return all(dim == 1 or same_dim(dim, out) for dim, out in zip(bias.shape.dims, tail, strict=True))


@dataclass(frozen=True)
class MatMulAddToGemm(RulePass):
    """Replace ``Add(MatMul(x, w), b)`` by ``Gemm(x, w, b)``, so that one kernel does both.

    Needs:    inferred shapes; x and w of rank 2.
    Keeps:    graph inputs, outputs, their names; results within the dtype's tolerance.
    Skips:    MatMul of other ranks or with a second user; b that does not broadcast to [M, N]; integer dtypes,
              which few runtimes have a Gemm for.
    Cost:     O(nodes).
    Source:   ONNX operators, Gemm-13.
    """

    name: ClassVar[str] = "matmul-add-to-gemm"

    def rules(self) -> Sequence[Rule[Any]]:
        """One rule."""
        return (MatMulAdd(),)
