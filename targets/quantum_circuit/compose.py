"""Chains of linear maps multiplied out where one circuit for the product is predicted to be cheaper than two."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field, replace

import numpy as np
import onnx_ir as ir

from accelc.ir.reading import same_dim
from accelc.targets.quantum_circuit.layouts import Axes, Windows
from accelc.targets.quantum_circuit.linear import LinearMap, item_shape

MOST_ELEMENTS = 1 << 18
"""Of a product: larger ones are not multiplied out."""
_MOST_FOR_RANK = 512  # rows or columns up to which the rank is found by singular values
APART, LOCAL, WHOLE = "apart", "local", "whole"
"""What becomes of two maps: nothing, one map on the same vectors, or one map on whole entries of the first axis."""


@dataclass(frozen=True)
class Move:
    """A node that only moves numbers: on a quantum computer, other names for basis states.

    Args:
        node: Reshape, Transpose or the like.
        source: The operand.
        result: The value that it makes.
        order: Of the axes, for Transpose; None keeps the elements in order.
    """

    node: ir.Node
    source: ir.Value
    result: ir.Value
    order: tuple[int, ...] | None

    @property
    def nodes(self) -> tuple[ir.Node, ...]:
        """The node."""
        return (self.node,)

    @property
    def keeps_items(self) -> bool:
        """Whether the first axis stays what it is, and shapes behind it are known."""
        if item_shape(self.source) is None or item_shape(self.result) is None:
            return False
        if self.order is not None and self.order[:1] != (0,):
            return False
        a, b = self.source.shape, self.result.shape
        return a is not None and b is not None and same_dim(a[0], b[0])

    def apply(self, x: np.ndarray) -> np.ndarray:
        """The result for ``x`` with any extent of the first axis; shapes must be known."""
        if self.order is not None:
            return x.transpose(self.order)
        return x.reshape(len(x), *(item_shape(self.result) or ()))


Part = LinearMap | Move


@dataclass
class Choices:
    """Decides what to multiply out, by predicted CX gates, and remembers; or repeats what was decided before.

    Args:
        replayed: Decisions of an earlier time, in order: an artifact is read back as it was made, whatever the machine
            would predict.
        made: What was decided.
    """

    replayed: Iterator[str] | None = None
    made: list[str] = field(default_factory=list)

    @classmethod
    def repeating(cls, decisions: Iterable[str]) -> Choices:
        """Decide as before."""
        return cls(replayed=iter(decisions))

    def merged(self, first: LinearMap, between: Sequence[Move], second: LinearMap) -> LinearMap | None:
        """One map for two and the moves between them, if that is cheaper.

        Raises:
            ValueError: What was decided before is impossible here.
        """
        decision = self._decided(first, between, second)
        self.made.append(decision)
        if decision == APART:
            return None
        forms = {LOCAL: local_product(first, second) if not between else None}
        found = forms.get(decision) or (whole_product(first, between, second) if decision == WHOLE else None)
        if found is None:
            raise ValueError(f"two linear maps cannot be multiplied out as {decision!r}")
        return found

    def _decided(self, first: LinearMap, between: Sequence[Move], second: LinearMap) -> str:
        if self.replayed is not None:
            return next(self.replayed, "missing")
        cost = {APART: predicted_cx(first) + predicted_cx(second)}
        if not between and (local := local_product(first, second)) is not None:
            cost[LOCAL] = predicted_cx(local)
        elif (whole := whole_product(first, between, second)) is not None:
            cost[WHOLE] = predicted_cx(whole)
        return min(reversed(cost), key=lambda form: cost[form])  # the product where both cost the same


def local_product(first: LinearMap, second: LinearMap) -> LinearMap | None:
    """One matrix for the vectors of ``first``, where ``second`` multiplies just what ``first`` gives for each."""
    if len(first.matrices) != 1 or len(second.matrices) != 1:
        return None
    (a,), (b,) = first.matrices, second.matrices
    if b.size and a.size and len(b) * a.shape[1] > MOST_ELEMENTS:
        return None
    s, t = first.biases[0], second.biases[0]
    one, two = first.layout, second.layout
    if isinstance(two, Axes) and not two.axes:  # one factor and one constant for all elements
        matrix, bias, layout = b[0, 0] * a, _scaled(b[0, 0], s, t, len(a)), one
    elif isinstance(one, Axes) and not one.axes:
        if s is not None and isinstance(two, Windows) and two.is_padded:
            return None  # the pads of the second one would have to be shifted too
        moved = None if s is None else b.sum(axis=1) * s[0]
        matrix, bias, layout = a[0, 0] * b, _sum(moved, t), two
    elif isinstance(two, Axes) and _placed(one) == two.axes and a.shape[0] == b.shape[1]:
        if isinstance(one, Windows) and two.positions != (1,):
            return None
        matrix, bias = b @ a, _sum(None if s is None else b @ s, t)
        layout = replace(one, positions=two.positions, dims=two.dims) if isinstance(one, Axes) else one
    else:
        return None
    nodes = (*first.nodes, *second.nodes)
    return LinearMap(nodes, first.source, second.result, layout, (matrix,), (bias,))


def _placed(layout: Axes | Windows | object) -> tuple[int, ...] | None:
    """Axes of the result that the entries of one vector's result run over."""
    if isinstance(layout, Axes):
        return layout.positions
    plain = isinstance(layout, Windows) and not layout.per_channel and not layout.counts
    return (1,) if plain else None


def _sum(a: np.ndarray | None, b: np.ndarray | None) -> np.ndarray | None:
    return b if a is None else a if b is None else a + b


def _scaled(factor: float, s: np.ndarray | None, t: np.ndarray | None, rows: int) -> np.ndarray | None:
    scaled = None if s is None else factor * s
    return scaled if t is None else _sum(scaled, np.full(rows, t[0]))


def whole_product(first: LinearMap, between: Sequence[Move], second: LinearMap) -> LinearMap | None:
    """One matrix from an entry of the operand's first axis to that of the result, if the first axis is a batch."""
    parts: list[Part] = [first, *between, second]
    into, out = item_shape(first.source), item_shape(second.result)
    middle = item_shape(second.source)
    keeps = all(
        part.layout.keeps_items if isinstance(part, LinearMap) else part.keeps_items for part in parts
    )
    if into is None or out is None or middle is None or not keeps:
        return None
    columns, rows = math.prod(into), math.prod(out)
    if not columns or not rows or columns * max(rows, math.prod(middle)) > MOST_ELEMENTS:
        return None
    basis, zero = np.eye(columns).reshape(columns, *into), np.zeros((1, *into))
    for part in parts:
        basis = part.apply(basis, biased=False) if isinstance(part, LinearMap) else part.apply(basis)
        zero = part.apply(zero)
    matrix = np.ascontiguousarray(basis.reshape(columns, rows).T)
    axes = tuple(range(1, 1 + len(into)))
    layout = Axes(axes, tuple(range(1, 1 + len(out))), out)
    nodes = tuple(node for part in parts for node in part.nodes)
    bias = zero.reshape(rows)
    return LinearMap(nodes, first.source, second.result, layout, (matrix,), (bias if bias.any() else None,))


def predicted_cx(mapped: LinearMap) -> float:
    """CX gates that the circuits of a map will have at least, from the free numbers of its matrices.

    A layer of CX and two RY has two angles for each CX, a matrix of rank r has r (M + N - r) free numbers, and a
    diagonal one N. What the search for the smallest encoding finds is close to that.
    """
    return math.fsum(_predicted(matrix) for matrix in mapped.matrices)


def _predicted(matrix: np.ndarray) -> float:
    rows, columns = matrix.shape
    if not matrix.any():
        return 0.0
    if is_diagonal(matrix):
        diagonal = np.diag(matrix)
        return 0.0 if (diagonal == diagonal[0]).all() else float(columns)
    small = min(rows, columns)
    if small <= _MOST_FOR_RANK and np.isfinite(matrix).all():
        small = int(np.linalg.matrix_rank(matrix))
    return float(small * (rows + columns - small) / 2)


def is_diagonal(matrix: np.ndarray) -> bool:
    """Whether a matrix is square and zero off its diagonal."""
    rows, columns = matrix.shape
    return bool(rows == columns and np.count_nonzero(matrix) == np.count_nonzero(np.diag(matrix)))
