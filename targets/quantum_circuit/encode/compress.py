"""Which coefficients of a transform to keep so that the error stays within bounds."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np


def fewest(error_of: Callable[[int], float], most: int, allowed: float) -> int | None:
    """The least count in 1 to ``most`` with ``error_of(count) <= allowed``, taken to fall; None if even the last fails.

    Bisection: where the error rises now and then, a count that holds, though not always the least.
    """
    if error_of(most) > allowed:
        return None
    low, high = 0, most
    while high - low > 1:
        middle = (low + high) // 2
        if error_of(middle) <= allowed:
            high = middle
        else:
            low = middle
    return high


def largest(values: np.ndarray, count: int) -> np.ndarray:
    """Places of the ``count`` entries of largest magnitude, in rising order of place; ties by place."""
    return np.sort(np.argsort(-np.abs(values), kind="stable")[:count])
