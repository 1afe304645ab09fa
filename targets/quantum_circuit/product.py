"""A matrix and a bias as one circuit, and what the circuit takes."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np

from accelc.errors import LimitError
from accelc.free_memory import free_memory_bytes
from accelc.quantities import size_text
from accelc.targets.quantum_circuit.encode.base import BlockEncoding, bits
from accelc.targets.quantum_circuit.resources import resources

CONFIDENCE = 1.959964
"""Standard deviations on either side that hold 95% of a normal distribution."""
_MOST_LISTED = 20
_GATE_BYTES = 650  # of a rotation and a CX in memory, and of the angles that they come from
AT_THE_NORM = ("numeric", "singular", "svd")
"""Encodings whose alpha is the spectral norm, the least there is: shots for an accuracy grow with its square."""


@dataclass(frozen=True)
class Product:
    """``A x + b`` by a circuit.

    Args:
        weights: ``A``, float64 [rows, columns].
        bias: ``b``, float64 [rows]; None for none.
        constant: Amplitude, before the state is normalised, of the basis state behind the last column, which no input
            uses: its column holds ``bias / constant``. 0 where there is no such state, or no bias: then the host adds
            the bias.
        encoding: The circuit of ``A``, with that column if there is one.
    """

    weights: np.ndarray
    bias: np.ndarray | None
    constant: float
    encoding: BlockEncoding

    @property
    def host_bias(self) -> np.ndarray | None:
        """What is added after reading."""
        return None if self.constant else self.bias

    @cached_property
    def amplitudes(self) -> np.ndarray:
        """Amplitudes of the rows for each basis state of the columns, read from the circuit: [rows, columns]."""
        return self.encoding.decoded() / self.encoding.alpha

    @cached_property
    def augmented(self) -> np.ndarray:
        """The matrix that the circuit is to hold."""
        return with_constant(self.weights, self.bias, self.constant)

    @cached_property
    def error(self) -> float:
        """Relative error of the circuit's matrix, in the Frobenius norm."""
        wanted = self.augmented
        distance = np.linalg.norm(self.amplitudes * self.encoding.alpha - wanted)
        return float(distance / np.linalg.norm(wanted))

    @cached_property
    def row_sums(self) -> np.ndarray:
        """``A`` times ones, float64 [rows]."""
        return np.asarray(self.weights.sum(axis=1))

    @cached_property
    def singular_values(self) -> np.ndarray:
        """Of the augmented matrix, in falling order."""
        return np.linalg.svd(self.augmented, compute_uv=False)

    @property
    def success(self) -> float:
        """Probability that a measurement finds all further qubits 0, for an input of random direction."""
        spread = float((self.singular_values**2).sum())
        return float(min(1.0, spread / self.augmented.shape[1] / self.encoding.alpha**2))

    @property
    def entanglement_bits(self) -> float:
        """Entropy of entanglement between the register that counts inputs and the rows' register.

        With every basis state as one of the inputs, after the circuit and with all further qubits found 0: the entropy
        of the squared singular values over their sum. At most log2 of the lesser of rows and columns.
        """
        return entropy_bits(self.singular_values)

    @cached_property
    def reference_share(self) -> float:
        """Amplitude of the reference beside an input of norm 1, where measurements are drawn; from the weights alone.

        Signs are read from the interference with the reference, magnitudes from all counts: too little of it
        leaves signs in doubt, too much takes counts from the data. Half again the typical norm of a result was best
        or close to it on classifiers of digits; 0.3 and 1 bound it.
        """
        return float(np.clip(1.5 * math.sqrt(self.success), 0.3, 1.0))

    @property
    def is_centred(self) -> bool:
        """Whether inputs lose their mean before measurements are drawn.

        The host adds the mean times the sums of the rows, which keeps the result and shortens the state's
        normalisation. Not where the weights give little else than that mean.
        """
        centred = self.weights - self.weights.mean(axis=1, keepdims=True)
        return float(np.linalg.norm(centred)) >= 0.5 * float(np.linalg.norm(self.weights))

    def shots_for(self, accuracy: float) -> float:
        """Shots per input after which the 95% interval of an output is within ``accuracy`` of the results' norm.

        For an input of random direction: half width ``1.96 alpha |x| sqrt(1 + share**2) / (2 sqrt(shots))``, norm of
        the results ``|A|_F |x| / sqrt(columns)``.
        """
        if not self.success:
            return math.inf
        spread = 1.0 + self.reference_share**2
        return CONFIDENCE**2 * spread / (4.0 * self.success * accuracy**2)

    def facts(self) -> dict[str, Any]:
        """What people and the manifest are told."""
        encoding, circuit = self.encoding, self.encoding.circuit
        norm = float(self.singular_values[0])
        return {
            "shape": list(encoding.shape),
            "method": encoding.method,
            **resources(circuit).to_json(),
            "alpha": encoding.alpha,
            "alpha_ratio": encoding.alpha / norm,
            "error": self.error,
            "bias": "circuit" if self.constant else "none" if self.bias is None else "host",
            "success_probability": self.success,
            "entanglement_bits": self.entanglement_bits,
            "shots_for_1_percent": math.ceil(self.shots_for(0.01)),
        }


def entropy_bits(singular_values: np.ndarray) -> float:
    """Entropy, in bits, of the squares over their sum; 0 where all are 0."""
    weights = singular_values**2
    total = float(weights.sum())
    shares = weights[weights > 0] / total if total > 0 else np.ones(1)
    return max(0.0, float(-(shares * np.log2(shares)).sum()))


def constant_for(weights: np.ndarray, bias: np.ndarray | None) -> float:
    """Amplitude of the bias's basis state; 0 where there is no bias or no basis state is free.

    ``(|A|**2 + |b|**2 / c**2) (|x|**2 + c**2)`` bounds what measurements lose by carrying the bias, and is least at
    ``c**2 = |x| |b| / |A|``, taken for entries of x of about 1.
    """
    columns = weights.shape[1]
    if bias is None or not bias.any() or columns == 1 << bits(columns):
        return 0.0
    return math.sqrt(math.sqrt(columns) * float(np.linalg.norm(bias) / np.linalg.norm(weights, 2)))


def with_constant(weights: np.ndarray, bias: np.ndarray | None, constant: float) -> np.ndarray:
    """``[A | b / c]``, or ``A`` where ``c`` is 0."""
    if not constant or bias is None:
        return weights
    return np.column_stack([weights, bias / constant])


def needed(shape: tuple[int, int]) -> tuple[int, int]:
    """Qubits that a matrix of that shape takes at least, and bytes that finding and checking its circuit takes."""
    qubits = max(bits(shape[0]), bits(shape[1])) + 1
    states = 8 << (qubits + bits(shape[1]))
    return qubits, 2 * states + shape[0] * shape[1] * _GATE_BYTES


def check_memory(shapes: Mapping[str, tuple[int, int, int]]) -> None:
    """Refuse matrices that are too large for the memory, alone or together, before anything is allocated for them.

    Args:
        shapes: Rows, columns and number of the matrices, by where they are.

    Raises:
        LimitError: Names the largest with the qubits and bytes that each would take.
    """
    free = free_memory_bytes()
    costs = {name: (needed((rows, columns)), number) for name, (rows, columns, number) in shapes.items()}
    kept = sum(number * rows * columns * _GATE_BYTES for rows, columns, number in shapes.values())
    most = max((size for (_, size), _ in costs.values()), default=0)
    if max(kept, most) <= free:
        return
    ranked = sorted(costs, key=lambda name: -costs[name][0][1])
    places = []
    for name in ranked[:_MOST_LISTED]:
        rows, columns, number = shapes[name]
        times = f"{number} times " if number != 1 else ""
        qubits, size = costs[name][0]
        places.append(f"{name}: {times}{rows}x{columns} would take {qubits} qubits and {size_text(size)}")
    raise LimitError(
        "a matrix is too large to be simulated as a circuit"
        if most > free
        else "the matrices are too large to be simulated as circuits",
        where=places,
        why=f"together they would take {size_text(max(kept, most))}, of which {size_text(free)} are free",
        fix="use another target, or a part of the model",
    )


def check_qubits(qubits: int) -> None:
    """Refuse a circuit whose state does not fit the memory.

    Raises:
        LimitError: Names qubits and bytes.
    """
    free = free_memory_bytes()
    if qubits >= 60 or 64 << qubits > free:  # a few copies of a complex state
        size = size_text(64 << qubits) if qubits < 60 else "more than 2**60 bytes"
        raise LimitError(
            f"a circuit of {qubits} qubits is too large to be simulated",
            why=f"its state takes {size}, {size_text(free)} of memory are free",
        )


def make_product(
    weights: np.ndarray,
    bias: np.ndarray | None,
    *,
    max_error: float,
    time_limit_s: float,
    methods: Sequence[str] | None = None,
    seed: int = 0,
    cache_dir: Path | None = None,
    progress: Callable[[str], None] | None = None,
) -> Product:
    """Find a circuit for ``A x + b``; ``A`` [rows, columns] is finite and not all zero.

    Raises:
        UnsupportedError: What the search needs is not installed, or the error is out of reach.
    """
    from accelc.targets.quantum_circuit.encode.choose import encode  # needs the extra; loading does not

    constant = constant_for(weights, bias)
    encoding = encode(
        with_constant(weights, bias, constant),
        max_error=max_error,
        methods=methods,
        time_limit_s=time_limit_s,
        seed=seed,
        cache_dir=cache_dir,
        progress=progress,
    )
    return Product(weights, bias, constant, encoding)
