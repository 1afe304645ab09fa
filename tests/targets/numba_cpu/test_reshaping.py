"""Reshape of memory in any order: the same elements, and copies only where dims do not lie together."""

from __future__ import annotations

from itertools import pairwise
from math import prod

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from lower_harness import Machine, check_node

from accelc.ir.dims import Dim
from accelc.targets.numba_cpu.lower.reshaping import Segment, segments
from accelc.targets.numba_cpu.lower.shape_ops import TABLE
from accelc.targets.numba_cpu.lower.table import Op, OutSpec


@st.composite
def reshapes(draw: st.DrawFn) -> tuple[list[int], list[int], list[int]]:
    """Old dims, new dims and the order that the old ones lie in: small factors are cut and joined at random."""
    factors = draw(st.lists(st.sampled_from((1, 2, 3, 5)), min_size=1, max_size=6))

    def joined() -> list[int]:
        cuts = sorted(draw(st.sets(st.integers(1, len(factors) - 1), max_size=4))) if len(factors) > 1 else []
        ends = [0, *cuts, len(factors)]
        return [prod(factors[a:b]) for a, b in pairwise(ends)]

    old, new = joined(), joined()
    return old, new, draw(st.permutations(range(len(old))))


@settings(max_examples=40, deadline=None)
@given(reshapes())
def test_any_order_gives_the_same_elements(case: tuple[list[int], list[int], list[int]]) -> None:
    old, new, order = case
    x = np.arange(prod(old), dtype=np.float32).reshape(old)
    shape = np.array(new, np.int64)
    check_node(TABLE, "Reshape", [x, shape], constant=(1,), orders={0: order}, expected=[x.reshape(new)])


@settings(max_examples=40, deadline=None)
@given(reshapes())
def test_segments_hold_the_same_elements(case: tuple[list[int], list[int], list[int]]) -> None:
    old, new, _ = case
    found = segments(old, new)
    assert [i for segment in found for i in segment.old] == list(range(len(old)))
    assert [i for segment in found for i in segment.new] == list(range(len(new)))
    assert all(prod(old[i] for i in s.old) == prod(new[i] for i in s.new) for s in found)


@pytest.mark.parametrize(
    ("old", "new", "cuts"),
    [
        (("N", 6, "H", "W"), ("N", 2, 3, "H", "W"), [(1, 1), (1, 2), (1, 1), (1, 1)]),
        (("N", 6, "H", "W"), ("N", 6, "H*W"), [(1, 1), (1, 1), (2, 1)]),
        (("N", 4), (4, "N"), [(2, 2)]),
        ((2, 0, 3), (0,), [(3, 1)]),
        ((), (1, 1), [(0, 1), (0, 1)]),
        ((4, 6), (4, 6), [(1, 1), (1, 1)]),
        ((4, 6), (7, 3), [(2, 2)]),
    ],
)
def test_segments(old: tuple[Dim, ...], new: tuple[Dim, ...], cuts: list[tuple[int, int]]) -> None:
    found: list[Segment] = segments(old, new)
    assert [(len(segment.old), len(segment.new)) for segment in found] == cuts


def _copies(dims: tuple[int, ...], order: tuple[int, ...], steps: list[tuple[str, tuple[int, ...]]]) -> int:
    machine = Machine()
    value = machine.input(np.zeros(dims, np.float32), order=order)
    for i, (op_type, numbers) in enumerate(steps):
        attrs = {"perm": numbers} if op_type == "Transpose" else {}
        out = numbers if op_type == "Reshape" else tuple(value.dims[p] for p in numbers)
        rule = TABLE.find("", op_type, 24)
        assert rule is not None
        assert (
            rule(machine.ctx, Op(op_type, "", 24, (value,), (OutSpec(f"o{i}", "float32", out),), attrs))
            is None
        )
        value = machine.ctx.by_name[f"o{i}"]
    return len(machine.ctx.program.steps)


def test_a_channel_shuffle_is_one_copy() -> None:
    steps = [("Reshape", (1, 4, 5, 7, 7)), ("Transpose", (0, 2, 1, 3, 4)), ("Reshape", (1, 20, 7, 7))]
    assert _copies((1, 20, 7, 7), (0, 2, 3, 1), steps) == 1


def test_pixels_of_a_channels_last_image_are_a_sequence() -> None:
    """What a vision transformer does behind its first convolution."""
    steps = [("Reshape", (2, 20, 49)), ("Transpose", (0, 2, 1))]
    assert _copies((2, 20, 7, 7), (0, 2, 3, 1), steps) == 0


def test_row_major_memory_is_never_copied() -> None:
    assert _copies((2, 20, 7, 7), (), [("Reshape", (2, 4, 5, 49)), ("Reshape", (40, 49))]) == 0
