"""Pruned matrices in the Hadamard basis: about one rotation for each entry that is not 0.

Between Hadamard gates on rows and columns the entries' place is a Walsh coefficient's mask: of the transformed matrix,
spread over all entries and small, the arc sine is nearly linear, so its Walsh coefficients are nearly the entries
of the matrix itself. What the arc sine bends is made up for by fitting the coefficients that are kept; a smaller alpha
bends more and needs more coefficients, so several are tried. The kept masks are visited on a short path.

Source: Kuklinski, Rempfer, "S-FABLE and LS-FABLE: fast approximate block-encoding algorithms for unstructured sparse
matrices" (2024); the fit, the choice of alpha and the path are ours.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from accelc.targets.quantum_circuit.circuit import Circuit
from accelc.targets.quantum_circuit.encode.base import EXACT, BlockEncoding, Job, Prediction, padded
from accelc.targets.quantum_circuit.encode.compress import fewest, largest
from accelc.targets.quantum_circuit.encode.fable import hadamards
from accelc.targets.quantum_circuit.encode.multiplexed import rotations_at
from accelc.targets.quantum_circuit.encode.walsh import transform

_SCALES = np.geomspace(0.35, 4.0, 16)  # of the largest transformed entry: below 1 some are clipped
_ROUNDS = 30  # of fitting
_PATH = 1.6  # CX for each kept mask, as scattered masks need; measured on random ones


@dataclass(frozen=True)
class SparseInHadamardBasis:
    """Rotations at the masks of the entries; needs an error budget, since the arc sine is never sparse."""

    name: str = "sparse"

    def predict(self, job: Job) -> Prediction | None:
        """``1.6`` CX for each entry above the error's share; alpha about three times the Frobenius norm."""
        if job.max_error <= EXACT:
            return None
        kept = _entries_kept(job)
        sides = job.row_bits + job.column_bits
        cx = min(_PATH * kept, 2.0**sides)
        return Prediction(cx, 2.5 * float(np.linalg.norm(job.matrix)), 1e-4 * 2.0**sides + 1e-7 * kept**2)

    def encode(self, job: Job) -> BlockEncoding | None:
        """The encoding with the least product of rotations and alpha over the scales tried."""
        if job.max_error <= EXACT:
            return None
        rows, columns = 1 << job.row_bits, 1 << job.column_bits
        spread = transform(transform(padded(job.matrix, rows, columns)).T).T.ravel() / math.sqrt(
            rows * columns
        )
        top = float(np.max(np.abs(spread)))
        best: tuple[float, float, np.ndarray, np.ndarray] | None = None
        for share in _SCALES[::-1]:
            if best is not None and job.seconds_left == 0.0:
                break
            found = _fitted(spread / (share * top), job.max_error * (1 - 1e-9))
            if found is None:
                break  # smaller ones clip still more
            cost = len(found[0]) * share
            if best is None or cost < best[0]:
                best = cost, share * top, *found
        return None if best is None else self._emit(job, best[1], best[2], best[3])

    def _emit(self, job: Job, scale: float, masks: np.ndarray, values: np.ndarray) -> BlockEncoding:
        columns, rows = range(job.column_bits), range(job.column_bits, job.column_bits + job.row_bits)
        ancilla = job.column_bits + job.row_bits
        # cos(pi / 2 - s) = sin(s): a right angle more at the empty mask.
        all_masks = np.union1d(masks, [0])
        angles = np.zeros(len(all_masks))
        angles[np.searchsorted(all_masks, masks)] = -2 * values
        angles[0] += math.pi
        middle = rotations_at(
            all_masks, angles, ancilla, (*columns, *rows), is_zero_before=True, is_zero_after=True
        )
        gates = (*hadamards((*columns, *rows)), *middle, *hadamards((*columns, *rows)))
        return BlockEncoding(
            (job.matrix.shape[0], job.matrix.shape[1]),
            Circuit(ancilla + 1, gates),
            tuple(rows),
            tuple(columns),
            math.sqrt(2.0 ** (job.row_bits + job.column_bits)) * scale,
            self.name,
        )


def _entries_kept(job: Job) -> int:
    """Entries, largest first, whose absence of the rest stays within the error."""
    squares = np.sort(job.matrix.ravel() ** 2)
    return job.matrix.size - int(
        np.searchsorted(np.cumsum(squares), job.max_error**2 * squares.sum(), side="right")
    )


def _fitted(wanted: np.ndarray, allowed: float) -> tuple[np.ndarray, np.ndarray] | None:
    """The fewest Walsh coefficients whose sine is ``wanted`` [K] within the error: masks and values."""
    full = transform(np.arcsin(np.clip(wanted, -1.0, 1.0))) / len(wanted)
    norm = float(np.linalg.norm(wanted))
    fits: dict[int, tuple[np.ndarray, np.ndarray]] = {}

    def error_of(count: int) -> float:
        masks = largest(full, count)
        kept = np.zeros_like(full)
        kept[masks] = full[masks]
        best = math.inf
        for _ in range(_ROUNDS):
            missing = wanted - np.sin(transform(kept))
            error = float(np.linalg.norm(missing)) / norm
            if error < best:
                best, fits[count] = error, (masks, kept[masks])
            if error <= allowed:
                break
            kept[masks] += (transform(missing) / len(wanted))[masks]
        return best

    count = fewest(error_of, len(full), allowed)
    return None if count is None else fits[count]
