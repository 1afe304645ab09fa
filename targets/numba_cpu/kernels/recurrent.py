"""Family ``recurrent``: a whole sequence of an LSTM, GRU or RNN in one call.

The input's part of the gates is a product over all time steps that the gemm family has done; this kernel adds the
state's part step by step (recurrent_text.py). Tasks are directions times blocks of batch rows.

Source: ONNX operators LSTM, GRU and RNN.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any, ClassVar

from accelc.errors import ArtifactError, CallError
from accelc.targets.numba_cpu.isa import Isa
from accelc.targets.numba_cpu.kernels.base import (
    WORKSPACE,
    Address,
    Binding,
    Family,
    KernelSource,
    Params,
    Tensor,
    itemsize,
)
from accelc.targets.numba_cpu.kernels.recurrent_text import ACTIVATIONS, WORDS, RecurrentText, phases
from accelc.targets.numba_cpu.kernels.text import check_int, check_name

CELLS = {"lstm": 4, "gru": 3, "rnn": 1}
"""Gates of each cell."""
FUNCTIONS = {"lstm": 3, "gru": 2, "rnn": 1}
"""Activations of each cell."""
ROWS = 12
"""Batch rows of a task: their weights are read once for all of them."""
_FLAGS = ("masked", "linear", "input_forget", "table", "initial_h", "initial_c", "lens")


class Recurrent(Family):
    """Y, Y_h, Y_c = cell over a sequence, every direction with its own weights.

    Inputs: gates of the input ``[T, B, D, G * H]``, packed recurrent weights, initial h and c ``[D, B, H]``, a
    table ``[D, .]`` (peepholes ``[D, 3H]`` of an LSTM, or the recurrent bias ``[D, H]`` of a GRU with
    ``linear``), sequence lengths ``[B]`` int32. Outputs: Y ``[T, D, B, H]``, Y_h and Y_c ``[D, B, H]`` (Y_c for
    an LSTM only). The last dim of all has unit stride, the other strides are free.

    With ``split`` Y comes as one output ``[T, 1, B, H]`` for each direction: parts of a longer sequence, of which a
    reversed direction does the last ones first.

    Params: ``cell``, ``dtype``, ``activations`` (name, alpha, beta of each), ``clip`` (or None), ``mr`` (rows of a
    tile), ``nv`` (vectors of units), ``reverse`` (for each direction) and the flags in ``_FLAGS``.
    """

    name: ClassVar[str] = "recurrent"

    def check(self, params: Params) -> None:
        """See Family."""
        cell = check_name(params, "cell", tuple(CELLS))
        check_name(params, "dtype", ("float32", "float64"))
        check_int(params, "mr", 1, 8)
        check_int(params, "nv", 1, 8)
        if any(not isinstance(params.get(flag), bool) for flag in _FLAGS):
            raise ArtifactError("malformed kernel parameters", why=f"{', '.join(_FLAGS)} are booleans")
        found = params.get("activations")
        if not isinstance(found, list | tuple) or len(found) != FUNCTIONS[cell]:
            raise ArtifactError(
                "malformed kernel parameters", why=f"{cell} has {FUNCTIONS[cell]} activations"
            )
        for item in found:
            if not isinstance(item, list | tuple) or len(item) != 3 or item[0] not in ACTIVATIONS:
                raise ArtifactError("malformed kernel parameters", why="an activation is not known")
            if not all(_finite(number) for number in item[1:]):
                raise ArtifactError("malformed kernel parameters", why="an activation's factor is no number")
        if params.get("clip") is not None and not _finite(params["clip"]):
            raise ArtifactError("malformed kernel parameters", why="'clip' is no number")
        if not isinstance(params.get("split", False), bool):
            raise ArtifactError("malformed kernel parameters", why="'split' is a boolean")
        reverse = params.get("reverse")
        if not isinstance(reverse, list | tuple) or not 1 <= len(reverse) <= 2:
            raise ArtifactError("malformed kernel parameters", why="'reverse' names 1 or 2 directions")

    def source(self, params: Params, isa: Isa) -> KernelSource:
        """See Family."""
        lanes = isa.lanes(params["dtype"])
        name = f"{params['cell']}_{params['dtype']}_{params['mr']}x{params['nv'] * lanes}"
        return KernelSource(name, RecurrentText(params, lanes).source())

    def bind(
        self, params: Params, inputs: Sequence[Tensor | None], outputs: Sequence[Tensor], isa: Isa
    ) -> Binding:
        """See Family."""
        x, r = inputs[0], inputs[1]
        directions = len(params["reverse"])
        split = bool(params.get("split", False))
        y, states_at = outputs[0], directions if split else 1
        steps, _, batch, n = y.shape
        wanted = (steps, batch, directions, CELLS[params["cell"]] * n)
        if x is None or r is None or len(outputs) <= states_at:
            raise CallError("a recurrent kernel lacks an operand", fix="recompile the model")
        other = _other_direction(outputs[:states_at], directions)
        if x.shape != wanted or y.shape[1] != (1 if split else directions):
            raise CallError(
                f"gates of shape {list(x.shape)} meet a sequence of {list(wanted)}",
                fix="check the shapes of the inputs",
            )
        if batch * n == 0:
            return Binding([], 0)
        block = params["nv"] * isa.lanes(params["dtype"])
        panels = -(-n // block)
        widths = [len(phase.gates) for phase in phases(params)]
        per_direction = sum(widths) * panels * n * block
        if r.size != directions * per_direction:
            raise CallError(f"recurrent weights of {r.size} elements do not fit hidden size {n}")
        if params["masked"] != (n % block != 0):
            raise CallError("the hidden size is not the one compiled for", fix="recompile the model")
        rows = 1 if params["lens"] else min(batch, ROWS)
        blocks = -(-batch // rows)
        size = itemsize(params["dtype"])
        # A multiple of 64 bytes, which both sizes divide.
        scratch = -(-(n + 2 * rows * n) * size // 64) * 64
        values: dict[str, int | Address] = {
            "ws": Address(WORKSPACE), "ws_step": scratch // size, "steps": steps, "batch": batch, "n": n,
            "rows": rows, "blocks": blocks, "panels": panels, "r": r.address(), "r_d": per_direction,
            "r_phase": widths[0] * panels * n * block, "y": y.address(), "y1": other,
            "y_t": y.strides[0], "y_b": y.strides[2], "x": x.address(), "x_t": x.strides[0],
            "x_b": x.strides[1], "x_d": x.strides[2],
            "reverse": sum(1 << i for i, back in enumerate(params["reverse"]) if back),
        }  # fmt: skip
        ends = outputs[states_at:]
        states = {"yh": ends[0], "yc": ends[1] if len(ends) > 1 else None}
        states |= {"h0": inputs[2], "c0": inputs[3], "e": inputs[4]}
        for name, state in states.items():
            values |= _state(name, state, directions, batch, n)
        lens = inputs[5]
        if lens is not None:
            if lens.shape != (batch,) or lens.dtype != "int32":
                raise CallError(f"sequence lengths of shape {list(lens.shape)} for a batch of {batch}")
            values["lens"] = lens.address()
        words = [values.get(word, 0) for word in WORDS]
        return Binding(words, directions * blocks, workspace_bytes=scratch)


def _other_direction(y: Sequence[Tensor], directions: int) -> Address:
    """Where the second direction's part of the result begins; the kernel walks both with the same strides."""
    if len(y) == 1:
        return y[0].address(y[0].strides[1] if directions > 1 else 0)
    if y[0].shape != y[1].shape or y[0].strides != y[1].strides:
        raise CallError("the directions of a sequence do not lie alike", why=f"{y[0]} and {y[1]}")
    return y[1].address()


def _state(name: str, state: Tensor | None, directions: int, batch: int, n: int) -> dict[str, int | Address]:
    """Address and strides of a state or table."""
    if state is None:
        return {}
    if name == "e":
        if len(state.shape) != 2 or state.shape[0] != directions or state.shape[1] not in (n, 3 * n):
            raise CallError(f"a table of shape {list(state.shape)} does not fit hidden size {n}")
        return {"e": state.address(), "e_d": state.strides[0]}
    if state.shape != (directions, batch, n):
        raise CallError(
            f"a state of shape {list(state.shape)}, wanted {[directions, batch, n]}",
            fix="check the shapes of the initial states",
        )
    return {name: state.address(), f"{name}_d": state.strides[0], f"{name}_b": state.strides[1]}


def _finite(number: Any) -> bool:
    return isinstance(number, int | float) and not isinstance(number, bool) and math.isfinite(number)
