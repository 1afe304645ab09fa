"""When a 3x3 convolution is cheaper by minimal filtering: F(2x2,3x3), F(4x4,3x3), or neither."""

from __future__ import annotations

from collections.abc import Sequence

from accelc.ir.dims import Dim

FLOPS_PER_S = 85e9
BYTES_PER_S = 17e9
"""Products and weights: weights come from memory, partly behind the arithmetic. Only ratios of the two matter."""
TRANSFORM_S = {2: 28e-9, 4: 85e-9}
"""Transforming a tile of 8 channels there and back."""
CLEARLY = 0.87
"""A form with larger rounding errors must be this much cheaper than the one before it."""


def choose_filtering(
    shape: Sequence[Dim], channels: int, kernel: Sequence[int], plain: bool, lanes: int
) -> int | None:
    """Output pixels of a tile along each dim (2 or 4), or None for direct convolution.

    Args:
        shape: The result, ``[N, OC, OH, OW]``.
        channels: Input channels.
        kernel: Kernel extents.
        plain: Whether strides and dilations are 1 and there is one group.
        lanes: Elements of a vector; channels come in whole vectors.
    """
    if not plain or tuple(kernel) != (3, 3) or len(shape) != 4:
        return None
    columns, height, width = shape[1:]
    if not isinstance(columns, int) or not isinstance(height, int) or not isinstance(width, int):
        return None
    if channels % lanes or columns % lanes or not channels or not columns:
        return None
    images = shape[0] if isinstance(shape[0], int) else 1
    pixels = images * height * width
    best, cost = None, _seconds(pixels, 9, channels * columns)
    for m in (2, 4):
        tiles = images * -(-height // m) * -(-width // m)
        seconds = _seconds(tiles, (m + 2) ** 2, channels * columns)
        seconds += tiles * (channels + columns) / 16 * TRANSFORM_S[m]
        if seconds < CLEARLY * cost:
            best, cost = m, seconds
    return best


def _seconds(rows: int, products: int, weights: int) -> float:
    """Time of ``products`` matrix products of ``rows`` rows with ``weights`` weights each."""
    return 2.0 * rows * products * weights / FLOPS_PER_S + 4.0 * products * weights / BYTES_PER_S
