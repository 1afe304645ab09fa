"""Short paths through sets of parities: the CX gates between the rotations of a multiplexed rotation."""

from __future__ import annotations

import numpy as np


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
        A permutation of ``range(K)``.
    """
    order = np.argsort(_gray_rank(np.asarray(masks, dtype=np.int64), bits))
    return order[::-1] if is_open_start and not is_open_end else order


def _gray_rank(masks: np.ndarray, bits: int) -> np.ndarray:
    """Places of masks in the Gray code."""
    rank, shift = masks.copy(), 1
    while shift < bits:
        rank ^= rank >> shift
        shift *= 2
    return rank
