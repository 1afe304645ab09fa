"""Lowering of LSTM, GRU and RNN: a product over many time steps, then one kernel for their recurrence."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from accelc.ir.dims import Dim
from accelc.ir.pass_base import Refusal
from accelc.targets.numba_cpu.kernels.recurrent import CELLS, FUNCTIONS
from accelc.targets.numba_cpu.kernels.recurrent_text import ACTIVATIONS, phases
from accelc.targets.numba_cpu.lower.context import LowerContext
from accelc.targets.numba_cpu.lower.movement import emit_copy, sliced
from accelc.targets.numba_cpu.lower.narrow import also_narrow
from accelc.targets.numba_cpu.lower.recurrent_gates import InputGates
from accelc.targets.numba_cpu.lower.shape_ops import emit_fill
from accelc.targets.numba_cpu.lower.table import LoweringTable, Op
from accelc.targets.numba_cpu.program import Value

TABLE = LoweringTable()

_DEFAULTS = {"lstm": ("Sigmoid", "Tanh", "Tanh"), "gru": ("Sigmoid", "Tanh"), "rnn": ("Tanh",)}
_WITH_ALPHA = ("Affine", "LeakyRelu", "ThresholdedRelu", "ScaledTanh", "HardSigmoid", "Elu")
_WITH_BETA = ("Affine", "ScaledTanh", "HardSigmoid")


@dataclass(frozen=True)
class Layer:
    """What the attributes and shapes of a node say."""

    cell: str
    dtype: str
    hidden: int
    directions: int
    reverse: tuple[bool, ...]
    activations: tuple[tuple[tuple[str, float, float], ...], ...]
    clip: float | None
    linear: bool
    batch_first: bool


@TABLE.op("LSTM")
@also_narrow
def lstm(ctx: LowerContext, op: Op) -> Refusal | None:
    """Source: https://onnx.ai/onnx/operators/onnx__LSTM.html."""
    return _recurrent(ctx, op, "lstm")


@TABLE.op("GRU")
@also_narrow
def gru(ctx: LowerContext, op: Op) -> Refusal | None:
    """Source: https://onnx.ai/onnx/operators/onnx__GRU.html."""
    return _recurrent(ctx, op, "gru")


@TABLE.op("RNN")
@also_narrow
def rnn(ctx: LowerContext, op: Op) -> Refusal | None:
    """Source: https://onnx.ai/onnx/operators/onnx__RNN.html."""
    return _recurrent(ctx, op, "rnn")


def _recurrent(ctx: LowerContext, op: Op, cell: str) -> Refusal | None:
    """Any of the three, all directions at once unless their activations differ."""
    x, r = op.inputs[0], op.inputs[2]
    if x is None or r is None or op.inputs[1] is None:
        return Refusal("no input")
    layer = _layer(op, cell, x, r)
    if isinstance(layer, Refusal):
        return layer
    gates = InputGates.of(ctx, op, CELLS[cell], layer.linear and cell == "gru")
    y = _output(ctx, op, 0, layer, gates)
    count = 2 if cell == "lstm" else 1
    states = [_output(ctx, op, i, layer, gates) for i in range(1, 1 + count)]
    nv, mr = _tile(ctx, layer, gates.batch)
    packed = _packed_weights(ctx, r, layer, nv)
    table = _table(ctx, op, layer)
    now = [_state(ctx, op.input(5 + i), layer) for i in range(count)]
    parts = gates.parts
    for part in range(parts):
        projected = gates.part(ctx, part)
        if isinstance(projected, Refusal):
            return projected
        if parts > 1:
            now = [_zeros(ctx, layer, gates.batch) if state is None else state for state in now]
        after = states if part == parts - 1 else [_fresh_state(ctx, layer, gates.batch) for _ in states]
        sides = tuple(gates.rows_of(ctx, y, d, part) for d in range(layer.directions)) if parts > 1 else (y,)
        values = _Values(projected, packed, table, now, sides, after)
        _emit(ctx, op, layer, values, {"nv": nv, "mr": mr})
        now = [*after]
    return None


@dataclass(frozen=True)
class _Values:
    """Operands and results of one part of the sequence; ``states`` and ``after`` are h, or h and c.

    ``y`` is the sequence, or the part of each direction.
    """

    gates: Value
    packed: Value
    table: Value | None
    states: Sequence[Value | None]
    y: Sequence[Value]
    after: Sequence[Value]


def _emit(ctx: LowerContext, op: Op, layer: Layer, values: _Values, given: dict[str, int]) -> None:
    """One call for all directions, or one for each if their activations differ."""
    whole = layer.activations[0] == layer.activations[-1]
    for first, count in [(0, layer.directions)] if whole else [(i, 1) for i in range(layer.directions)]:
        h, c = (*values.states, None)[:2]
        operands = ((values.gates, 2), (values.packed, 0), (h, 0), (c, 0), (values.table, 0))
        inputs = [_directions(ctx, value, axis, first, count) for value, axis in operands]
        split = len(values.y) > 1
        rows = values.y[first : first + count] if split else [_directions(ctx, values.y[0], 1, first, count)]
        outputs = [*rows, *(_directions(ctx, state, 0, first, count) for state in values.after)]
        params = _params(op, layer, first, count) | given
        params |= {"initial_h": h is not None, "initial_c": c is not None, "split": len(rows) > 1}
        params["masked"] = layer.hidden % (given["nv"] * ctx.isa.lanes(layer.dtype)) != 0
        if op.input(4) is not None:
            params["mr"] = 1
        ctx.emit("recurrent", params, [*inputs, op.input(4)], [v for v in outputs if v is not None])


def _fresh_state(ctx: LowerContext, layer: Layer, batch: Dim) -> Value:
    return ctx.temp(layer.dtype, (layer.directions, batch, layer.hidden))


def _zeros(ctx: LowerContext, layer: Layer, batch: Dim) -> Value:
    """A state to begin with where the model gives none: one kernel then serves all parts."""
    state = _fresh_state(ctx, layer, batch)
    emit_fill(ctx, state, 0.0)
    return state


def _layer(op: Op, cell: str, x: Value, r: Value) -> Layer | Refusal:
    hidden, directions = r.dims[2], r.dims[0]
    if not isinstance(hidden, int) or not isinstance(directions, int) or len(x.dims) != 3:
        return Refusal("the hidden size is not known at compile time")
    if x.dtype not in ("float32", "float64"):
        return Refusal(f"{op.op_type} of {x.dtype} has no kernel")
    direction = op.attrs.get("direction", "forward")
    reverse = {"forward": (False,), "reverse": (True,), "bidirectional": (False, True)}.get(str(direction))
    if reverse is None or len(reverse) != directions:
        return Refusal(f"direction {direction} with weights of {directions} direction(s)")
    activations = _activations(op, cell, directions)
    if isinstance(activations, Refusal):
        return activations
    clip = op.attrs.get("clip")
    return Layer(
        cell,
        x.dtype,
        hidden,
        directions,
        reverse,
        activations,
        None if clip is None else float(clip),
        bool(op.attrs.get("linear_before_reset", 0)),
        bool(op.attrs.get("layout", 0)),
    )


def _activations(
    op: Op, cell: str, directions: int
) -> tuple[tuple[tuple[str, float, float], ...], ...] | Refusal:
    """Activations of each direction; alphas and betas are listed for those functions that have them."""
    count = FUNCTIONS[cell]
    names = [str(name) for name in op.attrs.get("activations", _DEFAULTS[cell] * directions)]
    by_lower = {name.lower(): name for name in ACTIVATIONS}
    if len(names) != count * directions or any(name.lower() not in by_lower for name in names):
        return Refusal(f"activations {names} have no kernel")
    alphas = list(op.attrs.get("activation_alpha", ()))
    betas = list(op.attrs.get("activation_beta", ()))
    found = []
    for given in names:
        name = by_lower[given.lower()]
        _, alpha, beta = ACTIVATIONS[name]
        if name in _WITH_ALPHA and alphas:
            alpha = float(alphas.pop(0))
        if name in _WITH_BETA and betas:
            beta = float(betas.pop(0))
        found.append((name, alpha, beta))
    return tuple(tuple(found[i * count : (i + 1) * count]) for i in range(directions))


def _params(op: Op, layer: Layer, first: int, count: int) -> dict[str, Any]:
    """Literal parameters of the call for some directions, but for tile and states."""
    return {
        "cell": layer.cell,
        "dtype": layer.dtype,
        "activations": [list(item) for item in layer.activations[first]],
        "clip": layer.clip,
        "linear": layer.linear,
        "input_forget": bool(op.attrs.get("input_forget", 0)),
        "table": _has_table(op, layer),
        "lens": op.input(4) is not None,
        "reverse": list(layer.reverse[first : first + count]),
    }


def _tile(ctx: LowerContext, layer: Layer, batch: Dim) -> tuple[int, int]:
    """Vectors of units and rows of a tile, so that the accumulators fit the registers."""
    vectors = -(-layer.hidden // ctx.isa.lanes(layer.dtype))
    gates = 2 if layer.cell == "gru" and not layer.linear else CELLS[layer.cell]
    limit = max(1, ctx.isa.registers * 3 // 4 // gates)
    if batch == 1:
        # One row: several vectors hide the latency of the multiply-add.
        fitting = [nv for nv in (8, 4, 3, 2, 1) if nv <= limit and nv <= vectors]
        return min(fitting, key=lambda nv: (-(-vectors // nv) * nv - vectors, -nv)), 1
    return 1, min(limit, 4)


def _directions(ctx: LowerContext, value: Value | None, axis: int, first: int, count: int) -> Value | None:
    """The part of a value that belongs to some directions."""
    if value is None or value.dims[axis] == count:
        return value
    return sliced(ctx, value, axis, first, count)


# ---------------------------------------------------------------------- operands
def _has_table(op: Op, layer: Layer) -> bool:
    if layer.cell == "lstm":
        return op.input(7) is not None
    return layer.cell == "gru" and layer.linear and op.input(3) is not None


def _table(ctx: LowerContext, op: Op, layer: Layer) -> Value | None:
    """Peepholes, or the recurrent bias of a linear GRU's hidden gate."""
    if not _has_table(op, layer):
        return None
    if layer.cell == "lstm":
        return _dense(ctx, op.input(7))
    bias = op.input(3)
    assert bias is not None
    return _dense(ctx, sliced(ctx, bias, 1, 5 * layer.hidden, layer.hidden))


def _dense(ctx: LowerContext, value: Value | None) -> Value | None:
    return None if value is None else ctx.ordered(value)


def _state(ctx: LowerContext, value: Value | None, layer: Layer) -> Value | None:
    """An initial state as [D, B, H]."""
    dense = _dense(ctx, value)
    return ctx.permuted(dense, (1, 0, 2)) if dense is not None and layer.batch_first else dense


def _output(ctx: LowerContext, op: Op, i: int, layer: Layer, gates: InputGates) -> Value:
    """Storage for an output, whether or not the node has it, seen with time and direction first."""
    steps, batch = gates.steps, gates.batch
    sequence = i == 0
    dims: tuple[Dim, ...] = (layer.directions, batch, layer.hidden)
    perm: tuple[int, ...] = (1, 0, 2)
    if layer.batch_first:
        dims = (batch, layer.directions, layer.hidden)
    if sequence:
        dims = (steps, layer.directions, batch, layer.hidden)
        perm = (1, 2, 0, 3)
        if layer.batch_first:
            dims = (batch, steps, layer.directions, layer.hidden)
    asked = i < len(op.outputs) and bool(op.outputs[i].name)
    value = ctx.out(op, i) if asked else ctx.temp(layer.dtype, dims)
    return ctx.permuted(value, perm) if layer.batch_first else value


def _packed_weights(ctx: LowerContext, r: Value, layer: Layer, nv: int) -> Value:
    """Recurrent weights [D, G * H, H] in the kernel's panels (recurrent_text.py), [D, words]."""
    gates, hidden, directions = CELLS[layer.cell], layer.hidden, layer.directions
    block = nv * ctx.isa.lanes(layer.dtype)
    panels = -(-hidden // block)
    split = [phase.gates for phase in phases({"cell": layer.cell, "linear": layer.linear})]
    array = ctx.array(r)
    if array is not None:
        padded = np.zeros((directions, gates, panels * block, hidden), array.dtype)
        padded[:, :, :hidden] = array.reshape(directions, gates, hidden, hidden)
        parts = [
            padded[:, list(group)]
            .reshape(directions, len(group), panels, block, hidden)
            .transpose(0, 2, 4, 1, 3)
            for group in split
        ]
        flat = np.concatenate([part.reshape(directions, -1) for part in parts], axis=1)
        return ctx.constant(flat, f"{r.name}.packed")
    wide = ctx.temp(layer.dtype, (directions, gates, panels * block, hidden))
    if panels * block != hidden:
        emit_fill(ctx, wide, 0.0)
    emit_copy(ctx, ctx.reshaped(r, (directions, gates, hidden, hidden)), sliced(ctx, wide, 2, 0, hidden))
    total = ctx.temp(layer.dtype, (directions, gates * panels * block * hidden))
    start = 0
    view = ctx.reshaped(wide, (directions, gates, panels, block, hidden))
    for group in split:
        part = ctx.permuted(sliced(ctx, view, 1, group[0], len(group)), (0, 2, 4, 1, 3))
        count = len(group) * panels * block * hidden
        dense = ctx.ordered(part)
        emit_copy(ctx, ctx.reshaped(dense, (directions, count)), sliced(ctx, total, 1, start, count))
        start += count
    return total
