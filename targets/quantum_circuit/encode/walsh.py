"""Walsh-Hadamard transforms: between the angles of a multiplexed rotation and those of its RY gates."""

from __future__ import annotations

import numpy as np


def transform(values: np.ndarray) -> np.ndarray:
    """``out[w] = sum_i (-1)**popcount(i & w) * values[i]`` along the last axis, of a power of two. O(n log n).

    Shapes: values [..., 2**k]; result the same. Twice gives ``2**k`` times the values.
    """
    shape = values.shape
    out = np.array(values, dtype=np.float64)
    half = 1
    while half < shape[-1]:
        pairs = out.reshape(*shape[:-1], -1, 2, half)
        out = np.stack([pairs[..., 0, :] + pairs[..., 1, :], pairs[..., 0, :] - pairs[..., 1, :]], axis=-2)
        half *= 2
    return out.reshape(shape)


def coefficients(angles: np.ndarray) -> np.ndarray:
    """Angles ``c`` [2**k] with ``angles[i] = sum_w (-1)**popcount(i & w) * c[w]``."""
    return transform(angles) / angles.shape[-1]


def angles_of_masks(masks: np.ndarray, values: np.ndarray, controls: int) -> np.ndarray:
    """``out[i] = sum_k (-1)**popcount(i & masks[k]) * values[k]`` for all i below ``2**controls``."""
    spectrum = np.zeros(1 << controls)
    np.add.at(spectrum, masks, values)
    return transform(spectrum)
