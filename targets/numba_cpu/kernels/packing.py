"""Weights in the layout that kernels stream: panels of ``NR`` columns, zero-padded."""

from __future__ import annotations

import numpy as np


def pack_panels(b: np.ndarray, nr: int) -> np.ndarray:
    """``[K, N]`` as panels ``[ceil(N / nr), K, nr]``: panel p holds columns ``p * nr ..``, the last zero-padded."""
    depth, width = b.shape
    panels = -(-width // nr)
    out = np.zeros((panels, depth, nr), b.dtype)
    whole = width // nr
    out[:whole] = b[:, : whole * nr].reshape(depth, whole, nr).transpose(1, 0, 2)
    if whole < panels:
        out[whole, :, : width - whole * nr] = b[:, whole * nr :]
    return out


def pack_convolution(weight: np.ndarray, groups: int, nr: int) -> np.ndarray:
    """Weights ``[OC, IC/groups, kernel...]`` as panels ``[groups * P, K, nr]``.

    Depth runs over kernel dims, then input channels: the order in which a channels-last window lies in memory.
    """
    outputs, channels = weight.shape[:2]
    per_group = outputs // groups
    taps = int(np.prod(weight.shape[2:], dtype=np.int64))
    # [group, OC/g, IC/g, taps] -> [group, taps, IC/g, OC/g]
    parts = weight.reshape(groups, per_group, channels, taps).transpose(0, 3, 2, 1)
    return np.concatenate([pack_panels(part.reshape(taps * channels, per_group), nr) for part in parts])


def pack_depthwise(weight: np.ndarray) -> np.ndarray:
    """Weights ``[C, 1, kernel...]`` of a depthwise convolution as ``[taps, C]``."""
    return np.ascontiguousarray(weight.reshape(weight.shape[0], -1).T)
