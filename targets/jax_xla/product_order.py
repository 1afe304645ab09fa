"""Products on a CPU: which operand is the left one, and in which order of axes each is read.

XLA's products (YNNPACK's) pack the right operand at every call and read the left one as it lies, in rows. Measured
on AVX2, float32, one thread, weights [768, 768] from memory, in times of ``x @ w``: ``w' @ x'`` takes 0.5 for 32
rows of x, 0.6 to 0.8 for 49 to 64, 0.85 to 0.9 for 128, and as long or longer from 160 rows on, where ``x @ w`` with
w packed from columns takes 0.95 to 0.98.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import jax.numpy as jnp
from jax import lax

from accelc.targets.jax_xla.held import Held, Order

FEW_ROWS = 144
"""Rows up to which the weights of a product are its left operand."""
SOME_ROWS = 256
"""Rows up to which weights on the right are read by columns."""
LEAST_EXTENT = 64
"""Rows and columns of weights from which on it matters."""
MANY_COLUMNS = 8192
"""Columns from which on weights stay on the right: turning the result costs more than packing them. XLA gives
features that come first to Eigen, which takes 0.92 of the time of weights read by columns."""
PAGES = 256
"""Columns by multiples of which rows of weights share sets of the cache, where Eigen takes 1.7 of the time."""


def product(eqn: Any, operands: Sequence[Held]) -> list[Held] | None:
    """``dot_general`` of two values, the result in the order in which it comes cheapest."""
    (left_k, right_k), (left_batch, right_batch) = eqn.params["dimension_numbers"]
    left, right = operands
    if left.native is None or right.native is None or 0 in (*left.shape, *right.shape):
        return None
    if not jnp.issubdtype(eqn.outvars[0].aval.dtype, jnp.floating):
        return None
    if right.fixed and not left.fixed and len(right.shape) == 2 and len(left_k) == 1 and not left_batch:
        return [_weighted(eqn, left, left_k[0], right, right_k[0])]
    if len(left_k) != 1:
        return None
    return [_batched(eqn, _Side(left, left_batch, left_k[0]), _Side(right, right_batch, right_k[0]))]


def _weighted(eqn: Any, x: Held, k: int, w: Held, w_k: int) -> Held:
    """``x @ w`` for weights w."""
    rank = len(x.shape)
    others = tuple(axis for axis in range(rank) if axis != k)
    rows, columns = math.prod(x.shape[axis] for axis in others), w.shape[1 - w_k]
    large = min(w.shape) >= LEAST_EXTENT
    by_columns = (1 - w_k, w_k)
    if large and rows <= FEW_ROWS and columns < MANY_COLUMNS:
        array = _dot(eqn, w.within(by_columns), x.within((k, *others)), (1,), (0,))
        return Held(array, (rank - 1, *range(rank - 1)))
    k_first = (k, *others)
    if columns >= MANY_COLUMNS and rows <= FEW_ROWS and columns % PAGES and x.follows(k_first):
        return Held(_dot(eqn, x.within(k_first), w.within((w_k, 1 - w_k)), (0,), (0,)))
    rows_first = _as_left(x, (*others, k))
    if columns >= MANY_COLUMNS or (large and rows <= SOME_ROWS):
        return Held(_dot(eqn, rows_first, w.within(by_columns), (rank - 1,), (1,)))
    return Held(_dot(eqn, rows_first, w.within((w_k, 1 - w_k)), (rank - 1,), (0,)))


def _dot(eqn: Any, a: Any, b: Any, a_k: Sequence[int], b_k: Sequence[int], batch: Sequence[int] = ()) -> Any:
    numbers = ((tuple(a_k), tuple(b_k)), (tuple(batch), tuple(batch)))
    return eqn.primitive.bind(a, b, **{**eqn.params, "dimension_numbers": numbers})


def _as_left(held: Held, order: Order) -> Any:
    """The array in ``order``, moved before the product: XLA would move it within, where it runs 10 times as long."""
    array = held.within(order)
    return array if held.fixed or held.follows(order) else lax.optimization_barrier(array)


class _Side:
    """An operand of a batched product: its axes by what they are."""

    def __init__(self, held: Held, batch: Sequence[int], k: int) -> None:
        self.held = held
        self.batch = tuple(batch)
        self.free = tuple(axis for axis in range(len(held.shape)) if axis not in (*batch, k))
        self.rows: Order = (*self.batch, *self.free, k)
        self.columns: Order = (*self.batch, k, *self.free)

    @property
    def packed_from(self) -> Order:
        """The order in which it is cheapest as the right operand, which packing takes in either."""
        if self.held.follows(self.rows):
            return self.rows
        if self.held.follows(self.columns):
            return self.columns
        native = self.held.native
        return self.rows if native is not None and native[-1] == self.rows[-1] else self.columns

    @property
    def as_left(self) -> int:
        """Elements that are moved to make it a left operand."""
        return self.held.moved(self.rows)

    @property
    def as_right(self) -> int:
        """Elements that are moved to make it a right operand."""
        return self.held.moved(self.packed_from)

    @property
    def k_before_free(self) -> bool:
        """Whether its array has what is summed over outside of what is not."""
        native = self.held.native or ()
        return bool(self.free) and native.index(self.rows[-1]) < native.index(self.free[-1])


def _batched(eqn: Any, left: _Side, right: _Side) -> Held:
    """A product of two values that are both new at every call, with whichever on the left costs fewer moves."""
    plain = left.as_left + right.as_right
    turned = right.as_left + left.as_right
    swap = turned < plain or (turned == plain and left.k_before_free and right.k_before_free)
    first, second = (right, left) if swap else (left, right)
    batch = range(len(left.batch))
    order = second.packed_from
    k = len(order) - 1 if order == second.rows else len(left.batch)
    array = _dot(
        eqn, _as_left(first.held, first.rows), second.held.within(order), (len(first.rows) - 1,), (k,), batch
    )
    if not swap:
        return Held(array)
    b, lefts, rights = len(left.batch), len(left.free), len(right.free)
    return Held(array, (*range(b), *range(b + lefts, b + lefts + rights), *range(b, b + lefts)))
