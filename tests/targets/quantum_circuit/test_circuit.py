"""The gate list: its own laws, and its files through the readers of others."""

from __future__ import annotations

import io
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from accelc.errors import UsageError
from accelc.targets.quantum_circuit import emit_qasm, emit_qpy, emit_quil
from accelc.targets.quantum_circuit.circuit import Circuit, Gate, without_pairs

QUBITS = 4
NAMES = {"x": 1, "z": 1, "h": 1, "rx": 1, "ry": 1, "rz": 1, "cx": 2, "cz": 2, "ccx": 3}


@st.composite
def gates(draw: st.DrawFn) -> Gate:
    name = draw(st.sampled_from(sorted(NAMES)))
    qubits = tuple(draw(st.permutations(range(QUBITS)))[: NAMES[name]])
    return Gate(name, qubits, draw(st.floats(-7, 7)) if name.startswith("r") else 0.0)


EVERY_GATE = Circuit(
    QUBITS,
    tuple(
        Gate(name, tuple((at + i) % QUBITS for i in range(arity)), 0.1 + at if name.startswith("r") else 0.0)
        for at, (name, arity) in enumerate(NAMES.items())
    ),
)
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


def test_measured_qubits_must_be_different_ones_and_angles_finite() -> None:
    for measured in [(0, 0), (2,), (-1,)]:
        with pytest.raises(UsageError, match="cannot measure"):
            Circuit(2, (), measured)
    with pytest.raises(UsageError, match="angles are finite"):
        Circuit(1, (Gate("ry", (0,), float("nan")),))


def same_up_to_phase(left: np.ndarray, right: np.ndarray) -> None:
    phase = np.vdot(left, right)
    np.testing.assert_allclose(left * (phase / abs(phase)), right, atol=1e-9)


@settings(max_examples=20, deadline=None)
@given(circuits)
@example(EVERY_GATE)
def test_same_as_qiskit_and_through_its_readers(circuit: Circuit) -> None:
    pytest.importorskip("qiskit", reason="needs accelc[quantum]")
    pytest.importorskip("qiskit_qasm3_import", reason="needs accelc[quantum]")
    from qiskit import qasm3, qpy
    from qiskit.quantum_info import Operator

    expected = circuit.unitary()
    np.testing.assert_allclose(Operator(circuit.to_qiskit()).data, expected, atol=1e-12)
    same_up_to_phase(Operator(qasm3.loads(emit_qasm.qasm3(circuit))).data, expected)
    (read,) = qpy.load(io.BytesIO(emit_qpy.qpy(circuit, "mine")))
    same_up_to_phase(Operator(read).data, expected)
    assert read.name == "mine"


@settings(max_examples=20, deadline=None)
@given(circuits)
@example(EVERY_GATE)
def test_same_through_pyquil(circuit: Circuit) -> None:
    pytest.importorskip("pyquil", reason="needs pyquil, which reads Quil")
    from pyquil import Program
    from pyquil.simulation.tools import program_unitary

    read = program_unitary(Program(emit_quil.quil(circuit)), n_qubits=QUBITS)
    same_up_to_phase(read, circuit.unitary())


@settings(max_examples=20, deadline=None)
@given(circuits, st.permutations(range(QUBITS)), st.integers(0, QUBITS))
def test_own_qasm_is_read_back_to_the_bit(circuit: Circuit, order: list[int], count: int) -> None:
    measured = replace(circuit, measured=tuple(order[:count]))
    assert emit_qasm.parse_qasm3(emit_qasm.qasm3(measured)) == measured


MEASURED = Circuit(2, (Gate("x", (0,)), Gate("cx", (0, 1)), Gate("ry", (1,), 1e-05)), (1, 0))


def test_golden_text() -> None:
    assert emit_qasm.qasm3(MEASURED) == (
        'OPENQASM 3.0;\ninclude "stdgates.inc";\nqubit[2] q;\nbit[2] c;\n'
        "x q[0];\ncx q[0], q[1];\nry(1e-05) q[1];\nc[0] = measure q[1];\nc[1] = measure q[0];\n"
    )
    assert emit_quil.quil(MEASURED) == (
        "DECLARE ro BIT[2]\nX 0\nCNOT 0 1\nRY(1e-05) 1\nMEASURE 1 ro[0]\nMEASURE 0 ro[1]\n"
    )


def test_measurements_reach_the_readers() -> None:
    pytest.importorskip("qiskit_qasm3_import", reason="needs accelc[quantum]")
    from qiskit import qasm3

    for read in (qasm3.loads(emit_qasm.qasm3(MEASURED)), MEASURED.to_qiskit()):
        found = [read.find_bit(i.qubits[0]).index for i in read.data if i.operation.name == "measure"]
        assert found == [1, 0]
    assert qasm3.loads(emit_qasm.qasm3(Circuit(0, ()))).num_qubits == 0


@pytest.mark.parametrize(
    "line",
    [
        "y q[0];",
        "x q[7];",
        "ry q[0];",
        "x(0.5) q[0];",
        "ry(1e999) q[0];",
        "ry(--1) q[0];",
        "cx q[0];",
        "cx q[0], q[0];",
        "bit[1] c;",
        "c[0] = measure q[0];",
        "qubit[9] q;",
        'include "/etc/passwd";',
    ],
)
def test_other_qasm_is_refused(line: str) -> None:
    with pytest.raises(UsageError):
        emit_qasm.parse_qasm3(emit_qasm.qasm3(Circuit(2, ())) + line)
    with pytest.raises(UsageError, match="does not start"):
        emit_qasm.parse_qasm3(line)
