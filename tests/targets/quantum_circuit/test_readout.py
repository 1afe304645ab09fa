"""Reading results: exact, and from counts, against the full state of a circuit with its counting register."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hybrid_harness import held, product
from hypothesis import given, settings
from hypothesis import strategies as st

from accelc.targets.quantum_circuit.circuit import Circuit, Gate
from accelc.targets.quantum_circuit.encode.choose import encode
from accelc.targets.quantum_circuit.encode.multiplexor import FrobeniusMultiplexor
from accelc.targets.quantum_circuit.product import (
    CONFIDENCE,
    Product,
    check_qubits,
    constant_for,
    entropy_bits,
    needed,
    with_constant,
)
from accelc.targets.quantum_circuit.readout import Shots, Statevector, most_likely


def rng(seed: int = 0) -> np.random.Generator:
    return np.random.default_rng(seed)


@settings(max_examples=40, deadline=None)
@given(
    rows=st.integers(1, 9),
    columns=st.integers(1, 9),
    count=st.integers(0, 5),
    biased=st.booleans(),
    seed=st.integers(0, 99),
)
def test_the_state_gives_the_product(rows: int, columns: int, count: int, biased: bool, seed: int) -> None:
    draw = rng(seed)
    weights, x = draw.standard_normal((rows, columns)), draw.standard_normal((count, columns))
    x[: count // 2] *= 10.0 ** draw.integers(-200, 200)
    bias = draw.standard_normal(rows) if biased else None
    made = product(weights, bias)
    y, reading = Statevector().read(made, x, rng())
    expected = x @ weights.T + (0 if bias is None else bias)
    np.testing.assert_allclose(y, expected, rtol=1e-9, atol=1e-9 * np.abs(expected).max(initial=0))
    assert reading.inputs == count
    assert reading.shots == 0
    assert 0 <= reading.success <= 1 + 1e-9


def test_the_bias_uses_a_free_basis_state_where_there_is_one() -> None:
    draw = rng()
    for columns, place in ((5, "circuit"), (8, "host")):
        made = product(draw.standard_normal((3, columns)), draw.standard_normal(3))
        assert made.facts()["bias"] == place
        assert made.encoding.shape == (3, 6 if place == "circuit" else 8)
    assert product(draw.standard_normal((3, 5))).facts()["bias"] == "none"
    assert constant_for(np.ones((3, 5)), np.zeros(3)) == 0.0


def test_zero_inputs_need_no_circuit() -> None:
    made = product(np.eye(4), np.ones(4))
    for readout in (Statevector(), Shots(10)):
        y, reading = readout.read(made, np.zeros((3, 4)), rng())
        np.testing.assert_array_equal(y, np.ones((3, 4)))
        assert reading.shots == 0
        assert reading.success == 0.0


def full_state(made: Product, x: np.ndarray, share: float) -> tuple[np.ndarray, int]:
    """The state of data, counting register and reference's qubit, in this order, after circuit and Hadamard."""
    encoding, circuit = made.encoding, made.encoding.circuit
    size, count = 1 << circuit.qubits, len(x)
    register = (count - 1).bit_length()
    place = sum(((np.arange(x.shape[1]) >> b) & 1) << q for b, q in enumerate(encoding.column_qubits))
    rows = sum(((np.arange(len(made.weights)) >> b) & 1) << q for b, q in enumerate(encoding.row_qubits))
    wanted = np.zeros(size)
    wanted[rows] = 1 / math.sqrt(len(rows))
    state = np.zeros((2, 1 << register, size))
    state[0][np.arange(count)[:, None], place] = x / np.linalg.norm(x, axis=1, keepdims=True)
    state[1, :count] = share * circuit.inverse().apply(wanted).real
    state /= np.linalg.norm(state)
    qubits = circuit.qubits + register + 1
    whole = Circuit(qubits, (*circuit.gates, Gate("h", (qubits - 1,))))
    return np.abs(whole.apply(state.reshape(-1))) ** 2, register


def test_counts_follow_the_full_state() -> None:
    """The probabilities that counts are drawn from are those of the circuit with every register simulated."""
    draw = rng(3)
    weights, x = draw.standard_normal((3, 4)), draw.standard_normal((3, 4))
    encoding = encode(weights, methods=(FrobeniusMultiplexor().name,), cache_dir=False)
    made = Product(weights, None, 0.0, encoding)
    share = made.reference_share
    probabilities, register = full_state(made, x, share)
    table = probabilities.reshape(2, 1 << register, -1)
    rows = [sum(((i >> b) & 1) << q for b, q in enumerate(encoding.row_qubits)) for i in range(3)]
    unit = x / np.linalg.norm(x, axis=1, keepdims=True)
    amplitudes = unit @ made.amplitudes.T
    for sign, half in ((1, 0), (-1, 1)):
        found = table[half, :3][:, rows] * 3
        expected = (amplitudes + sign * share / math.sqrt(3)) ** 2 / (2 * (1 + share**2))
        np.testing.assert_allclose(found, expected, atol=1e-12)


def test_estimates_are_most_likely() -> None:
    draw = rng(1)
    plus, minus = draw.integers(0, 50, 200), draw.integers(0, 50, 200)
    scale = draw.uniform(0.001, 0.02, 200)
    found = most_likely(plus, minus, 0.3, scale)

    def likelihood(u: np.ndarray) -> np.ndarray:
        with np.errstate(divide="ignore", invalid="ignore"):
            logs = 2 * plus * np.log(np.abs(u + 0.3) + 1e-300) + 2 * minus * np.log(np.abs(u - 0.3) + 1e-300)
        return np.asarray(logs - (u * u) / scale)

    for other in np.linspace(-2, 2, 401):
        assert (likelihood(found) >= likelihood(np.full(200, other)) - 1e-6).all()
    assert (np.sign(found) == np.sign(plus - minus))[plus != minus].all()


def test_intervals_hold_the_truth_and_shots_narrow_them() -> None:
    draw = rng(5)
    weights, x = draw.standard_normal((6, 16)), draw.standard_normal((200, 16))
    made = product(weights, draw.standard_normal(6))
    exact = x @ weights.T + made.bias
    widths = []
    for count in (1000, 100_000):
        y, reading = Shots(count).read(made, x, rng())
        own = CONFIDENCE * np.sqrt(1 + made.reference_share**2) / 2 / math.sqrt(count)
        half = own * np.linalg.norm(x - x.mean(axis=1, keepdims=True), axis=1) * made.encoding.alpha
        inside = (np.abs(y - exact) <= half[:, None]).mean()
        assert 0.92 < inside < 0.98
        assert reading.shots == count * 200
        widths.append(reading.half_width)
    assert 8 < widths[0] / widths[1] < 12


def test_shots_for_an_accuracy_are_enough() -> None:
    draw = rng(6)
    weights, x = draw.standard_normal((8, 8)), draw.standard_normal((300, 8))
    made = product(weights)
    shots = math.ceil(made.shots_for(0.02))
    y, _ = Shots(shots).read(made, x, rng())
    exact = x @ weights.T
    allowed = 0.02 * np.linalg.norm(weights) * np.linalg.norm(x, axis=1) / math.sqrt(8)
    assert (np.abs(y - exact) <= allowed[:, None]).mean() > 0.93


def test_shots_depend_on_the_seed_alone() -> None:
    made = product(np.arange(12.0).reshape(3, 4))
    x = np.ones((5, 4)) + np.eye(5, 4)
    first, again, other = (Shots(100).read(made, x, rng(seed))[0] for seed in (1, 1, 2))
    np.testing.assert_array_equal(first, again)
    assert (first != other).any()


def test_means_are_left_in_where_they_are_all_there_is() -> None:
    assert not product(np.full((1, 9), 1 / 9)).is_centred
    assert product(np.array([[1.0, -1.0, 2.0], [0.0, 1.0, -1.0]])).is_centred


def test_entanglement_is_that_of_the_singular_values() -> None:
    assert entropy_bits(np.ones(8)) == pytest.approx(3)
    assert entropy_bits(np.array([5.0, 0.0])) == 0
    assert product(np.eye(4)).entanglement_bits == pytest.approx(2)
    _, reading = Statevector().read(product(np.eye(4)), np.eye(4)[:2], rng())
    assert reading.entanglement_bits == pytest.approx(1)


def test_many_inputs_run_in_turns() -> None:
    made = product(np.array([[1.0, -2.0], [0.5, 1.0]]))
    _, reading = Shots(3).read(made, rng().standard_normal((5000, 2)), rng())
    assert reading.runs == 2
    assert reading.index_qubits == 13


def test_sizes_are_known_before_allocating() -> None:
    qubits, size = needed((1 << 20, 1 << 20))
    assert qubits == 21
    assert size > 1 << 40
    check_qubits(10)
    with pytest.raises(Exception, match="a circuit of 70 qubits is too large"):
        check_qubits(70)


def test_held_matrices_are_what_the_tests_say() -> None:
    matrix = with_constant(np.ones((2, 3)), np.array([1.0, 2.0]), 0.5)
    assert held(matrix).error(matrix) == 0
    np.testing.assert_array_equal(matrix[:, 3], [2.0, 4.0])
