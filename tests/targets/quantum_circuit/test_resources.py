"""Counts of gates, and T gates at an allowed error."""

from __future__ import annotations

import math

import pytest

from accelc.errors import UsageError
from accelc.targets.quantum_circuit.circuit import Circuit, Gate
from accelc.targets.quantum_circuit.resources import Resources, resources


def test_every_kind_of_gate() -> None:
    gates = (
        Gate("h", (0,)),
        Gate("ccx", (0, 1, 2)),
        Gate("cz", (0, 1)),
        Gate("cx", (1, 2)),
        Gate("rz", (0,), 3 * math.pi / 4),  # a T gate and Cliffords
        Gate("ry", (1,), -math.pi / 2),  # Clifford
        Gate("rx", (2,), 0.3),
        Gate("ry", (2,), 0.7),
    )
    each = math.ceil(3 * math.log2(2 / 1e-4))
    assert resources(Circuit(3, gates), epsilon=1e-4) == Resources(
        qubits=3,
        depth=6,
        cx=8,
        one_qubit=1 + 9 + 2 + 4,
        toffoli=1,
        rotations=2,
        t=7 + 1 + 2 * each,
        t_measured=4 + 1 + 2 * each,
        epsilon=1e-4,
    )


def test_rotations_cost_more_t_gates_at_a_smaller_error() -> None:
    circuit = Circuit(1, (Gate("rz", (0,), 0.1),))
    assert resources(circuit, epsilon=1e-10).t == 100
    assert resources(circuit, epsilon=1e-20).t == 200


def test_nothing_costs_nothing_and_errors_are_in_range() -> None:
    assert resources(Circuit(0, ())).to_json() == {
        **dict.fromkeys(("qubits", "depth", "cx", "one_qubit", "toffoli", "rotations", "t", "t_measured"), 0),
        "epsilon": 1e-3,
    }
    for epsilon in (0.0, 1.0, -1.0, math.nan):
        with pytest.raises(UsageError, match="approximated"):
            resources(Circuit(0, ()), epsilon=epsilon)
