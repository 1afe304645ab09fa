"""Which rows of its operands a kernel call needs for some rows of its result, and its parameters for just those.

Rows are dim 2 of ``[N, C, H, W]``. A rule exists for families that work row by row; the others give None.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from accelc.targets.numba_cpu.kernels.base import Tensor
from accelc.targets.numba_cpu.program import Call

ROWS = 2
"""The dim of an image that rows run along."""
Range = tuple[int, int]


@dataclass(frozen=True)
class RowNeeds:
    """Rows of each operand, None for one that is needed whole, and the call's parameters."""

    inputs: tuple[Range | None, ...]
    params: Mapping[str, Any]


def row_needs(call: Call, inputs: Sequence[Tensor | None], output: Tensor, wanted: Range) -> RowNeeds | None:
    """What rows ``wanted`` of the result need; None if the call cannot be done by rows."""
    if len(call.outputs) != 1 or len(output.shape) != 4:
        return None
    rule = _RULES.get(call.family)
    return None if rule is None else rule(call, inputs, output, wanted)


def row_unit(call: Call) -> int:
    """Rows come in multiples of this, but for the last."""
    return int(call.params["m"]) if call.family == "winograd" else 1


def row_axis(tensor: Tensor | None, rows: int) -> int | None:
    """The dim of an operand that runs along the result's rows; None if it is the same for all of them."""
    if tensor is None or len(tensor.shape) < 2:
        return None
    axis = ROWS - 4 + len(tensor.shape)
    return axis if tensor.shape[axis] == rows and rows > 1 else None


def _aligned(inputs: Sequence[Tensor | None], output: Tensor, wanted: Range) -> tuple[Range | None, ...]:
    rows = output.shape[ROWS]
    return tuple(wanted if row_axis(tensor, rows) is not None else None for tensor in inputs)


def _pointwise(call: Call, inputs: Sequence[Tensor | None], output: Tensor, wanted: Range) -> RowNeeds | None:
    return RowNeeds(_aligned(inputs, output, wanted), call.params)


def _product(call: Call, inputs: Sequence[Tensor | None], output: Tensor, wanted: Range) -> RowNeeds | None:
    """A 1x1 convolution; products of matrices have no rows of images."""
    if call.params.get("axis") != 1 or call.params.get("b") != "packed":
        return None
    return RowNeeds((wanted, None, *_aligned(inputs[2:], output, wanted)), call.params)


def _conv(call: Call, inputs: Sequence[Tensor | None], output: Tensor, wanted: Range) -> RowNeeds | None:
    """The zeros around the image are in the operand."""
    stride, reach = call.params["strides"][0], (call.params["kernel"][0] - 1) * call.params["dilations"][0]
    first, last = wanted[0] * stride, (wanted[1] - 1) * stride + reach + 1
    return RowNeeds(((first, last), None, *_aligned(inputs[2:], output, wanted)), call.params)


def _winograd(call: Call, inputs: Sequence[Tensor | None], output: Tensor, wanted: Range) -> RowNeeds | None:
    """Whole tiles of ``m`` rows, each with two more rows of the operand."""
    m = int(call.params["m"])
    if wanted[0] % m:
        return None
    last = wanted[0] + -(-(wanted[1] - wanted[0]) // m) * m + 2
    return RowNeeds(((wanted[0], last), None, *_aligned(inputs[2:], output, wanted)), call.params)


def _windowed(
    call: Call, inputs: Sequence[Tensor | None], output: Tensor, wanted: Range, window: str, ends: bool
) -> RowNeeds | None:
    """Zeros around the image are parameters: rows inside it have none."""
    x, params = inputs[0], call.params
    assert x is not None
    rows = x.shape[ROWS]
    stride, pad = params["strides"][0], params["pads"][0]
    reach = (params[window][0] - 1) * params["dilations"][0]
    first, last = wanted[0] * stride - pad, (wanted[1] - 1) * stride - pad + reach + 1
    changed = {**params, "pads": [max(0, -first), *params["pads"][1:]]}
    if ends:
        changed["ends"] = [params["ends"][0] if wanted[1] == output.shape[ROWS] else 0, *params["ends"][1:]]
    needed = (min(max(first, 0), rows), rows if wanted[1] == output.shape[ROWS] else min(last, rows))
    if needed[0] >= needed[1]:
        return None
    return RowNeeds((needed, *(None for _ in inputs[1:])), changed)


def _depthwise(call: Call, inputs: Sequence[Tensor | None], output: Tensor, wanted: Range) -> RowNeeds | None:
    found = _windowed(call, inputs, output, wanted, "kernel", ends=False)
    if found is None:
        return None
    return RowNeeds((found.inputs[0], None, *_aligned(inputs[2:], output, wanted)), found.params)


def _pool(call: Call, inputs: Sequence[Tensor | None], output: Tensor, wanted: Range) -> RowNeeds | None:
    return _windowed(call, inputs, output, wanted, "window", ends=True)


def _pad_copy(call: Call, inputs: Sequence[Tensor | None], output: Tensor, wanted: Range) -> RowNeeds | None:
    x, pad = inputs[0], call.params["pads"][0]
    assert x is not None
    first, last = max(0, wanted[0] - pad), min(x.shape[ROWS], wanted[1] - pad)
    if first >= last:
        return None
    params = {**call.params, "pads": [max(0, pad - wanted[0]), *call.params["pads"][1:]]}
    return RowNeeds(((first, last),), params)


_RULES: Mapping[str, Callable[[Call, Sequence[Tensor | None], Tensor, Range], RowNeeds | None]] = {
    "elementwise": _pointwise,
    "copy": _pointwise,
    "gemm": _product,
    "conv": _conv,
    "winograd": _winograd,
    "depthwise": _depthwise,
    "pool": _pool,
    "pad_copy": _pad_copy,
}
