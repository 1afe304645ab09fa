"""Uniformly controlled RY rotations as RY and CX gates.

Source: Mottonen, Vartiainen, Bergholm, Salomaa, "Quantum circuits for general multiqubit gates" (2004): the angles'
Walsh coefficients become RY gates, visited so that the parities of controls between them differ in few bits.
Here the visit is any path through the coefficients that are kept, and where the target is known to be |0> before
or after, the path need not start or end at the empty parity: a flip's sign then acts on |0> alone.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np

from accelc.targets.quantum_circuit.circuit import Gate
from accelc.targets.quantum_circuit.encode.tour import path_through
from accelc.targets.quantum_circuit.encode.walsh import coefficients

_NOTHING = 1e-14  # radians: an angle that no amplitude in float64 can tell from 0


def multiplexed_ry(
    angles: np.ndarray,
    target: int,
    controls: Sequence[int],
    *,
    is_zero_before: bool = False,
    is_zero_after: bool = False,
) -> tuple[Gate, ...]:
    """Rotate ``target`` about Y by ``angles[i]`` where the controls hold ``i``.

    Args:
        angles: float64 [2**k], in radians.
        target: The qubit rotated.
        controls: k qubits; the first is the least significant bit of ``i``.
        is_zero_before: The target is known to be |0> before.
        is_zero_after: Only the part with the target in |0> after matters.
    """
    found = coefficients(np.asarray(angles, dtype=np.float64))
    masks = np.flatnonzero(np.abs(found) > _NOTHING)
    return rotations_at(
        masks, found[masks], target, controls, is_zero_before=is_zero_before, is_zero_after=is_zero_after
    )


def rotations_at(
    masks: np.ndarray,
    values: np.ndarray,
    target: int,
    controls: Sequence[int],
    *,
    is_zero_before: bool = False,
    is_zero_after: bool = False,
    order: np.ndarray | None = None,
) -> tuple[Gate, ...]:
    """Rotate ``target`` by ``sum_k (-1)**popcount(i & masks[k]) * values[k]`` where the controls hold ``i``.

    Shapes: masks int [K], all different; values float64 [K]; order int [K], of the visit, else a short one is sought.
    The rest as in :func:`multiplexed_ry`.
    """
    if not len(masks):
        return ()
    if order is None:
        order = path_through(masks, len(controls), is_open_start=is_zero_before, is_open_end=is_zero_after)
    turned = math.pi / 2 if is_zero_before or is_zero_after else 0.0
    # RY(pi/2) takes Z to X: in the turned frame CX flips the sign of |1> and so leaves |0> alone.
    angles = np.asarray(values, dtype=np.float64)[order]
    mask = int(masks[order[0]]) if is_zero_before else 0
    gates: list[Gate] = [Gate("ry", (target,), turned)] if turned else []
    for place, angle in zip(order, angles, strict=True):
        gates += _flips(mask ^ int(masks[place]), target, controls)
        gates.append(Gate("ry", (target,), float(angle)))
        mask = int(masks[place])
    if not is_zero_after:
        gates += _flips(mask, target, controls)
    if turned:
        gates.append(Gate("ry", (target,), -turned))
    return merged_rotations(gates)


def _flips(mask: int, target: int, controls: Sequence[int]) -> list[Gate]:
    return [Gate("cx", (control, target)) for bit, control in enumerate(controls) if mask >> bit & 1]


def merged_rotations(gates: Sequence[Gate]) -> tuple[Gate, ...]:
    """The gates with RY gates that follow one another on a qubit made one. One walk."""
    kept: list[Gate] = []
    last: dict[int, int] = {}
    for gate in gates:
        before = last.get(gate.target, -1)
        if gate.name == "ry" and before >= 0 and kept[before].name == "ry":
            kept[before] = Gate("ry", gate.qubits, kept[before].angle + gate.angle)
            continue
        for qubit in gate.qubits:
            last[qubit] = len(kept)
        kept.append(gate)
    return tuple(gate for gate in kept if gate.name != "ry" or abs(gate.angle) > _NOTHING)
