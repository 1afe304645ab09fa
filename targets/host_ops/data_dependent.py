"""Ops that choose elements: how many there are is known only after looking."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from accelc.errors import CallError
from accelc.targets.host_ops.base import HostOp, given


def non_zero(inputs: Sequence[Any], attrs: Mapping[str, Any]) -> list[Any]:
    """Indices of elements other than 0, [rank, count] int64. Source: ONNX NonZero-13."""
    x = np.asarray(inputs[0])
    return [
        np.array(np.nonzero(np.atleast_1d(x)), dtype=np.int64).reshape(max(x.ndim, 1), -1)[: x.ndim or None]
    ]


def compress(inputs: Sequence[Any], attrs: Mapping[str, Any]) -> list[Any]:
    """Elements along ``axis`` (of the flattened tensor without one) where the condition holds. Source: Compress-11."""
    x, condition = np.asarray(inputs[0]), np.asarray(inputs[1], dtype=bool)
    axis = attrs.get("axis")
    extent = x.size if axis is None else x.shape[int(axis)]
    if len(condition) > extent:
        raise CallError(
            "the condition of Compress is too long", why=f"{len(condition)} for {extent} elements"
        )
    return [np.compress(condition, x, axis=axis)]


def unique(inputs: Sequence[Any], attrs: Mapping[str, Any]) -> list[Any]:
    """Distinct elements or slices, where each came first, which one each is, and counts. Source: Unique-11."""
    x = np.asarray(inputs[0])
    axis = attrs.get("axis")
    parts = np.unique(x, return_index=True, return_inverse=True, return_counts=True, axis=axis)
    values, first, inverse, counts = parts
    inverse = inverse.reshape(-1)
    if not int(attrs.get("sorted", 1)):
        order = np.argsort(first, kind="stable")
        place = np.empty_like(order)
        place[order] = np.arange(len(order))
        values = np.take(values, order, axis=0 if axis is None else axis)
        first, inverse, counts = first[order], place[inverse], counts[order]
    return [values, *(np.asarray(part, dtype=np.int64) for part in (first, inverse, counts))]


def one_hot(inputs: Sequence[Any], attrs: Mapping[str, Any]) -> list[Any]:
    """``values[1]`` where the place along a new axis equals the index, else ``values[0]``. Source: OneHot-11."""
    index, depth, values = (
        np.asarray(inputs[0]),
        int(np.asarray(inputs[1]).reshape(-1)[0]),
        np.asarray(inputs[2]),
    )
    axis = int(attrs.get("axis", -1)) % (index.ndim + 1)
    whole = index.astype(np.int64)
    spread = np.expand_dims(np.where(whole < 0, whole + depth, whole), axis)
    places = np.arange(depth).reshape([-1] + [1] * (index.ndim - axis))
    return [np.where(spread == places, values[1], values[0])]


def non_max_suppression(inputs: Sequence[Any], attrs: Mapping[str, Any]) -> list[Any]:
    """Boxes kept, best first, per batch and class: [count, 3] int64. Source: ONNX NonMaxSuppression-11."""
    boxes, scores = np.asarray(inputs[0]), np.asarray(inputs[1])
    most, overlap, least = (given(inputs, i) for i in (2, 3, 4))
    limit = 0 if most is None else int(np.asarray(most).reshape(-1)[0])
    threshold = 0.0 if overlap is None else float(np.asarray(overlap).reshape(-1)[0])
    floor = None if least is None else np.asarray(least).reshape(-1)[0]
    kept: list[tuple[int, int, int]] = []
    for batch in range(scores.shape[0]):
        low, high = _corners(boxes[batch], int(attrs.get("center_point_box", 0)))
        for kind in range(scores.shape[1] if limit > 0 else 0):
            chosen = _suppress(low, high, scores[batch, kind], limit, threshold, floor)
            kept += [(batch, kind, box) for box in chosen]
    return [np.array(kept, dtype=np.int64).reshape(-1, 3)]


def _corners(boxes: np.ndarray, centred: int) -> tuple[np.ndarray, np.ndarray]:
    """Lower and upper corners [boxes, 2]."""
    first, second = boxes[:, :2], boxes[:, 2:]
    if centred:
        return first - second / 2, first + second / 2
    return np.minimum(first, second), np.maximum(first, second)


def _suppress(
    low: np.ndarray, high: np.ndarray, scores: np.ndarray, limit: int, threshold: float, floor: Any
) -> list[int]:
    """Greedy: take the best box, drop what overlaps it by more than ``threshold``."""
    order = np.argsort(-scores, kind="stable")
    if floor is not None:
        order = order[scores[order] > floor]
    area = np.prod(high - low, axis=1)
    kept: list[int] = []
    while len(order) and len(kept) < limit:
        best, order = int(order[0]), order[1:]
        kept.append(best)
        edges = np.minimum(high[best], high[order]) - np.maximum(low[best], low[order])
        shared = np.prod(np.maximum(edges, 0), axis=1)
        union = area[best] + area[order] - shared
        with np.errstate(invalid="ignore", divide="ignore"):
            ratio = np.where(union > 0, shared / union, 0)
        order = order[~(ratio > threshold)]
    return kept


def top_k(inputs: Sequence[Any], attrs: Mapping[str, Any]) -> list[Any]:
    """The k largest (smallest) along ``axis`` and where they are; of equal ones the first. Source: TopK-11."""
    x = np.asarray(inputs[0])
    k = int(np.asarray(inputs[1]).reshape(-1)[0])
    axis = int(attrs.get("axis", -1))
    if not 0 <= k <= x.shape[axis]:
        raise CallError("TopK wants more elements than there are", why=f"k={k} of {x.shape[axis]}")
    if int(attrs.get("largest", 1)):
        # NaN sorts last in NumPy and counts as the largest: reversing a reversed stable sort keeps ties in order
        order = np.flip(x.shape[axis] - 1 - np.argsort(np.flip(x, axis), axis=axis, kind="stable"), axis)
    else:
        order = np.argsort(x, axis=axis, kind="stable")
    indices = np.take(order, np.arange(k), axis=axis).astype(np.int64)
    return [np.take_along_axis(x, indices, axis), indices]


OPS: dict[tuple[str, str], HostOp] = {
    ("", "OneHot"): one_hot,
    ("", "NonZero"): non_zero,
    ("", "Compress"): compress,
    ("", "Unique"): unique,
    ("", "NonMaxSuppression"): non_max_suppression,
    ("", "TopK"): top_k,
}
