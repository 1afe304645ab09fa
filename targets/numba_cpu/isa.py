"""The instruction set that kernels are compiled for: CPU name, feature string and vector width."""

from __future__ import annotations

import functools
import hashlib
from dataclasses import dataclass

import numpy as np

from accelc.errors import UsageError

WIDTHS = (128, 256, 512)


@dataclass(frozen=True)
class Isa:
    """A CPU as LLVM sees it, and the width of the vectors that kernels use on it.

    Args:
        cpu: LLVM's CPU name, for example ``znver3``.
        features: LLVM's feature string, for example ``+avx2,+fma,-avx512f``.
        vector_bits: 128, 256 or 512. May be wider than the registers: LLVM splits such vectors, so that code
            of any width runs (and can be tested) on any machine.
    """

    cpu: str
    features: str
    vector_bits: int

    @staticmethod
    def host(vector_bits: int | None = None) -> Isa:
        """This machine; ``vector_bits`` overrides its widest useful width.

        Raises:
            UsageError: ``vector_bits`` is not 128, 256 or 512.
        """
        if vector_bits is not None and vector_bits not in WIDTHS:
            raise UsageError(
                f"no kernels with {vector_bits}-bit vectors",
                why=f"the vector width is one of {', '.join(map(str, WIDTHS))}",
                fix="leave vector_bits out to get this machine's width",
            )
        cpu, features = _host_cpu()
        if vector_bits is None:
            vector_bits = _widest(frozenset(features.split(",")))
        return Isa(cpu, features, vector_bits)

    def has(self, feature: str) -> bool:
        """Whether the CPU has an LLVM feature, for example ``avx512vnni``."""
        return f"+{feature}" in self.features.split(",")

    def lanes(self, dtype: object) -> int:
        """Elements of ``dtype`` (anything that NumPy takes as one) in a vector of the natural width."""
        itemsize: int = np.dtype(dtype).itemsize  # type: ignore[call-overload]
        return self.vector_bits // (8 * itemsize)

    @property
    def registers(self) -> int:
        """Vector registers that a register-tiled kernel may count on, at this width."""
        wide = self.has("avx512f") or self.has("neon")
        registers = 32 if wide else 16
        native = 512 if self.has("avx512f") else 256 if self.has("avx2") else 128
        # A vector wider than a register occupies several of them.
        return max(4, registers * min(native, self.vector_bits) // self.vector_bits)

    @property
    def key(self) -> str:
        """A short stable name; equal keys mean interchangeable object code."""
        digest = hashlib.sha256(self.features.encode()).hexdigest()[:12]
        return f"{self.cpu or 'generic'}-{self.vector_bits}-{digest}"


def _widest(features: frozenset[str]) -> int:
    """The widest vectors worth using with these features."""
    if {"+avx512f", "+avx512vl"} <= features:
        return 512
    if {"+avx2", "+fma"} <= features:
        return 256
    return 128


@functools.cache
def _host_cpu() -> tuple[str, str]:
    """LLVM's name and features of this machine's CPU."""
    import llvmlite.binding as llvm

    features = llvm.get_host_cpu_features()
    # Sorted, so that the key does not depend on the order in which LLVM lists them.
    return llvm.get_host_cpu_name(), features.flatten(sort=True)
