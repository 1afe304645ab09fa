"""Drawings of circuits: a golden one, and what must hold for all."""

from __future__ import annotations

import math
import xml.etree.ElementTree as ET
from pathlib import Path

import pytest

from accelc.targets.quantum_circuit.circuit import Circuit, Gate
from accelc.targets.quantum_circuit.draw import angle_text, svg

GOLDEN = Path(__file__).with_name("every_gate.svg")
EVERY_GATE = Circuit(
    3,
    (
        Gate("x", (0,)),
        Gate("cx", (0, 1)),
        Gate("h", (2,)),
        Gate("ry", (1,), -3 * math.pi / 4),
        Gate("rz", (0,), 0.123456),
        Gate("cz", (2, 0)),
        Gate("z", (1,)),
        Gate("ccx", (0, 2, 1)),
        Gate("rx", (2,), 1e-5),
    ),
    (2, 0),
)


def test_golden() -> None:
    assert svg(EVERY_GATE, "Every gate & two bits") == GOLDEN.read_text(encoding="utf-8")


def items(text: str, kind: str) -> list[ET.Element]:
    return [e for e in ET.fromstring(text).iter() if kind in (e.get("class") or "").split()]


@pytest.mark.parametrize("qubits", [0, 1, 2, 20])
def test_folded_rows_hold_every_gate_inside_the_page(qubits: int) -> None:
    gates = [Gate("ry", (at % qubits,), 0.1 * at) for at in range(150)] if qubits else []
    links = [Gate("cx", (at % qubits, (at + 7) % qubits)) for at in range(30)] if qubits > 2 else []
    text = svg(Circuit(qubits, (*gates, *links), tuple(range(qubits))), width=600)
    assert len(items(text, "turn")) == len(gates)
    assert len(items(text, "plus")) == len(items(text, "dot")) == len(links)
    assert len(items(text, "read")) == qubits
    page = items(text, "page")[0]
    for box in items(text, "turn"):
        assert 0 < float(box.get("x", 0)) <= float(page.get("width", 0)) - 46
        assert 0 < float(box.get("y", 0)) <= float(page.get("height", 0)) - 30
    assert float(page.get("width", 0)) <= 640 or not qubits


def test_gates_that_cross_wires_do_not_share_a_column_with_gates_on_them() -> None:
    text = svg(Circuit(3, (Gate("cx", (0, 2)), Gate("x", (1,)))))
    (link, _), (box,) = items(text, "link"), items(text, "fixed")
    across = float((link.get("d") or "").removeprefix("M").split()[0])
    assert float(box.get("x", 0)) > across


def test_long_circuits_say_what_is_left_out() -> None:
    text = svg(Circuit(1, (Gate("x", (0,)),) * 3000, (0,)))
    assert "2,000 gates drawn, 1,000 more follow" in text
    assert (len(items(text, "fixed")), len(items(text, "read"))) == (2000, 0)


@pytest.mark.parametrize(
    ("angle", "text"),
    [
        (0.0, "0"),
        (math.pi, "π"),
        (-math.pi / 2, "-π/2"),
        (3 * math.pi / 16, "3π/16"),
        (0.52, "0.52"),
        (-1.23e-5, "-1e-5"),
        (-7.0, "-7"),
    ],
)
def test_angles(angle: float, text: str) -> None:
    assert angle_text(angle) == text.replace("-", "\N{MINUS SIGN}")
