"""Products on a CPU: which operand is the left one, in which order of axes each is read, and which library runs them.

XLA gives a product to YNNPACK if what it sums over comes last in the left operand, else to Eigen. YNNPACK packs the
right operand at every call and reads the left one as it lies, in rows. Measured on AVX2, float32, one thread, weights
[768, 768] from memory, in times of ``x @ w``: ``w' @ x'`` takes 0.5 for 32 rows of x, 0.6 to 0.8 for 49 to 64, 0.85 to
0.9 for 128, and as long or longer from 160 rows on, where ``x @ w`` with w packed from columns takes 0.95 to 0.98.

Eigen packs both. For x with its features first and rows of w that neither begin within a cache line nor all in the
same set of the cache it takes 0.85 to 0.9 of YNNPACK's best (128 rows, weights [768, 2304] and [768, 3072]), about 1
for 384 features or 768 columns. Its result has its rows first, which YNNPACK takes as the right operand as gladly as
features first: the two products of a transformer's feed-forward part take turns, and nothing is moved between.
On two threads Eigen takes up to 1.6 of YNNPACK's time.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import jax.numpy as jnp
import numpy as np
from jax import lax

from accelc.targets.jax_xla.held import Held, Order

FEW_ROWS = 144
"""Rows up to which the weights of a product are its left operand."""
SOME_ROWS = 256
"""Rows up to which weights on the right are read by columns."""
LEAST_EXTENT = 64
"""Rows and columns of weights from which on it matters."""
MANY_COLUMNS = 8192
"""Columns from which on weights stay on the right, unless rows are very few: turning the result costs more than
packing them."""
WIDE = 2048
"""Columns from which on features that come first, which XLA gives to Eigen, take 0.9 of the time."""
LONG_SUMS = 512
"""Features from which on they do."""
EIGEN_ROWS = range(32, 512)
"""Rows for which they do, and beyond ``FEW_ROWS`` also if features have to be moved to the front."""
VECTOR = 16
"""Columns, of a cache line: rows of weights that begin in the middle of one take Eigen 1.07 of the time."""
PAGES = 256
"""Columns by multiples of which rows of weights share sets of the cache, where Eigen takes 1.1 to 2 of the time."""


def is_weighted(eqn: Any, right: Held) -> bool:
    """Whether ``dot_general`` multiplies, in floating point, with a matrix of weights."""
    (left_k, _), (left_batch, _) = eqn.params["dimension_numbers"]
    return right.fixed and len(right.shape) == 2 and len(left_k) == 1 and not left_batch and _is_floating(eqn)


def _is_floating(eqn: Any) -> bool:
    """Whether there is anything to multiply, in floating point."""
    shapes = [x.aval.shape for x in eqn.invars]
    return 0 not in (*shapes[0], *shapes[1]) and jnp.issubdtype(eqn.outvars[0].aval.dtype, jnp.floating)


@dataclass(frozen=True)
class Products:
    """Products of two values, the results in the order in which they come cheapest.

    Args:
        one_thread: Whether they run on one thread. Eigen divides its work worse than YNNPACK, and it is slower for
            other dtypes than float32.
    """

    one_thread: bool = True

    def alone(self, eqn: Any, operands: Sequence[Held]) -> list[Held] | None:
        """``dot_general``; None where it is as good as it is written."""
        (left_k, right_k), (left_batch, right_batch) = eqn.params["dimension_numbers"]
        left, right = operands
        if left.native is None or right.native is None or not _is_floating(eqn):
            return None
        if not left.fixed and is_weighted(eqn, right):
            columns = 1 - right_k[0]
            return [self._weighted(eqn, left, left_k[0], right.within((right_k[0], columns)))]
        if len(left_k) != 1:
            return None
        return [_batched(eqn, _Side(left, left_batch, left_k[0]), _Side(right, right_batch, right_k[0]))]

    def together(self, eqns: Sequence[Any], x: Held, weights: Sequence[Held]) -> list[Held] | None:
        """Products of x with several weights made as one, which is taken apart.

        Args:
            eqns: Equations that differ in their weights alone.
            x: The left operand.
            weights: The right ones.
        """
        if x.native is None or any(w.native is None for w in weights):
            return None
        ((k,), _), _ = eqns[0].params["dimension_numbers"]
        axes = [eqn.params["dimension_numbers"][0][1][0] for eqn in eqns]
        by_rows = [w.within((axis, 1 - axis)) for w, axis in zip(weights, axes, strict=True)]
        made = self._weighted(eqns[0], x, k, lax.concatenate(by_rows, 1))
        order = made.native
        assert order is not None  # only Spread has none
        parts = lax.split(made.within(order), [w.shape[1] for w in by_rows], axis=order.index(len(order) - 1))
        return [Held(part, order) for part in parts]

    def _weighted(self, eqn: Any, x: Held, k: int, w: Any) -> Held:
        """``x @ w`` for weights [k, columns]; x as a matrix, as XLA moves one of more axes before the product."""
        others = tuple(axis for axis in range(len(x.shape)) if axis != k)
        extents = tuple(x.shape[axis] for axis in others)
        k_first, rows_first = (k, *others), (*others, k)
        rows, (features, columns) = math.prod(extents), w.shape
        large = min(features, columns) >= LEAST_EXTENT
        few = rows <= FEW_ROWS
        wide = columns >= WIDE and features >= LONG_SUMS and rows in EIGEN_ROWS and w.dtype == jnp.float32
        right = columns >= MANY_COLUMNS and (rows == 1 or rows in EIGEN_ROWS)

        if self.one_thread and wide and (not few or x.follows(k_first)):
            x_first = lax.reshape(_as_left(x, k_first), (features, rows))
            return Held(lax.reshape(_from_features(eqn, x_first, w), (*extents, columns)))
        if large and few and not right:
            w_rows = lax.transpose(w, (1, 0))
            if x.follows(rows_first):
                array = _dot(eqn, w_rows, lax.reshape(x.within(rows_first), (rows, features)), (1,), (1,))
            else:
                array = _dot(eqn, w_rows, lax.reshape(x.within(k_first), (features, rows)), (1,), (0,))
            if columns >= MANY_COLUMNS:  # XLA would turn the product instead, to three times as long
                array = lax.optimization_barrier(array)
            return Held(lax.reshape(array, (columns, *extents)), (len(others), *range(len(others))))
        x_rows = lax.reshape(_as_left(x, rows_first), (rows, features))
        if rows > 1 and (columns >= MANY_COLUMNS or (large and rows <= SOME_ROWS)):
            array = _dot(eqn, x_rows, lax.transpose(w, (1, 0)), (1,), (1,))
        else:
            array = _dot(eqn, x_rows, w, (1,), (0,))
        return Held(lax.reshape(array, (*extents, columns)))


def _from_features(eqn: Any, x: Any, w: Any) -> Any:
    """``x' @ w`` by Eigen, with rows of w made as long as it likes them."""
    columns = w.shape[1]
    padded = columns
    if columns < MANY_COLUMNS:  # a larger result would take longer to cut than it gains
        padded = -(-columns // VECTOR) * VECTOR
    if padded % PAGES == 0:
        padded += VECTOR
    if padded == columns:
        return _dot(eqn, x, w, (0,), (0,))
    wide = lax.pad(w, np.zeros((), w.dtype), ((0, 0, 0), (0, padded - columns, 0)))
    return lax.slice_in_dim(_dot(eqn, x, wide, (0,), (0,)), 0, columns, axis=1)


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
