"""Reversible circuits on all inputs at once: one uint64 word holds a qubit's value for 64 of them."""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np

from accelc.errors import LimitError, UsageError
from accelc.targets.quantum_circuit.circuit import Gate

MAX_INPUTS = 22
"""Most input bits that are tried exhaustively."""

_WORD_BITS = 6
_MAX_BYTES = 1 << 31


def all_inputs(inputs: int) -> np.ndarray:
    """Words uint64 [inputs, words] of every assignment; input i of assignment k is bit i of k.

    Raises:
        LimitError: More than ``MAX_INPUTS`` bits.
    """
    if inputs > MAX_INPUTS:
        raise LimitError(
            f"the model has {inputs} input bits",
            why=f"all inputs are tried, up to 2**{MAX_INPUTS} of them",
            fix="cut the model or fix some of its inputs",
        )
    words = 1 << max(0, inputs - _WORD_BITS)
    out = np.empty((inputs, words), np.uint64)
    position = np.arange(words, dtype=np.uint64)
    for i in range(inputs):
        if i < _WORD_BITS:
            out[i] = np.uint64(sum(1 << k for k in range(64) if k >> i & 1))
        else:
            out[i] = -(position >> np.uint64(i - _WORD_BITS) & np.uint64(1))
    return out


def run(gates: Iterable[Gate], qubits: int, inputs: int) -> np.ndarray:
    """Words uint64 [qubits, words] after the gates, for every assignment of the first qubits, the others 0.

    Raises:
        LimitError: Too many inputs, or the words do not fit 2 GiB.
        UsageError: A gate that is not x, cx or ccx.
    """
    given = all_inputs(inputs)
    if qubits * given.shape[1] * 8 > _MAX_BYTES:
        raise LimitError(f"{qubits} qubits on 2**{inputs} inputs do not fit {_MAX_BYTES >> 30} GiB")
    state = np.zeros((qubits, given.shape[1]), np.uint64)
    state[:inputs] = given
    ones = np.uint64(2**64 - 1)
    for gate in gates:
        if gate.name == "cx":
            state[gate.target] ^= state[gate.qubits[0]]
        elif gate.name == "ccx":
            state[gate.target] ^= state[gate.qubits[0]] & state[gate.qubits[1]]
        elif gate.name == "x":
            state[gate.target] ^= ones
        else:
            raise UsageError(f"gate {gate.name} is not classical")
    return state


def unpack(words: np.ndarray, inputs: int) -> np.ndarray:
    """Truth values bool [..., 2**inputs] of words uint64 [..., words]."""
    flat = np.ascontiguousarray(words).astype("<u8", copy=False).view(np.uint8)
    return np.unpackbits(flat, axis=-1, bitorder="little")[..., : 1 << inputs].astype(bool)
