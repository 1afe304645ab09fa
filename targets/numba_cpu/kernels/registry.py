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
