"""Replace MatMul and Add by Gemm."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
import onnx_ir as ir

from accelc.ir.reshape_target import reshape_target
from accelc.ir.rewrite import (
    Editor,
    Match,
    Refusal,
    Rule,
    RulePass,
    constant_tensor,
    input_of,
    operand,
    rank,
    same_dim,
    sole_user,
)
from accelc.ir.shapes import dims_of

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


class MatMulTransposed(Rule[tuple[int, ...] | None]):
    """MatMul(x, Transpose(w)) is Gemm(x, w, transB=1): no transposed copy of a large shared weight."""

    name = "matmul-transposed"
    roots = ("MatMul",)

    def match(self, node: ir.Node, edit: Editor) -> Match[tuple[int, ...] | None] | Refusal | None:
        """W is a constant matrix; x has rank 2, or its front dims can be flattened and restored."""
        transpose = operand(node, 1, "Transpose")
        w, x, out = input_of(transpose, 0) if transpose is not None else None, node.inputs[0], node.outputs[0]
        if transpose is None or x is None or constant_tensor(w) is None:
            return None
        if rank(w) != 2 or transpose.attributes.get_ints("perm") not in (None, (1, 0), [1, 0]):
            return Refusal("w is no transposed matrix", at=transpose)
        if rank(x) is None or (rank(x) or 0) < 2 or x.dtype not in _DTYPES:
            return Refusal("x has an unfit rank or dtype", at=x)
        if edit.opset < 11:
            return Refusal(f"opset {edit.opset} has no Gemm with optional C", at=node)
        if rank(x) == 2:
            return Match((node, transpose), None)
        dims = dims_of(x)
        width = dims[-1] if dims is not None else None
        if not isinstance(width, int) or width == 0 or w is None:
            return Refusal("the last dim of x is unknown", at=x)
        target = reshape_target((None, dims_of(w)[0]), dims_of(out))  # type: ignore[index]
        if isinstance(target, str):
            return Refusal(target, at=out)
        return Match((node, transpose), target)

    def rewrite(self, match: Match[tuple[int, ...] | None], edit: Editor) -> ir.Node | None:
        """Gemm, between two Reshapes if x has more than two dims."""
        root, transpose = match.nodes
        x, w, out = root.inputs[0], transpose.inputs[0], root.outputs[0]
        origin = (transpose, root)
        if match.found is None:
            new = edit.node("Gemm", [x, w], {"transB": 1}, before=root, like=out, origin=origin)
            edit.replace(out, new.outputs[0])
            return new
        assert x is not None
        assert x.shape is not None
        width = int(x.shape[-1])  # type: ignore[arg-type]  # match looked
        rows = edit.constant(np.array([-1, width]), near=root, name=f"{x.name}_rows")
        shape = edit.constant(np.array(match.found), near=root, name=f"{out.name}_shape")
        flat = edit.node("Reshape", [x, rows], before=root, origin=origin)
        gemm = edit.node("Gemm", [flat.outputs[0], w], {"transB": 1}, before=root, origin=origin)
        for node, last in ((flat, width), (gemm, out.shape[-1] if out.shape is not None else None)):
            node.outputs[0].dtype = x.dtype or ir.DataType.FLOAT
            node.outputs[0].shape = ir.Shape([None, last])
        new = edit.node("Reshape", [gemm.outputs[0], shape], before=root, like=out, origin=origin)
        edit.replace(out, new.outputs[0])
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

    Also ``MatMul(x, Transpose(w))`` of a constant w by ``Gemm(x, w, transB=1)``, where folding the Transpose would
    have doubled a shared weight (an embedding that is the output layer too).

    Needs:    inferred shapes; x and w of rank 2.
    Keeps:    graph inputs, outputs, their names; results within the dtype's tolerance.
    Skips:    MatMul of other ranks or with a second user; b that does not broadcast to [M, N]; integer dtypes,
              which few runtimes have a Gemm for; x of more dims whose front dims cannot be restored.
    Cost:     O(nodes).
    Source:   ONNX operators, Gemm-13.
    """

    name: ClassVar[str] = "matmul-add-to-gemm"

    def rules(self) -> Sequence[Rule[Any]]:
        """Both."""
        return (MatMulTransposed(), MatMulAdd())
