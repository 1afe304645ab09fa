"""The block of a template and its derivatives, against the circuit and finite differences."""

from __future__ import annotations

import numpy as np
import pytest

from accelc.targets.quantum_circuit.synthesis.products import Products
from accelc.targets.quantum_circuit.synthesis.template import Template, blocks_for, round_robin


def target_of(rows: int, columns: int, *, is_tight: bool) -> np.ndarray:
    found = np.random.default_rng(7).normal(size=(rows, columns))
    return found / np.linalg.norm(found, 2) * (1.0 if is_tight else 0.5)


@pytest.mark.parametrize(
    ("qubits", "rows", "columns", "is_tight"),
    [
        (3, 8, 8, False),
        (3, 4, 5, True),
        (4, 3, 8, False),
        (2, 1, 1, True),
        (1, 2, 1, False),
        (2, 4, 2, False),
    ],
)
def test_derivatives(qubits: int, rows: int, columns: int, is_tight: bool) -> None:
    template = round_robin(qubits, 0 if qubits == 1 else 7)
    wanted = target_of(rows, columns, is_tight=is_tight)
    if rows == columns == 2**qubits:
        wanted = np.linalg.qr(wanted)[0]
    products = Products(template, wanted, 2, tight=is_tight)
    angles = np.random.default_rng(1).normal(size=(2, template.size))
    block = products.forward(angles)
    for one, start in zip(block, angles, strict=True):
        held = template.circuit(start).unitary()[:rows, :columns]
        np.testing.assert_allclose(
            np.linalg.norm(one[:rows] - products.target), np.linalg.norm(held - wanted)
        )
    jacobian, residuals = products.linear(block)
    gradient = (jacobian @ residuals[:, :, None])[:, :, 0]
    step = 1e-6
    for at in range(template.size):
        move = np.zeros(template.size)
        move[at] = step
        high, low = (products.squares(products.forward(angles + sign * move))[0] for sign in (1, -1))
        np.testing.assert_allclose((high - low) / (4 * step), gradient[:, at], atol=1e-8)


def test_tight_holds_the_vectors_that_are_not_shortened() -> None:
    assert Products(round_robin(3, 3), target_of(4, 4, is_tight=True), 1, tight=True).kept == 1
    assert Products(round_robin(3, 3), target_of(4, 4, is_tight=False), 1, tight=True).kept == 0


def test_round_robin_goes_round_all_pairs() -> None:
    pairs = round_robin(5, 10).pairs
    assert len(set(pairs)) == 10
    assert all(low < high < 5 for low, high in pairs)
    assert set(pairs[0]).isdisjoint(pairs[1])
    assert round_robin(1, 0).size == 1
    assert blocks_for(28, 3) == 13
    assert blocks_for(1, 3) == 0


def test_a_template_leaves_rotations_by_zero_out() -> None:
    gates = Template(2, ((1, 0),)).gates(np.array([0.0, 0.3, 0.0, 0.2]))
    assert [gate.name for gate in gates] == ["ry", "cx", "ry"]
    assert [gate.qubits for gate in gates] == [(1,), (1, 0), (0,)]
