"""Operands of products: checks, broadcasting and walking several dims with one stride."""

from __future__ import annotations

from collections.abc import Sequence

from accelc.errors import ArtifactError, CallError
from accelc.targets.numba_cpu.kernels.base import Params, Tensor
from accelc.targets.numba_cpu.kernels.tiles import DTYPES

Strides = list[tuple[int, ...]]


def check_tile(params: Params) -> None:
    """Raise ArtifactError unless dtype and tile are known ones."""
    if params.get("dtype") not in DTYPES:
        raise ArtifactError(f"matrix product of {params.get('dtype')!r}", why=f"one of {', '.join(DTYPES)}")
    for name, top in (("mr", 14), ("nv", 4)):
        value = params.get(name)
        if isinstance(value, bool) or not isinstance(value, int) or not 1 <= value <= top:
            raise ArtifactError(f"register tile: {name} is {value!r}", why=f"an integer from 1 to {top}")


def integers(params: Params, name: str, low: int, high: int, most: int) -> list[int]:
    """The parameter ``name``: one to ``most`` integers from ``low`` to ``high``.

    Raises:
        ArtifactError: it is anything else.
    """
    value = params.get(name)
    if isinstance(value, list | tuple) and 1 <= len(value) <= most:
        found = [
            item
            for item in value
            if isinstance(item, int) and not isinstance(item, bool) and low <= item <= high
        ]
        if len(found) == len(value):
            return found
    raise ArtifactError(
        f"kernel parameter {name!r} is {value!r}", why=f"one to {most} integers from {low} to {high}"
    )


def check_operands(params: Params, operands: Sequence[Tensor], shape: tuple[int, ...], column: int) -> None:
    """Raise CallError unless every ``vector`` operand is contiguous along the columns."""
    kinds = params.get("kinds", ())
    if len(operands) != len(kinds):
        raise CallError("an epilogue lacks an operand", why=f"{len(operands)} of {len(kinds)}")
    for kind, tensor in zip(kinds, operands, strict=True):
        stride = broadcast(tensor, shape)[column]
        if shape[column] > 1 and stride != (1 if kind == "vector" else 0):
            raise CallError(
                "an epilogue operand does not lie as its kernel needs", why=f"{kind}, stride {stride}"
            )


def broadcast(tensor: Tensor, shape: tuple[int, ...]) -> tuple[int, ...]:
    """Strides of ``tensor`` as if it had ``shape``: 0 along dims that it repeats.

    Raises:
        CallError: it does not broadcast to ``shape``.
    """
    missing = len(shape) - len(tensor.shape)
    if missing < 0:
        raise CallError(f"shape {tensor.shape} does not broadcast to {shape}")
    strides = [0] * missing
    for extent, stride, wanted in zip(tensor.shape, tensor.strides, shape[missing:], strict=True):
        if extent not in (1, wanted):
            raise CallError(f"shape {tensor.shape} does not broadcast to {shape}")
        strides.append(0 if extent == 1 else stride)
    return tuple(strides)


def collapse(shape: tuple[int, ...], strides: Strides) -> tuple[tuple[int, ...], Strides]:
    """Merge adjacent dims that every operand walks with one stride; dims of extent 1 go."""
    dims = [i for i, extent in enumerate(shape) if extent != 1]
    extents: list[int] = []
    merged: list[list[int]] = []
    for i in dims:
        step = [s[i] for s in strides]
        if merged and all(outer == inner * shape[i] for outer, inner in zip(merged[-1], step, strict=True)):
            extents[-1] *= shape[i]
            merged[-1] = step
        else:
            extents.append(shape[i])
            merged.append(step)
    return tuple(extents), [tuple(step[k] for step in merged) for k in range(len(strides))]
