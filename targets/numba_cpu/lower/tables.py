"""All lowering tables as one."""

from __future__ import annotations

from functools import cache
from importlib import import_module

from accelc.targets.numba_cpu.lower.table import LoweringTable

_FILES = (
    "matmul",
    "conv",
    "attention",
    "elementwise",
    "reduce",
    "normalize",
    "pool",
    "movement",
    "shape_ops",
    "indexing",
    "resize",
    "recurrent",
    "quantize",
    "quantized_products",
    "conv_transpose",
    "einsum",
    "vision",
    "linear_algebra",
)


@cache
def table() -> LoweringTable:
    """The merged table of the target."""
    files = [import_module(f"accelc.targets.numba_cpu.lower.{name}") for name in _FILES]
    return LoweringTable().merge(file.TABLE for file in files)
