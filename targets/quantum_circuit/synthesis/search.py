"""How many blocks a template needs for a matrix: from the least that can do, upwards."""

from __future__ import annotations

import math
import time

import numpy as np

from accelc.targets.quantum_circuit.synthesis.levenberg import Effort, Fitted, fit
from accelc.targets.quantum_circuit.synthesis.products import KEPT
from accelc.targets.quantum_circuit.synthesis.template import blocks_for, round_robin

# Free numbers of the largest matrix for which several starts are stepped together: larger ones fill the cores alone.
_SMALL = 200


def equations(matrix: np.ndarray, qubits: int) -> int:
    """How many conditions an orthogonal matrix on ``qubits`` meets if ``matrix`` [M, N] is its leading block.

    M * N in general; k singular values of 1 say all about the images of k vectors, also below the block.
    """
    values = np.linalg.svd(matrix, compute_uv=False)
    kept = int(np.count_nonzero(values > 1 - KEPT))
    rows, columns = matrix.shape
    return int(kept * 2**qubits - kept * (kept + 1) // 2 + (rows - kept) * (columns - kept))


def effort_for(size: int, max_error: float, deadline: float, draws: int) -> Effort:
    """An effort whose starts in step suit templates of ``size`` angles."""
    starts = max(1, min(8, _SMALL // max(1, size)))
    return Effort(max_error, deadline, draws=max(draws, starts), starts=starts)


def upward(
    target: np.ndarray,
    qubits: int,
    max_error: float,
    deadline: float,
    rng: np.random.Generator,
    step: int = 1,
) -> Fitted | None:
    """The first template of the round-robin kind that reaches the error, trying one block more each time.

    Args:
        target: float64 [M, N], the leading block.
        qubits: Of the circuit.
        max_error: Relative Frobenius error.
        deadline: On the clock of ``time.monotonic``.
        rng: Draws the starts.
        step: Blocks added at least each time.
    """
    blocks = blocks_for(equations(target, qubits), qubits)
    if qubits == 2 and step == 2 and (np.linalg.slogdet(target)[0] < 0) != blocks % 2:
        blocks += 1
    while True:
        template = round_robin(qubits, blocks)
        found = fit(template, target, effort_for(template.size, max_error, deadline, draws=8), rng)
        if found.error <= max_error:
            return found
        if time.monotonic() > deadline or qubits < 2:
            return None
        blocks += max(step, math.ceil(blocks / 100))
