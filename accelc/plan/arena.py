"""Arena allocation: offsets for buffers with known sizes and live ranges.

First fit in a few orders, which on most programs reaches the lower bound; where it does not and there is time,
a search that finds a plan at the bound or proves that there is none.
"""

from __future__ import annotations

import time
from collections.abc import Sequence

from accelc.errors import AccelcError, UsageError
from accelc.plan.buffers import Buffer, Gap, MemoryPlan, PieceTable, check, lower_bound
from accelc.plan.greedy import first_fit
from accelc.plan.validate import validate

__all__ = ["Buffer", "Gap", "MemoryPlan", "allocate", "lower_bound", "validate"]


def allocate(
    buffers: Sequence[Buffer],
    *,
    capacity_bytes: int | None = None,
    time_limit_s: float = 0.0,
    alignment: int = 64,
) -> MemoryPlan:
    """Place buffers so that no two share a byte that both use at the same step.

    Each size counts as rounded up to ``alignment`` (bytes), in the bound too. Without a time limit this takes
    milliseconds for some hundred buffers and under 2 s for 10,000. The result is the same each time, unless a
    search ends by its time limit.

    Args:
        buffers: What to place.
        capacity_bytes: A plan of this size is good enough; None asks for the lowest peak. A plan may need more
            than this: look at its ``peak_bytes``.
        time_limit_s: Seconds for more orders and the search, which run only if the quick orders miss the bound (or
            the capacity). 0: neither. The search is compiled once for a machine, some 5 s that are not counted.
        alignment: All offsets are multiples of this, in bytes.

    Returns:
        A plan that has passed :func:`validate`; ``plan.optimal`` says whether it is proven to be the best.

    Raises:
        UsageError: Buffers that cannot be planned: sizes, steps, gaps or fixed offsets that make no sense.
    """
    check(buffers, alignment)
    _check_fixed(buffers)
    table = PieceTable.of(buffers, alignment)
    bound = lower_bound(buffers, alignment=alignment, table=table)
    goal = max(bound, capacity_bytes or 0)
    start = time.monotonic()
    offsets = first_fit(buffers, table, goal, alignment, start + time_limit_s / 2)
    plan = _plan(buffers, offsets, bound, alignment)
    if plan.peak_bytes > goal and time_limit_s > 0:
        # Numba takes half a second to import: only who searches pays.
        from accelc.plan.search import improve

        left_s = start + time_limit_s - time.monotonic()
        offsets, proven = improve(buffers, plan.offsets, goal, left_s, alignment, time.monotonic)
        plan = _plan(buffers, offsets, max(bound, proven), alignment)
    validate(buffers, plan)
    return plan


def _plan(buffers: Sequence[Buffer], offsets: tuple[int, ...], bound: int, alignment: int) -> MemoryPlan:
    tops = (
        offset + -(-b.size // alignment) * alignment
        for b, offset in zip(buffers, offsets, strict=True)
        if b.size
    )
    return MemoryPlan(offsets, max(tops, default=0), bound)


def _check_fixed(buffers: Sequence[Buffer]) -> None:
    """Refuse buffers whose fixed offsets contradict each other."""
    fixed = [b for b in buffers if b.offset is not None]
    if not fixed:
        return
    try:
        validate(fixed, _plan(fixed, tuple(b.offset or 0 for b in fixed), 0, 1))
    except AccelcError as error:
        why = f"of the buffers with one: {error.what}"
        raise UsageError("fixed offsets contradict each other", why=why) from error
