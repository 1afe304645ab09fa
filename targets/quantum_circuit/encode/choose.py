"""The smallest encoding of a matrix within an error: predictions of all methods first, then the promising ones."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np

from accelc.errors import UsageError
from accelc.targets.quantum_circuit.circuit import Circuit, Gate
from accelc.targets.quantum_circuit.encode.base import BlockEncoding, Encoding, Job, bits
from accelc.targets.quantum_circuit.encode.svd import SingularValuesByQiskit

METHODS: dict[str, Encoding] = {method.name: method for method in (SingularValuesByQiskit(),)}


def encode(
    matrix: np.ndarray,
    *,
    max_error: float = 1e-9,
    methods: Sequence[str] | None = None,
    time_limit_s: float = 600.0,
    seed: int = 0,
    cache_dir: Path | bool | None = None,
    progress: Callable[[str], None] | None = None,
) -> BlockEncoding:
    """The encoding with the least ``cx * alpha / ||A||2`` found in time, its error read back from the circuit.

    Args:
        matrix: Real, [M, N], finite; M or N may be 0.
        max_error: Relative error allowed, in the Frobenius norm.
        methods: Names of the methods to try; all by default.
        time_limit_s: After it the best so far is taken.
        seed: For methods that draw random numbers: same seed, same circuit, if time suffices.
        cache_dir: Folder of finished encodings; None is the user's cache, False none.
        progress: Told what is being done.

    Raises:
        UsageError: The matrix is no real matrix of finite numbers, or a method is unknown.
        UnsupportedError: The packages of the target are not installed, or no method reached the error.
    """
    wanted = _checked(matrix)
    for name in methods or ():
        if name not in METHODS:
            raise UsageError(f"there is no encoding {name!r}", why=f"there are {', '.join(METHODS)}")
    if not np.any(wanted):
        return _zero(wanted.shape)
    tell = progress or (lambda text: None)
    job = Job(wanted, max_error, time.monotonic() + time_limit_s, seed, cache_dir, tell)
    best: BlockEncoding | None = None
    for name in methods or METHODS:
        found = METHODS[name].encode(job)
        if found is not None and (best is None or found.size(job.norm) < best.size(job.norm)):
            best = found
    assert best is not None
    return best


def _checked(matrix: np.ndarray) -> np.ndarray:
    """The matrix as float64.

    Raises:
        UsageError: It is none.
    """
    given = np.asarray(matrix)
    if given.ndim != 2:
        raise UsageError("a matrix has two dimensions", why=f"this one has shape {given.shape}")
    if given.dtype.kind not in "fiub":
        raise UsageError("only real matrices can be encoded", why=f"this one has dtype {given.dtype}")
    wanted = given.astype(np.float64)
    if not np.all(np.isfinite(wanted)):
        raise UsageError("only finite numbers can be encoded", why="the matrix holds NaN or infinity")
    return wanted


def _zero(shape: tuple[int, int]) -> BlockEncoding:
    """A matrix of zeros, or of no elements: one more qubit is turned to |1>, so nothing is read with all others 0."""
    rows, columns = bits(shape[0]), bits(shape[1])
    ancilla = max(rows, columns)
    circuit = Circuit(ancilla + 1, (Gate("x", (ancilla,)),))
    return BlockEncoding(shape, circuit, tuple(range(rows)), tuple(range(columns)), 1.0, "zero")
