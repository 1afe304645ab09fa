"""Any real matrix of norm at most 1 as the leading block of a circuit of Ry and CX."""

from __future__ import annotations

import math
import time
from pathlib import Path

import numpy as np

from accelc.errors import LimitError, UsageError
from accelc.targets.quantum_circuit.circuit import Circuit
from accelc.targets.quantum_circuit.synthesis.cache import CircuitCache
from accelc.targets.quantum_circuit.synthesis.levenberg import fit
from accelc.targets.quantum_circuit.synthesis.search import effort_for, fewest
from accelc.targets.quantum_circuit.synthesis.template import round_robin

_NORM_SLACK = 1e-9
# Memory for the Jacobian and its square.
MOST_BYTES = 2 << 30


def block(
    matrix: np.ndarray,
    qubits: int,
    *,
    max_error: float = 1e-9,
    cx: int | None = None,
    time_limit_s: float = 600.0,
    seed: int = 0,
    cache: Path | bool | None = None,
) -> Circuit | None:
    """A circuit with ``<i|U|j> = matrix[i, j]``: rows and columns number states of the same, lowest qubits.

    Args:
        matrix: float64 [M, N] of spectral norm at most 1, but for what the error covers; M and N at most 2**qubits.
            Where M + N is above 2**qubits, at least M + N - 2**qubits singular values have to be 1.
        qubits: Of the circuit.
        max_error: Allowed Frobenius norm of the difference, relative to that of ``matrix``.
        cx: Number of CX; None looks for the least.
        time_limit_s: After it the search is given up.
        seed: Same seed, same circuit, if the time suffices.
        cache: Folder of finished circuits; None is the user's, False none.

    Returns:
        The circuit; None if the error was not reached in time (or with ``cx``).

    Raises:
        UsageError: The matrix is not one of these.
        LimitError: The search would take more memory than :data:`MOST_BYTES`.
    """
    wanted = _checked(matrix, qubits, max_error)
    needed = 2 * 8 * wanted.size**2
    if needed > MOST_BYTES:
        raise LimitError(
            f"a block of shape {wanted.shape} is too large to be found as a whole",
            why=f"the search takes {needed:,} bytes for derivatives by as many angles as the block has numbers",
            fix="take it apart by its singular values, and orthogonal() for the factors",
        )
    store = CircuitCache(cache)
    settings: dict[str, object] = {
        "kind": "block",
        "qubits": qubits,
        "max_error": max_error,
        "cx": cx,
        "seed": seed,
    }
    known = store.get(wanted, settings, time_limit_s)
    rows, columns = wanted.shape
    if known is not None:
        off = known.unitary()[:rows, :columns] - wanted
        if np.linalg.norm(off) <= max_error * np.linalg.norm(wanted):
            return known
    rng = np.random.default_rng(seed)
    deadline = time.monotonic() + time_limit_s
    # Whole rows are found as whole columns: then nothing lies below the block.
    is_turned = rows < columns == 2**qubits
    target = wanted.T if is_turned else wanted
    if cx is None:
        found = fewest(target, qubits, max_error, deadline, rng)
    else:
        template = round_robin(qubits, cx)
        found = fit(template, target, effort_for(template.size, max_error, deadline, draws=16), rng)
    if found is None or found.error > max_error:
        return None
    circuit = found.circuit().inverse() if is_turned else found.circuit()
    is_cut_short = time.monotonic() > deadline
    store.put(wanted, settings, circuit, time_limit_s if is_cut_short else math.inf)
    return circuit


def _checked(matrix: np.ndarray, qubits: int, max_error: float) -> np.ndarray:
    """The matrix as float64."""
    wanted = np.asarray(matrix)
    if wanted.ndim != 2 or not wanted.size or wanted.dtype.kind not in "fiub":
        raise UsageError(
            "a block is a real matrix [M, N] that is not empty",
            why=f"this is {wanted.dtype}{list(wanted.shape)}",
        )
    wanted = wanted.astype(np.float64)
    if not np.isfinite(wanted).all() or not wanted.any():
        raise UsageError("a block has finite numbers, not all 0")
    if qubits < 1 or max(wanted.shape) > 2**qubits:
        raise UsageError(f"a block of shape {wanted.shape} does not fit on {qubits} qubits")
    values = np.linalg.svd(wanted, compute_uv=False)
    beyond = float(np.linalg.norm(np.maximum(values - 1, 0)))
    if beyond > max(_NORM_SLACK, max_error * float(np.linalg.norm(values))):
        raise UsageError(
            "a block has a spectral norm of at most 1",
            why=f"this one's is {values[0]:.6g}, and the error allowed does not cover what is beyond",
        )
    forced = sum(wanted.shape) - 2**qubits
    if forced > 0 and values[forced - 1] < 1 - 1e-6:
        raise UsageError(
            f"no orthogonal matrix on {qubits} qubits has this block",
            why=f"M + N is {sum(wanted.shape)}, so {forced} singular values have to be 1",
            fix=f"{qubits + 1} qubits",
        )
    return wanted
