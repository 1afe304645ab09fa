"""How many blocks a template needs for a matrix: from the least that can do, upwards."""

from __future__ import annotations

import math
import time

import numpy as np

from accelc.targets.quantum_circuit.synthesis.levenberg import TIGHT, Effort, Fitted, fit
from accelc.targets.quantum_circuit.synthesis.products import KEPT
from accelc.targets.quantum_circuit.synthesis.template import blocks_for, round_robin

# Free numbers of the largest matrix for which several starts are stepped together: larger ones fill the cores alone.
_SMALL = 200
# Free numbers from which a fit takes long. A few angles more than there are conditions then spare it the plateaus
# (an SO(64) took 34 steps with 1012 blocks, and 70 to 140 with the 1005 that counting asks for).
_LARGE = 600
_SPARE = 1 / 200
# See :func:`downward`.
_FACTOR, _POWER = 0.8, 1.3


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
    patience, progress = (50, 0.9) if max_error < TIGHT else (8, 0.97) if size < _LARGE else (5, 0.95)
    return Effort(max_error, deadline, max(draws, starts), starts, patience, progress)


def fewest(
    target: np.ndarray, qubits: int, max_error: float, deadline: float, rng: np.random.Generator
) -> Fitted | None:
    """The template of the round-robin kind with the fewest blocks found to reach the error.

    Args:
        target: float64 [M, N], the leading block.
        qubits: Of the circuit.
        max_error: Relative Frobenius error.
        deadline: On the clock of ``time.monotonic``.
        rng: Draws the starts.
    """
    if max_error < TIGHT or qubits < 2:
        return upward(target, qubits, max_error, deadline, rng)
    return downward(target, qubits, max_error, deadline, rng, min(equations(target, qubits), target.size))


def upward(
    target: np.ndarray,
    qubits: int,
    max_error: float,
    deadline: float,
    rng: np.random.Generator,
    step: int = 1,
) -> Fitted | None:
    """The first template that reaches the error, from as many angles as there are conditions upwards.

    Args:
        target: float64 [M, N], the leading block.
        qubits: Of the circuit.
        max_error: Relative Frobenius error.
        deadline: On the clock of ``time.monotonic``.
        rng: Draws the starts.
        step: Blocks added at least each time. With 2 on two qubits the determinant's sign is kept.
    """
    blocks = blocks_for(equations(target, qubits), qubits)
    if qubits == 2 and step == 2 and (np.linalg.slogdet(target)[0] < 0) != blocks % 2:
        blocks += 1  # each CX of two qubits changes the sign of the determinant
    if blocks * 2 > _LARGE:
        blocks += math.ceil(blocks * _SPARE)
    few = _structured(target, qubits, max_error, deadline, rng, range(blocks % step, blocks, step))
    if few is not None:
        return few
    while True:
        template = round_robin(qubits, blocks)
        draws = 8 if template.size < _SMALL else 2
        found = fit(template, target, effort_for(template.size, max_error, deadline, draws), rng)
        if found.error <= max_error:
            return found
        if time.monotonic() > deadline or qubits < 2:
            return None
        blocks += max(step, math.ceil(blocks / 100))


def _structured(
    target: np.ndarray,
    qubits: int,
    max_error: float,
    deadline: float,
    rng: np.random.Generator,
    choices: range,
) -> Fitted | None:
    """The fewest blocks found that do although they have fewer angles than there are conditions.

    Products of small matrices, signs and some permutations are such; others cost these short trials, each with
    twice the blocks of the one before.
    """
    failed = -1
    at = 0
    while at < (len(choices) + 1) // 2:
        found = _trial(target, qubits, choices[at], max_error, deadline, rng)
        if found is not None:
            break
        failed, at = at, 2 * at + 1
    else:
        return None
    while at - failed > 1:
        middle = (at + failed) // 2
        better = _trial(target, qubits, choices[middle], max_error, deadline, rng)
        if better is None:
            failed = middle
        else:
            found, at = better, middle
    return found


def _trial(
    target: np.ndarray, qubits: int, blocks: int, max_error: float, deadline: float, rng: np.random.Generator
) -> Fitted | None:
    starts = 4 if qubits + 2 * blocks < _SMALL else 1
    effort = Effort(max_error, deadline, draws=starts, starts=starts, patience=8, progress=0.97)
    found = fit(round_robin(qubits, blocks), target, effort, rng)
    return found if found.error <= max_error else None


def downward(
    target: np.ndarray,
    qubits: int,
    max_error: float,
    deadline: float,
    rng: np.random.Generator,
    conditions: int,
) -> Fitted | None:
    """The fewest blocks that reach an error which lets some of the conditions go unmet.

    Measured on Gaussian and on trained weights, the error is about ``0.8 x**1.3`` where a share ``x`` of the angles
    that the conditions ask for is missing; the factor is corrected by each fit that fails.

    Args:
        target: float64 [M, N], the leading block.
        qubits: Of the circuit.
        max_error: Relative Frobenius error.
        deadline: On the clock of ``time.monotonic``.
        rng: Draws the starts.
        conditions: Angles that an exact circuit would need.
    """
    factor, failed = _FACTOR, -1
    best = _structured(
        target, qubits, max_error, deadline, rng, range(_blocks_at(max_error, factor, conditions, qubits))
    )
    if best is not None:
        return best
    while time.monotonic() < deadline:
        if best is None:
            blocks = max(failed + 1, _blocks_at(max_error, factor, conditions, qubits))
        else:
            count = len(best.template.pairs)
            step = max(1, count // 100)
            if count - failed <= step:
                break
            blocks = max(count - step, (count + failed) // 2)
        template = round_robin(qubits, blocks)
        draws = 16 if template.size < _SMALL else 3 if best is not None and template.size < _LARGE else 1
        found = fit(template, target, effort_for(template.size, max_error, deadline, draws), rng)
        if found.error <= max_error:
            best = found
            continue
        failed = blocks
        missing = max(1 / conditions, 1 - template.size / conditions)
        factor = max(1.1 * factor, found.error / missing**_POWER)
    return best


def _blocks_at(max_error: float, factor: float, conditions: int, qubits: int) -> int:
    """The blocks with which the error is expected to be ``max_error``."""
    missing = min(1.0, (max_error / factor) ** (1 / _POWER))
    return blocks_for(round(conditions * (1 - missing)), qubits)
