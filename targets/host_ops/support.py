"""What a target with host ops has beside its own lowerings, for the support matrix."""

from __future__ import annotations

from collections.abc import Collection

from accelc.ir.schemas import newest_ops
from accelc.reference import has_reference
from accelc.target import Support
from accelc.targets.host_ops import HOST_OPS


def host_support(known: Collection[tuple[str, str]]) -> list[Support]:
    """Rows for ops of the standard that ``known`` lacks: in NumPy on the host, else by the single-op reference."""
    rows = [
        Support(domain, op, 1, (), "in NumPy", way="host")
        for domain, op in HOST_OPS
        if (domain, op) not in known
    ]
    rows += [
        Support(domain, op, 1, (), "an error with --strict", way="fallback")
        for domain, op in newest_ops()
        if (domain, op) not in known and (domain, op) not in HOST_OPS and has_reference(domain, op)
    ]
    return rows
