"""Short paths through sets of parities: the CX gates between the rotations of a multiplexed rotation.

The way from one parity to the next costs as many CX as they differ in bits, so the least number of CX is a travelling
salesman's path. Two starts, the Gray code's order and the nearest neighbour's, are improved by reversing stretches
(2-opt, Croes 1958) and by moving single parities (Or 1976) until nothing gains.
"""

from __future__ import annotations

import numpy as np

_MOST = 4096  # parities for which a table of distances is kept; above it the Gray code's order is taken
_SWEEPS = 6


def path_through(
    masks: np.ndarray, bits: int, *, is_open_start: bool = False, is_open_end: bool = False
) -> np.ndarray:
    """Order of visiting all masks in which few bits change, from 0 and back to 0 unless an end is open.

    Args:
        masks: int [K], all different, below ``2**bits``.
        bits: Bits of a mask.
        is_open_start: The path may start anywhere.
        is_open_end: The path may end anywhere.

    Returns:
        A permutation of ``range(K)``. O(K log K) where all parities or very many are visited, else O(K**2).
    """
    masks = np.asarray(masks, dtype=np.int64)
    gray = np.argsort(gray_rank(masks, bits))
    if is_open_start and not is_open_end:
        gray = gray[::-1]
    if len(masks) == 1 << bits or len(masks) > _MOST:
        return gray
    table = _distances(masks, is_open_start, is_open_end)
    starts = [gray, _nearest(table)] + ([gray[::-1]] if is_open_start != is_open_end else [])
    orders = [_improved(order, table) for order in starts]
    return min(orders, key=lambda order: path_length(order, table))


def path_length(order: np.ndarray, table: np.ndarray) -> int:
    """CX of visiting in that order; the last two rows of the table are the ends."""
    count = len(order)
    path = np.concatenate([[count], order, [count + 1]])
    return int(table[path[:-1], path[1:]].sum())


def gray_rank(masks: np.ndarray, bits: int) -> np.ndarray:
    """Places of masks in the Gray code."""
    rank, shift = masks.copy(), 1
    while shift < bits:
        rank ^= rank >> shift
        shift *= 2
    return rank


def _distances(masks: np.ndarray, is_open_start: bool, is_open_end: bool) -> np.ndarray:
    """Bits in which masks differ, int16 [K + 2, K + 2]; the last two are the path's start and end."""
    count = len(masks)
    table = np.zeros((count + 2, count + 2), dtype=np.int16)
    table[:count, :count] = np.bitwise_count(masks[:, None] ^ masks[None, :])
    from_zero = np.bitwise_count(masks)
    for end, is_open in ((count, is_open_start), (count + 1, is_open_end)):
        if not is_open:
            table[end, :count] = table[:count, end] = from_zero
    return table


def _nearest(table: np.ndarray) -> np.ndarray:
    """From the start always to the nearest that is left."""
    count = len(table) - 2
    left = table[:, :count].astype(np.float64)
    order, at = [], count
    for _ in range(count):
        at = int(np.argmin(left[at]))
        order.append(at)
        left[:, at] = np.inf
    return np.array(order)


def _improved(order: np.ndarray, table: np.ndarray) -> np.ndarray:
    """Reverse stretches and move single parities while the path gets shorter."""
    count = len(order)
    path = np.concatenate([[count], order, [count + 1]])
    for _ in range(_SWEEPS):
        gained = sum(_reverse_one(path, at, table) for at in range(count))
        gained += sum(_move_one(path, at, table) for at in range(1, count + 1))
        if not gained:
            break
    return path[1:-1]


def _reverse_one(path: np.ndarray, at: int, table: np.ndarray) -> int:
    """Replace the step from ``path[at]`` and another one by reversing what is between them, if that gains."""
    here, after = path[at], path[at + 1]
    step = table[here, after]
    if step <= 1:
        return 0
    ends, nexts = path[at + 2 : -1], path[at + 3 :]
    if not len(ends):
        return 0
    change = table[here, ends] + table[after, nexts] - step - table[ends, nexts]
    best = int(np.argmin(change))
    if change[best] >= 0:
        return 0
    stop = at + 3 + best
    path[at + 1 : stop] = path[at + 1 : stop][::-1].copy()
    return int(-change[best])


def _move_one(path: np.ndarray, at: int, table: np.ndarray) -> int:
    """Move ``path[at]`` between two neighbours elsewhere, if that gains."""
    before, here, after = path[at - 1], path[at], path[at + 1]
    saved = int(table[before, here]) + int(table[here, after]) - int(table[before, after])
    if saved <= 1:
        return 0
    cost = table[path[:-1], here] + table[here, path[1:]] - table[path[:-1], path[1:]]
    cost[at - 1 : at + 1] = np.iinfo(np.int16).max
    best = int(np.argmin(cost))
    if cost[best] >= saved:
        return 0
    if best < at:
        path[best + 2 : at + 1] = path[best + 1 : at].copy()
        path[best + 1] = here
    else:
        path[at:best] = path[at + 1 : best + 1].copy()
        path[best] = here
    return int(saved - cost[best])
