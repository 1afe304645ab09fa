"""Diagonal, banded and other matrices whose entries lie on few diagonals ``i xor j = k``.

A register is prepared with the share that each diagonal has, the entries are rotations of one more qubit controlled
by the register and the column, and the column's number becomes the row's by flips of its bits that the register
controls; the register's preparation is undone. A diagonal takes at most one CX for each column, and less where its
entries repeat; alpha is the sum of the diagonals' largest entries, so for a diagonal matrix the spectral norm.

Source: Childs, Wiebe, linear combinations of unitaries (2012). Flips as RY(pi) stay real; the entries take
their signs.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from accelc.targets.quantum_circuit.circuit import Circuit, Gate, inverse
from accelc.targets.quantum_circuit.encode.base import EXACT, BlockEncoding, Job, Prediction, bits
from accelc.targets.quantum_circuit.encode.multiplexed import multiplexed_ry, rotations_at
from accelc.targets.quantum_circuit.encode.state_tree import tree, tree_gates
from accelc.targets.quantum_circuit.encode.walsh import interpolated

_MOST_SHARE = 0.5  # of all diagonals: with more of them other methods are smaller


@dataclass(frozen=True)
class XorDiagonals:
    """Few diagonals, each a multiplexed rotation."""

    name: str = "diagonals"

    def predict(self, job: Job) -> Prediction | None:
        """One CX for each Walsh coefficient of the entries' angles, and the register's."""
        found = _plan(job)
        if found is None:
            return None
        chosen, entries = found
        largest = np.max(np.abs(entries), axis=1)
        masks, _ = _angles(entries, largest)
        register = 2 ** bits(len(chosen))
        flips = max(job.row_bits, job.column_bits) * (register if register > 1 else 0)
        return Prediction(len(masks) + 2 * (register - 1) + flips, float(largest.sum()), 1e-4 * len(masks))

    def encode(self, job: Job) -> BlockEncoding | None:
        """The encoding; its error is that of the diagonals left out."""
        found = _plan(job)
        if found is None:
            return None
        chosen, entries = found
        data = max(job.row_bits, job.column_bits)
        register = range(data, data + bits(len(chosen)))
        ancilla = data + len(register)
        largest = np.max(np.abs(entries), axis=1)
        share = tree_gates(tree(np.sqrt(largest / largest.sum())[:, None], list(register), ()))
        flips: list[Gate] = []
        for bit in range(data):
            turned = np.zeros(1 << len(register))
            turned[: len(chosen)] = math.pi * ((chosen >> bit) & 1)
            flips += multiplexed_ry(turned, bit, register)
        masks, values = _angles(entries, largest)
        controls = (*range(job.column_bits), *register)
        middle = rotations_at(masks, values, ancilla, controls, is_zero_before=True, is_zero_after=True)
        gates = (*share, *middle, *flips, *inverse(share))
        return BlockEncoding(
            (job.matrix.shape[0], job.matrix.shape[1]),
            Circuit(ancilla + 1, gates),
            tuple(range(job.row_bits)),
            tuple(range(job.column_bits)),
            float(largest.sum()),
            self.name,
        )


def _plan(job: Job) -> tuple[np.ndarray, np.ndarray] | None:
    """The diagonals needed within the error, int64 [T], and their entries by column [T, N]; None if they are many.

    The entries have the signs that make up for those of the flips.
    """
    rows, columns = np.nonzero(job.matrix)
    values = job.matrix[rows, columns]
    kinds, which = np.unique(rows ^ columns, return_inverse=True)
    squares = np.bincount(which, weights=values**2)
    order = np.argsort(squares)
    allowed = (0.99 * job.max_error) ** 2 if job.max_error > EXACT else 0.0
    dropped = int(np.count_nonzero(np.cumsum(squares[order]) <= allowed * squares.sum()))
    kept = np.sort(order[dropped:])
    most = max(1.0, _MOST_SHARE * 2 ** max(job.row_bits, job.column_bits))
    if len(kept) > most:
        return None
    place = np.full(len(kinds), -1)
    place[kept] = np.arange(len(kept))
    is_kept = place[which] >= 0
    entries = np.zeros((len(kept), job.matrix.shape[1]))
    entries[place[which[is_kept]], columns[is_kept]] = values[is_kept]
    # RY(pi) takes |1> to -|0>: a sign for each bit that is 1 in the column and flipped.
    turned = np.bitwise_count(kinds[kept][:, None] & np.arange(entries.shape[1])[None, :]) & 1
    return kinds[kept], np.where(turned, -entries, entries)


def _angles(entries: np.ndarray, largest: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Masks and values of the rotations whose cosines of half the angle are the entries over their largest."""
    return interpolated(2 * np.arccos(np.clip(entries / largest[:, None], -1.0, 1.0)))
