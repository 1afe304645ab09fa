"""How tensors become inputs of a matrix, and its results tensors again.

A linear op applies the same matrix to many vectors: rows of a tensor, patches of an image. A layout takes these vectors
out of a tensor and puts the results in their places; both move numbers and do no arithmetic but the division by the
number of elements that an average at a border has. All vectors of a tensor are inputs of one circuit, side by side in
the register that counts them.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np


class Layout(Protocol):
    """Where vectors lie in the operand, and their results in the result."""

    @property
    def keeps_items(self) -> bool:
        """Whether entry ``b`` of the result's first axis depends on entry ``b`` of the operand's alone."""

    def gather(self, x: np.ndarray) -> np.ndarray:
        """The vectors of ``x``: [groups, vectors, columns]."""

    def place(self, y: np.ndarray, shape: Sequence[int]) -> np.ndarray:
        """The tensor of the results ``y`` [groups, vectors, rows] for an operand of that shape."""


@dataclass(frozen=True)
class Axes:
    """Vectors along axes of the operand; every index of the other axes has one.

    Args:
        axes: Axes of the operand that a vector runs over, the last one fastest; negative ones count from the end.
        positions: Axes of the result that its entries run over.
        dims: Extents of these.
    """

    axes: tuple[int, ...]
    positions: tuple[int, ...]
    dims: tuple[int, ...]

    @property
    def keeps_items(self) -> bool:
        """Unless vectors run over the first axis; axes counted from the end may be the first, so they do not."""
        return all(axis > 0 for axis in (*self.axes, *self.positions))

    @property
    def is_in_place(self) -> bool:
        """Whether results lie where the vectors lay."""
        return self.axes == self.positions

    def gather(self, x: np.ndarray) -> np.ndarray:
        """See Layout.gather; one group."""
        count = len(self.axes)
        moved = np.moveaxis(x, self.axes, range(-count, 0))
        rest, own = moved.shape[: x.ndim - count], moved.shape[x.ndim - count :]
        return moved.reshape(1, math.prod(rest), math.prod(own))

    def place(self, y: np.ndarray, shape: Sequence[int]) -> np.ndarray:
        """See Layout.place."""
        taken = {axis % len(shape) for axis in self.axes}
        rest = [extent for axis, extent in enumerate(shape) if axis not in taken]
        tensor = y[0].reshape((*rest, *self.dims))
        return np.moveaxis(tensor, range(-len(self.dims), 0), self.positions)


@dataclass(frozen=True)
class Windows:
    """Vectors that are patches of [N, C, spatial...] under a sliding window, outside of the operand zero.

    Source: ONNX Conv-22, AveragePool-22.

    Args:
        kernel: Taps along each spatial axis.
        strides: Steps of the window.
        dilations: Steps between taps.
        pads: All begins, then all ends; used where ``auto_pad`` is NOTSET.
        auto_pad: NOTSET, VALID, SAME_UPPER or SAME_LOWER.
        ceil_mode: Whether a last window may reach over the end; it must start inside the operand or the pads before.
        groups: Channels come in so many groups, each with its own matrix.
        per_channel: Every channel has vectors of its own, all with one matrix; else a patch holds all channels.
        counts: What an average divides by: ``""`` for no average; ``"inside"`` is the elements of the operand,
            ``"padded"`` those and the pads, where the matrix divides by all taps.
    """

    kernel: tuple[int, ...]
    strides: tuple[int, ...]
    dilations: tuple[int, ...]
    pads: tuple[int, ...]
    auto_pad: str = "NOTSET"
    ceil_mode: bool = False
    groups: int = 1
    per_channel: bool = False
    counts: str = ""

    @property
    def keeps_items(self) -> bool:
        """Always: the first axis counts images."""
        return True

    @property
    def is_padded(self) -> bool:
        """Whether a window may reach over the border."""
        return any(self.pads) or self.auto_pad.startswith("SAME") or self.ceil_mode

    def gather(self, x: np.ndarray) -> np.ndarray:
        """See Layout.gather."""
        patches = self._patches(x)
        rank, images, channels = len(self.kernel), x.shape[0], x.shape[1]
        out, taps = patches.shape[2 : 2 + rank], math.prod(self.kernel)
        if self.per_channel:
            return patches.reshape(1, images * channels * math.prod(out), taps)
        each = channels // self.groups
        grouped = patches.reshape(images, self.groups, each, *out, *self.kernel)
        window = range(3 + rank, 3 + 2 * rank)
        ordered = grouped.transpose(1, 0, *range(3, 3 + rank), 2, *window)
        return ordered.reshape(self.groups, images * math.prod(out), each * taps)

    def place(self, y: np.ndarray, shape: Sequence[int]) -> np.ndarray:
        """See Layout.place."""
        out = self._geometry(shape[2:])[2]
        if self.per_channel:
            tensor = y.reshape(shape[0], shape[1], *out)
        else:
            rows = y.shape[2]
            grouped = y.reshape(self.groups, shape[0], *out, rows)
            ordered = np.moveaxis(np.moveaxis(grouped, 0, 1), -1, 2)
            tensor = ordered.reshape(shape[0], self.groups * rows, *out)
        return tensor * self._shares(shape[2:]) if self.counts else tensor

    def _geometry(self, extents: Sequence[int]) -> tuple[list[int], list[int], list[int]]:
        """Pads before and after each spatial axis, and windows along it."""
        rank = len(extents)
        low, high = list(self.pads[:rank]), list(self.pads[rank:])
        if self.auto_pad != "NOTSET":
            low, high = [0] * rank, [0] * rank
        for i in range(rank if self.auto_pad.startswith("SAME") else 0):
            count = -(-extents[i] // self.strides[i])
            total = max(0, (count - 1) * self.strides[i] + self._span(i) - extents[i])
            small, large = total // 2, total - total // 2
            low[i], high[i] = (small, large) if self.auto_pad == "SAME_UPPER" else (large, small)
        return low, high, [self._count(i, extents[i], low[i], high[i]) for i in range(rank)]

    def _span(self, axis: int) -> int:
        """Extent of a window from its first tap to its last."""
        return (self.kernel[axis] - 1) * self.dilations[axis] + 1

    def _count(self, axis: int, extent: int, low: int, high: int) -> int:
        """Windows along one axis."""
        room, step = extent + low + high - self._span(axis), self.strides[axis]
        if not (self.ceil_mode and self.auto_pad in ("NOTSET", "VALID")):
            return max(0, room // step + 1)
        count = -(-room // step) + 1
        if (count - 1) * step >= extent + low:
            count -= 1
        return max(0, count)

    def _patches(self, x: np.ndarray) -> np.ndarray:
        """[N, C, windows..., taps...]."""
        low, _, out = self._geometry(x.shape[2:])
        rank = len(self.kernel)
        if 0 in out:
            return np.zeros((*x.shape[:2], *out, *self.kernel), x.dtype)
        needed = [(out[i] - 1) * self.strides[i] + self._span(i) for i in range(rank)]
        after = [max(0, needed[i] - low[i] - x.shape[2 + i]) for i in range(rank)]
        padded = np.pad(x, [(0, 0), (0, 0), *zip(low, after, strict=True)])
        spans = [self._span(i) for i in range(rank)]
        views = np.lib.stride_tricks.sliding_window_view(padded, spans, tuple(range(2, 2 + rank)))
        starts = [slice(0, (out[i] - 1) * self.strides[i] + 1, self.strides[i]) for i in range(rank)]
        taps = [slice(None, None, step) for step in self.dilations]
        return views[(slice(None), slice(None), *starts, *taps)]

    def _shares(self, extents: Sequence[int]) -> np.ndarray:
        """All taps over the elements that the average at each place counts: [windows...]."""
        low, high, out = self._geometry(extents)
        shares = np.ones(())
        for i, extent in enumerate(extents):
            first, last = (-low[i], extent + high[i]) if self.counts == "padded" else (0, extent)
            taps = np.arange(self.kernel[i]) * self.dilations[i]
            places = np.arange(out[i])[:, None] * self.strides[i] - low[i] + taps
            inside = ((places >= first) & (places < last)).sum(axis=1)
            shares = shares[..., None] * (self.kernel[i] / np.maximum(inside, 1))
        return shares
