"""The error of a kernel that does not compile; here so that it costs no import of Numba."""

from __future__ import annotations

from accelc.errors import AccelcError


class KernelCompileError(AccelcError):
    """A generated kernel does not compile: a bug in its generator."""
