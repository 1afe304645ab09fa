"""Hybrid programs: NaN, empty batches, dtypes, host steps, and what a call tells."""

from __future__ import annotations

import numpy as np
import pytest
from hybrid_harness import node, program, proto

from accelc.errors import CallError
from accelc.targets.quantum_circuit.executable import Settings
from accelc.targets.quantum_circuit.program import NOT_FINITE

RNG = np.random.default_rng(0)
W = RNG.standard_normal((5, 3))


def perceptron(kind: str = "float") -> bytes:
    nodes = [node("Gemm", "x w b", "h"), node("Relu", "h", "r"), node("MatMul", "r v", "y")]
    weights = {"w": W, "b": np.arange(3.0), "v": np.eye(3)[:, :2] + 0.5}
    return proto(nodes, {"x": ["N", 5]}, weights, {"y": ["N", 2]}, kind)


def expected(x: np.ndarray) -> np.ndarray:
    with np.errstate(all="ignore"):
        return np.maximum(x.astype(np.float64) @ W.astype(np.float32) + np.arange(3.0), 0) @ (
            np.eye(3)[:, :2] + 0.5
        )


@pytest.mark.parametrize("batch", [0, 1, 2, 7])
def test_any_batch(batch: int) -> None:
    exe = program(perceptron())
    x = RNG.standard_normal((batch, 5)).astype(np.float32)
    y = exe(x=x)
    assert y.dtype == np.float32
    np.testing.assert_allclose(y, expected(x), rtol=1e-6, atol=1e-6)
    assert [reading.readings[0].inputs for reading in exe.readings] == [batch, batch]


def test_what_no_amplitude_can_be_is_computed_on_the_host() -> None:
    exe = program(perceptron())
    x = RNG.standard_normal((3, 5)).astype(np.float32)
    x[1, 2], x[2, 0] = np.nan, np.inf
    y = exe(x=x)
    np.testing.assert_allclose(y, expected(x).astype(np.float32), rtol=1e-6, atol=1e-6)
    assert np.isnan(y[1]).all()
    assert np.isfinite(y[0]).all()
    assert [reading.note for reading in exe.readings] == [NOT_FINITE, NOT_FINITE]


def test_numbers_near_the_ends_of_their_range() -> None:
    exe = program(perceptron("double"))
    for scale in (1e-300, 1e300):
        x = RNG.standard_normal((2, 5)) * scale
        hidden = np.maximum(x @ W + np.arange(3.0), 0)
        np.testing.assert_allclose(exe(x=x), hidden @ (np.eye(3)[:, :2] + 0.5), rtol=1e-9)


def test_calls_are_checked() -> None:
    exe = program(perceptron())
    with pytest.raises(CallError, match="input 'x' does not fit"):
        exe(x=np.zeros((2, 4), np.float32))
    with pytest.raises(CallError, match="no output is called 'z'"):
        exe.run(["z"], {"x": np.zeros((2, 5), np.float32)})


def test_results_are_the_callers_own() -> None:
    nodes = [node("Identity", "x", "y"), node("MatMul", "x w", "z")]
    exe = program(proto(nodes, {"x": [2, 5]}, {"w": W}, {"y": [2, 5], "z": [2, 3]}, "double"))
    x = RNG.standard_normal((2, 5))
    y, _ = exe(x=x)
    y[...] = 0
    assert x.any()


def test_host_steps_keep_integers_and_round_as_the_model_says() -> None:
    nodes = [
        node("MatMul", "x w", "h"),
        node("ArgMax", "h", "best", axis=1, keepdims=0),
        node("Cast", "h", "whole", to=7),
        node("Shape", "h", "dims"),
        node("TopK", "h k", "values places", axis=1),
        node("Concat", "best dims", "all", axis=0),
    ]
    made = proto(
        nodes,
        {"x": ["N", 5]},
        {"w": W, "k": np.array([2])},
        {"all": ["M"], "whole": ["N", 3], "values": ["N", 2]},
    )
    for index in (0, 1):
        made.graph.output[index].type.tensor_type.elem_type = 7
    exe = program(made)
    x = RNG.standard_normal((4, 5))
    both, whole, values = exe(x=x)
    h = x @ W
    np.testing.assert_array_equal(both, [*h.argmax(1), 4, 3])
    np.testing.assert_array_equal(whole, h.astype(np.int64))
    np.testing.assert_allclose(values, -np.sort(-h, axis=1)[:, :2])


def test_shots_are_drawn_by_seed_and_verification_reads_the_state() -> None:
    x = RNG.standard_normal((6, 5)).astype(np.float32)
    first, again, other = (program(perceptron(), Settings(shots=500, seed=seed)) for seed in (1, 1, 2))
    np.testing.assert_array_equal(first(x=x), again(x=x))
    assert (first(x=x) != other(x=x)).any()
    np.testing.assert_allclose(first.run_exactly({"x": x})[0], expected(x), rtol=1e-6, atol=1e-6)
    first(x=x)
    assert first.readings[0].readings[0].shots == 3000
    assert first.readings[0].readings[0].half_width > 0


def test_a_call_tells_of_its_circuits() -> None:
    exe = program(perceptron(), Settings(shots=100))
    assert exe.call_facts() == {}
    exe(x=RNG.standard_normal((2, 5)).astype(np.float32))
    first, second = exe.call_facts()["segments"]
    assert first["circuits"][0]["shots"] == second["circuits"][0]["shots"] == 200
    assert all("95% within" in line for line in exe.call_facts()["notes"])
    exe.run_exactly({"x": np.ones((2, 5), np.float32)})
    assert exe.call_facts()["notes"][0].endswith("read from the state")
    exe(x=np.full((1, 5), np.nan, np.float32))
    assert exe.call_facts()["notes"][0].endswith(NOT_FINITE)


def test_steps_are_timed_and_named() -> None:
    exe = program(perceptron())
    steps = exe.step_times({"x": np.ones((2, 5), np.float32)}, rounds=2)
    assert [step.kernel for step in steps] == ["circuit held", "host Relu", "circuit held"]
    assert all(step.ms is not None and step.origin for step in steps)
    assert steps[0].facts["qubits"] == 4


def test_the_summary_tells_of_circuits_and_host_steps() -> None:
    facts = program(perceptron()).summary
    assert facts["kernels"] == 2
    assert facts["detail"] == "statevector"
    assert facts["host steps"] == ["node n_r (Relu): no linear map"]
    assert any("success" in note and "entanglement" in note for note in facts["notes"])
