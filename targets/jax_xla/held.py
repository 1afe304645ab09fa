"""Values of a traced function that lie in memory with their axes in an order of their own."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import jax
from jax import lax

Order = tuple[int, ...]
"""For each axis of an array, the axis of the value that lies there."""


class Held:
    """A value as one array or several that differ in the order of their axes.

    Args:
        array: The value with its axes in ``order``.
        order: That order; as they are if None.
        fixed: Whether it is made of weights alone.
    """

    def __init__(self, array: Any, order: Order | None = None, *, fixed: bool = False) -> None:
        self.native: Order | None = tuple(range(array.ndim)) if order is None else order
        self.shape = tuple(array.shape[self.native.index(axis)] for axis in range(array.ndim))
        self.fixed = fixed
        self._forms: dict[Order, Any] = {self.native: array}

    @property
    def size(self) -> int:
        """Elements."""
        return math.prod(self.shape)

    @property
    def standard(self) -> Any:
        """The array with its axes as they are."""
        return self.within(tuple(range(len(self.shape))))

    def within(self, order: Order) -> Any:
        """The array with its axes in ``order``; transposed once, however many ask."""
        if order not in self._forms:
            self._forms[order] = self._made(order)
        return self._forms[order]

    def follows(self, order: Order) -> bool:
        """Whether its array lies in memory as ``order`` wants it: axes of extent 1 lie anywhere."""
        return self.native is not None and self._long(self.native) == self._long(order)

    def moved(self, order: Order) -> int:
        """Elements that change places to make the array in ``order``."""
        return 0 if self.follows(order) else self.size

    def _long(self, order: Order) -> Order:
        return tuple(axis for axis in order if self.shape[axis] != 1)

    def _made(self, order: Order) -> Any:
        native = self.native
        assert native is not None  # Spread, which has none, makes its arrays itself
        array = self._forms[native]
        if self.follows(order):
            return lax.reshape(array, tuple(self.shape[axis] for axis in order))
        return lax.transpose(array, tuple(native.index(axis) for axis in order))


class Spread(Held):
    """A value repeated along axes: made in whichever order the reader has, so it has none of its own.

    Args:
        operand: What is repeated.
        shape: Of the result.
        dims: Axes of the result that the axes of the operand become; ascending.
    """

    def __init__(self, operand: Held, shape: Sequence[int], dims: Sequence[int]) -> None:
        self.operand = operand
        self.shape = tuple(shape)
        self.dims = tuple(dims)
        self.native = None
        self.fixed = operand.fixed
        self._forms = {}

    def _made(self, order: Order) -> jax.Array:
        inner = tuple(sorted(range(len(self.dims)), key=lambda axis: order.index(self.dims[axis])))
        places = tuple(order.index(self.dims[axis]) for axis in inner)
        return lax.broadcast_in_dim(
            self.operand.within(inner), tuple(self.shape[axis] for axis in order), places
        )


def common_order(operands: Sequence[Held], rank: int) -> Order:
    """The order in which operands meet: that of the largest, and of those one that is not plain.

    A plain operand was brought in from outside and is moved once; the others come from where moving costs.
    """
    plain = tuple(range(rank))
    largest = max((held.size for held in operands if held.native is not None), default=0)
    for held in operands:
        long = held.native is not None and len(held.shape) == rank and held.size == largest
        if long and not held.follows(plain) and not held.fixed:
            assert held.native is not None
            return held.native
    return plain


def regrouped(held: Held, shape: Sequence[int]) -> Held | None:
    """``held`` in another shape of as many elements, its array in the order it has; None if it has to be moved.

    Axes that become one axis, or several, have to lie beside each other in the array.
    """
    groups = _groups(held.shape, shape)
    if held.native is None or groups is None:
        return None
    of_axis = {axis: group for group in groups for axis in group[0]}
    order = [axis for axis, extent in enumerate(shape) if extent == 1]
    stored = [axis for axis in held.native if held.shape[axis] != 1]
    place = 0
    while place < len(stored):
        old, new = of_axis[stored[place]]
        if tuple(stored[place : place + len(old)]) != old:
            return None
        order += new
        place += len(old)
    array = lax.reshape(held.within(held.native), tuple(shape[axis] for axis in order))
    return Held(array, tuple(order), fixed=held.fixed)


def _groups(old: Sequence[int], new: Sequence[int]) -> list[tuple[Order, Order]] | None:
    """Axes of ``old`` and ``new`` that hold the same elements, those of extent 1 left out; None for no elements."""
    if 0 in old or 0 in new:
        return None
    before = [axis for axis, extent in enumerate(old) if extent != 1]
    after = [axis for axis, extent in enumerate(new) if extent != 1]
    groups: list[tuple[Order, Order]] = []
    i = j = 0
    while i < len(before):
        start_i, start_j = i, j
        left, right = old[before[i]], new[after[j]]
        i, j = i + 1, j + 1
        while left != right:
            if left < right:
                left, i = left * old[before[i]], i + 1
            else:
                right, j = right * new[after[j]], j + 1
        groups.append((tuple(before[start_i:i]), tuple(after[start_j:j])))
    return groups
