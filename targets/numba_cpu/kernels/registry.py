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
    "pad_copy": f"{_KERNELS}.pad_copy:PadCopy",
    "elementwise": f"{_KERNELS}.elementwise:Elementwise",
    "copy": f"{_KERNELS}.copy:Copy",
    "attention": f"{_KERNELS}.attention:Attention",
    "reduce": f"{_KERNELS}.reduce:Reduce",
    "arg_reduce": f"{_KERNELS}.arg_reduce:ArgReduce",
    "cumulate": f"{_KERNELS}.cumulate:Cumulate",
    "softmax": f"{_KERNELS}.softmax:Softmax",
    "normalize": f"{_KERNELS}.normalize:Normalize",
    "pool": f"{_KERNELS}.pool:Pool",
    "gather": f"{_KERNELS}.gather:Gather",
    "gather_at": f"{_KERNELS}.gather:GatherAt",
    "scatter": f"{_KERNELS}.scatter:Scatter",
    "pad": f"{_KERNELS}.pad:Pad",
    "fill": f"{_KERNELS}.fill:Fill",
    "triangle": f"{_KERNELS}.fill:Triangle",
    "top_k": f"{_KERNELS}.top_k:TopK",
    "resize": f"{_KERNELS}.resize:Resize",
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
