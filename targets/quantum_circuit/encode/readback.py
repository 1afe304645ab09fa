"""The block of a circuit's unitary, read by running the circuit on every column.

A run of RY and CX gates with one target acts as one rotation whose angle depends on the controls: such runs, of which
multiplexed rotations are made, are applied at once.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any

import numpy as np

from accelc.targets.quantum_circuit.circuit import Circuit, Gate
from accelc.targets.quantum_circuit.encode.walsh import angles_of_masks

_CHUNK_BYTES = 1 << 24  # of states held at a time: larger ones leave the caches
_MOST_WORK = 1 << 33  # amplitudes times steps: about half a minute
_PROBES = 12


def read_block(
    circuit: Circuit, row_qubits: tuple[int, ...], column_qubits: tuple[int, ...], shape: tuple[int, int]
) -> np.ndarray:
    """Amplitudes ``<i|U|j>``, every qubit but those of the row and the column 0; float64 [M, N].

    Raises:
        ArithmeticError: They are not real.
    """
    if shape[0] < shape[1]:  # fewer states: the block is real, so that of the inverse is its transpose
        return read_block(circuit.inverse(), column_qubits, row_qubits, (shape[1], shape[0])).T
    rows, columns = _places(row_qubits, shape[0]), _places(column_qubits, shape[1])
    out = np.empty(shape)
    width = max(1, _CHUNK_BYTES // (16 << circuit.qubits))
    steps = list(_steps(circuit.gates))
    is_real = all(gate.name not in ("rx", "rz") for gate in circuit.gates)
    for first in range(0, shape[1], width):
        chunk = columns[first : first + width]
        state = np.zeros((1 << circuit.qubits, len(chunk)), dtype=np.float64 if is_real else np.complex128)
        state[chunk, np.arange(len(chunk))] = 1.0
        for step in steps:
            state = _apply(state, step, circuit.qubits)
        found = state[rows]
        if not is_real and np.max(np.abs(found.imag), initial=0.0) > 1e-7:
            raise ArithmeticError("the block of the circuit is not real")
        out[:, first : first + width] = found.real
    return out


def estimated_error(
    circuit: Circuit, row_qubits: tuple[int, ...], column_qubits: tuple[int, ...], wanted: np.ndarray
) -> float | None:
    """Relative Frobenius error of the block against ``wanted`` [M, N] from random sums of columns.

    The squared length of the difference's product with a vector of random signs has the squared Frobenius norm as
    its mean (Hutchinson's estimate). The vectors are the same each time.

    Returns:
        The root of the mean over the vectors, with a margin of a half; None where all columns are read in seconds.
    """
    steps = list(_steps(circuit.gates))
    if len(steps) * (wanted.shape[1] << circuit.qubits) < _MOST_WORK:
        return None
    signs = np.random.default_rng(0).choice([-1.0, 1.0], (wanted.shape[1], _PROBES))
    state = np.zeros((1 << circuit.qubits, _PROBES))
    state[_places(column_qubits, wanted.shape[1])] = signs
    is_real = all(gate.name not in ("rx", "rz") for gate in circuit.gates)
    state = state if is_real else state.astype(np.complex128)
    for step in steps:
        state = _apply(state, step, circuit.qubits)
    missing = np.abs(state[_places(row_qubits, wanted.shape[0])] - wanted @ signs)
    mean = float(np.sum(missing**2)) / _PROBES
    return 1.5 * float(np.sqrt(mean)) / float(np.linalg.norm(wanted))


def _places(qubits: tuple[int, ...], count: int) -> np.ndarray:
    """Numbers of the basis states that hold 0 to ``count - 1`` on ``qubits``."""
    numbers = np.arange(count)
    places = np.zeros(count, dtype=np.int64)
    for bit, qubit in enumerate(qubits):
        places |= ((numbers >> bit) & 1) << qubit
    return places


def _steps(gates: Iterable[Gate]) -> Iterator[list[Gate]]:
    """Gates in runs: RY and CX with one target together, every other gate alone."""
    run: list[Gate] = []
    for gate in gates:
        can_join = gate.name in ("ry", "cx")
        if run and not (can_join and gate.target == run[0].target):
            yield run
            run = []
        if can_join:
            run.append(gate)
        else:
            yield [gate]
    if run:
        yield run


def _apply(state: np.ndarray, run: list[Gate], qubits: int) -> np.ndarray:
    if len(run) < 4:
        return Circuit(qubits, tuple(run)).apply(state)
    target = run[0].target
    controls = sorted({qubit for gate in run for qubit in gate.qubits[:-1]})
    masks, angles, mask = [], [], 0
    for gate in run:
        if gate.name == "cx":
            mask ^= 1 << controls.index(gate.qubits[0])
        else:
            masks.append(mask)
            angles.append(gate.angle)
    half = angles_of_masks(np.array(masks, dtype=np.int64), np.array(angles), len(controls)) / 2
    flips = np.bitwise_count(np.arange(1 << len(controls)) & mask) & 1
    # X RY(t) X = RY(-t): with the flips undone at the end, every rotation before an odd number of flips is turned.
    return _rotate(state, half, flips.astype(bool), target, controls, qubits)


def _rotate(
    state: np.ndarray, half: np.ndarray, flips: np.ndarray, target: int, controls: list[int], qubits: int
) -> np.ndarray:
    """Rotate ``target`` by ``2 * half`` of the controls' number, then flip it where ``flips`` of that number."""
    cube = state.reshape((2,) * qubits + (-1,))
    shape = [1] * (qubits + 1)
    for control in controls:
        shape[qubits - 1 - control] = 2
    at: list[Any] = [slice(None)] * (qubits + 1)
    axis = qubits - 1 - target
    at[axis] = slice(0, 1)
    zero = cube[tuple(at)]
    at[axis] = slice(1, 2)
    one = cube[tuple(at)]
    cos, sin = np.cos(half).reshape(shape), np.sin(half).reshape(shape)
    swap = flips.reshape(shape)
    low, high = cos * zero - sin * one, sin * zero + cos * one
    out = np.concatenate([np.where(swap, high, low), np.where(swap, low, high)], axis=axis)
    return np.ascontiguousarray(out).reshape(state.shape)
