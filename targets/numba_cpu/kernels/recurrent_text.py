"""Text of the ``recurrent`` kernels: the gates of all cells of a step, fused with the update of the state.

A *phase* is one product of a state row with packed recurrent weights, followed by elementwise work on the gates:
LSTM, RNN and GRU with ``linear_before_reset`` need one phase for each time step, the plain GRU two.
Weights of a phase lie in panels ``[P][K][gates][nv * lanes]``: a panel holds all gates of some units, so that the
state of these units is updated while their gates are in registers.
"""

from __future__ import annotations

from dataclasses import dataclass

from accelc.targets.numba_cpu.kernels.base import Params
from accelc.targets.numba_cpu.kernels.text import POINTERS

ACTIVATIONS: dict[str, tuple[str, float, float]] = {
    "Sigmoid": ("vsigmoid({0})", 0.0, 0.0),
    "Tanh": ("vtanh({0})", 0.0, 0.0),
    "Relu": ("vmaxq(0.0, {0})", 0.0, 0.0),
    "Affine": ("vadd(vmul({0}, {a}), {b})", 1.0, 0.0),
    "LeakyRelu": ("vselect(vlt({0}, 0.0), vmul({0}, {a}), {0})", 0.01, 0.0),
    "ThresholdedRelu": ("vselect(vgt({0}, {a}), {0}, vmul({0}, 0.0))", 1.0, 0.0),
    "ScaledTanh": ("vmul(vtanh(vmul({0}, {b})), {a})", 1.0, 1.0),
    "HardSigmoid": ("vmin(vmax(vadd(vmul({0}, {a}), {b}), 0.0), 1.0)", 0.2, 0.5),
    "Elu": ("vselect(vlt({0}, 0.0), vmul(vsub(vexp({0}), 1.0), {a}), {0})", 1.0, 0.0),
    "Softsign": ("vdiv({0}, vadd(vabs({0}), 1.0))", 0.0, 0.0),
    "Softplus": ("vsoftplus({0})", 0.0, 0.0),
}
"""Text of each activation, with the alpha and beta that hold where the node gives none."""

WORDS = (
    "y", "yh", "yc", "x", "r", "h0", "c0", "e", "lens", "ws", "ws_step", "steps", "batch", "n", "rows", "blocks",
    "panels", "y_t", "y1", "y_b", "x_t", "x_d", "x_b", "yh_d", "yh_b", "yc_d", "yc_b", "h0_d", "h0_b",
    "c0_d", "c0_b", "e_d", "r_d", "r_phase", "reverse",
)  # fmt: skip
_POINTERS = frozenset({"y", "y1", "yh", "yc", "x", "r", "h0", "c0", "e", "ws"})

_ARGUMENTS = "a, sa, p, sp, w, x, sx, n, j, y, sy, c, sc, e, u, v"


@dataclass(frozen=True)
class Phase:
    """Gates of one product: their places among the gates of the input projection."""

    gates: tuple[int, ...]


def phases(params: Params) -> tuple[Phase, ...]:
    """The products of one time step."""
    if params["cell"] == "lstm":
        return (Phase((0, 1, 2, 3)),)
    if params["cell"] == "rnn":
        return (Phase((0,)),)
    return (Phase((0, 1, 2)),) if params["linear"] else (Phase((0, 1)), Phase((2,)))


class RecurrentText:
    """Writes one kernel."""

    def __init__(self, params: Params, lanes: int) -> None:
        self.params = params
        self.lanes = lanes
        self.nv = params["nv"]
        self.pointer = POINTERS[params["dtype"]]

    def source(self) -> str:
        """The whole text."""
        parts = [_LEAST]
        for number, phase in enumerate(phases(self.params)):
            parts += [self._tile(number, phase, m) for m in self._sizes()]
        parts.append("\n".join(self._kernel()))
        return "\n".join(parts) + "\n"

    def _sizes(self) -> list[int]:
        """Rows of the tiles for which there is code, descending."""
        return sorted({self.params["mr"], (self.params["mr"] + 1) // 2, 1}, reverse=True)

    # ------------------------------------------------------------------ one tile
    def _load(self, pointer: str, at: str, v: int) -> str:
        place = f"{at} + {v * self.lanes}"
        if self.params["masked"]:
            return f"vloadm({pointer}, {place}, n - j - {v * self.lanes})"
        return f"vload({pointer}, {place})"

    def _store(self, pointer: str, at: str, v: int, value: str) -> str:
        place = f"{at} + {v * self.lanes}"
        if self.params["masked"]:
            return f"    vstorem({pointer}, {place}, {value}, n - j - {v * self.lanes})"
        return f"    vstore({pointer}, {place}, {value})"

    def _act(self, which: int, value: str) -> str:
        name, alpha, beta = self.params["activations"][which]
        return ACTIVATIONS[name][0].format(value, a=repr(float(alpha)), b=repr(float(beta)))

    def _clip(self, value: str) -> str:
        clip = self.params["clip"]
        return value if clip is None else f"vmin(vmax({value}, {-float(clip)!r}), {float(clip)!r})"

    def _tile(self, number: int, phase: Phase, m: int) -> str:
        """A product of ``m`` state rows with one panel, and what follows for these units."""
        gates, lanes, nv = phase.gates, self.lanes, self.nv
        width = len(gates) * nv * lanes
        lines = [f"@inline\ndef tile_{number}_{m}({_ARGUMENTS}):"]
        for row in range(m):
            for place, gate in enumerate(gates):
                for v in range(nv):
                    start = self._load("x", f"{row} * sx + {gate} * n + j", v)
                    if self._separate(gate):
                        start = self._load("e", "j", v) if self.params["table"] else "vzero(x)"
                    lines.append(f"    s{row}_{place}_{v} = {start}")
        lines.append("    for k in range(n):")
        lines += [f"        h{row} = vget(a, {row} * sa + k)" for row in range(m)]
        for place in range(len(gates)):
            for v in range(nv):
                lines.append(f"        t = vload(w, k * {width} + {(place * nv + v) * lanes})")
                for row in range(m):
                    name = f"s{row}_{place}_{v}"
                    lines.append(f"        {name} = vfma(h{row}, t, {name})")
        write = {"lstm": self._lstm, "gru": self._gru, "rnn": self._rnn}[self.params["cell"]]
        for row in range(m):
            for v in range(nv):
                lines += write(number, row, v)
        return "\n".join(lines) + "\n"

    def _separate(self, gate: int) -> bool:
        """Whether a gate's recurrent part is kept apart from the input's."""
        return bool(self.params["cell"] == "gru" and self.params["linear"] and gate == 2)

    def _rnn(self, _number: int, row: int, v: int) -> list[str]:
        value = self._act(0, self._clip(f"s{row}_0_{v}"))
        return [self._store("y", f"{row} * sy + j", v, value)]

    def _lstm(self, _number: int, row: int, v: int) -> list[str]:
        """Gates in ONNX's order: input, output, forget, cell; peepholes input, output, forget."""
        i, o, f, g = (f"s{row}_{gate}_{v}" for gate in range(4))
        lines = [f"    b = {self._load('c', f'{row} * sc + j', v)}"]
        if self.params["table"]:
            lines.append(f"    {i} = vfma(b, {self._load('e', 'j', v)}, {i})")
            lines.append(f"    {f} = vfma(b, {self._load('e', '2 * n + j', v)}, {f})")
        lines.append(f"    {i} = {self._clip(i)}")
        lines.append(f"    i = {self._act(0, i)}")
        if self.params["input_forget"]:
            lines.append("    f = vsub(1.0, i)")
        else:
            lines += [f"    {f} = {self._clip(f)}", f"    f = {self._act(0, f)}"]
        lines += [
            f"    {g} = {self._clip(g)}",
            f"    g = {self._act(1, g)}",
            "    b = vfma(f, b, vmul(i, g))",
            self._store("c", f"{row} * sc + j", v, "b"),
        ]
        if self.params["table"]:
            lines.append(f"    {o} = vfma(b, {self._load('e', 'n + j', v)}, {o})")
        lines += [
            f"    {o} = {self._clip(o)}",
            f"    o = {self._act(0, o)}",
            self._store("y", f"{row} * sy + j", v, f"vmul(o, {self._act(2, 'b')})"),
        ]
        return lines

    def _gru(self, number: int, row: int, v: int) -> list[str]:
        """Gates in ONNX's order: update, reset, hidden."""
        old = self._load("p", f"{row} * sp + j", v)
        own = f"{row} * n + j"
        if number == 0:
            z, r = f"s{row}_0_{v}", f"s{row}_1_{v}"
            lines = [f"    {z} = {self._clip(z)}", f"    z = {self._act(0, z)}"]
            lines += [f"    {r} = {self._clip(r)}", f"    r = {self._act(0, r)}"]
            if not self.params["linear"]:
                lines.append(self._store("u", own, v, "z"))
                lines.append(self._store("v", own, v, f"vmul(r, {old})"))
                return lines
            inner = f"vfma(r, s{row}_2_{v}, {self._load('x', f'{row} * sx + 2 * n + j', v)})"
        else:
            lines, inner = [f"    z = {self._load('u', own, v)}"], f"s{row}_0_{v}"
        lines += [
            f"    g = {self._clip(inner)}",
            f"    g = {self._act(1, 'g')}",
            # (1 - z) * g + z * h, as ONNX writes it: exact where z is 0 or 1.
            f"    b = vfma(vsub(1.0, z), g, vmul(z, {old}))",
            self._store("y", f"{row} * sy + j", v, "b"),
        ]
        return lines

    # ------------------------------------------------------------------ the sequence
    def _kernel(self) -> list[str]:
        params = self.params
        lines = ["def kernel(d, lo, hi, tid):"]
        for word, name in enumerate(WORDS):
            value = f"get(d, {word})"
            if name in _POINTERS:
                value = f"{self.pointer}({value})"
            elif name == "lens":
                value = f"ptr_i32({value})"
            lines.append(f"    {name} = {value}")
        # Each thread's scratch: a row of zeros, then update gates and reset states of its rows.
        lines += [
            "    ws = at(ws, tid * ws_step)",
            "    u = at(ws, n)",
            "    v = at(u, rows * n)",
            "    for k in range(n):",
            "        put(ws, k, 0.0)",
            "    for task in range(lo, hi):",
            "        q = task // blocks",
            "        b0 = (task % blocks) * rows",
            "        count = least(rows, batch - b0)",
            "        c = at(yc, q * yc_d + b0 * yc_b)",
            "        o = at(yh, q * yh_d + b0 * yh_b)",
        ]
        if params["cell"] == "lstm":
            first = "get(c0, q * c0_d + (b0 + b) * c0_b + k)" if params["initial_c"] else "0.0"
            lines += [
                "        for b in range(count):",
                "            for k in range(n):",
                f"                put(c, b * yc_b + k, {first})",
            ]
        if params["initial_h"]:
            lines += ["        p = at(h0, q * h0_d + b0 * h0_b)", "        sp = h0_b"]
        else:
            lines += ["        p = at(ws, 0)", "        sp = i64(0)"]
        length = "least(most(i64(get(lens, b0)), i64(0)), steps)" if params["lens"] else "steps"
        lines += [
            f"        length = {length}",
            "        back = (reverse >> q) & 1",
            "        first = y if q == 0 else y1",
            "        for s in range(length):",
            "            t = length - 1 - s if back != 0 else s",
            "            z = at(first, t * y_t + b0 * y_b)",
            "            g = at(x, t * x_t + q * x_d + b0 * x_b)",
        ]
        for number, phase in enumerate(phases(params)):
            lines += self._panels(number, phase)
        lines += [
            "            p = at(z, 0)",
            "            sp = y_b",
            "        for b in range(count):",
            "            for k in range(n):",
            "                put(o, b * yh_b + k, get(p, b * sp + k))",
        ]
        if params["lens"]:
            lines += [
                "        for t in range(length, steps):",
                "            for k in range(n):",
                "                put(first, t * y_t + b0 * y_b + k, 0.0)",
            ]
        return lines

    def _panels(self, number: int, phase: Phase) -> list[str]:
        """All units of one phase: panels outside, so that a panel's weights serve all rows of the task."""
        block = self.nv * self.lanes
        a, sa = ("p", "sp") if number == 0 else ("v", "n")
        lines = [
            "            for panel in range(panels):",
            f"                w = at(r, q * r_d + {number} * r_phase + panel * n * {len(phase.gates) * block})",
            f"                j = panel * {block}",
            "                b = i64(0)",
            "                while b < count:",
        ]
        for m in self._sizes():
            word = "if" if m == self.params["mr"] else "elif"
            lines += [
                f"                    {word} count - b >= {m}:",
                f"                        tile_{number}_{m}(at({a}, b * {sa}), {sa}, at(p, b * sp), sp, w, "
                "at(g, b * x_b), x_b, n, j, at(z, b * y_b), y_b, at(c, b * yc_b), yc_b, at(e, q * e_d), "
                "at(u, b * n), at(v, b * n))",
                f"                        b += {m}",
            ]
        return lines


_LEAST = """
@inline
def least(a, b):
    return a if a < b else b


@inline
def most(a, b):
    return a if a > b else b
"""
