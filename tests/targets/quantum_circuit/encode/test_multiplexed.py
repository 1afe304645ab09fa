"""Multiplexed rotations, the walks through their parities, and Walsh transforms, against dense matrices."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from accelc.targets.quantum_circuit.circuit import Circuit, Gate
from accelc.targets.quantum_circuit.encode.multiplexed import merged_rotations, multiplexed_ry
from accelc.targets.quantum_circuit.encode.readback import estimated_error, read_block
from accelc.targets.quantum_circuit.encode.tour import path_through
from accelc.targets.quantum_circuit.encode.walsh import angles_of_masks, coefficients, interpolated, transform


def rotation(angle: float) -> np.ndarray:
    c, s = np.cos(angle / 2), np.sin(angle / 2)
    return np.array([[c, -s], [s, c]])


@settings(max_examples=30, deadline=None)
@given(st.integers(0, 4), st.integers(0, 99), st.booleans(), st.booleans())
def test_every_state_of_the_controls_rotates_by_its_angle(
    bits: int, seed: int, before: bool, after: bool
) -> None:
    rng = np.random.default_rng(seed)
    angles = rng.uniform(-7, 7, 1 << bits)
    if seed % 3 == 0:
        angles[:] = angles[0]  # one coefficient is left
    controls = tuple(int(q) for q in rng.permutation(bits + 1))
    target, controls = controls[0], controls[1:]
    gates = multiplexed_ry(angles, target, controls, is_zero_before=before, is_zero_after=after)
    unitary = Circuit(bits + 1, gates).unitary()
    for number, angle in enumerate(angles):
        place = sum(1 << q for bit, q in enumerate(controls) if number >> bit & 1)
        states = np.array([place, place | 1 << target])
        kept = np.ix_(states[: 1 if after else 2], states[: 1 if before else 2])
        wanted = rotation(angle)[: 1 if after else 2, : 1 if before else 2]
        np.testing.assert_allclose(unitary[kept], wanted, atol=1e-12)
    assert sum(gate.name == "cx" for gate in gates) <= (1 << bits) - (before or after) if bits else True


def test_rotations_on_a_qubit_become_one() -> None:
    ry, cx = Gate("ry", (0,), 0.25), Gate("cx", (0, 1))
    assert merged_rotations([ry, Gate("ry", (1,), 1.0), ry]) == (Gate("ry", (0,), 0.5), Gate("ry", (1,), 1.0))
    assert merged_rotations([ry, cx, ry]) == (ry, cx, ry)
    assert merged_rotations([ry, Gate("ry", (0,), -0.25)]) == ()


def length(masks: np.ndarray, order: np.ndarray, is_open_start: bool, is_open_end: bool) -> int:
    walk = [*([] if is_open_start else [0]), *(int(masks[at]) for at in order), *([] if is_open_end else [0])]
    return sum((one ^ other).bit_count() for one, other in pairwise(walk))


@settings(max_examples=30, deadline=None)
@given(st.integers(1, 7), st.integers(0, 999), st.booleans(), st.booleans())
def test_walks_visit_all_and_are_no_longer_than_the_gray_codes(
    bits: int, seed: int, start: bool, end: bool
) -> None:
    rng = np.random.default_rng(seed)
    masks = rng.choice(1 << bits, rng.integers(1, (1 << bits) + 1), replace=False)
    order = path_through(masks, bits, is_open_start=start, is_open_end=end)
    assert sorted(order) == list(range(len(masks)))
    gray = sorted(range(len(masks)), key=lambda at: _rank(int(masks[at])))
    assert length(masks, order, start, end) <= length(masks, np.array(gray), start, end)


def _rank(mask: int) -> int:
    rank = 0
    while mask:
        rank ^= mask
        mask >>= 1
    return rank


def test_all_parities_are_visited_at_one_bit_each() -> None:
    assert length(np.arange(64), path_through(np.arange(64), 6), False, False) == 64


@pytest.mark.parametrize("shape", [(1, 1), (1, 5), (3, 2), (4, 8), (7, 6), (10, 16)])
def test_interpolation_takes_as_many_coefficients_as_entries(shape: tuple[int, int]) -> None:
    angles = np.random.default_rng(0).normal(size=shape)
    masks, values = interpolated(angles)
    bits = [(side - 1).bit_length() for side in shape]
    found = angles_of_masks(masks, values, sum(bits)).reshape(1 << bits[0], 1 << bits[1])
    np.testing.assert_allclose(found[: shape[0], : shape[1]], angles, atol=1e-12)
    assert len(masks) <= angles.size


def test_transform_undoes_itself() -> None:
    values = np.random.default_rng(1).normal(size=(3, 16))
    np.testing.assert_allclose(transform(coefficients(values)), values, atol=1e-13)
    np.testing.assert_array_equal(transform(np.eye(4))[3], [1, -1, -1, 1])


GATES = st.one_of(
    st.builds(lambda q, a: Gate("ry", (q,), a), st.integers(0, 2), st.floats(-4, 4)),
    st.builds(lambda q: Gate("h", (q,)), st.integers(0, 2)),
    st.builds(lambda q, a: Gate("rz", (q,), a), st.integers(0, 2), st.just(0.0)),
    st.permutations(range(3)).map(lambda qubits: Gate("cx", tuple(qubits[:2]))),
)


@settings(max_examples=40, deadline=None)
@given(st.lists(GATES, max_size=25))
def test_runs_read_back_like_single_gates(gates: list[Gate]) -> None:
    circuit = Circuit(3, tuple(gates))
    wanted = circuit.unitary().real
    np.testing.assert_allclose(read_block(circuit, (0, 1, 2), (0, 1, 2), (8, 8)), wanted, atol=1e-12)
    np.testing.assert_allclose(
        read_block(circuit, (2,), (1, 0), (2, 3)), wanted[[0, 4]][:, [0, 2, 1]], atol=1e-12
    )


def test_a_complex_block_is_refused() -> None:
    with pytest.raises(ArithmeticError, match="not real"):
        read_block(Circuit(1, (Gate("rz", (0,), 1.0),)), (0,), (0,), (2, 2))


def test_the_estimate_of_an_error_is_near_the_error(monkeypatch: pytest.MonkeyPatch) -> None:
    circuit = Circuit(3, tuple(Gate("ry", (q,), 0.3 * q + 0.1) for q in range(3)))
    wanted = read_block(circuit, (0, 1, 2), (0, 1, 2), (8, 8))
    assert estimated_error(circuit, (0, 1, 2), (0, 1, 2), wanted) is None
    monkeypatch.setattr("accelc.targets.quantum_circuit.encode.readback._MOST_WORK", 0)
    assert estimated_error(circuit, (0, 1, 2), (0, 1, 2), wanted) < 1e-14
    wrong = wanted + 0.1 * np.random.default_rng(0).normal(size=wanted.shape)
    error = np.linalg.norm(wanted - wrong) / np.linalg.norm(wrong)
    found = estimated_error(circuit, (0, 1, 2), (0, 1, 2), wrong)
    assert found is not None
    assert error < found < 3 * error
