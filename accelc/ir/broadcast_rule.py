"""The size of a dimension at which two operands meet: the inference library takes different symbols as equal.

ONNX lets either of them be 1, so the size is the larger one: ``Max(M, N)``. Where both are written over the same
symbols and neither is the larger for all sizes, as on the two sides of a skip connection (``H`` and
``2*floor(H/2)``), they are taken as equal: only then does such a model run at more than one size.
"""

from __future__ import annotations

import functools
from typing import Any

import onnx_ir as ir

from accelc.ir.dims import same, symbols_in

BroadcastDim = int | ir.SymbolicDim


def correct_broadcast(module: Any) -> None:
    """Make ``module`` (the library's, on broadcasting) follow ONNX for dims over different symbols."""
    library_rule = module._broadcast_dim

    def rule(left: BroadcastDim, right: BroadcastDim) -> BroadcastDim | None:
        if isinstance(left, ir.SymbolicDim) and isinstance(right, ir.SymbolicDim):
            return larger(left, right)
        found: BroadcastDim | None = library_rule(left, right)
        return found

    module._broadcast_dim = rule


def larger(left: ir.SymbolicDim, right: ir.SymbolicDim) -> BroadcastDim:
    """The size of two dims, one of which is 1 if they are not equal. Sizes of 0 and 1 do not meet."""
    if left.value is None or right.value is None:
        return right if left.value is None else left
    if same(left.value, right.value):
        return left
    return ir.SymbolicDim(_larger(left.value, right.value))


@functools.lru_cache(maxsize=4096)
def _larger(left: str, right: str) -> str:
    found = ir.SymbolicDim(f"Max({left}, {right})").simplify().value or left
    undecided = found.startswith("Max(")
    return left if undecided and symbols_in(left) == symbols_in(right) else found
