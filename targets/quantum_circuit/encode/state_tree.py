"""States prepared by trees of multiplexed rotations, for many columns at once.

Source: Mottonen, Vartiainen, Bergholm, Salomaa, "Transformation of quantum states using uniformly controlled
rotations" (2004).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from accelc.targets.quantum_circuit.circuit import Gate
from accelc.targets.quantum_circuit.encode.multiplexed import rotations_at
from accelc.targets.quantum_circuit.encode.walsh import angles_of_masks, interpolated


@dataclass(frozen=True)
class Level:
    """One multiplexed rotation: ``target`` by ``sum_k (-1)**popcount(i & masks[k]) * values[k]``."""

    masks: np.ndarray
    values: np.ndarray
    target: int
    controls: tuple[int, ...]

    def angles(self) -> np.ndarray:
        """One for each state of the controls."""
        return angles_of_masks(self.masks, self.values, len(self.controls))

    def above(self, least: float) -> Level:
        """Only the values of at least that magnitude."""
        kept = np.abs(self.values) >= least
        return Level(self.masks[kept], self.values[kept], self.target, self.controls)


def tree(matrix: np.ndarray, qubits: list[int], controls: Sequence[int]) -> list[Level]:
    """Rotations that take |0> on ``qubits`` to the normalised column of the matrix [M, N] that ``controls`` hold.

    Top bit first. A rotation's angle is that of the norms of the two halves below, signed at the leaves; branches
    that no row lies in need no rotation, those of columns of zeros take 0.
    """
    levels = []
    nodes = matrix
    for target in qubits:
        if len(nodes) % 2:
            nodes = np.concatenate([nodes, np.zeros((1, nodes.shape[1]))])
        first, second = nodes[0::2], nodes[1::2]
        above = tuple(qubits[qubits.index(target) + 1 :])
        masks, values = interpolated(2 * np.arctan2(second, first))
        levels.append(Level(masks, values, target, (*controls, *above)))
        nodes = np.hypot(first, second)
    return levels[::-1]


def tree_gates(levels: Sequence[Level]) -> tuple[Gate, ...]:
    """The gates of a tree whose qubits are |0> before."""
    gates: list[Gate] = []
    for level in levels:
        gates += rotations_at(level.masks, level.values, level.target, level.controls, is_zero_before=True)
    return tuple(gates)


def amplitudes(levels: list[Level], start: np.ndarray) -> np.ndarray:
    """Split each row of ``start`` [P, N] in two, level by level: [P * 2**levels, N]."""
    found = start
    for level in levels:
        half = level.angles().reshape(found.shape) / 2
        found = np.stack([np.cos(half) * found, np.sin(half) * found], axis=1).reshape(-1, start.shape[1])
    return found
