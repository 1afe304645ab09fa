"""Matrices and states in gates between coupled qubits only, so that a device needs no swaps to run them.

Routing a circuit made for coupled pairs anywhere costs a multiple of its CX on a device with few couplings. A template
along the device's own couplings has almost as many free angles for each CX, and fits the matrix as it is.
"""

from __future__ import annotations

import math
import time
from collections.abc import Sequence

import numpy as np

from accelc.errors import LimitError, UsageError
from accelc.targets.quantum_circuit.circuit import Circuit
from accelc.targets.quantum_circuit.devices import Device, Edges
from accelc.targets.quantum_circuit.encode.base import BlockEncoding, bits
from accelc.targets.quantum_circuit.synthesis.levenberg import fit
from accelc.targets.quantum_circuit.synthesis.search import effort_for, equations
from accelc.targets.quantum_circuit.synthesis.template import Template, blocks_for

_DRAWS = 16


def neighbourhood(onto: Device, qubits: int) -> Edges:
    """Couplings of ``qubits`` qubits of a device that hang together, numbered from 0; the first k also do, for any k.

    Of the sets found by going out from every qubit: the one with most couplings, then the least star-shaped.

    Raises:
        UsageError: The device has no so many qubits that hang together.
    """
    beside: dict[int, list[int]] = {qubit: [] for qubit in range(onto.qubits)}
    for a, b in onto.edges:
        beside[a].append(b)
        beside[b].append(a)
    best: Edges | None = None
    for start in beside:
        found = _outwards(beside, start, qubits)
        if found is not None and (best is None or _rank(found, qubits) < _rank(best, qubits)):
            best = found
    if best is None:
        raise UsageError(
            f"device {onto.name} has no {qubits} qubits that hang together",
            why=f"it has {onto.qubits} qubits",
        )
    return best


def encode_native(
    matrix: np.ndarray,
    onto: Device,
    *,
    beside: int = 0,
    max_error: float = 1e-9,
    time_limit_s: float = 120.0,
    seed: int = 0,
) -> BlockEncoding:
    """The block encoding of a matrix with the spectral norm as alpha and CX on couplings of the device only.

    Rows and columns are on the lowest qubits. For small layers: the time grows with the sixth power of the side.

    Args:
        matrix: Real [M, N], finite, not all zero.
        onto: The device.
        beside: Further qubits that are to hang together with those of the circuit, for other purposes.
        max_error: Relative error allowed, in the Frobenius norm.
        time_limit_s: After it the search ends.
        seed: Same seed, same circuit.

    Raises:
        UsageError: The matrix is no such one, or the device is too small.
        LimitError: The error was not reached in time.
    """
    wanted = np.asarray(matrix, dtype=np.float64)
    if wanted.ndim != 2 or not np.isfinite(wanted).all() or not wanted.any():
        raise UsageError(
            "only a matrix of finite numbers, not all zero, can be encoded", why=f"shape {wanted.shape}"
        )
    rows, columns = wanted.shape
    values = np.linalg.svd(wanted, compute_uv=False)
    norm = float(values[0])
    whole = int((values > norm * (1 - 1e-10)).sum())
    qubits = max(1, bits(max(rows, columns)), bits(rows + columns - whole))
    couplings = _within(neighbourhood(onto, qubits + beside), qubits)
    circuit = _fitted(wanted / norm, couplings, qubits, max_error, time_limit_s, seed)
    return BlockEncoding(
        (rows, columns), circuit, tuple(range(bits(rows))), tuple(range(bits(columns))), norm, "native"
    )


def prepare_native(
    vector: np.ndarray, onto: Edges, *, max_error: float = 1e-9, time_limit_s: float = 30.0, seed: int = 0
) -> Circuit:
    """As ``amplitudes.prepare``, with CX on the couplings ``onto`` of the lowest qubits only.

    Raises:
        UsageError: The vector is no state.
        LimitError: The error was not reached in time.
    """
    given = np.asarray(vector, dtype=np.float64)
    if given.ndim != 1 or not np.isfinite(given).all() or not given.any():
        raise UsageError(
            "only a vector of finite numbers, not all zero, is a state", why=f"shape {given.shape}"
        )
    qubits = max(1, bits(given.size))
    column = (given / np.linalg.norm(given))[:, None]
    return _fitted(column, _within(onto, qubits), qubits, max_error, time_limit_s, seed)


def _within(edges: Edges, qubits: int) -> Edges:
    return tuple(edge for edge in edges if max(edge) < qubits)


def _fitted(
    target: np.ndarray, onto: Edges, qubits: int, max_error: float, time_limit_s: float, seed: int
) -> Circuit:
    """The first template along the couplings that reaches the error, from the least number of blocks upwards."""
    rng = np.random.default_rng(seed)
    deadline = time.monotonic() + time_limit_s
    rounds = _rounds(onto)
    blocks = blocks_for(equations(target, qubits), qubits)
    while True:
        pairs = tuple(rounds[k % len(rounds)] for k in range(blocks)) if rounds else ()
        template = Template(qubits, pairs)
        found = fit(template, target, effort_for(template.size, max_error, deadline, _DRAWS), rng)
        if found.error <= max_error:
            return found.circuit()
        if time.monotonic() > deadline or not rounds:
            raise LimitError(
                "no circuit along the device's couplings was found",
                why=f"error {found.error:.1e} with {blocks} CX after {time_limit_s:.0f} s, above {max_error:.1e}",
                fix="allow a larger error, or encode the matrix and let the router add swaps",
            )
        blocks += max(1, math.ceil(blocks / 100))


def _outwards(beside: dict[int, list[int]], start: int, qubits: int) -> Edges | None:
    """Couplings among the first ``qubits`` qubits met going out from ``start`` in breadth; None if there are fewer."""
    number = {start: 0}
    waiting = [start]
    for qubit in waiting:
        for other in beside[qubit]:
            if other not in number and len(number) < qubits:
                number[other] = len(number)
                waiting.append(other)
    if len(number) < qubits:
        return None
    return tuple(
        sorted(
            (number[a], number[b]) for a in number for b in beside[a] if b in number and number[a] < number[b]
        )
    )


def _rank(edges: Edges, qubits: int) -> tuple[int, int]:
    degrees = [0] * qubits
    for a, b in edges:
        degrees[a] += 1
        degrees[b] += 1
    return -len(edges), max(degrees, default=0)


def _rounds(edges: Sequence[tuple[int, int]]) -> Edges:
    """The couplings in an order in which neighbours are disjoint as far as possible, so that gates act at once."""
    waiting, out = list(edges), []
    while waiting:
        used: set[int] = set()
        for edge in list(waiting):
            if not used & set(edge):
                used |= set(edge)
                out.append(edge)
                waiting.remove(edge)
    return tuple(out)
