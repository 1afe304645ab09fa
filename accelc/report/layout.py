"""Where the nodes of a graph go on paper: layers from top to bottom, few crossings, chains straight.

Source: Sugiyama, Tagawa and Toda, "Methods for Visual Understanding of Hierarchical System Structures" (1981):
layers by longest path, order within a layer by barycenters. Positions then follow their neighbours, each layer
as the least-squares fit that keeps its distances (pool adjacent violators, Ayer et al. 1955). Every step is
linear but for sorting, and the number of sweeps is fixed.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import accumulate, pairwise

LAYER_GAP = 30.0
NODE_GAP = 26.0
LANE_GAP = 14.0
"""Pixels between layers, between nodes, and around an edge that passes a layer."""
_ORDER_SWEEPS = 8
_PLACE_SWEEPS = 12
_DRIFT_LAYERS = 48
_MOST_LANES = 4
"""Places in passed layers that edges may take, times nodes and edges; the longest edges get none past that."""

Point = tuple[float, float]


@dataclass(frozen=True)
class Layout:
    """A drawing.

    Args:
        centers: Middle of each node, pixels.
        routes: Points of each edge from the bottom of its source to the top of its target.
        width: Pixels.
        height: Pixels.
    """

    centers: tuple[Point, ...]
    routes: tuple[tuple[Point, ...], ...]
    width: float
    height: float


def layered(widths: Sequence[float], heights: Sequence[float], edges: Sequence[tuple[int, int]]) -> Layout:
    """Lay out a directed acyclic graph.

    Args:
        widths: Width of each node, pixels.
        heights: Height of each node, pixels.
        edges: (source, target), sources before targets in the order of nodes; equal ones share a route.
    """
    layer = _layers(len(widths), edges)
    net = _with_lanes(list(widths), layer, edges)
    net.order()
    x = net.place()
    left = min((x[n] - w / 2 for n, w in enumerate(net.widths)), default=0.0)
    right = max((x[n] + w / 2 for n, w in enumerate(net.widths)), default=0.0)
    deep = [0.0] * len(net.rows)
    for node, level in enumerate(layer):
        deep[level] = max(deep[level], heights[node])
    tops = [0.0, *accumulate(each + LAYER_GAP for each in deep)]
    centers = tuple((x[n] - left, tops[layer[n]] + deep[layer[n]] / 2) for n in range(len(widths)))
    routes = []
    for (source, target), lane in zip(edges, net.lanes, strict=True):
        points = [(centers[source][0], centers[source][1] + heights[source] / 2)]
        for step, passed in enumerate(lane, start=layer[source] + 1):
            across = x[passed] - left
            points += [(across, tops[step]), (across, tops[step] + deep[step])]
        points.append((centers[target][0], centers[target][1] - heights[target] / 2))
        routes.append(tuple(points))
    return Layout(centers, tuple(routes), right - left, max(tops[-1] - LAYER_GAP, 0.0))


def _layers(count: int, edges: Sequence[tuple[int, int]]) -> list[int]:
    """Longest path from the sources; a source stands right above its first user."""
    layer = [0] * count
    incoming = [0] * count
    users: list[list[int]] = [[] for _ in range(count)]
    for source, target in edges:
        users[source].append(target)
        incoming[target] += 1
    for node in range(count):
        for user in users[node]:
            layer[user] = max(layer[user], layer[node] + 1)
    for node in range(count):
        if users[node] and not incoming[node]:
            layer[node] = min(layer[user] for user in users[node]) - 1
    return layer


@dataclass
class _Net:
    """Nodes and the places where edges pass a layer, layer by layer.

    Args:
        widths: Width of each place; passing edges have none.
        rows: Places of each layer in their order.
        up: Places one layer above that each place is tied to.
        down: Those one layer below.
        lanes: Passing places of each edge, from top to bottom.
    """

    widths: list[float]
    rows: list[list[int]]
    up: list[list[int]]
    down: list[list[int]]
    lanes: list[list[int]]
    real: int

    def order(self) -> None:
        """Sort the layers by the barycenters of their neighbours, down and up in turn."""
        place = [0.0] * len(self.widths)
        for row in self.rows:
            _number(row, place)
        for sweep in range(_ORDER_SWEEPS):
            down = sweep % 2 == 0
            ties = self.up if down else self.down
            for row in self.rows if down else reversed(self.rows):
                if len(row) > 1:
                    middle = {
                        n: sum(place[m] for m in ties[n]) / len(ties[n]) if ties[n] else place[n] for n in row
                    }
                    row.sort(key=middle.__getitem__)
                _number(row, place)

    def place(self) -> list[float]:
        """Horizontal middles: each place goes where its neighbours are, as far as its layer lets it."""
        x = [0.0] * len(self.widths)
        rows = []
        for row in self.rows:
            offsets = [0.0]
            for a, b in pairwise(row):
                gap = NODE_GAP if a < self.real or b < self.real else LANE_GAP
                offsets.append(offsets[-1] + (self.widths[a] + self.widths[b]) / 2 + gap)
            for node, offset in zip(row, offsets, strict=True):
                x[node] = offset - offsets[-1] / 2
            # Passing edges and links of a chain are straight before others are balanced.
            weights = [4.0 if len(self.up[n]) == len(self.down[n]) == 1 else 1.0 for n in row]
            rows.append((row, offsets, weights))
        for sweep in range(_PLACE_SWEEPS):
            down, last = sweep % 2 == 0, sweep >= _PLACE_SWEEPS - 4
            for row, offsets, weights in rows if down else reversed(rows):
                wanted = [self._wanted(n, x, down, last) - o for n, o in zip(row, offsets, strict=True)]
                for node, offset, at in zip(row, offsets, _rising(wanted, weights), strict=True):
                    x[node] = at + offset
        self._upright(x)
        return x

    def _upright(self, x: list[float]) -> None:
        """Take out what drifts sideways over many layers: sweeps move layers together only with their neighbours."""
        sums = [0.0, *accumulate(sum(x[n] for n in row) / len(row) for row in self.rows)]
        for level, row in enumerate(self.rows):
            low, high = max(0, level - _DRIFT_LAYERS), min(len(self.rows), level + _DRIFT_LAYERS + 1)
            drift = (sums[high] - sums[low]) / (high - low)
            for node in row:
                x[node] -= drift

    def _wanted(self, node: int, x: Sequence[float], down: bool, both: bool) -> float:
        """The middle of the neighbours above on the way down, of those below on the way up; in the end of both."""
        above, below = self.up[node], self.down[node]
        ties = above + below if both else (above or below) if down else (below or above)
        return sum(x[tie] for tie in ties) / len(ties) if ties else x[node]


def _number(row: Sequence[int], place: list[float]) -> None:
    """Relative places in a layer, its middle at 0, so that layers of different lengths compare."""
    for i, node in enumerate(row):
        place[node] = i - (len(row) - 1) / 2


def _with_lanes(widths: list[float], layer: Sequence[int], edges: Sequence[tuple[int, int]]) -> _Net:
    """Long edges get a place in every layer that they pass, the shortest first while there is room."""
    real = len(widths)
    spans = [layer[target] - layer[source] for source, target in edges]
    room = _MOST_LANES * (real + len(edges)) + 64
    longest = 0
    for span in sorted(spans):
        room -= span - 1
        if room < 0:
            break
        longest = span
    rows: list[list[int]] = [[] for _ in range(max(layer, default=-1) + 1)]
    for node in range(real):
        rows[layer[node]].append(node)
    up: list[list[int]] = [[] for _ in widths]
    down: list[list[int]] = [[] for _ in widths]
    lanes: list[list[int]] = []
    shared: dict[tuple[int, int], int] = {}  # a value that many read far away runs down one lane
    for (source, target), span in zip(edges, spans, strict=True):
        lane: list[int] = []
        last = source
        for level in range(layer[source] + 1, layer[target]) if span <= longest else ():
            place = shared.get((source, level))
            if place is None:
                place = shared[source, level] = len(widths)
                widths.append(0.0)
                rows[level].append(place)
                up.append([last])
                down.append([])
                down[last].append(place)
            lane.append(place)
            last = place
        if span <= longest:
            down[last].append(target)
            up[target].append(last)
        lanes.append(lane)
    return _Net(widths, rows, up, down, lanes, real)


def _rising(wanted: Sequence[float], weights: Sequence[float]) -> list[float]:
    """The rising sequence nearest to ``wanted`` in weighted squares: pool adjacent violators, linear."""
    pools: list[tuple[float, float, int]] = []  # weighted sum, weight, how many
    for value, weight in zip(wanted, weights, strict=True):
        total, mass, count = value * weight, weight, 1
        while pools and pools[-1][0] * mass > total * pools[-1][1]:
            before = pools.pop()
            total, mass, count = total + before[0], mass + before[1], count + before[2]
        pools.append((total, mass, count))
    return [total / mass for total, mass, count in pools for _ in range(count)]
