"""The gate list against Qiskit, and its own laws."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from accelc.errors import UsageError
from accelc.targets.quantum_circuit.circuit import Circuit, Gate, without_pairs

QUBITS = 4
NAMES = {"x": 1, "z": 1, "h": 1, "rx": 1, "ry": 1, "rz": 1, "cx": 2, "cz": 2, "ccx": 3}


@st.composite
def gates(draw: st.DrawFn) -> Gate:
    name = draw(st.sampled_from(sorted(NAMES)))
    qubits = tuple(draw(st.permutations(range(QUBITS)))[: NAMES[name]])
    return Gate(name, qubits, draw(st.floats(-7, 7)) if name.startswith("r") else 0.0)


circuits = st.lists(gates(), max_size=12).map(lambda found: Circuit(QUBITS, tuple(found)))


@settings(max_examples=30, deadline=None)
@given(circuits)
def test_inverse_and_cancelled_pairs(circuit: Circuit) -> None:
    unitary = circuit.unitary()
    np.testing.assert_allclose(circuit.inverse().unitary() @ unitary, np.eye(2**QUBITS), atol=1e-12)
    doubled = Circuit(QUBITS, without_pairs((*circuit.gates, *circuit.inverse().gates, *circuit.gates)))
    np.testing.assert_allclose(doubled.unitary(), unitary, atol=1e-12)


def test_pairs_cancel_through_gates_on_other_qubits() -> None:
    x, cx = Gate("x", (0,)), Gate("cx", (1, 2))
    assert without_pairs((cx, x, cx, x)) == ()
    between = Gate("cx", (0, 1))
    assert without_pairs((x, between, x)) == (x, between, x)


def test_counts_and_depth() -> None:
    circuit = Circuit(3, (Gate("h", (0,)), Gate("x", (1,)), Gate("ccx", (0, 1, 2)), Gate("cx", (0, 1))))
    assert circuit.counts() == {"h": 1, "x": 1, "ccx": 1, "cx": 1}
    assert (circuit.depth(), circuit.depth("ccx"), Circuit(0, ()).depth()) == (3, 1, 0)
    assert circuit.unitary().dtype == np.float64


@pytest.mark.parametrize("gate", [Gate("cx", (1, 1)), Gate("x", (3,)), Gate("ccx", (0, 1)), Gate("y", (0,))])
def test_wrong_gates_are_refused(gate: Gate) -> None:
    with pytest.raises(UsageError):
        Circuit(3, (gate,))


@settings(max_examples=15, deadline=None)
@given(circuits)
def test_same_as_qiskit_and_through_its_qasm_reader(circuit: Circuit) -> None:
    pytest.importorskip("qiskit", reason="needs accelc[quantum]")
    pytest.importorskip("qiskit_qasm3_import", reason="needs accelc[quantum]")
    from qiskit import qasm3
    from qiskit.quantum_info import Operator

    expected = circuit.unitary()
    np.testing.assert_allclose(Operator(circuit.to_qiskit()).data, expected, atol=1e-12)
    np.testing.assert_allclose(Operator(qasm3.loads(circuit.qasm3())).data, expected, atol=1e-12)
