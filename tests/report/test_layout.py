"""Layered layout: layers, distances, straight chains, lanes of long edges, linear cost."""

from __future__ import annotations

import time
from itertools import combinations

from hypothesis import given, settings
from hypothesis import strategies as st

from accelc.report.layout import NODE_GAP, layered


def test_nothing_and_one_node() -> None:
    assert layered([], [], []).height == 0
    alone = layered([10], [6], [])
    assert (alone.centers, alone.width, alone.height) == (((5, 3),), 10, 6)


def test_a_chain_is_straight_and_its_skip_passes_beside_it() -> None:
    drawn = layered([40] * 5, [20] * 5, [(0, 1), (1, 2), (2, 3), (3, 4), (1, 4)])
    xs = [x for x, _ in drawn.centers]
    assert abs(xs[2] - xs[3]) < 1
    beside = [x for x, _ in drawn.routes[-1][1:-1]]
    assert all(abs(x - xs[2]) > 20 for x in beside)


@settings(max_examples=30, deadline=None)
@given(data=st.data(), count=st.integers(1, 25))
def test_edges_run_downwards_and_boxes_do_not_touch(data: st.DataObject, count: int) -> None:
    pairs = [(a, b) for a, b in combinations(range(count), 2)]
    edges = data.draw(st.lists(st.sampled_from(pairs), max_size=40)) if pairs else []
    widths = data.draw(st.lists(st.integers(1, 90), min_size=count, max_size=count))
    drawn = layered(widths, [20.0] * count, edges)
    for (a, b), route in zip(edges, drawn.routes, strict=True):
        assert drawn.centers[a][1] < drawn.centers[b][1]
        assert [y for _, y in route] == sorted(y for _, y in route)
    for a, b in combinations(range(count), 2):
        if drawn.centers[a][1] == drawn.centers[b][1]:
            apart = abs(drawn.centers[a][0] - drawn.centers[b][0])
            assert apart >= (widths[a] + widths[b]) / 2 + NODE_GAP - 1e-6
    for (x, _), width in zip(drawn.centers, widths, strict=True):
        assert x - width / 2 >= -1e-6
        assert x + width / 2 <= drawn.width + 1e-6


def test_near_linear_with_edges_that_span_everything() -> None:
    def seconds(count: int) -> float:
        chain = [(i, i + 1) for i in range(count - 1)]
        start = time.process_time()
        layered([90.0] * count, [40.0] * count, chain + [(i, count - 1) for i in range(count - 1)])
        return time.process_time() - start

    seconds(50)
    small = max(seconds(300), 5e-3)
    assert seconds(3000) <= 20 * small
