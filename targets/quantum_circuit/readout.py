"""Reading results off a circuit's final state: the state itself, or counts of measurements.

Inputs stand side by side in the register that counts them: ``sum_t |t>|x_t> / sqrt(T)``, each of norm 1, the norms
kept by the host. The circuit acts on the data alone, so its action on every input follows from that on the basis
states, which its gates are applied to once (``Product.amplitudes``).

**Signs.** Measurements give squares. One more qubit of the counting register holds, as one more input, a reference:
``(|0>|x_t> + s |1>|z>) / sqrt(1 + s**2)`` with ``z = U^-1 sum_i |i> / sqrt(M)``, which the circuit ``U`` turns into
equal amplitudes of the M rows with all further qubits 0. A Hadamard gate on that qubit makes the amplitudes
``(u_i +- s / sqrt(M)) / sqrt(2 (1 + s**2))``, so that counts with 0 and 1 on it tell the sign of ``u_i``. ``z`` and
``s`` depend on the weights alone; no CX gate is added. Source of the idea: homodyne detection.

**Estimate.** The most likely ``u_i`` given both counts, a root of a cubic. Its standard deviation is
``sqrt(1 + s**2) / (2 sqrt(shots))`` for every row: the Fisher information of counts about a real amplitude is 4 per
shot, whatever the reference.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from accelc.targets.quantum_circuit.product import CONFIDENCE, Product, entropy_bits

MOST_INPUTS = 4096
"""Inputs in superposition at a time, 12 qubits of the counting register; more are run in turns."""
_MOST_FOR_ENTROPY = 256


@dataclass(frozen=True)
class Reading:
    """How one product went.

    Args:
        inputs: Vectors in superposition, zero ones included.
        index_qubits: Of the counting register, the reference's qubit included.
        runs: Circuits run: one for up to 4,096 inputs.
        shots: Measurements of all runs; 0 where the state was read.
        success: Share of the state with all further qubits 0, without the reference.
        entanglement_bits: Between the counting register and the rows' register, further qubits found 0; NaN where
            both are large.
        half_width: Of the 95% interval of an output, the widest; 0 where the state was read.
        largest: Largest output.
    """

    inputs: int
    index_qubits: int
    runs: int
    shots: int
    success: float
    entanglement_bits: float
    half_width: float
    largest: float


@dataclass(frozen=True)
class Statevector:
    """Amplitudes themselves, exact up to rounding."""

    def read(
        self, product: Product, vectors: np.ndarray, rng: np.random.Generator
    ) -> tuple[np.ndarray, Reading]:
        """``A x + b`` for finite ``vectors`` [T, columns]: [T, rows]."""
        unit, norms = _loaded(product, vectors)
        amplitudes = unit @ product.amplitudes.T
        y = amplitudes * (norms * product.encoding.alpha)[:, None]
        return _finished(product, y), _reading(product, vectors, amplitudes, y)


@dataclass(frozen=True)
class Shots:
    """Counts of measurements, drawn from the exact probabilities.

    Args:
        count: Measurements for each input: one circuit of T inputs is run ``count * T`` times.
    """

    count: int

    def read(
        self, product: Product, vectors: np.ndarray, rng: np.random.Generator
    ) -> tuple[np.ndarray, Reading]:
        """Estimates of ``A x + b`` for finite ``vectors`` [T, columns]: [T, rows]. A vector of zeros needs no shots."""
        means = vectors.mean(axis=1) if product.is_centred and vectors.size else np.zeros(len(vectors))
        unit, norms = _loaded(product, vectors - means[:, None])
        exact = unit @ product.amplitudes.T
        estimates = np.zeros_like(exact)
        live = np.flatnonzero(norms)
        widths = np.zeros(len(vectors))
        share = product.reference_share
        for first in range(0, len(live), MOST_INPUTS):
            part = live[first : first + MOST_INPUTS]
            shots = rng.multinomial(self.count * len(part), np.full(len(part), 1 / len(part)))
            estimates[part] = _estimated(exact[part], shots, share, rng)
            deviation = np.sqrt((1 + share**2) / np.maximum(shots, 1)) / 2
            widths[part] = CONFIDENCE * deviation * norms[part] * product.encoding.alpha
        y = estimates * (norms * product.encoding.alpha)[:, None]
        y += means[:, None] * product.row_sums
        reading = _reading(product, vectors, exact, y, self.count * len(live), float(widths.max(initial=0.0)))
        return _finished(product, y), reading


Readout = Statevector | Shots


def _loaded(product: Product, vectors: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """States of norm 1 and the norms; a vector of zeros without a constant stays zero, with norm 0."""
    if product.constant:
        vectors = np.column_stack([vectors, np.full(len(vectors), product.constant)])
    largest = np.abs(vectors).max(axis=1, initial=0.0)
    safe = np.where(largest > 0, largest, 1.0)[:, None]
    scaled = vectors / safe  # squares of the largest numbers overflow
    lengths = np.linalg.norm(scaled, axis=1)
    unit = scaled / np.where(lengths > 0, lengths, 1.0)[:, None]
    return unit, lengths * largest


def _estimated(exact: np.ndarray, shots: np.ndarray, share: float, rng: np.random.Generator) -> np.ndarray:
    """Amplitudes [T, rows] estimated from counts drawn with ``shots`` [T] for each input."""
    rows = exact.shape[1]
    reference = share / math.sqrt(rows)
    total = 2 * (1 + share**2)
    plus, minus = (exact + reference) ** 2 / total, (exact - reference) ** 2 / total
    probabilities = np.column_stack([plus, minus])
    rest = np.maximum(0.0, 1.0 - probabilities.sum(axis=1, keepdims=True))
    probabilities = np.column_stack([probabilities, rest])
    counts = rng.multinomial(shots, probabilities / probabilities.sum(axis=1, keepdims=True))
    scale = (1 + share**2) / np.maximum(shots, 1)[:, None]
    return most_likely(counts[:, :rows], counts[:, rows : 2 * rows], reference, scale)


def most_likely(plus: np.ndarray, minus: np.ndarray, reference: float, scale: np.ndarray) -> np.ndarray:
    """The amplitude ``u`` for which both counts are most likely.

    They have means ``(u +- d)**2 / (2 scale)``; the derivative of the log-likelihood is 0 where
    ``u**3 - u (d**2 + scale (plus + minus)) + scale d (plus - minus) = 0``, whose roots are real.
    """
    d, both, difference = reference, plus + minus, plus - minus
    p, q = -(d * d + scale * both), scale * d * difference
    radius = 2 * np.sqrt(-p / 3)
    angle = np.arccos(np.clip(3 * q / (p * radius), -1.0, 1.0)) / 3
    roots = np.stack([radius * np.cos(angle - 2 * np.pi * k / 3) for k in range(3)])
    tiny = np.finfo(np.float64).tiny
    likelihood = (
        2 * plus * np.log(np.abs(roots + d) + tiny)
        + 2 * minus * np.log(np.abs(roots - d) + tiny)
        - (roots**2 + d * d) / scale
    )
    best = likelihood.argmax(axis=0)[None]
    return np.asarray(np.take_along_axis(roots, best, axis=0)[0])


def _finished(product: Product, y: np.ndarray) -> np.ndarray:
    return y if product.host_bias is None else y + product.host_bias


def _reading(
    product: Product,
    vectors: np.ndarray,
    amplitudes: np.ndarray,
    y: np.ndarray,
    shots: int = 0,
    half_width: float = 0.0,
) -> Reading:
    live = int(np.count_nonzero(amplitudes.any(axis=1)))
    register = max(0, min(len(vectors), MOST_INPUTS) - 1).bit_length()
    small = min(amplitudes.shape) <= _MOST_FOR_ENTROPY
    return Reading(
        inputs=len(vectors),
        index_qubits=register + (1 if shots else 0),
        runs=-(-len(vectors) // MOST_INPUTS),
        shots=shots,
        success=float((amplitudes**2).sum() / max(1, live)),
        entanglement_bits=_entropy(amplitudes) if small else math.nan,
        half_width=half_width,
        largest=float(np.abs(y).max(initial=0.0)),
    )


def _entropy(amplitudes: np.ndarray) -> float:
    """Entropy of the squared singular values of [T, rows], from the smaller of its two Gram matrices."""
    wide = amplitudes.shape[0] < amplitudes.shape[1]
    gram = amplitudes @ amplitudes.T if wide else amplitudes.T @ amplitudes
    return entropy_bits(np.sqrt(np.maximum(np.linalg.eigvalsh(gram), 0.0)))
