"""The block of a template's unitary and its derivatives, for several sets of angles at once.

The states before and after each block are kept (prefix products), the rows that are looked at are pulled back
through the circuit (suffix products), and all derivatives follow by batched products: for a template of P angles
on matrices of N rows, with a block of M x K, that is O(P * M * N * K) instead of O(P**2 * N * K).
For a whole orthogonal matrix U the derivative is taken in the tangent space, ``U' dU``, which is antisymmetric:
half the numbers, and no suffixes.
"""

from __future__ import annotations

import math

import numpy as np

from accelc.targets.quantum_circuit.synthesis.template import Template

# Blocks whose derivatives are formed at once: bounds the working memory, and stays within a cache.
_CHUNK_FLOATS = 1 << 20
# Singular values this close to 1 are taken for 1.
KEPT = 1e-7


class Products:
    """Evaluates the leading ``rows x columns`` block of a template's unitary.

    Args:
        template: The circuit.
        target: The matrix that the block should be, float64 [rows, columns].
        starts: How many sets of angles are evaluated together.
        tight: Whether vectors whose length the target keeps are held to it, see :attr:`kept`.
    """

    def __init__(self, template: Template, target: np.ndarray, starts: int, *, tight: bool = False) -> None:
        self.template, self.starts = template, starts
        self.rows, self.columns = target.shape
        self.states = 2**template.qubits
        self.is_whole = self.rows == self.columns == self.states
        # A vector v that the target does not shorten has to leave the rows below the block empty. The block sees
        # that in second order only, which would slow the search down from quadratic to linear convergence; so
        # columns are taken in the basis of the right singular vectors, and the first ``kept`` of them whole.
        self.kept, self._basis = 0, np.eye(self.columns)
        if tight and not self.is_whole and self.rows < self.states:
            _, values, right = np.linalg.svd(target)
            self.kept = int(np.count_nonzero(values > 1 - KEPT))
            self._basis = right.T if self.kept else self._basis
        self.target = target @ self._basis
        self._seen = self.states if self.kept else self.rows
        orders = template.orders
        positions = np.argsort(orders, axis=1)  # place of each state in a block's order
        natural = np.arange(self.states)
        before = np.concatenate([natural[None], positions])[:-1] if len(orders) else orders
        self._into = np.take_along_axis(before, orders, 1)  # from the order before into a block's order
        self._back = np.argsort(self._into, axis=1)
        self._last = positions[-1] if len(orders) else natural
        self._prefix = np.empty((len(orders), starts, self.states, self.columns))
        self._upper = np.triu_indices(self.states, 1) if self.is_whole else None

    def _first(self, angles: np.ndarray) -> np.ndarray:
        """The columns after the first layer of Ry: [starts, states, columns], states in natural order."""
        out = np.ones((self.starts, 1, 1))
        for qubit in range(self.template.qubits):
            half = angles[:, qubit] / 2
            turn = np.array([[np.cos(half), -np.sin(half)], [np.sin(half), np.cos(half)]]).transpose(2, 0, 1)
            size = out.shape[1]
            out = np.einsum("sij,skl->sikjl", turn, out).reshape(self.starts, 2 * size, 2 * size)
        return np.ascontiguousarray(out[:, :, : self.columns]) @ self._basis

    def _blocks(self, angles: np.ndarray) -> np.ndarray:
        """Each block as a matrix: [blocks, starts, 4, 4], rows and columns by (control, target) bit."""
        half = angles[:, self.template.qubits :].reshape(self.starts, -1, 2).transpose(1, 0, 2) / 2
        cos, sin = np.cos(half), np.sin(half)
        turn = np.stack([np.stack([cos, -sin], -1), np.stack([sin, cos], -1)], -2)
        # turn: [blocks, starts, 2 qubits, i, j]
        both = np.einsum("bsij,bskl->bsikjl", turn[:, :, 0], turn[:, :, 1])
        both = both.reshape(*half.shape[:2], 4, 4)
        return np.ascontiguousarray(both[..., [0, 1, 3, 2]])  # the CX acts first: control set, target flipped

    def forward(self, angles: np.ndarray) -> np.ndarray:
        """The block, and the rows below it if some vectors are kept: [starts, seen, columns] for angles [starts, size].

        Keeps what :meth:`linear` needs.
        """
        self._start = self._first(angles)
        self._matrices = self._blocks(angles)
        now, shape = self._start, (self.starts, 4, -1)
        for block, matrix in enumerate(self._matrices):
            out = self._prefix[block]
            np.matmul(matrix, now.take(self._into[block], axis=1).reshape(shape), out=out.reshape(shape))
            now = out
        return now[:, self._last[: self._seen]]

    def squares(self, block: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Squared distances of what :meth:`forward` gave from the target: as minimised, and of the block alone."""
        alone = ((block[:, : self.rows] - self.target) ** 2).sum((1, 2))
        return alone + (block[:, self.rows :, : self.kept] ** 2).sum((1, 2)), alone

    def linear(self, block: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Jacobian and residuals of the least-squares problem at the angles of the last :meth:`forward`.

        Shapes: block as :meth:`forward` gave it; Jacobian [starts, size, D], residuals [starts, D]; D is
        rows * columns + (states - rows) * kept, or states * (states - 1) / 2 in the tangent space.
        """
        if self._upper is not None:
            moved = block.transpose(0, 2, 1) @ self.target
            low, high = self._upper
            residuals = (moved[:, high, low] - moved[:, low, high]) / math.sqrt(2)
            return self._tangents(), residuals
        inside = (block[:, : self.rows] - self.target).reshape(self.starts, -1)
        below = block[:, self.rows :, : self.kept].reshape(self.starts, -1)
        return self._derivatives(), np.concatenate([inside, below], 1)

    def _tangents(self) -> np.ndarray:
        assert self._upper is not None
        low, high = self._upper
        above, below = low * self.states + high, high * self.states + low
        qubits, states = self.template.qubits, self.states
        out = np.empty((self.starts, self.template.size, len(low)))

        def put(at: slice, zero: np.ndarray, one: np.ndarray) -> None:
            # U' dU = X' Y X / 2 with Y = [[0, -1], [1, 0]] on the qubit; sqrt(2) as both triangles count
            part = one.swapaxes(-1, -2) @ zero
            part = part.reshape(*part.shape[:-2], -1)
            rows = (part.take(above, axis=-1) - part.take(below, axis=-1)) * math.sqrt(0.5)
            out[:, at] = rows.swapaxes(0, 1)

        for qubit in range(qubits):
            cut = self._start.reshape(self.starts, -1, 2, 2**qubit, states)
            zero, one = (cut[:, :, bit].reshape(1, self.starts, -1, states) for bit in (0, 1))
            put(slice(qubit, qubit + 1), zero, one)
        for chunk in self._chunks():
            cut = self._prefix[chunk].reshape(-1, self.starts, 2, 2, states // 4, states)
            for which in (0, 1):
                zero, one = (_half(cut, which, bit) for bit in (0, 1))
                first = qubits + 2 * chunk.start + which
                put(slice(first, qubits + 2 * chunk.stop, 2), zero, one)
        return out

    def _derivatives(self) -> np.ndarray:
        qubits, states, inside = self.template.qubits, self.states, self.rows * self.columns
        pulled, first = self._pull()
        out = np.empty((self.starts, self.template.size, inside + (self._seen - self.rows) * self.kept))

        def put(at: slice, x: tuple[np.ndarray, ...], w: tuple[np.ndarray, ...]) -> None:
            rows = _turned(x, tuple(side[..., : self.rows] for side in w))
            out[:, at, :inside] = rows.swapaxes(0, 1)
            if self.kept:
                whole = tuple(side[..., : self.kept] for side in x)
                below = _turned(whole, tuple(side[..., self.rows :] for side in w))
                out[:, at, inside:] = below.swapaxes(0, 1)

        for qubit in range(qubits):
            x, w = (
                tuple(
                    side.reshape(self.starts, -1, 2, 2**qubit, side.shape[-1])[:, :, bit].reshape(
                        1, self.starts, states // 2, side.shape[-1]
                    )
                    for bit in (0, 1)
                )
                for side in (self._start, first)
            )
            put(slice(qubit, qubit + 1), x, w)
        for chunk in self._chunks():
            x_cut = self._prefix[chunk].reshape(-1, self.starts, 2, 2, states // 4, self.columns)
            w_cut = pulled[chunk].reshape(-1, self.starts, 2, 2, states // 4, self._seen)
            for which in (0, 1):
                x = tuple(_half(x_cut, which, bit) for bit in (0, 1))
                w = tuple(_half(w_cut, which, bit) for bit in (0, 1))
                put(slice(qubits + 2 * chunk.start + which, qubits + 2 * chunk.stop, 2), x, w)
        return out

    def _pull(self) -> tuple[np.ndarray, np.ndarray]:
        """The rows seen, pulled back to after each block [blocks, starts, states, seen] and to the first layer."""
        pulled = np.empty((len(self._matrices), self.starts, self.states, self._seen))
        now = np.zeros((self.starts, self.states, self._seen))
        now[:, self._last[: self._seen], np.arange(self._seen)] = 1
        for block in range(len(self._matrices) - 1, -1, -1):
            pulled[block] = now
            before = self._matrices[block].swapaxes(-1, -2) @ now.reshape(self.starts, 4, -1)
            now = before.reshape(now.shape).take(self._back[block], axis=1)
        return pulled, now

    def _chunks(self) -> list[slice]:
        blocks = len(self._matrices)
        step = max(1, _CHUNK_FLOATS // (self.starts * self.states * self.columns))
        return [slice(at, min(at + step, blocks)) for at in range(0, blocks, step)]


def _half(cut: np.ndarray, which: int, bit: int) -> np.ndarray:
    """The states whose control (which 0) or target (1) bit is ``bit``, of [blocks, starts, 2, 2, rest, columns]."""
    part: np.ndarray = cut[:, :, bit] if which == 0 else cut[:, :, :, bit]
    return part.reshape(*cut.shape[:2], -1, cut.shape[-1])


def _turned(x: tuple[np.ndarray, ...], w: tuple[np.ndarray, ...]) -> np.ndarray:
    """``w' Y x / 2`` with Y = [[0, -1], [1, 0]] on one bit, whose halves are given; flat in its last axis."""
    out: np.ndarray = w[1].swapaxes(-1, -2) @ x[0]
    out -= w[0].swapaxes(-1, -2) @ x[1]
    out *= 0.5
    return out.reshape(*out.shape[:2], -1)
