"""Devices by name, routing onto them, and measurements with and without noise."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from accelc.errors import LimitError, UsageError
from accelc.targets.quantum_circuit import devices
from accelc.targets.quantum_circuit.amplitudes import prepare
from accelc.targets.quantum_circuit.circuit import Circuit, Gate
from accelc.targets.quantum_circuit.noise import probabilities, sample, sample_on, total_variation

X_CX = Circuit(2, (Gate("x", (0,)), Gate("cx", (0, 1))), (0, 1))
GHZ = Circuit(4, (Gate("h", (0,)), *(Gate("cx", (0, q)) for q in (1, 2, 3))), (0, 1, 2, 3))


@settings(max_examples=30, deadline=None)
@given(st.lists(st.floats(-1e3, 1e3), min_size=2, max_size=20).filter(any))
def test_prepared_state_is_the_vector(numbers: list[float]) -> None:
    vector = np.array(numbers)
    circuit = prepare(vector)
    state = circuit.apply(np.eye(2**circuit.qubits)[:, 0])
    scaled = vector / np.abs(vector).max()
    np.testing.assert_allclose(state[: len(vector)], scaled / np.linalg.norm(scaled), atol=1e-12)
    np.testing.assert_allclose(state[len(vector) :], 0, atol=1e-12)
    assert circuit.counts().get("cx", 0) <= 2**circuit.qubits - 1 - circuit.qubits


@pytest.mark.parametrize("vector", [[], [0.0, 0.0], [np.nan, 1.0], [[1.0]]])
def test_what_is_no_state(vector: list[float]) -> None:
    with pytest.raises(UsageError, match="is a state"):
        prepare(np.array(vector))


def test_probabilities_of_some_qubits_in_any_order() -> None:
    circuit = Circuit(3, (Gate("x", (2,)), Gate("ry", (0,), 0.8)), (2, 0))
    expected = [0, np.cos(0.4) ** 2, 0, np.sin(0.4) ** 2]
    np.testing.assert_allclose(probabilities(circuit), expected, atol=1e-15)
    assert probabilities(Circuit(2, ())).tolist() == [1.0]
    drawn = sample(circuit, shots=1000, seed=3)
    assert (drawn.sum(), drawn[0], drawn[2]) == (1000, 0, 0)
    assert drawn.tolist() == sample(circuit, shots=1000, seed=3).tolist()
    with pytest.raises(LimitError, match="60 qubits cannot be simulated"):
        probabilities(Circuit(60, ()))


def test_total_variation() -> None:
    assert total_variation(np.array([3, 1]), np.array([0.25, 0.75])) == 0.5
    assert total_variation(np.array([1, 0]), np.array([0, 9])) == 1.0


@pytest.mark.parametrize(
    "name", ["line-0", "grid-0x4", "grid-99x99", "full-9999", "Line-3", "", "../x", "line--1"]
)
def test_no_such_device(name: str) -> None:
    with pytest.raises(UsageError, match="there is no device"):
        devices.device(name)


@pytest.mark.parametrize(
    ("name", "qubits", "edges"),
    [
        ("line-1", 1, 0),
        ("line-4", 4, 3),
        ("ring-2", 2, 1),
        ("ring-5", 5, 5),
        ("full-5", 5, 10),
        ("grid-2x3", 6, 7),
        ("t-5", 5, 4),
        ("bowtie-5", 5, 6),
        ("h-7", 7, 6),
    ],
)
def test_layouts(name: str, qubits: int, edges: int) -> None:
    pytest.importorskip("qiskit", reason="needs accelc[quantum]")
    found = devices.device(name)
    assert (found.qubits, len(found.edges)) == (qubits, edges)


def test_routing_is_on_coupled_qubits_and_the_same_for_a_seed() -> None:
    pytest.importorskip("qiskit", reason="needs accelc[quantum]")
    onto = devices.device("t-5")
    routed = devices.route(GHZ, onto, seed=7)
    coupled = {frozenset(edge) for edge in onto.edges}
    used = [[routed.circuit.find_bit(q).index for q in i.qubits] for i in routed.circuit.data]
    assert {frozenset(pair) for pair in used if len(pair) == 2} <= coupled
    assert routed.two_qubit >= 3
    best = (1 - devices.CX_ERROR) ** routed.two_qubit
    assert best * (1 - devices.ONE_QUBIT_ERROR) ** routed.one_qubit <= routed.faultless <= best
    assert devices.route(GHZ, onto, seed=7).circuit == routed.circuit
    with pytest.raises(UsageError, match="does not fit device line-3"):
        devices.route(GHZ, devices.device("line-3"))
    with pytest.raises(UsageError, match="optimisation level"):
        devices.route(GHZ, onto, level=4)


def test_noise_at_the_stated_rates() -> None:
    pytest.importorskip("qiskit_aer", reason="needs accelc[quantum]")
    onto = devices.device("line-5")
    found = sample_on(X_CX, onto, shots=20_000, seed=1)
    assert found.sum() == 20_000
    # Both bits right: readout and CX errors, and the little relaxation within a gate.
    right = (1 - devices.READOUT_ERROR) ** 2 * (1 - devices.CX_ERROR)
    assert abs(found[3] / 20_000 - right) < 0.01
    assert total_variation(found, probabilities(X_CX)) < 0.08
    assert found.tolist() == sample_on(X_CX, onto, shots=20_000, seed=1).tolist()
    with pytest.raises(UsageError, match="measures no qubit"):
        sample_on(Circuit(1, ()), onto, shots=1)


def test_snapshots_of_machines() -> None:
    pytest.importorskip("qiskit_ibm_runtime", reason="needs qiskit-ibm-runtime")
    onto = devices.device("nairobi")
    assert onto.edges == devices.device("h-7").edges
    with pytest.raises(UsageError, match="there is no device 'nowhere'"):
        devices.device("nowhere")
