"""The smallest encoding of a matrix within an error: predictions of all methods first, then the promising ones."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np

from accelc.errors import LimitError, UnsupportedError, UsageError
from accelc.free_memory import free_memory_bytes
from accelc.quantities import size_text
from accelc.targets.quantum_circuit.circuit import Circuit, Gate
from accelc.targets.quantum_circuit.encode.base import BlockEncoding, Encoding, Job, Prediction, bits
from accelc.targets.quantum_circuit.encode.cache import EncodingCache
from accelc.targets.quantum_circuit.encode.diagonals import XorDiagonals
from accelc.targets.quantum_circuit.encode.fable import Fable
from accelc.targets.quantum_circuit.encode.low_rank import LowRank
from accelc.targets.quantum_circuit.encode.multiplexor import FrobeniusMultiplexor
from accelc.targets.quantum_circuit.encode.numeric import Numeric
from accelc.targets.quantum_circuit.encode.readback import estimated_error
from accelc.targets.quantum_circuit.encode.rectangular_fable import RectangularFable
from accelc.targets.quantum_circuit.encode.singular import SingularValues
from accelc.targets.quantum_circuit.encode.sparse import SparseInHadamardBasis
from accelc.targets.quantum_circuit.encode.svd import SingularValuesByQiskit

_ALL: tuple[Encoding, ...] = (
    Numeric(),
    SingularValues(),
    LowRank(),
    XorDiagonals(),
    SparseInHadamardBasis(),
    FrobeniusMultiplexor(),
    RectangularFable(),
    SingularValuesByQiskit(),
    Fable(),
)
METHODS: dict[str, Encoding] = {method.name: method for method in _ALL}
_PROMISING = 1.1  # predictions that much above the best so far are tried too: they are off by some percent
_LEAST_ERROR = 1e-12  # what float64 leaves after thousands of gates
_QUICK_SECONDS = 5.0  # what the fallback may take where the time is over
_LONG_SECONDS = 60.0  # a method that takes longer has to promise a tenth
_LONG_PROMISE = 0.9
_SHARE = 0.6  # of the time left that one method gets while others wait
_BYTES_PER_ENTRY = 8 * 6 + 600  # angles and their transforms; a rotation and a CX as Python objects


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
        max_error: Relative error allowed, in the Frobenius norm; at least 1e-12 is taken.
        methods: Names of the methods to try; all by default.
        time_limit_s: After it the best so far is taken; where there is none, the fastest method that works.
        seed: For methods that draw random numbers: same seed, same circuit, if time suffices.
        cache_dir: Folder of finished encodings; None is the user's cache, False none.
        progress: Told what is being done.

    Raises:
        UsageError: The matrix is no real matrix of finite numbers, or a method or the error is none.
        UnsupportedError: The packages of the target are not installed, or no method reached the error.
        LimitError: The memory does not suffice.
    """
    check_memory(np.shape(matrix))
    wanted = _checked(matrix)
    if not 0 <= max_error < 1:
        raise UsageError(
            f"an error of {max_error} is not allowed", why="it is relative: 0 or more, and below 1"
        )
    for name in methods or ():
        if name not in METHODS:
            raise UsageError(f"there is no encoding {name!r}", why=f"there are {', '.join(METHODS)}")
    if not np.any(wanted):
        return _zero(wanted.shape)
    scale = 2.0 ** np.floor(
        np.log2(np.max(np.abs(wanted)))
    )  # squares of entries then neither overflow nor vanish
    tell = progress or (lambda text: None)
    allowed = max(max_error, _LEAST_ERROR)
    if not isinstance(cache_dir, bool | None):
        cache_dir = Path(cache_dir)
    job = Job(wanted / scale, allowed, time.monotonic() + time_limit_s, seed, cache_dir, tell)
    names = tuple(name for name in METHODS if name in (methods or METHODS))
    store = EncodingCache(cache_dir)
    settings: dict[str, object] = {"max_error": allowed, "methods": names, "seed": seed}
    found = store.get(job.matrix, settings, time_limit_s)
    if found is None or not _is_within(found, job):
        found, is_complete = _best(job, names)
        store.put(job.matrix, settings, found, None if is_complete else time_limit_s)
    return replace(found, alpha=found.alpha * float(scale))


def check_memory(shape: Sequence[int]) -> None:
    """Refuse a matrix whose circuit could not be written, before anything of its size is allocated.

    Raises:
        LimitError: It says the qubits and the bytes needed.
    """
    if len(shape) != 2 or 0 in shape:
        return
    needed = shape[0] * shape[1] * _BYTES_PER_ENTRY
    free = free_memory_bytes()
    if needed > free:
        least = max(bits(shape[0]), bits(shape[1])) + 1
        raise LimitError(
            f"a matrix of shape {tuple(shape)} is too large to encode",
            why=f"it needs {least} to {bits(shape[0]) + bits(shape[1]) + 1} qubits, and its circuit of up to "
            f"{shape[0] * shape[1]:,} rotations {size_text(needed)} of memory, of which {size_text(free)} are free",
            fix="split the matrix into blocks",
        )


def predictions(job: Job, names: Sequence[str]) -> list[tuple[str, Prediction]]:
    """What the methods that take the matrix would come to, the least size first."""
    found = [(name, METHODS[name].predict(job)) for name in names]
    taken = [(name, prediction) for name, prediction in found if prediction is not None]
    return sorted(taken, key=lambda pair: (pair[1].cx * pair[1].alpha, pair[1].alpha))


def _best(job: Job, names: Sequence[str]) -> tuple[BlockEncoding, bool]:
    """The least encoding of the methods, and whether the time sufficed for all that were promising.

    Raises:
        UnsupportedError: None reached the error.
    """
    ranked = _order(predictions(job, names))
    best: BlockEncoding | None = None
    late: list[str] = []
    failed: set[str] = set()
    for place, (name, prediction) in enumerate(ranked):
        if best is not None and not _is_worthwhile(prediction, best):
            continue
        if prediction.seconds > job.seconds_left:
            late.append(name)
            continue
        others_wait = any(_LONG_SECONDS > later.seconds > 1 for _, later in ranked[place + 1 :])
        share = _SHARE if others_wait else 1.0
        deadline = time.monotonic() + share * job.seconds_left
        found = _tried(name, replace(job, deadline=deadline))
        if found is not None and time.monotonic() >= deadline:
            late.append(name)  # it might have found a smaller one
        if found is None:
            failed.add(name)
            late += [name] if prediction.seconds > 1 else []
        elif best is None or found.cx * found.alpha < best.cx * best.alpha:
            best = found
    is_complete = not late
    if best is None:  # the time is over: the smallest of the fast ones, else whatever works
        for name, _ in sorted(ranked, key=lambda pair: max(pair[1].seconds, _QUICK_SECONDS)):
            best = None if name in failed else _tried(name, job)
            if best is not None:
                break
    if best is None:
        raise UnsupportedError(
            f"no encoding reached the error {job.max_error:g}",
            why=f"tried {', '.join(name for name, _ in ranked) or 'none, for none takes the matrix'}",
            fix="allow a larger error, more time or more methods; pip install 'accelc[quantum]' for all of them",
        )
    return best, is_complete


def _order(ranked: list[tuple[str, Prediction]]) -> list[tuple[str, Prediction]]:
    """The promising methods, the fastest first; then the others, the smallest first."""
    least = min((prediction.cx * prediction.alpha for _, prediction in ranked), default=0.0)
    first = [pair for pair in ranked if pair[1].cx * pair[1].alpha <= _PROMISING * least]
    return sorted(first, key=lambda pair: pair[1].seconds) + ranked[len(first) :]


def _is_worthwhile(prediction: Prediction, best: BlockEncoding) -> bool:
    """Whether a method may improve on the best so far, by more than a little if it takes long."""
    ratio = prediction.cx * prediction.alpha / (best.cx * best.alpha) if best.cx else math.inf
    return ratio <= (_PROMISING if prediction.seconds < _LONG_SECONDS else _LONG_PROMISE)


def _tried(name: str, job: Job) -> BlockEncoding | None:
    """The method's encoding if it holds the matrix within the error."""
    job.progress(name)
    start = time.monotonic()
    try:
        found = METHODS[name].encode(job)
    except UnsupportedError as error:  # a package is missing: others do without
        job.progress(f"{name}: {error.what}")
        return None
    taken = f"{time.monotonic() - start:.1f} s"
    if found is None:
        job.progress(f"{name}: no circuit within the error in {taken}")
        return None
    if not _is_within(found, job):
        job.progress(f"{name}: its circuit does not hold the matrix within the error")
        return None
    size = found.size(job.norm)
    job.progress(
        f"{name}: {found.cx} CX, alpha / norm {found.alpha / job.norm:.3g}, size {size:.0f}, {taken}"
    )
    return found


def _is_within(encoding: BlockEncoding, job: Job) -> bool:
    """Whether the circuit, run, gives the matrix within the error."""
    return measured_error(encoding, job.matrix) <= job.max_error


def measured_error(encoding: BlockEncoding, matrix: np.ndarray) -> float:
    """Relative error of the circuit in the Frobenius norm: of all columns, or of random sums where that takes long."""
    estimate = estimated_error(
        encoding.circuit, encoding.row_qubits, encoding.column_qubits, matrix / encoding.alpha
    )
    return encoding.error(matrix) if estimate is None else estimate


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


def _zero(shape: tuple[int, ...]) -> BlockEncoding:
    """A matrix of zeros, or of no elements: one more qubit is turned to |1>, so nothing is read with all others 0."""
    rows, columns = bits(shape[0]), bits(shape[1])
    ancilla = max(rows, columns)
    circuit = Circuit(ancilla + 1, (Gate("x", (ancilla,)),))
    return BlockEncoding(
        (shape[0], shape[1]), circuit, tuple(range(rows)), tuple(range(columns)), 1.0, "zero"
    )
