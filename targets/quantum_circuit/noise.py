"""Measurements of a circuit: exact probabilities, draws from them, and draws on a noisy device (Qiskit Aer)."""

from __future__ import annotations

from functools import lru_cache
from typing import Any

import numpy as np

from accelc.errors import LimitError, UnsupportedError, UsageError
from accelc.free_memory import free_memory_bytes
from accelc.quantities import size_text
from accelc.targets.quantum_circuit.circuit import Circuit
from accelc.targets.quantum_circuit.devices import Device, Routed, route


def probabilities(circuit: Circuit) -> np.ndarray:
    """Probability float64 [2**bits] of each outcome of the measured bits, all qubits starting at 0; exact.

    Bit 0 is the least significant of an outcome's number.

    Raises:
        LimitError: The amplitudes do not fit the free memory.
    """
    needed = 3 * 16 * 2**circuit.qubits
    if needed > free_memory_bytes():
        raise LimitError(
            f"the {circuit.qubits} qubits cannot be simulated here",
            why=f"their amplitudes take {size_text(needed)}, {size_text(free_memory_bytes())} are free",
        )
    state = np.zeros(2**circuit.qubits)
    state[0] = 1.0
    weights = np.abs(circuit.apply(state)) ** 2
    axes = [circuit.qubits - 1 - qubit for qubit in reversed(circuit.measured)]
    others = [axis for axis in range(circuit.qubits) if axis not in axes]
    cube = weights.reshape((2,) * circuit.qubits).transpose(*axes, *others)
    return np.asarray(cube.reshape(2 ** len(axes), -1).sum(axis=1))


def sample(circuit: Circuit, *, shots: int, seed: int = 0) -> np.ndarray:
    """How often each outcome is measured without noise: int64 [2**bits], ``shots`` in all."""
    exact = probabilities(circuit)
    return np.random.default_rng(seed).multinomial(shots, exact / exact.sum())


def sample_on(
    circuit: Circuit | Routed, onto: Device, *, shots: int, seed: int = 0, level: int = 3
) -> np.ndarray:
    """How often each outcome is measured on a noisy device, simulated: int64 [2**bits].

    Gates are followed by depolarisation and relaxation and outcomes flip, at the device's rates (Qiskit Aer's
    ``NoiseModel.from_backend``).

    Args:
        circuit: A circuit with measured qubits, or one that is already routed.
        onto: The device.
        shots: Number of runs.
        seed: Of the router and of the measurements.
        level: Qiskit's optimisation level of the routing.

    Raises:
        UsageError: The circuit measures nothing or does not fit the device.
        LimitError: The simulator cannot run the circuit, for example for want of memory.
        UnsupportedError: Qiskit Aer is not installed.
    """
    simulator = _simulator(onto)
    routed = circuit if isinstance(circuit, Routed) else route(circuit, onto, seed=seed, level=level)
    if not routed.circuit.num_clbits:
        raise UsageError("the circuit measures no qubit")
    result = simulator.run(routed.circuit, shots=shots, seed_simulator=seed).result()
    if not result.success:
        raise LimitError(f"the noise of device {onto.name} cannot be simulated", why=str(result.status))
    counts = np.zeros(2**routed.circuit.num_clbits, np.int64)
    for outcome, times in result.get_counts().items():
        counts[int(outcome, 2)] += times
    return counts


def total_variation(left: np.ndarray, right: np.ndarray) -> float:
    """Half the sum of the differences of two distributions; counts are normalised first.

    Shapes: [N] and [N], not negative, not all zero.
    """
    return float(np.abs(left / left.sum() - right / right.sum()).sum() / 2)


@lru_cache(maxsize=8)
def _simulator(onto: Device) -> Any:
    """Aer with a device's noise; reading the rates takes as long as a run."""
    try:
        from qiskit_aer import AerSimulator
    except ImportError as error:
        raise UnsupportedError(
            "Qiskit Aer is not installed", why=str(error), fix="pip install 'accelc[quantum]'"
        ) from error
    return AerSimulator.from_backend(onto.backend)
