"""First fit: lists for few pieces, arrays for many; they agree."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from accelc.plan import greedy
from accelc.plan.arena import allocate
from accelc.plan.buffers import Buffer, Gap, PieceTable


@st.composite
def buffers(draw: st.DrawFn) -> Buffer:
    """A buffer, now and then empty, with a gap or with an alignment of its own."""
    first, length = draw(st.integers(0, 30)), draw(st.integers(1, 12))
    size = draw(st.sampled_from((0, 1, 63, 64, 65, 1000, 4096)))
    gaps: tuple[Gap, ...] = ()
    if length > 3 and draw(st.booleans()):
        window = (size // 4, size // 2) if draw(st.booleans()) else None
        gaps = (Gap(first + 1, first + length - 2, window),)
    return Buffer(size, first, first + length - 1, gaps=gaps, alignment=draw(st.sampled_from((1, 128, 192))))


@settings(max_examples=40, deadline=None)
@given(st.lists(buffers(), max_size=25), st.sampled_from((1, 64)))
def test_lists_and_arrays_agree(given_buffers: list[Buffer], alignment: int) -> None:
    table = PieceTable.of(given_buffers, alignment)
    for order in greedy._orders(given_buffers, table):
        plans = []
        for most in (10**9, -1):
            with pytest.MonkeyPatch.context() as patch:
                patch.setattr(greedy, "SCANNED", most)
                plans.append(greedy._place(given_buffers, table, order, alignment))
        assert np.array_equal(plans[0][0], plans[1][0])
        assert plans[0][1] == plans[1][1]


def test_both_reach_the_bound_of_a_chain() -> None:
    """A chain of equal buffers needs two at a time, however long it is."""
    for count in (50, 2 * greedy.SCANNED):
        chain = [Buffer(640, i, i + 1) for i in range(count)]
        assert allocate(chain).peak_bytes == 2 * 640
