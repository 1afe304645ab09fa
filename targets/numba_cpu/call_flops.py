"""Floating-point operations of a kernel call, as the model counts them: what its op needs, not what the kernel does."""

from __future__ import annotations

from collections.abc import Sequence
from math import prod

from accelc.targets.numba_cpu.kernels.base import Tensor
from accelc.targets.numba_cpu.program import Call

_MOVES = ("copy", "pad_copy", "gather", "gather_at", "iota", "triangle", "scatter_at")
"""Families that only move elements."""


def call_flops(call: Call, inputs: Sequence[Tensor | None], outputs: Sequence[Tensor]) -> int:
    """Operations of one call; a multiplication and an addition count as two, as in accelc.ir.cost."""
    results = sum(tensor.size for tensor in outputs)
    x = inputs[0] if inputs else None
    if call.family in _MOVES or x is None:
        return 0
    if call.family in ("conv", "winograd", "depthwise"):
        window = _product(call.params.get("kernel", (3, 3)))
        channels = 1 if call.family == "depthwise" else x.shape[1] // int(call.params.get("groups", 1))
        return 2 * results * window * channels
    if call.family in ("gemm", "integer_matmul"):
        axis = int(call.params.get("axis", -1))
        depth = x.shape[axis] if x.shape and -len(x.shape) <= axis < len(x.shape) else 1
        return 2 * results * depth
    if call.family == "attention":
        keys = inputs[1].shape[-2] if len(inputs) > 1 and inputs[1] is not None else 1
        return 4 * results * keys
    if call.family == "pool":
        return results * _product(call.params["window"])
    if call.family == "recurrent":
        weights = inputs[1].size if len(inputs) > 1 and inputs[1] is not None else 1
        return 2 * weights * x.shape[0]
    return max(results, x.size) * max(1, int(call.params.get("cost", 1)))


def _product(extents: Sequence[int]) -> int:
    return prod(int(extent) for extent in extents)
