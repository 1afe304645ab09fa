"""Ops that run on the host in NumPy: their output shapes depend on data, or no kernel can hold their values.

A host op takes the node's inputs (None for an absent one) and its attributes, and gives the outputs in order.
Strings are object arrays of str, sequences are lists, an empty optional is None.
"""

from __future__ import annotations

from accelc.targets.host_ops import (
    data_dependent,
    images,
    narrow_types,
    ngrams,
    resize,
    sampling,
    scans,
    sequences,
    shaping,
    signals,
    strings,
    support_vectors,
    training,
)
from accelc.targets.host_ops.base import HostOp

HOST_OPS: dict[tuple[str, str], HostOp] = {
    **data_dependent.OPS,
    **images.OPS,
    **narrow_types.OPS,
    **ngrams.OPS,
    **resize.OPS,
    **signals.OPS,
    **sampling.OPS,
    **scans.OPS,
    **sequences.OPS,
    **shaping.OPS,
    **strings.OPS,
    **support_vectors.OPS,
    **training.OPS,
}
"""Host ops by (domain, op)."""

__all__ = ["HOST_OPS", "HostOp"]
