"""Topological order of nodes given as index lists, stable and iterative."""

from __future__ import annotations

import heapq
from collections.abc import Sequence


def sorted_order(needs: Sequence[Sequence[int]]) -> tuple[list[int], list[int]]:
    """Order nodes so that each follows what it needs; among ready nodes the earliest comes first.

    Args:
        needs: For each node the indices of nodes it needs.

    Returns:
        The order, and the nodes of one cycle (empty if there is none; then the order is complete).
    """
    waiting = [len(set(mine)) for mine in needs]
    users: list[list[int]] = [[] for _ in needs]
    for index, mine in enumerate(needs):
        for producer in set(mine):
            users[producer].append(index)
    ready = [index for index, count in enumerate(waiting) if count == 0]
    heapq.heapify(ready)
    order: list[int] = []
    while ready:
        index = heapq.heappop(ready)
        order.append(index)
        for user in users[index]:
            waiting[user] -= 1
            if waiting[user] == 0:
                heapq.heappush(ready, user)
    if len(order) == len(needs):
        return order, []
    return order, _find_cycle(needs, set(range(len(needs))) - set(order))


def _find_cycle(needs: Sequence[Sequence[int]], left: set[int]) -> list[int]:
    """Walk from any unordered node to what it needs until a node comes up again."""
    seen: dict[int, int] = {}
    path: list[int] = []
    current = min(left)
    while current not in seen:
        seen[current] = len(path)
        path.append(current)
        current = next(index for index in needs[current] if index in left)
    return path[seen[current] :]
