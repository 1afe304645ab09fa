"""RNN, LSTM and GRU: one product over all time steps, then a scan over time for each direction."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import jax
import jax.numpy as jnp
from jax import lax

from accelc.errors import UnsupportedError
from accelc.targets.jax_xla import precision
from accelc.targets.jax_xla.context import Ctx
from accelc.targets.jax_xla.table import LoweringTable

if TYPE_CHECKING:
    from accelc.targets.jax_xla.table import Array

TABLE = LoweringTable()

Function = Callable[[jax.Array], jax.Array]
Step = Callable[[tuple[jax.Array, ...], jax.Array], tuple[jax.Array, ...]]

DEFAULTS = {"LSTM": ("Sigmoid", "Tanh", "Tanh"), "GRU": ("Sigmoid", "Tanh"), "RNN": ("Tanh",)}
"""Activations of one direction where none are named."""

ACTIVATIONS: dict[str, tuple[Callable[[jax.Array, float, float], jax.Array], float | None, float | None]] = {
    "affine": (lambda x, a, b: a * x + b, 1.0, 0.0),
    "elu": (lambda x, a, b: jnp.where(x < 0, a * jnp.expm1(x), x), 1.0, None),
    "hardsigmoid": (lambda x, a, b: jnp.clip(a * x + b, 0, 1), 0.2, 0.5),
    "leakyrelu": (lambda x, a, b: jnp.where(x < 0, a * x, x), 0.01, None),
    "relu": (lambda x, a, b: jnp.maximum(x, 0), None, None),
    "scaledtanh": (lambda x, a, b: a * jnp.tanh(b * x), 1.0, 1.0),
    "sigmoid": (lambda x, a, b: jax.nn.sigmoid(x), None, None),
    "softplus": (lambda x, a, b: jax.nn.softplus(x), None, None),
    "softsign": (lambda x, a, b: x / (1 + jnp.abs(x)), None, None),
    "tanh": (lambda x, a, b: jnp.tanh(x), None, None),
    "thresholdedrelu": (lambda x, a, b: jnp.where(x > a, x, 0), 1.0, None),
}
"""Functions by lower-case name, with the defaults of alpha and beta (None: the function has none)."""


@dataclass(frozen=True)
class Cell:
    """One direction of a layer, its operands in the dtype of sums.

    Args:
        gates: ``X @ W' + bias`` [T, B, gates * H], for all steps.
        weights: Recurrent weights [gates * H, H].
        bias: Recurrent bias [gates * H].
        peepholes: [3 * H] of input, output and forget gate, or None.
        functions: Activations.
        clip: Bound of what enters an activation, None for none.
        linear: GRU: apply the reset gate after the product.
        coupled: LSTM: the forget gate is one less the input gate.
    """

    gates: jax.Array
    weights: jax.Array
    bias: jax.Array
    peepholes: jax.Array | None
    functions: tuple[Function, ...]
    clip: float | None
    linear: bool
    coupled: bool

    def bounded(self, x: jax.Array) -> jax.Array:
        """``x`` within the clip."""
        return x if self.clip is None else jnp.clip(x, -self.clip, self.clip)


def functions(names: Sequence[str], alphas: Sequence[float], betas: Sequence[float]) -> tuple[Function, ...]:
    """Activations with their parameters, which are listed for those functions only that have them.

    Raises:
        UnsupportedError: A name is not one of ONNX's activations.
    """
    left_alphas, left_betas = list(alphas), list(betas)
    found: list[Function] = []
    for name in names:
        if name.lower() not in ACTIVATIONS:
            raise UnsupportedError(f"unknown activation {name!r}", fix=f"one of {', '.join(ACTIVATIONS)}")
        function, alpha, beta = ACTIVATIONS[name.lower()]
        if alpha is not None and left_alphas:
            alpha = left_alphas.pop(0)
        if beta is not None and left_betas:
            beta = left_betas.pop(0)
        found.append(_bound(function, alpha or 0.0, beta or 0.0))
    return tuple(found)


def _bound(function: Callable[[jax.Array, float, float], jax.Array], alpha: float, beta: float) -> Function:
    return lambda x: function(x, alpha, beta)


def _rnn_step(ctx: Ctx, cell: Cell) -> Step:
    (f,) = cell.functions

    def step(state: tuple[jax.Array, ...], gates: jax.Array) -> tuple[jax.Array, ...]:
        return (f(cell.bounded(gates + _recur(ctx, state[0], cell.weights) + cell.bias)),)

    return step


def _gru_step(ctx: Ctx, cell: Cell) -> Step:
    f, g = cell.functions
    hidden = cell.weights.shape[1]
    update_reset, candidate = cell.weights[: 2 * hidden], cell.weights[2 * hidden :]
    bias_zr, bias_h = cell.bias[: 2 * hidden], cell.bias[2 * hidden :]

    def step(state: tuple[jax.Array, ...], gates: jax.Array) -> tuple[jax.Array, ...]:
        h = state[0]
        if cell.linear:
            both = _recur(ctx, h, cell.weights) + cell.bias
            zr, linear = both[:, : 2 * hidden], both[:, 2 * hidden :]
        else:
            zr = _recur(ctx, h, update_reset) + bias_zr
        zr = f(cell.bounded(gates[:, : 2 * hidden] + zr))
        z, r = zr[:, :hidden], zr[:, hidden:]
        inner = r * linear if cell.linear else _recur(ctx, r * h, candidate) + bias_h
        new = g(cell.bounded(gates[:, 2 * hidden :] + inner))
        return ((1 - z) * new + z * h,)

    return step


def _lstm_step(ctx: Ctx, cell: Cell) -> Step:
    f, g, h = cell.functions
    hidden = cell.weights.shape[1]
    peep = [None] * 3 if cell.peepholes is None else list(jnp.split(cell.peepholes, 3))

    def step(state: tuple[jax.Array, ...], gates: jax.Array) -> tuple[jax.Array, ...]:
        before, c = state
        total = gates + _recur(ctx, before, cell.weights) + cell.bias
        into, out, forget, new = (total[:, i * hidden : (i + 1) * hidden] for i in range(4))
        if peep[0] is not None:
            into, forget = into + peep[0] * c, forget + peep[2] * c
        i = f(cell.bounded(into))
        keep = 1 - i if cell.coupled else f(cell.bounded(forget))
        c = keep * c + i * g(cell.bounded(new))
        if peep[1] is not None:
            out = out + peep[1] * c
        return f(cell.bounded(out)) * h(c), c

    return step


STEPS: dict[str, Callable[[Ctx, Cell], Step]] = {"RNN": _rnn_step, "GRU": _gru_step, "LSTM": _lstm_step}


def _recur(ctx: Ctx, state: jax.Array, weights: jax.Array) -> jax.Array:
    """``state @ weights'``."""
    return precision.matmul(ctx, state, weights.T)


@TABLE.op("RNN", "GRU", "LSTM")
def recurrent(
    ctx: Ctx,
    x: Array,
    w: Array,
    r: Array,
    b: Array | None = None,
    sequence_lens: Array | None = None,
    initial_h: Array | None = None,
    initial_c: Array | None = None,
    p: Array | None = None,
    *,
    activation_alpha: Sequence[float] = (),
    activation_beta: Sequence[float] = (),
    activations: Sequence[str] | None = None,
    clip: float | None = None,
    direction: str = "forward",
    hidden_size: int | None = None,
    input_forget: int = 0,
    layout: int = 0,
    linear_before_reset: int = 0,
    output_sequence: int = 1,
) -> Any:
    """A recurrent layer, one or both directions.

    Shapes: x [T, B, I] ([B, T, I] if layout is 1); w [D, gates * H, I]; r [D, gates * H, H]; b [D, 2 * gates * H];
    states [D, B, H] ([B, D, H]). Outputs: Y [T, D, B, H] ([B, T, D, H]), and the last states. A sequence that is
    over keeps its state and gives zeros; one that is read backwards so starts at its own end.
    Source: ONNX RNN-22, GRU-22, LSTM-22.
    """
    kind = ctx.node.op_type
    given = jnp.asarray(x)
    wide = precision.sum_dtype(given.dtype)
    sequence = (given.transpose(1, 0, 2) if layout else given).astype(wide)
    steps, batch = sequence.shape[:2]
    weights, recurrent_weights = jnp.asarray(w).astype(wide), jnp.asarray(r).astype(wide)
    directions, width, hidden = recurrent_weights.shape
    biases = jnp.zeros((directions, 2 * width), wide) if b is None else jnp.asarray(b).astype(wide)
    names = tuple(activations or DEFAULTS[kind] * directions)
    all_functions = functions(names, activation_alpha, activation_beta)
    per_direction = len(DEFAULTS[kind])
    starts = [_initial(initial_h, directions, batch, hidden, layout, wide)]
    if kind == "LSTM":
        starts.append(_initial(initial_c, directions, batch, hidden, layout, wide))
    active = None
    if sequence_lens is not None:
        active = jnp.arange(steps)[:, None] < jnp.asarray(sequence_lens).reshape(1, -1)
    sequences, finals = [], []
    for d in range(directions):
        gates = precision.matmul(ctx, sequence, weights[d].T) + biases[d, :width]
        cell = Cell(
            gates,
            recurrent_weights[d],
            biases[d, width:],
            None if p is None else jnp.asarray(p).astype(wide)[d],
            all_functions[d * per_direction : (d + 1) * per_direction],
            clip,
            bool(linear_before_reset),
            bool(input_forget),
        )
        backwards = direction == "reverse" or d == 1
        y, last = _scan(STEPS[kind](ctx, cell), cell, tuple(s[d] for s in starts), active, backwards)
        sequences.append(y)
        finals.append(last)
    y = jnp.stack(sequences, axis=1)  # [T, D, B, H]
    states = [jnp.stack([last[i] for last in finals]) for i in range(len(starts))]
    if layout:
        y = y.transpose(2, 0, 1, 3)
        states = [s.transpose(1, 0, 2) for s in states]
    return tuple(v.astype(given.dtype) for v in (y, *states))[: max(ctx.output_count, 1)]


def _initial(
    state: Array | None, directions: int, batch: Any, hidden: int, layout: int, dtype: Any
) -> jax.Array:
    if state is None:
        return jnp.zeros((directions, batch, hidden), dtype)
    given = jnp.asarray(state).astype(dtype)
    return given.transpose(1, 0, 2) if layout else given


def _scan(
    step: Step, cell: Cell, start: tuple[jax.Array, ...], active: jax.Array | None, backwards: bool
) -> tuple[jax.Array, tuple[jax.Array, ...]]:
    """All states [T, B, H] and the last ones."""

    def body(state: tuple[jax.Array, ...], at: Any) -> tuple[tuple[jax.Array, ...], jax.Array]:
        if active is None:
            new = step(state, at)
            return new, new[0]
        gates, running = at
        moved = step(state, gates)
        new = tuple(jnp.where(running[:, None], a, b) for a, b in zip(moved, state, strict=True))
        return new, jnp.where(running[:, None], moved[0], 0)

    inputs = cell.gates if active is None else (cell.gates, active)
    last, y = lax.scan(body, start, inputs, reverse=backwards)
    return y, last
