"""Rare ops along an axis: running products, one-hot maxima, reversed sequences, caches."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from accelc.errors import CallError
from accelc.targets.host_ops.base import HostOp, given


def _axis(value: Any, rank: int, op: str) -> int:
    axis = int(np.asarray(value).reshape(-1)[0])
    if not -rank <= axis < rank:
        raise CallError(f"the axis of {op} is out of range", why=f"axis {axis} of rank {rank}")
    return axis % rank


def cum_prod(inputs: Sequence[Any], attrs: Mapping[str, Any]) -> list[Any]:
    """Running products along an axis. Source: ONNX CumProd-26."""
    x = np.asarray(inputs[0])
    axis = _axis(inputs[1], x.ndim, "CumProd")
    backwards = bool(attrs.get("reverse", 0))
    y = np.flip(x, axis) if backwards else x
    y = np.cumprod(y, axis=axis, dtype=x.dtype)
    if attrs.get("exclusive", 0) and y.size:
        y = np.roll(y, 1, axis)
        y[(slice(None),) * axis + (0,)] = 1
    return [np.flip(y, axis) if backwards else y]


def hardmax(inputs: Sequence[Any], attrs: Mapping[str, Any]) -> list[Any]:
    """1 at the first maximum along an axis, else 0. Source: ONNX Hardmax-13."""
    x = np.asarray(inputs[0])
    axis = _axis(attrs.get("axis", -1), x.ndim, "Hardmax")
    y = np.zeros_like(x)
    if x.size:
        np.put_along_axis(y, np.expand_dims(np.argmax(x, axis), axis), 1, axis)
    return [y]


def reverse_sequence(inputs: Sequence[Any], attrs: Mapping[str, Any]) -> list[Any]:
    """The first ``lengths[b]`` entries of batch ``b`` in reverse along the time axis. Source: ReverseSequence-10."""
    x, lengths = np.asarray(inputs[0]), np.asarray(inputs[1]).reshape(-1)
    batch = _axis(attrs.get("batch_axis", 1), x.ndim, "ReverseSequence")
    time = _axis(attrs.get("time_axis", 0), x.ndim, "ReverseSequence")
    steps = x.shape[time]
    if len(lengths) != x.shape[batch] or ((lengths < 0) | (lengths > steps)).any():
        raise CallError(
            "the lengths of ReverseSequence do not fit", why=f"{lengths.tolist()} of {steps} steps"
        )
    place = np.arange(steps)
    index = np.where(place < lengths[:, None], lengths[:, None] - 1 - place, place)
    moved = np.moveaxis(x, (batch, time), (0, 1))
    taken = moved[np.arange(len(lengths))[:, None], index]
    return [np.moveaxis(taken, (0, 1), (batch, time))]


def determinant(inputs: Sequence[Any], attrs: Mapping[str, Any]) -> list[Any]:
    """Determinants of the square matrices in the last two dims. Source: ONNX Det-22."""
    x = np.asarray(inputs[0])
    wide = np.linalg.det(x.astype(np.float64))
    return [np.asarray(wide).astype(x.dtype)]


def tensor_scatter(inputs: Sequence[Any], attrs: Mapping[str, Any]) -> list[Any]:
    """A cache with ``update`` written into each batch from its own place on. Source: ONNX TensorScatter-24."""
    cache, update, first = np.array(inputs[0]), np.asarray(inputs[1]), given(inputs, 2)
    axis = _axis(attrs.get("axis", -2), cache.ndim, "TensorScatter")
    starts = np.zeros(cache.shape[0], np.int64) if first is None else np.asarray(first).reshape(-1)
    length, count = cache.shape[axis], update.shape[axis]
    place = starts[:, None] + np.arange(count)
    if attrs.get("mode", "linear") == "circular":
        place = place % max(length, 1)
    if place.size and (place.min() < 0 or place.max() >= length):
        raise CallError("TensorScatter writes past the cache", why=f"{int(place.max())} of {length} places")
    moved, part = np.moveaxis(cache, axis, 1), np.moveaxis(update, axis, 1)
    moved[np.arange(cache.shape[0])[:, None], place] = part
    return [cache]


OPS: dict[tuple[str, str], HostOp] = {
    ("", "CumProd"): cum_prod,
    ("", "Det"): determinant,
    ("", "Hardmax"): hardmax,
    ("", "ReverseSequence"): reverse_sequence,
    ("", "TensorScatter"): tensor_scatter,
}
"""Host ops by (domain, op)."""
