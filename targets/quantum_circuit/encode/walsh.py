"""Walsh-Hadamard transforms: between the angles of a multiplexed rotation and those of its RY gates."""

from __future__ import annotations

import numpy as np

_NOTHING = 1e-14


def transform(values: np.ndarray) -> np.ndarray:
    """``out[w] = sum_i (-1)**popcount(i & w) * values[i]`` along the last axis, of a power of two. O(n log n).

    Shapes: values [..., 2**k]; result the same. Twice gives ``2**k`` times the values.
    """
    shape = values.shape
    out: np.ndarray = np.array(values, dtype=np.float64)
    half = 1
    while half < shape[-1]:
        pairs = out.reshape(*shape[:-1], -1, 2, half)
        out = np.stack([pairs[..., 0, :] + pairs[..., 1, :], pairs[..., 0, :] - pairs[..., 1, :]], axis=-2)
        half *= 2
    result: np.ndarray = out.reshape(shape)
    return result


def coefficients(angles: np.ndarray) -> np.ndarray:
    """Angles ``c`` [2**k] with ``angles[i] = sum_w (-1)**popcount(i & w) * c[w]``."""
    found: np.ndarray = transform(angles) / angles.shape[-1]
    return found


def angles_of_masks(masks: np.ndarray, values: np.ndarray, controls: int) -> np.ndarray:
    """``out[i] = sum_k (-1)**popcount(i & masks[k]) * values[k]`` for all i below ``2**controls``."""
    spectrum = np.zeros(1 << controls)
    np.add.at(spectrum, masks, values)
    return transform(spectrum)


def interpolated(angles: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Masks and values that give the angles [M, N] exactly: as many coefficients as entries, whatever M and N are.

    Masks are those of columns plus ``2**bits`` of the columns times those of rows; they are below M and N.
    Numbers below M are closed under leaving out bits, so Walsh functions of those masks are as many independent
    polynomials in the bits, and take any values there.
    """
    height, width = angles.shape
    columns = 1 << max(0, width - 1).bit_length()
    found = _solved(_solved(angles, height).T, width).T
    row_masks, column_masks = np.nonzero(np.abs(found) > _NOTHING)
    return row_masks * columns + column_masks, found[row_masks, column_masks]


def _solved(values: np.ndarray, size: int) -> np.ndarray:
    """Coefficients below ``size`` of functions [size, ...] of numbers below it."""
    power = 1 << max(0, size - 1).bit_length()
    if power == size:
        return coefficients(values.T).T
    result: np.ndarray = np.linalg.solve(transform(np.eye(power))[:size, :size], values)
    return result
