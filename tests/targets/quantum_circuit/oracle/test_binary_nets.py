"""Binary networks as oracles: bit-exact on all inputs, ancillas clean, Toffoli counts, Grover's success."""

from __future__ import annotations

import importlib.util
from pathlib import Path

import numpy as np
import pytest

from accelc.errors import LimitError, NumericsError, UnsupportedError, UsageError
from accelc.frontend import load_model
from accelc.targets.quantum_circuit.oracle.properties import parse_property
from accelc.targets.quantum_circuit.oracle.search import ModelOracle, build_oracle, check_oracle, search
from accelc.targets.quantum_circuit.oracle.synthesize import Oracle

_SPEC = importlib.util.spec_from_file_location("binary_nets", Path(__file__).with_name("binary_nets.py"))
assert _SPEC is not None
assert _SPEC.loader is not None
_NETS = importlib.util.module_from_spec(_SPEC)
_SPEC.loader.exec_module(_NETS)
binary_net = _NETS.binary_net

MOST_TOFFOLI = {(4, 3): (19, 27), (8, 4): (61, 109), (9, 5): (75, 133), (16, 8): (253, 477)}
"""With ancillas kept until the end, and brought back after every neuron."""


@pytest.mark.parametrize("few_qubits", [False, True])
@pytest.mark.parametrize(("inputs", "hidden"), MOST_TOFFOLI)
def test_exact_on_all_inputs(inputs: int, hidden: int, few_qubits: bool) -> None:
    text = binary_net(inputs, hidden, seed=inputs, batch="N")
    model, batched = load_model(text, dims={"N": 1}).model, load_model(text).model
    built = build_oracle(model, few_qubits=few_qubits)
    values, compared = check_oracle(built, model, batched=batched)
    assert compared == 2**inputs
    assert set(np.unique(values)) <= {-1.0, 1.0}
    cost = built.oracle.resources()
    assert cost["toffoli"] <= MOST_TOFFOLI[inputs, hidden][few_qubits]
    assert cost["t"] == 7 * cost["toffoli"]
    if few_qubits:
        assert cost["qubits"] <= 2 * inputs + hidden


@pytest.mark.parametrize("seed", range(4))
@pytest.mark.parametrize("wanted", ["output==1", "output == -1", "one-bit-apart", "within 2 of 01101001"])
def test_grover_on_8_4_1(wanted: str, seed: int) -> None:
    model = load_model(binary_net(8, 4, seed)).model
    built = build_oracle(model)
    values, _ = check_oracle(built, model)
    found = search(model, parse_property(wanted), outputs=values)
    if found.plan is None:
        assert not found.marked.any()
        return
    assert found.probabilities is not None
    assert found.probabilities.sum() == pytest.approx(1)
    assert found.success_probability() >= 0.95
    assert found.success_probability() == pytest.approx(found.plan.probability)


@pytest.mark.parametrize("wanted", ["output==1", "within 2 of 011", "one-bit-apart"])
def test_whole_circuit_agrees_with_the_phase_oracle(wanted: str) -> None:
    """Every gate of the search on the full register, ancillas included."""
    model = load_model(binary_net(3, 1, 3)).model
    found = search(model, parse_property(wanted), few_qubits=True, success=0.9)
    circuit = found.circuit()
    assert circuit is not None
    assert circuit.qubits <= 18
    start = np.zeros(2**circuit.qubits)
    start[0] = 1
    probabilities = (circuit.apply(start) ** 2).reshape(-1, 2**found.bits).sum(axis=0)
    np.testing.assert_allclose(probabilities, found.probabilities, atol=1e-9)


def test_aer_measures_solutions() -> None:
    aer = pytest.importorskip("qiskit_aer", reason="needs accelc[quantum]")
    model = load_model(binary_net(4, 3, 1)).model
    found = search(model, parse_property("output==1"), few_qubits=True)
    circuit = found.circuit()
    assert circuit is not None
    measured = circuit.to_qiskit()
    measured.measure_all()
    counts = aer.AerSimulator(seed_simulator=1).run(measured, shots=500).result().get_counts()
    hits = sum(n for bits, n in counts.items() if found.marked[int(bits[-found.bits :], 2)])
    assert hits >= 470


def test_a_wrong_oracle_is_noticed() -> None:
    model = load_model(binary_net(4, 3, 1)).model
    built = build_oracle(model)
    right = built.oracle
    dirty = Oracle(right.qubits + 1, right.inputs, right.outputs, right.forward[1:])
    wrong = ModelOracle(dirty, built.inputs, built.outputs)
    with pytest.raises(NumericsError):
        check_oracle(wrong, model)
    outputs, _ = check_oracle(built, model)
    with pytest.raises(NumericsError):
        search(model, parse_property("output==1"), outputs=-outputs)


def test_limits_and_wrong_uses() -> None:
    wide = load_model("g (float[1,40] x) => (float[1,40] y) { y = Sign(x) }").model
    with pytest.raises(LimitError, match="40 input bits"):
        build_oracle(wide)
    smooth = load_model("g (float[1,4] x) => (float[1,4] y) { y = Tanh(x) }").model
    with pytest.raises(UnsupportedError, match="Tanh"):
        build_oracle(smooth)
    fine = "g (float[1,2] x) => (float[1,1] y) <float[2,1] w = {0.1, 1000000.0}> { y = MatMul(x, w) }"
    with pytest.raises(UnsupportedError, match="not exact"):
        build_oracle(load_model(fine).model)
    with pytest.raises(UnsupportedError, match="fixed shape"):
        build_oracle(load_model("g (float[N,4] x) => (float[N,4] y) { y = Sign(x) }").model)
    several = load_model("g (float[1,4] x) => (float[1,4] y) { y = Sign(x) }").model
    with pytest.raises(UsageError, match="4 output elements"):
        search(several, parse_property("output==1"))
    with pytest.raises(UsageError, match="gives 2 bits"):
        search(several, parse_property("within 1 of 01"))
    for text in ("output=1", "near", "within x of 01"):
        with pytest.raises(UsageError):
            parse_property(text)
