"""Orders with a low peak: never worse, exact on small programs, bounded on large ones."""

from __future__ import annotations

import itertools

from hypothesis import given, settings
from hypothesis import strategies as st

from accelc.plan.order import Work, _parts, alive_bytes, memory_order


@st.composite
def programs(draw: st.DrawFn, most: int = 7) -> tuple[list[Work], list[int]]:
    """Each step makes one buffer from up to two earlier ones; some may take one over."""
    count = draw(st.integers(1, most))
    sizes = draw(st.lists(st.integers(0, 9), min_size=count, max_size=count))
    works = []
    for i in range(count):
        sources = draw(st.lists(st.integers(0, i - 1), max_size=2, unique=True)) if i else []
        pairs = tuple((i, s) for s in sources if sizes[s] == sizes[i]) if draw(st.booleans()) else ()
        works.append(Work((i, *sources), tuple(sources), draw(st.integers(0, 2)), pairs))
    return works, sizes


def is_valid(works: list[Work], order: list[int]) -> bool:
    place = {number: i for i, number in enumerate(order)}
    return sorted(order) == list(range(len(works))) and all(
        place[before] < place[number] for number, work in enumerate(works) for before in work.after
    )


@settings(max_examples=40, deadline=None)
@given(programs())
def test_small_programs_reach_the_least_peak(program: tuple[list[Work], list[int]]) -> None:
    works, sizes = program
    order = memory_order(works, sizes)
    assert is_valid(works, order)
    found = max(alive_bytes(works, sizes, order))
    assert found <= max(alive_bytes(works, sizes, range(len(works))))
    best = min(
        max(alive_bytes(works, sizes, candidate))
        for candidate in itertools.permutations(range(len(works)))
        if is_valid(works, list(candidate))
    )
    assert found >= best
    if len(_parts(works)) == 1:  # else parts keep their places, and steps without a reader theirs
        assert found == best


def test_two_branches_run_one_after_the_other() -> None:
    """x feeds two branches that swell and shrink; interleaved they need both swollen buffers at once."""
    sizes = [1, 10, 10, 1, 1, 1]  # x, wide a, wide b, thin a, thin b, sum
    works = [
        Work((0,)),
        Work((1, 0), (0,)),
        Work((2, 0), (0,)),
        Work((3, 1), (1,)),
        Work((4, 2), (2,)),
        Work((5, 3, 4), (3, 4)),
    ]
    assert max(alive_bytes(works, sizes, range(6))) == 21
    order = memory_order(works, sizes)
    assert order in ([0, 1, 3, 2, 4, 5], [0, 2, 4, 1, 3, 5])
    assert max(alive_bytes(works, sizes, order)) == 12


def test_an_order_that_is_as_good_stays() -> None:
    works = [Work((i, *([i - 1] if i else [])), (i - 1,) if i else ()) for i in range(20)]
    assert memory_order(works, [1] * 20) == list(range(20))


def test_takeovers_save_the_result() -> None:
    works = [Work((0,)), Work((1, 0), (0,), 0, ((1, 0),))]
    assert alive_bytes(works, [8, 8], range(2)) == [8, 8]
    assert alive_bytes([works[0], Work((1, 0), (0,))], [8, 8], range(2)) == [8, 16]


def wide(count: int) -> tuple[list[Work], list[int]]:
    """One source, ``count`` branches of two steps each, one sum: no part to split at."""
    works, sizes = [Work((0,))], [1]
    ends = []
    for _ in range(count):
        number = len(works)
        works.append(Work((number, 0), (0,)))
        sizes.append(50)
        ends.append(number)
    for number in ends:
        works.append(Work((len(works), number), (number,)))
        sizes.append(1)
    last = len(works)
    works.append(Work((last, *range(count + 1, last)), tuple(range(count + 1, last))))
    return works, [*sizes, 1]


def test_large_programs_are_bounded() -> None:
    works, sizes = wide(1_000)
    order = memory_order(works, sizes)
    assert is_valid(works, order)
    assert max(alive_bytes(works, sizes, order)) < 0.1 * max(alive_bytes(works, sizes, range(len(works))))
