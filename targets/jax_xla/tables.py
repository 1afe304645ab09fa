"""All lowering tables as one."""

from __future__ import annotations

from functools import cache
from importlib import import_module

from accelc.targets.jax_xla.table import LoweringTable

_FAMILIES = (
    "activation",
    "attention",
    "cast",
    "conv",
    "deform",
    "gather",
    "grid",
    "integer_products",
    "linalg",
    "logic",
    "loss",
    "math",
    "movement",
    "norm",
    "pool",
    "quantize",
    "random",
    "recurrent",
    "reduce",
    "resize",
    "roi",
    "scan_axis",
    "scatter",
    "shape",
    "signal",
    "softmax",
    "training",
)


@cache
def table() -> LoweringTable:
    """The merged table of the target: ``TABLE`` of the module ``lower_<family>`` of every family."""
    files = [import_module(f"accelc.targets.jax_xla.lower_{family}") for family in _FAMILIES]
    return LoweringTable().merge(file.TABLE for file in files)
