"""The exact allocator: equal to brute force, on all that a buffer can have, within its limits."""

from __future__ import annotations

import csv
import random
import time
from functools import cache
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from accelc.plan.arena import Buffer, Gap, MemoryPlan, allocate, lower_bound, validate
from accelc.plan.search import improve
from accelc.plan.sections import sections_of

DATA = Path(__file__).parents[3] / "shared" / "data" / "minimalloc"


def least_peak(buffers: list[Buffer]) -> int:
    """By brute force: for each capacity in turn, every offset of every buffer in order of time."""
    ordered = sorted(buffers, key=lambda each: each.first)

    def fits(capacity: int) -> bool:
        @cache
        def place(number: int, alive: tuple[tuple[int, int, int], ...]) -> bool:
            """``alive``: (last step, offset, end) of the buffers placed so far that still matter."""
            if number == len(ordered):
                return True
            new = ordered[number]
            alive = tuple(each for each in alive if each[0] >= new.first)
            return any(
                place(number + 1, tuple(sorted([*alive, (new.last, low, low + new.size)])))
                for low in range(0, capacity - new.size + 1, new.alignment)
                if all(end <= low or low + new.size <= offset for _, offset, end in alive)
            )

        return place(0, ())

    capacity = lower_bound(buffers, alignment=1)
    while not fits(capacity):
        capacity += 1
    return capacity


def random_buffers(seed: int) -> list[Buffer]:
    draw = random.Random(seed)
    count = draw.randint(1, 12)
    steps = count // 2 + draw.randint(2, 6)
    made = []
    for _ in range(count):
        first = draw.randrange(steps)
        last = min(steps - 1, first + draw.choice((0, 1, 2, 2, 3)))
        made.append(Buffer(draw.randint(1, 5), first, last, alignment=draw.choice((1, 1, 1, 2))))
    return made


def stacked(buffers: list[Buffer]) -> tuple[int, ...]:
    """The worst plan: no buffer shares memory with another."""
    offsets, top = [], 0
    for buffer in buffers:
        offsets.append(-(-top // buffer.alignment) * buffer.alignment)
        top = offsets[-1] + buffer.size
    return tuple(offsets)


def test_equal_to_brute_force_on_200_instances() -> None:
    above = 0
    for seed in range(200):
        buffers = random_buffers(seed)
        bound = lower_bound(buffers, alignment=1)
        least = least_peak(buffers)
        plan = allocate(buffers, time_limit_s=20, alignment=1)
        assert (plan.peak_bytes, plan.optimal) == (least, True), seed
        # First fit often is enough: the search alone, from a plan that is of no help.
        offsets, proven = improve(buffers, stacked(buffers), bound, 20, 1, time.monotonic)
        peak = max(offset + each.size for offset, each in zip(offsets, buffers, strict=True))
        validate(buffers, MemoryPlan(offsets, peak, bound))
        assert peak == max(proven, bound) == least, seed
        above += least > bound
    assert above > 0


@st.composite
def odd_buffers(draw: st.DrawFn) -> list[Buffer]:
    """Few buffers with gaps, windows, alignments and offsets that are fixed."""
    made: list[Buffer] = []
    for _ in range(draw(st.integers(1, 6))):
        size, first, length = draw(st.integers(0, 5)), draw(st.integers(0, 4)), draw(st.integers(0, 4))
        gaps = []
        if length >= 2 and draw(st.booleans()):
            begin = first + draw(st.integers(0, length - 1))
            window = (0, draw(st.integers(0, size))) if draw(st.booleans()) else None
            gaps.append(Gap(begin, draw(st.integers(begin, first + length)), window))
        made.append(
            Buffer(size, first, first + length, tuple(gaps), None, draw(st.sampled_from((1, 1, 2, 4))))
        )
    if draw(st.booleans()):
        offset = 4 * draw(st.integers(0, 3))
        last = made[-1]
        made[-1] = Buffer(last.size, last.first, last.last, last.gaps, offset, last.alignment)
    return made


def least_peak_of_odd(buffers: list[Buffer], limit: int) -> int:
    """By brute force with the validator: the least peak below ``limit``, or ``limit``."""

    def place(offsets: tuple[int, ...], best: int) -> int:
        peak = max((o + b.size for o, b in zip(offsets, buffers, strict=False) if b.size), default=0)
        if peak >= best:
            return best
        if offsets:
            try:
                validate(buffers[: len(offsets)], MemoryPlan(offsets, peak, 0))
            except Exception:
                return best
        if len(offsets) == len(buffers):
            return peak
        new = buffers[len(offsets)]
        choices = range(0, best, new.alignment) if new.offset is None else [new.offset]
        for offset in choices if new.size else [new.offset or 0]:
            best = place((*offsets, offset), best)
        return best

    return place((), limit)


@settings(max_examples=60, deadline=None)
@given(odd_buffers())
def test_gaps_windows_alignments_and_fixed_offsets(buffers: list[Buffer]) -> None:
    plan = allocate(buffers, time_limit_s=5, alignment=1)
    validate(buffers, plan)
    bound = lower_bound(buffers, alignment=1)
    least = least_peak_of_odd(buffers, plan.peak_bytes) if plan.peak_bytes > bound else plan.peak_bytes
    assert bound <= plan.lower_bound_bytes <= least
    if not any(gap.window for each in buffers for gap in each.gaps):
        assert plan.optimal
        assert plan.peak_bytes == least


def test_a_gap_lets_another_buffer_in() -> None:
    whole = [Buffer(64, 0, 9), Buffer(64, 4, 5)]
    assert allocate(whole).peak_bytes == 128
    assert allocate([Buffer(64, 0, 9, (Gap(4, 5),)), whole[1]]).peak_bytes == 64
    half = [Buffer(128, 0, 9, (Gap(4, 5, (0, 64)),)), whole[1]]
    assert allocate(half) == MemoryPlan((0, 64), 128, 128)


def test_capacity_ends_the_search() -> None:
    buffers = [each for seed in range(20) for each in random_buffers(seed)]
    best = allocate(buffers, time_limit_s=10, alignment=1)
    enough = allocate(buffers, capacity_bytes=best.peak_bytes + 2, time_limit_s=10, alignment=1)
    assert best.peak_bytes <= enough.peak_bytes <= best.peak_bytes + 2
    assert enough.lower_bound_bytes <= best.peak_bytes


def test_sections_are_the_largest_sets_alive_together() -> None:
    sections = sections_of([[(0, 2)], [(1, 4)], [(3, 3), (6, 7)], [(4, 6)], []])
    assert [sorted(each.tolist()) for each in sections.members] == [[0, 1], [1, 2], [1, 3], [2, 3]]
    assert sections.ranges == (((0, 1),), ((0, 3),), ((1, 2), (3, 4)), ((2, 4),), ())


def read(letter: str) -> list[Buffer]:
    path = DATA / f"{letter}.1048576.csv"
    if not path.is_file():
        pytest.skip(f"needs {path.name} in ../shared/data/minimalloc")
    with path.open(newline="") as file:
        rows = list(csv.DictReader(file))
    return [Buffer(int(row["size"]), int(row["lower"]), int(row["upper"]) - 1) for row in rows]


@pytest.mark.parametrize("letter", ["A", "E"])
def test_an_instance_of_minimalloc_at_its_capacity(letter: str) -> None:
    plan = allocate(read(letter), capacity_bytes=1 << 20, time_limit_s=60, alignment=1)
    assert plan.peak_bytes == 1 << 20
    assert plan.optimal


def test_an_instance_of_minimalloc_at_its_bound() -> None:
    plan = allocate(read("C"), time_limit_s=60, alignment=1)
    assert plan.peak_bytes == plan.lower_bound_bytes == 1039360


def test_ten_thousand_buffers_and_no_time_end_at_greedy_quality() -> None:
    draw = np.random.default_rng(0)
    lengths, sizes = draw.choice([1, 1, 2, 5, 50], 10_000), draw.integers(1, 5000, 10_000)
    buffers = [Buffer(int(s), i, i + int(n)) for i, (s, n) in enumerate(zip(sizes, lengths, strict=True))]
    plan = allocate(buffers)
    assert plan.peak_bytes <= 1.3 * plan.lower_bound_bytes
