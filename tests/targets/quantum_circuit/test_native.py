"""Encodings along a device's couplings: no swaps, the same matrix, less noise than FABLE."""

from __future__ import annotations

import numpy as np
import pytest

from accelc.errors import LimitError, UsageError
from accelc.targets.quantum_circuit.circuit import Circuit
from accelc.targets.quantum_circuit.devices import Device, device, route
from accelc.targets.quantum_circuit.native import encode_native, neighbourhood, prepare_native

pytest.importorskip("qiskit", reason="needs accelc[quantum]")


@pytest.fixture(scope="module")
def h7() -> Device:
    return device("h-7")


def test_neighbourhoods(h7: Device) -> None:
    assert neighbourhood(h7, 1) == ()
    assert neighbourhood(h7, 4) == ((0, 1), (0, 2), (1, 3))  # a path, numbered from its middle
    assert len(neighbourhood(device("grid-2x3"), 4)) == 4  # a square has one coupling more than a path
    with pytest.raises(UsageError, match="no 8 qubits"):
        neighbourhood(h7, 8)


@pytest.mark.parametrize("shape", [(1, 1), (1, 2), (2, 2), (3, 4), (2, 8)])
def test_the_matrix_is_there_and_nothing_is_swapped(shape: tuple[int, int], h7: Device) -> None:
    matrix = np.random.default_rng(5).normal(size=shape)
    encoding = encode_native(matrix, h7)
    assert encoding.error(matrix) < 1e-8
    assert encoding.alpha == pytest.approx(np.linalg.norm(matrix, 2))
    assert pairs(encoding.circuit) <= set(neighbourhood(h7, encoding.circuit.qubits))
    assert route(encoding.circuit, h7).two_qubit <= encoding.cx


def pairs(circuit: Circuit) -> set[tuple[int, ...]]:
    return {tuple(sorted(gate.qubits)) for gate in circuit.gates if len(gate.qubits) == 2}


@pytest.mark.parametrize("size", [1, 2, 3, 8])
def test_states(size: int, h7: Device) -> None:
    vector = np.random.default_rng(size).normal(size=size)
    onto = neighbourhood(h7, 4)
    circuit = prepare_native(vector, onto)
    state = circuit.apply(np.eye(2**circuit.qubits)[:, 0])[:size]
    np.testing.assert_allclose(state, vector / np.linalg.norm(vector), atol=1e-8)
    assert pairs(circuit) <= set(onto)


def test_what_cannot_be(h7: Device) -> None:
    with pytest.raises(UsageError, match="only a matrix"):
        encode_native(np.zeros((2, 2)), h7)
    with pytest.raises(UsageError, match="only a vector"):
        prepare_native(np.zeros(2), ())
    with pytest.raises(LimitError, match="along the device's couplings"):
        encode_native(np.random.default_rng(0).normal(size=(4, 8)), h7, time_limit_s=0.0)
