"""Reading operands and attributes that are known while tracing: ints, axes, dims that may be symbolic.

Under a shape-polymorphic export a static operand may be an object array holding symbolic dims
(``jax.export.symbolic_shape``); they pass through as they are and take part in dim arithmetic.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np
from jax import export

Dim = Any
"""An int, or a symbolic dim of ``jax.export``."""


def dims_of(value: Any) -> list[Dim]:
    """Entries of a static operand or attribute, in order: ints, or symbolic dims. A scalar is one entry."""
    entries = np.asarray(value).reshape(-1).tolist()
    return [entry if export.is_symbolic_dim(entry) else int(entry) for entry in entries]


def is_known(*dims: Dim) -> bool:
    """Whether all dims are plain ints."""
    return not any(export.is_symbolic_dim(dim) for dim in dims)


def product(dims: Iterable[Dim]) -> Dim:
    """Product of dims, symbolic ones included; 1 for none."""
    total: Dim = 1
    for dim in dims:
        total = total * dim
    return total


def axes_of(value: Any, rank: int) -> list[int]:
    """Axes as non-negative ints, in the order given."""
    return [int(axis) + rank if axis < 0 else int(axis) for axis in dims_of(value)]


def axis_of(axis: int, rank: int) -> int:
    """One axis as a non-negative int."""
    return int(axis) + rank if axis < 0 else int(axis)


def given(operand: Any, attribute: Any) -> Any:
    """The operand of newer opsets, else the attribute of older ones; None if there is neither."""
    return attribute if operand is None else operand


def expanded_to(shape: Sequence[Dim], axis: int, rank: int) -> tuple[Dim, ...]:
    """``shape`` placed at ``axis`` of a tensor of ``rank``, 1 elsewhere."""
    return (*(1,) * axis, *shape, *(1,) * (rank - axis - len(shape)))
