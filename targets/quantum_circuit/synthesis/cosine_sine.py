"""Large orthogonal matrices by halves: real cosine-sine decompositions down to leaves that are found numerically.

A matrix on n qubits is ``(u1 + u2) M (v1 + v2)``: two pairs of matrices chosen by the highest qubit, with rotations
of that qubit between them. Each pair is ``Q B W`` and ``Q B' W`` with the same Q and W on the other qubits and
rotations B of pairs of states, from the real Schur form of ``a b'``. So four matrices of half the size remain.

Source: V. V. Shende, S. S. Bullock, I. L. Markov, "Synthesis of quantum logic circuits" (2006), theorems 13 and 14,
done in real numbers; closing CX and CZ of the multiplexed rotations go into the neighbouring factor (its appendix A).
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence

import numpy as np

from accelc.targets.quantum_circuit.circuit import Gate

# A leaf: an orthogonal matrix of determinant 1 to its gates, or None if they were not found.
Leaf = Callable[[np.ndarray], tuple[Gate, ...] | None]


def by_halves(matrix: np.ndarray, leaf_qubits: int, leaf: Leaf) -> tuple[Gate, ...] | None:
    """Gates of Ry and CX for an orthogonal matrix.

    Args:
        matrix: float64 [2**n, 2**n], of determinant 1.
        leaf_qubits: Matrices on this many qubits (at least 3) are left to ``leaf``.
        leaf: Finds their gates.

    Returns:
        The gates; None if a leaf's were not found. There are ``4**(n - leaf_qubits)`` leaves.
    """
    qubits = len(matrix).bit_length() - 1
    if qubits <= leaf_qubits:
        return leaf(matrix)
    (u1, u2), turns, (v1, v2) = _halves(matrix)
    middle, control = _multiplexed(2 * turns, qubits - 1, range(qubits - 1))
    # The multiplexed rotation with CZ in place of CX is the one with CX, between Ry(pi / 2) and Ry(-pi / 2). Its
    # closing CZ is diagonal: a sign on half the states of the second matrix.
    first, last = middle[0], middle[-1]
    middle[0] = Gate("ry", first.qubits, first.angle + math.pi / 2)
    middle[-1] = Gate("ry", last.qubits, last.angle - math.pi / 2)
    u2 = u2 * np.where((np.arange(len(u2)) >> control) & 1, -1.0, 1.0)
    before = _pair(v1, v2, leaf_qubits, leaf)
    after = _pair(u1, u2, leaf_qubits, leaf) if before is not None else None
    if before is None or after is None:
        return None
    return (*before, *middle, *after)


def _halves(
    matrix: np.ndarray,
) -> tuple[tuple[np.ndarray, np.ndarray], np.ndarray, tuple[np.ndarray, np.ndarray]]:
    """The cosine-sine decomposition with all four factors of determinant 1; the angles take the signs."""
    from scipy.linalg import cossin

    half = len(matrix) // 2
    (u1, u2), angles, (v1, v2) = cossin(matrix, p=half, q=half, separate=True)
    u1, u2, v1, v2 = (np.array(part) for part in (u1, u2, v1, v2))
    cos, sin = np.cos(angles), np.sin(angles)
    for left, right in ((u1, v1), (u2, v2)):
        if np.linalg.slogdet(left)[0] < 0:
            left[:, 0] *= -1
            right[0] *= -1
            sin[0] *= -1
    if np.linalg.slogdet(v1)[0] < 0:  # then that of v2 is negative too
        v1[0] *= -1
        v2[0] *= -1
        cos[0] *= -1
        sin[0] *= -1
    return (u1, u2), np.arctan2(sin, cos), (v1, v2)


def _pair(a: np.ndarray, b: np.ndarray, leaf_qubits: int, leaf: Leaf) -> tuple[Gate, ...] | None:
    """Gates for ``a`` where the highest qubit is 0 and ``b`` where it is 1."""
    top = len(a).bit_length() - 1
    q, turns = _rotated_pairs(a @ b.T)
    cos, sin = np.cos(turns), np.sin(turns)
    turned = (q.T @ a).reshape(-1, 2, len(a))
    w = np.stack(
        [
            cos[:, None] * turned[:, 0] + sin[:, None] * turned[:, 1],
            cos[:, None] * turned[:, 1] - sin[:, None] * turned[:, 0],
        ],
        1,
    ).reshape(a.shape)
    middle, control = _multiplexed(2 * turns, 0, range(1, top))
    # The closing CX commutes with the one from the highest qubit, and acts on the qubits of q alone.
    states = np.arange(len(q))
    q = q[:, np.where((states >> control) & 1, states ^ 1, states)]
    first = by_halves(w, leaf_qubits, leaf)
    last = by_halves(q, leaf_qubits, leaf) if first is not None else None
    if first is None or last is None:
        return None
    flip = Gate("cx", (top, 0))
    return (*first, flip, *middle, flip, *last)


def _rotated_pairs(product: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Q of determinant 1 and angles [N / 2] with ``product = Q B B Q'``, B turning states 2i and 2i + 1 by angle i."""
    from scipy.linalg import schur

    form, q = schur(product, output="real")
    pairs: list[tuple[int, int, float]] = []
    ones: list[int] = []
    minus_ones: list[int] = []
    at = 0
    while at < len(form):
        if at + 1 < len(form) and form[at + 1, at] != 0:
            pairs.append(
                (
                    at,
                    at + 1,
                    math.atan2(form[at + 1, at] - form[at, at + 1], form[at, at] + form[at + 1, at + 1]),
                )
            )
            at += 2
        else:
            (ones if form[at, at] > 0 else minus_ones).append(at)
            at += 1
    # The determinant is 1 and the size even, so there are even numbers of 1 and of -1.
    pairs += [(*two, 0.0) for two in zip(ones[::2], ones[1::2], strict=True)]
    pairs += [(*two, math.pi) for two in zip(minus_ones[::2], minus_ones[1::2], strict=True)]
    q = q[:, [at for one in pairs for at in one[:2]]]
    turns = np.array([one[2] for one in pairs]) / 2
    if np.linalg.slogdet(q)[0] < 0:
        q[:, [0, 1]] = q[:, [1, 0]]
        turns[0] *= -1
    return q, turns


def _multiplexed(angles: np.ndarray, target: int, controls: Sequence[int]) -> tuple[list[Gate], int]:
    """Ry of ``target`` by ``angles[i]`` where the controls hold i: its gates but the closing CX, and its control.

    Source: M. Mottonen, J. J. Vartiainen, V. Bergholm, M. M. Salomaa (2004): Walsh coefficients in Gray code order.
    """
    found = np.array(angles, np.float64)
    for bit in range(len(controls)):
        cut = found.reshape(-1, 2, 1 << bit)
        found = np.stack([cut[:, 0] + cut[:, 1], cut[:, 0] - cut[:, 1]], 1).reshape(-1) / 2
    gates = []
    for step in range(len(found)):
        if step:
            changed = (step & -step).bit_length() - 1
            gates.append(Gate("cx", (controls[changed], target)))
        gates.append(Gate("ry", (target,), float(found[step ^ (step >> 1)])))
    return gates, controls[-1]
