"""LSTM, GRU and RNN against a plain float64 evaluation of ONNX's equations."""

from __future__ import annotations

from typing import Any

import numpy as np
import onnx
import pytest
from lower_harness import check_node, lower_node

import accelc
from accelc.ir.pass_base import Refusal
from accelc.targets.numba_cpu.lower.recurrent import TABLE

RNG = np.random.default_rng(5)
GATES = {"LSTM": 4, "GRU": 3, "RNN": 1}
FUNCTIONS = {
    "Sigmoid": lambda x: 1 / (1 + np.exp(-x)),
    "Tanh": np.tanh,
    "Relu": lambda x: np.maximum(x, 0),
    "Softsign": lambda x: x / (1 + np.abs(x)),
}
DEFAULTS = {"LSTM": ["Sigmoid", "Tanh", "Tanh"], "GRU": ["Sigmoid", "Tanh"], "RNN": ["Tanh"]}


def cell(
    op: str, x: Any, h: Any, c: Any, r: Any, rb: Any, p: Any, f: list[Any], attrs: dict[str, Any]
) -> Any:
    """One step for one row: ``x`` holds the input's part of the gates, biases of both kinds apart."""
    limit = attrs.get("clip")
    clip = (lambda v: np.clip(v, -limit, limit)) if limit is not None else (lambda v: v)
    n = len(h)
    if op == "RNN":
        return f[0](clip(x + r @ h + rb)), c
    if op == "GRU":
        z = f[0](clip(x[:n] + r[:n] @ h + rb[:n]))
        q = f[0](clip(x[n : 2 * n] + r[n : 2 * n] @ h + rb[n : 2 * n]))
        if attrs.get("linear_before_reset"):
            g = f[1](clip(x[2 * n :] + q * (r[2 * n :] @ h + rb[2 * n :])))
        else:
            g = f[1](clip(x[2 * n :] + r[2 * n :] @ (q * h) + rb[2 * n :]))
        return (1 - z) * g + z * h, c
    g = x + r @ h + rb
    i = f[0](clip(g[:n] + p[:n] * c))
    forget = 1 - i if attrs.get("input_forget") else f[0](clip(g[2 * n : 3 * n] + p[2 * n :] * c))
    c = forget * c + i * f[1](clip(g[3 * n :]))
    return f[0](clip(g[n : 2 * n] + p[n : 2 * n] * c)) * f[2](c), c


def evaluate(op: str, inputs: list[Any], attrs: dict[str, Any]) -> list[np.ndarray]:
    """Y, Y_h (and Y_c) as ONNX defines them, in float64."""
    x, w, r, b, lens, h0, c0, p = [
        None if v is None else v.astype(np.float64) for v in (inputs + [None] * 8)[:8]
    ]
    if attrs.get("layout"):
        x = x.swapaxes(0, 1)
        h0, c0 = (None if v is None else v.swapaxes(0, 1) for v in (h0, c0))
    steps, batch, _ = x.shape
    directions, _, n = r.shape
    width = GATES[op] * n
    b = np.zeros((directions, 2 * width)) if b is None else b
    p = np.zeros((directions, 3 * n)) if p is None else p
    y = np.zeros((steps, directions, batch, n))
    ends = [np.zeros((directions, batch, n)) for _ in range(2)]
    names = attrs.get("activations", DEFAULTS[op] * directions)
    per = len(DEFAULTS[op])
    for d in range(directions):
        f = [FUNCTIONS[name] for name in names[d * per : (d + 1) * per]]
        back = attrs.get("direction") == "reverse" or d == 1
        for row in range(batch):
            h = np.zeros(n) if h0 is None else h0[d, row]
            c = np.zeros(n) if c0 is None else c0[d, row]
            count = steps if lens is None else int(lens[row])
            for t in reversed(range(count)) if back else range(count):
                gates = w[d] @ x[t, row] + b[d, :width]
                h, c = cell(op, gates, h, c, r[d], b[d, width:], p[d], f, attrs)
                y[t, d, row] = h
            ends[0][d, row], ends[1][d, row] = h, c
    if attrs.get("layout"):
        y, ends = y.transpose(2, 0, 1, 3), [v.swapaxes(0, 1) for v in ends]
    return [y, *ends[: 2 if op == "LSTM" else 1]]


def operands(op: str, steps: int, batch: int, size: int, n: int, directions: int, extra: str) -> list[Any]:
    """Inputs of a node; letters of ``extra`` say which optional ones: b, s(equence_lens), h, c, p."""

    def normal(*shape: int) -> np.ndarray:
        return (RNG.normal(size=shape) * 0.5).astype(np.float32)

    width = GATES[op] * n
    optional = {
        "b": normal(directions, 2 * width),
        "s": RNG.integers(1, steps + 1, batch).astype(np.int32),
        "h": normal(directions, batch, n),
        "c": normal(directions, batch, n),
        "p": normal(directions, 3 * n),
    }
    found = [normal(steps, batch, size), normal(directions, width, size), normal(directions, width, n)]
    found += [optional[letter] if letter in extra else None for letter in "bshcp"]
    if op != "LSTM":
        found = found[:6]
    while found[-1] is None:
        found.pop()
    return found


CASES: list[tuple[str, tuple[int, int, int, int, int, str], dict[str, Any]]] = [
    ("LSTM", (5, 1, 3, 16, 1, "bhc"), {}),
    ("LSTM", (5, 3, 7, 19, 2, "bhcp"), {"direction": "bidirectional", "clip": 0.4}),
    ("LSTM", (4, 2, 3, 5, 1, "s"), {"direction": "reverse", "input_forget": 1}),
    ("GRU", (6, 1, 3, 32, 2, "bh"), {"direction": "bidirectional", "linear_before_reset": 1}),
    ("GRU", (5, 5, 2, 9, 1, "bh"), {"clip": 0.3}),
    (
        "RNN",
        (3, 2, 3, 4, 2, "bsh"),
        {"direction": "bidirectional", "activations": ["Relu", "Softsign"]},
    ),
]


@pytest.mark.parametrize(("number", "constant"), [*((k, True) for k in range(len(CASES))), (1, False)])
def test_against_the_equations(number: int, constant: bool) -> None:
    op, sizes, attrs = CASES[number]
    inputs = operands(op, *sizes)
    attrs = {"hidden_size": sizes[3], **attrs}
    wanted = [v.astype(np.float32) for v in evaluate(op, inputs, attrs)]
    check_node(
        TABLE,
        op,
        inputs,
        attrs,
        expected=wanted,
        constant=(1, 2, 3) if constant else (),
        rtol=2e-5,
        atol=2e-5,
    )


def test_batch_first() -> None:
    inputs = operands("LSTM", 4, 1, 3, 16, 1, "bhc")
    inputs[0] = np.ascontiguousarray(inputs[0].swapaxes(0, 1))
    inputs[5:7] = [np.ascontiguousarray(v.swapaxes(0, 1)) for v in inputs[5:7]]
    attrs = {"hidden_size": 16, "layout": 1}
    wanted = [v.astype(np.float32) for v in evaluate("LSTM", inputs, attrs)]
    check_node(TABLE, "LSTM", inputs, attrs, expected=wanted, constant=(1, 2, 3), atol=2e-5)


PARTED: list[tuple[str, tuple[int, int, int, int, int, str], dict[str, Any], bool]] = [
    ("LSTM", (32, 1, 3, 16, 1, "b"), {}, True),
    ("LSTM", (32, 1, 3, 16, 1, "b"), {"layout": 1}, True),
    ("LSTM", (16, 3, 7, 19, 2, "bhcp"), {"direction": "bidirectional", "clip": 0.4}, False),
    ("LSTM", (16, 3, 7, 19, 2, "bhcp"), {"direction": "bidirectional", "clip": 0.4, "layout": 1}, True),
    ("GRU", (35, 1, 3, 32, 2, ""), {"direction": "bidirectional", "linear_before_reset": 1}, True),
    ("GRU", (40, 1, 3, 32, 1, "bh"), {"direction": "reverse", "linear_before_reset": 1}, True),
    ("RNN", (12, 4, 3, 4, 2, "b"), {"direction": "bidirectional", "activations": ["Relu", "Softsign"]}, True),
]


@pytest.mark.parametrize(("op", "sizes", "attrs", "constant"), PARTED)
def test_long_sequences_are_done_in_parts(
    op: str, sizes: tuple[int, int, int, int, int, str], attrs: dict[str, Any], constant: bool
) -> None:
    inputs = operands(op, *sizes)
    if attrs.get("layout"):
        inputs[0] = np.ascontiguousarray(inputs[0].swapaxes(0, 1))
        inputs[5:7] = [np.ascontiguousarray(v.swapaxes(0, 1)) for v in inputs[5:7]]
    attrs = {"hidden_size": sizes[3], **attrs}
    wanted = [v.astype(np.float32) for v in evaluate(op, inputs, attrs)]
    weights = (1, 2, 3) if constant else ()
    check_node(TABLE, op, inputs, attrs, expected=wanted, constant=weights, rtol=2e-5, atol=2e-5)


def test_gates_of_a_part_are_all_that_is_kept() -> None:
    model = onnx.parser.parse_model(
        """<ir_version: 10, opset_import: ["": 21]>
        g (float[64,1,3] x) => (float[64,1,1,16] y) { y, h, c = LSTM<hidden_size=16>(x, w, r) }"""
    )
    for name, size in (("w", 3), ("r", 16)):
        array = RNG.normal(size=(1, 64, size)).astype(np.float32)
        model.graph.initializer.append(onnx.numpy_helper.from_array(array, name))
    exe = accelc.compile(model, verify=False)
    gates = 64 * 64 * 4
    assert exe.memory_plan.peak_bytes < gates / 2


def test_no_steps_gives_the_initial_state() -> None:
    inputs = operands("LSTM", 1, 1, 3, 16, 1, "bhc")
    inputs[0] = np.zeros((0, 1, 3), np.float32)
    attrs = {"hidden_size": 16}
    wanted = [v.astype(np.float32) for v in evaluate("LSTM", inputs, attrs)]
    check_node(TABLE, "LSTM", inputs, attrs, expected=wanted, constant=(1, 2, 3))


def test_unknown_activation_is_refused() -> None:
    inputs = operands("RNN", 3, 1, 3, 8, 1, "b")[:4]
    found = lower_node(TABLE, "RNN", inputs, {"activations": ["Sine"]}, specs=[("float32", (3, 1, 1, 8))])
    assert isinstance(found, Refusal)
    assert found.why == "activations ['Sine'] have no kernel"
