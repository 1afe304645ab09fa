"""Ops that read at computed places: GridSample, MaxUnpool, Col2Im."""

from __future__ import annotations

import itertools
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from accelc.errors import CallError
from accelc.targets.host_ops.base import HostOp, given


def grid_sample(inputs: Sequence[Any], attrs: Mapping[str, Any]) -> list[Any]:
    """X [N, C, spatial...] read at grid [N, out..., rank] in [-1, 1]; the grid's last dim counts from the last axis.

    Source: ONNX GridSample-22.
    """
    x, grid = np.asarray(inputs[0]), np.asarray(inputs[1])
    sizes = x.shape[2:]
    if grid.shape[-1] != len(sizes) or grid.shape[0] != x.shape[0]:
        raise CallError("the grid does not fit the image", why=f"{list(grid.shape)} for {list(x.shape)}")
    corners = bool(attrs.get("align_corners", 0))
    padding = str(attrs.get("padding_mode", "zeros"))
    mode = str(attrs.get("mode", "linear"))
    places = []
    for axis, size in enumerate(sizes):
        at = grid[..., len(sizes) - 1 - axis].astype(np.float64)
        place = (at + 1) / 2 * (size - 1) if corners else ((at + 1) * size - 1) / 2
        places.append(place)
    # Neighbours, and how much each counts, along every axis
    taps = [_taps(place, mode) for place in places]
    result = np.zeros((x.shape[0], x.shape[1], *grid.shape[1:-1]), np.float64)
    for choice in itertools.product(*taps):
        weight = np.ones(grid.shape[:-1], np.float64)
        index, inside = [], np.ones(grid.shape[:-1], bool)
        for (at, share), size in zip(choice, sizes, strict=True):
            weight = weight * share
            where, valid = _padded(at, size, padding, corners)
            index.append(where)
            inside &= valid
        batch = np.arange(x.shape[0]).reshape(-1, *(1,) * len(sizes))
        moved = np.moveaxis(x, 1, -1)[(batch, *index)].astype(np.float64)
        result += np.moveaxis(np.where(inside[..., None], moved, 0) * weight[..., None], -1, 1)
    return [result.astype(x.dtype)]


def _taps(place: np.ndarray, mode: str) -> list[tuple[np.ndarray, np.ndarray]]:
    """(position, weight) of the neighbours along one axis."""
    if mode == "nearest":
        return [(np.rint(place), np.ones_like(place))]
    base = np.floor(place)
    part = place - base
    if mode in ("linear", "bilinear"):
        return [(base, 1 - part), (base + 1, part)]
    a = -0.75  # the cubic kernel's coefficient in ONNX's definition
    taps = []
    for shift in (-1, 0, 1, 2):
        d = np.abs(part - shift)
        near = (a + 2) * d**3 - (a + 3) * d**2 + 1
        far = a * d**3 - 5 * a * d**2 + 8 * a * d - 4 * a
        taps.append((base + shift, np.where(d <= 1, near, far)))
    return taps


def _padded(at: np.ndarray, size: int, padding: str, corners: bool) -> tuple[np.ndarray, np.ndarray]:
    """Positions as indices, and which of them count."""
    everywhere = np.ones(at.shape, bool)
    if padding == "reflection":
        low, high = (0.0, size - 1.0) if corners else (-0.5, size - 0.5)
        span = high - low
        if span <= 0:
            return np.zeros(at.shape, np.int64), everywhere
        around = np.mod(at - low, 2 * span)
        at = np.where(around > span, 2 * span - around, around) + low
    elif padding == "zeros":
        everywhere = (at >= 0) & (at <= size - 1)
    return np.clip(at, 0, max(size - 1, 0)).astype(np.int64), everywhere


def max_unpool(inputs: Sequence[Any], attrs: Mapping[str, Any]) -> list[Any]:
    """Values put back at the flat places that MaxPool gave, zeros elsewhere. Source: ONNX MaxUnpool-22."""
    x, places, wanted = np.asarray(inputs[0]), np.asarray(inputs[1]), given(inputs, 2)
    kernel = [int(n) for n in attrs["kernel_shape"]]
    rank = len(kernel)
    strides = [int(n) for n in attrs.get("strides", (1,) * rank)]
    pads = [int(n) for n in attrs.get("pads", (0,) * (2 * rank))]
    natural = [
        (extent - 1) * strides[i] + kernel[i] - pads[i] - pads[i + rank]
        for i, extent in enumerate(x.shape[2:])
    ]
    shape = (*x.shape[:2], *natural)
    full = shape if wanted is None else tuple(int(n) for n in wanted)
    flat = np.zeros(int(np.prod(full)), x.dtype)
    # The indices are those of the natural shape; with another output shape they are carried over.
    if places.size and (places.min() < 0 or places.max() >= np.prod(shape)):
        raise CallError(
            "an index of MaxUnpool is out of range", why=f"{int(places.max())} of {np.prod(shape)}"
        )
    where = np.unravel_index(places.reshape(-1), shape)
    flat[np.ravel_multi_index(where, full)] = x.reshape(-1)
    return [flat.reshape(full)]


def col2im(inputs: Sequence[Any], attrs: Mapping[str, Any]) -> list[Any]:
    """Columns [N, C * block, L] summed into the image [N, C, image...]. Source: ONNX Col2Im-18."""
    columns, image, block = (np.asarray(inputs[i]) for i in range(3))
    sizes, kernel = [int(n) for n in image], [int(n) for n in block]
    rank = len(sizes)
    dilations = [int(n) for n in attrs.get("dilations", (1,) * rank)]
    pads = [int(n) for n in attrs.get("pads", (0,) * (2 * rank))]
    strides = [int(n) for n in attrs.get("strides", (1,) * rank)]
    counts = [
        (sizes[i] + pads[i] + pads[i + rank] - dilations[i] * (kernel[i] - 1) - 1) // strides[i] + 1
        for i in range(rank)
    ]
    channels = columns.shape[1] // max(int(np.prod(kernel)), 1)
    parts = columns.reshape(columns.shape[0], channels, *kernel, *counts)
    padded = np.zeros(
        (columns.shape[0], channels, *(sizes[i] + pads[i] + pads[i + rank] for i in range(rank))),
        columns.dtype,
    )
    for tap in itertools.product(*map(range, kernel)):
        window = tuple(
            slice(tap[i] * dilations[i], tap[i] * dilations[i] + strides[i] * (counts[i] - 1) + 1, strides[i])
            for i in range(rank)
        )
        into: tuple[Any, ...] = (slice(None), slice(None), *window)
        taken: tuple[Any, ...] = (slice(None), slice(None), *tap)
        padded[into] += parts[taken]
    inner = tuple(slice(pads[i], pads[i] + sizes[i]) for i in range(rank))
    return [padded[(slice(None), slice(None), *inner)]]


OPS: dict[tuple[str, str], HostOp] = {
    ("", "Col2Im"): col2im,
    ("", "GridSample"): grid_sample,
    ("", "MaxUnpool"): max_unpool,
}
"""Host ops by (domain, op)."""
