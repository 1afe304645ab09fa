"""Kernel families by the name that calls and manifests use."""

from __future__ import annotations

from functools import cache
from importlib import import_module

from accelc.errors import ArtifactError
from accelc.targets.numba_cpu.kernels.base import Family

_KERNELS = "accelc.targets.numba_cpu.kernels"

FAMILIES: dict[str, str] = {
    "gemm": f"{_KERNELS}.gemm:Gemm",
    "conv": f"{_KERNELS}.conv:Conv",
    "depthwise": f"{_KERNELS}.depthwise:Depthwise",
    "winograd": f"{_KERNELS}.winograd:Winograd",
    "pad_copy": f"{_KERNELS}.pad_copy:PadCopy",
    "elementwise": f"{_KERNELS}.elementwise:Elementwise",
    "copy": f"{_KERNELS}.copy:Copy",
    "attention": f"{_KERNELS}.attention:Attention",
    "reduce": f"{_KERNELS}.reduce:Reduce",
    "softmax": f"{_KERNELS}.softmax:Softmax",
    "normalize": f"{_KERNELS}.normalize:Normalize",
    "pool": f"{_KERNELS}.pool:Pool",
    "gather": f"{_KERNELS}.gather:Gather",
    "gather_at": f"{_KERNELS}.gather:GatherAt",
    "arg_reduce": f"{_KERNELS}.lines:ArgReduce",
    "cumulate": f"{_KERNELS}.lines:Cumulate",
    "top_k": f"{_KERNELS}.lines:TopK",
    "scatter": f"{_KERNELS}.scatter:Scatter",
    "scatter_at": f"{_KERNELS}.scatter:ScatterAt",
    "iota": f"{_KERNELS}.fill:Iota",
    "recurrent": f"{_KERNELS}.recurrent:Recurrent",
    "integer_matmul": f"{_KERNELS}.integer_matmul:IntegerMatmul",
    "col2im": f"{_KERNELS}.col2im:Col2Im",
    "irregular": f"{_KERNELS}.irregular:Irregular",
    "triangle": f"{_KERNELS}.fill:Triangle",
}


@cache
def family(name: str) -> Family:
    """The family called ``name``; only this table decides what code a manifest can select."""
    if name not in FAMILIES:
        raise ArtifactError(f"unknown kernel family {name!r}", why=f"known: {', '.join(sorted(FAMILIES))}")
    module, _, attribute = FAMILIES[name].partition(":")
    result = getattr(import_module(module), attribute)()
    assert isinstance(result, Family)
    return result
