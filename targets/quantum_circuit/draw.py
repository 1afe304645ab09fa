"""Circuits as SVG: wires folded into rows like lines of text, readable on light and dark pages."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from fractions import Fraction
from html import escape

from accelc.targets.quantum_circuit.circuit import CONTROLS, ROTATIONS, Circuit, Gate

_WIRE, _TOP, _ROW_GAP = 40, 52, 34  # distance of wires, space above the first, space between rows
_MARGIN, _GAP = 20, 8  # around the picture, between columns
_BOX_WIDTH, _ROTATION_WIDTH, _DOT_WIDTH, _HEIGHT = 28, 46, 18, 30
_CHARACTER = 8

_STYLE = """
.page{fill:#fff}.wire{stroke:#aab3c2}.link{stroke:#171c26;stroke-width:1.5}.dot{fill:#171c26}
.plus{fill:#fff;stroke:#171c26;stroke-width:1.5}.fixed{fill:#eef1f6;stroke:#5d6778}.turn{fill:#e8ecfd;stroke:#3b5bdb}
.read{fill:#e3f4ea;stroke:#1f7a4d}.meter{fill:none;stroke:#1f7a4d;stroke-width:1.5}
text{font:13px ui-sans-serif,system-ui,"Segoe UI",Roboto,"DejaVu Sans",sans-serif;fill:#171c26;text-anchor:middle}
.title{font-size:15px;font-weight:600;text-anchor:start}.soft{fill:#5d6778}.start{text-anchor:start}.end{text-anchor:end}
.small{font-size:10.5px}
@media (prefers-color-scheme:dark){
.page{fill:#1a1f27}.wire{stroke:#4c5667}.link{stroke:#e6e9ef}.dot{fill:#e6e9ef}.plus{fill:#1a1f27;stroke:#e6e9ef}
.fixed{fill:#2c333f;stroke:#a0a9b8}.turn{fill:#26305c;stroke:#8da2fb}.read{fill:#17332a;stroke:#6fd6a0}
.meter{stroke:#6fd6a0}text{fill:#e6e9ef}.soft{fill:#a0a9b8}
}"""


@dataclass(frozen=True)
class _Measure:
    """A qubit read into a classical bit."""

    qubit: int
    bit: int


@dataclass
class _Column:
    """Gates drawn under each other.

    Args:
        gates: They do not cross.
        width: Of the widest, in pixels.
    """

    gates: list[Gate | _Measure]
    width: int


def svg(circuit: Circuit, title: str = "", *, width: int = 1080, most_gates: int = 2000) -> str:
    """Draw a circuit, qubit 0 on top, time from left to right and on in the next row.

    Args:
        circuit: Any number of qubits and gates.
        title: A line above the drawing.
        width: Pixels at which a row is folded.
        most_gates: Gates drawn; a last line says how many follow.

    Returns:
        The SVG document. The exact angle of a rotation is its tooltip.
    """
    drawn = circuit.gates[:most_gates]
    left = _MARGIN + _CHARACTER * len(f"q{max(0, circuit.qubits - 1)}") + _GAP
    columns = _columns(drawn, circuit.qubits)
    if len(drawn) == len(circuit.gates) and circuit.measured:
        reads: list[Gate | _Measure] = [_Measure(q, bit) for bit, q in enumerate(circuit.measured)]
        columns.append(_Column(reads, _ROTATION_WIDTH))
    rows = _folded(columns, width - left - _MARGIN)
    row_height = _WIRE * circuit.qubits + _ROW_GAP
    widest = max((sum(c.width + _GAP for c in row) for row in rows), default=0) + _GAP
    heading = _heading(circuit, title)
    rest = len(circuit.gates) - len(drawn)
    note = f"{len(drawn):,} gates drawn, {rest:,} more follow" if rest else ""
    across = (
        max(left + widest, *(int(_MARGIN + _CHARACTER * len(text)) for text in (*heading, note))) + _MARGIN
    )
    down = _TOP + _MARGIN + row_height * len(rows) + (_MARGIN if rest else 0)
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {across} {down}" width="{across}" '
        f'height="{down}" role="img" aria-label="{escape(f"{heading[0]}: {heading[1]}")}">',
        f"<style>{_STYLE}\n</style>",
        f'<rect class="page" width="{across}" height="{down}" rx="10"/>',
        f'<text class="title" x="{_MARGIN}" y="28">{escape(heading[0])}</text>',
        f'<text class="soft start" x="{_MARGIN}" y="46">{escape(heading[1])}</text>',
    ]
    for number, row in enumerate(rows):
        top = _TOP + _MARGIN + row_height * number + _WIRE // 2
        parts += _row(row, circuit.qubits, left, left + widest, top)
    if rest:
        parts.append(f'<text class="soft start" x="{_MARGIN}" y="{down - _MARGIN}">{note}</text>')
    return "\n".join([*parts, "</svg>"]) + "\n"


def angle_text(angle: float) -> str:
    """An angle in few characters: a fraction of pi where it is one, else three digits."""
    part = Fraction(round(angle / math.pi * 16), 16)
    if abs(angle - float(part) * math.pi) > 1e-9 or not part:
        text = f"{angle:.3g}" if abs(angle) >= 1e-3 or not angle else f"{angle:.0e}".replace("e-0", "e-")
        return text.replace("-", "\N{MINUS SIGN}")
    sign = "\N{MINUS SIGN}" if part < 0 else ""
    over = f"/{part.denominator}" if part.denominator > 1 else ""
    times = str(abs(part.numerator)) if abs(part.numerator) > 1 else ""
    return f"{sign}{times}\N{GREEK SMALL LETTER PI}{over}"


def _heading(circuit: Circuit, title: str) -> tuple[str, str]:
    counts = circuit.counts()
    gates = ", ".join(f"{counts[name]:,} {_label(name)}" for name in sorted(counts))
    facts = f"{circuit.qubits} qubits, depth {circuit.depth():,}" + (f", {gates}" if gates else "")
    return title or "Circuit", facts


def _label(name: str) -> str:
    return name.capitalize() if name in ROTATIONS else name.upper()


def _columns(gates: Sequence[Gate], qubits: int) -> list[_Column]:
    """Each gate in the first column in which all wires that it crosses are free."""
    columns: list[_Column] = []
    free = [0] * qubits
    for gate in gates:
        wires = range(min(gate.qubits), max(gate.qubits) + 1)
        at = max(free[wire] for wire in wires)
        if at == len(columns):
            columns.append(_Column([], 0))
        columns[at].gates.append(gate)
        columns[at].width = max(columns[at].width, _gate_width(gate))
        for wire in wires:
            free[wire] = at + 1
    return columns


def _gate_width(gate: Gate) -> int:
    if gate.name in ROTATIONS:
        return _ROTATION_WIDTH
    return _DOT_WIDTH if gate.name in CONTROLS else _BOX_WIDTH


def _folded(columns: Sequence[_Column], room: int) -> list[list[_Column]]:
    """Columns in rows; a row takes what fits, and at least one."""
    rows: list[list[_Column]] = [[]]
    used = 0
    for column in columns:
        if rows[-1] and used + column.width + _GAP > room:
            rows.append([])
            used = 0
        rows[-1].append(column)
        used += column.width + _GAP
    return rows


def _row(row: Sequence[_Column], qubits: int, left: int, right: int, top: int) -> Iterator[str]:
    for qubit in range(qubits):
        y = top + _WIRE * qubit
        yield f'<text class="soft end" x="{left - _GAP}" y="{y + 4}">q{qubit}</text>'
        yield f'<path class="wire" d="M{left} {y}H{right}"/>'
    x = left + _GAP
    for column in row:
        for item in column.gates:
            middle = x + column.width // 2
            yield from _read(item, middle, top) if isinstance(item, _Measure) else _gate(item, middle, top)
        x += column.width + _GAP


def _gate(gate: Gate, x: int, top: int) -> Iterator[str]:
    if gate.name not in CONTROLS:
        yield _boxed(gate, x, top + _WIRE * gate.target)
        return
    dots = gate.qubits if gate.name == "cz" else gate.qubits[:-1]
    yield (
        f'<path class="link" d="M{x} {top + _WIRE * min(gate.qubits)}V{top + _WIRE * max(gate.qubits)}"/>'
        + "".join(f'<circle class="dot" cx="{x}" cy="{top + _WIRE * qubit}" r="4"/>' for qubit in dots)
    )
    if gate.name != "cz":
        y = top + _WIRE * gate.target
        yield f'<circle class="plus" cx="{x}" cy="{y}" r="9"/><path class="link" d="M{x - 9} {y}h18M{x} {y - 9}v18"/>'


def _boxed(gate: Gate, x: int, y: int) -> str:
    turns = gate.name in ROTATIONS
    width = _ROTATION_WIDTH if turns else _BOX_WIDTH
    box = (
        f'<rect class="{"turn" if turns else "fixed"}" x="{x - width // 2}" y="{y - _HEIGHT // 2}" '
        f'width="{width}" height="{_HEIGHT}" rx="4"/>'
    )
    if not turns:
        return f'{box}<text x="{x}" y="{y + 5}">{_label(gate.name)}</text>'
    return (
        f"<g><title>{gate.name}({gate.angle!r})</title>{box}"
        f'<text x="{x}" y="{y - 2}">{_label(gate.name)}</text>'
        f'<text class="small" x="{x}" y="{y + 11}">{angle_text(gate.angle)}</text></g>'
    )


def _read(measure: _Measure, x: int, top: int) -> Iterator[str]:
    y = top + _WIRE * measure.qubit
    yield (
        f'<rect class="read" x="{x - 23}" y="{y - _HEIGHT // 2}" width="46" height="{_HEIGHT}" rx="4"/>'
        f'<path class="meter" d="M{x - 17} {y + 5}a9 9 0 0 1 18 0M{x - 8} {y + 5}l7 -10"/>'
        f'<text class="small" x="{x + 12}" y="{y + 4}">c{measure.bit}</text>'
    )
