"""RNN, GRU and LSTM against onnxruntime: directions, lengths, activations, clips, peepholes and layouts."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

pytest.importorskip("jax", reason="the xla target needs JAX (accelc[jax])")

from lowering_harness import case, check, lowered, onnxruntime_says, run

RNG = np.random.default_rng(5)
GATES = {"RNN": 1, "GRU": 3, "LSTM": 4}
STEPS, BATCH, INPUT, HIDDEN = 4, 3, 2, 5


def normal(*shape: int) -> np.ndarray:
    return RNG.standard_normal(shape).astype(np.float32)


def layer(op: str, directions: int, *, lengths: bool = False, peepholes: bool = False) -> list[Any]:
    width = GATES[op] * HIDDEN
    operands: list[Any] = [
        normal(STEPS, BATCH, INPUT),
        normal(directions, width, INPUT),
        normal(directions, width, HIDDEN),
        normal(directions, 2 * width),
        np.array([4, 1, 2], np.int32) if lengths else None,
        normal(directions, BATCH, HIDDEN),
    ]
    if op == "LSTM":
        operands += [normal(directions, BATCH, HIDDEN), normal(directions, 3 * HIDDEN) if peepholes else None]
    return operands


@pytest.mark.parametrize("op", GATES)
def test_directions_lengths_and_options(op: str) -> None:
    outputs = 3 if op == "LSTM" else 2
    names = {
        "RNN": ["Relu"],
        "GRU": ["HardSigmoid", "Affine"],
        "LSTM": ["Sigmoid", "ScaledTanh", "Softsign"],
    }[op]
    options: list[tuple[dict[str, Any], dict[str, Any]]] = [
        ({"directions": 1}, {}),
        ({"directions": 1, "lengths": True}, {"direction": "reverse"}),
        ({"directions": 2, "lengths": True}, {"direction": "bidirectional", "clip": 0.5}),
        (
            {"directions": 1},
            {"activations": names, "activation_alpha": [0.3, 0.4], "activation_beta": [0.6, 0.2]},
        ),
    ]
    if op == "GRU":
        options.append(({"directions": 1}, {"linear_before_reset": 1}))
    if op == "LSTM":
        options.append(({"directions": 1, "peepholes": True}, {}))
        options.append(({"directions": 1, "peepholes": True}, {"input_forget": 1}))
    cases = []
    for made, attrs in options:
        operands = layer(op, **made)
        cases.append(case(op, *operands, outputs=outputs, hidden_size=HIDDEN, atol=1e-5, rtol=1e-4, **attrs))
        cases[-1].expected = onnxruntime_says(cases[-1])
    check(*cases)


def test_batch_first_is_time_first_transposed() -> None:
    operands = layer("LSTM", 1)
    attrs: dict[str, Any] = {"outputs": 3, "hidden_size": HIDDEN, "direction": "reverse"}
    turned = [x if x is None or i in (1, 2, 3, 7) else x.swapaxes(0, 1) for i, x in enumerate(operands)]
    expected, found = run([case("LSTM", *operands, **attrs), case("LSTM", *turned, layout=1, **attrs)])
    np.testing.assert_allclose(found[0], expected[0].transpose(2, 0, 1, 3), rtol=1e-6)
    for state, other in zip(found[1:], expected[1:], strict=True):
        np.testing.assert_allclose(state, other.swapaxes(0, 1), rtol=1e-6)


def test_no_steps_give_the_initial_state() -> None:
    operands = layer("GRU", 1)
    operands[0] = normal(0, BATCH, INPUT)
    y, last = lowered("GRU", *operands, outputs=2, hidden_size=HIDDEN)
    assert y.shape == (0, 1, BATCH, HIDDEN)
    np.testing.assert_array_equal(last, operands[5])
