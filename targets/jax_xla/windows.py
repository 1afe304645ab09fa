"""The geometry of sliding windows: what convolutions and pools share."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from jax import core, export

Dim = Any
"""An int, or a symbolic dim under export."""


@dataclass(frozen=True)
class Windows:
    """Windows over the spatial dims of [N, C, spatial...].

    Args:
        kernel: Taps along each spatial dim.
        strides: Steps of the window.
        dilations: Steps between taps.
        low: Pads before each dim.
        high: Pads after each dim.
        out: Windows along each dim.
    """

    kernel: tuple[int, ...]
    strides: tuple[int, ...]
    dilations: tuple[int, ...]
    low: tuple[Dim, ...]
    high: tuple[Dim, ...]
    out: tuple[Dim, ...]

    @property
    def pads(self) -> list[tuple[Dim, Dim]]:
        """(before, after) of each dim."""
        return list(zip(self.low, self.high, strict=True))

    def span(self, axis: int) -> int:
        """Extent of a window along ``axis``, from its first tap to its last."""
        return (self.kernel[axis] - 1) * self.dilations[axis] + 1

    def needed(self, axis: int) -> Dim:
        """Extent that the windows reach over along ``axis``, in the padded input."""
        return (self.out[axis] - 1) * self.strides[axis] + self.span(axis)


def at_least_zero(dim: Dim) -> Dim:
    """``max(dim, 0)``, of symbolic dims too."""
    return max(dim, 0) if isinstance(dim, int) else core.max_dim(dim, 0)


def is_symbolic(dim: Dim) -> bool:
    """Whether ``dim`` is not yet a number."""
    return bool(export.is_symbolic_dim(dim))


def windows(
    extents: Sequence[Dim],
    kernel: Sequence[int],
    *,
    strides: Sequence[int] | None = None,
    dilations: Sequence[int] | None = None,
    pads: Sequence[int] | None = None,
    auto_pad: str = "NOTSET",
    ceil_mode: bool = False,
) -> Windows:
    """Resolve pads and output extents.

    Args:
        extents: Spatial dims of the input.
        kernel: Taps along each.
        strides: Default 1.
        dilations: Default 1.
        pads: All begins, then all ends; used where ``auto_pad`` is NOTSET.
        auto_pad: NOTSET, VALID, SAME_UPPER or SAME_LOWER.
        ceil_mode: Whether a last window may reach over the end; it must start inside the input or the pads before.

    Source: ONNX Conv-22, MaxPool-22.
    """
    rank = len(extents)
    steps = tuple(int(n) for n in (strides or (1,) * rank))
    spread = tuple(int(n) for n in (dilations or (1,) * rank))
    taps = tuple(int(n) for n in kernel)
    spans = [(taps[i] - 1) * spread[i] + 1 for i in range(rank)]
    given = tuple(int(n) for n in (pads or (0,) * (2 * rank)))
    low, high = list(given[:rank]), list(given[rank:])
    if auto_pad == "VALID":
        low, high = [0] * rank, [0] * rank
    elif auto_pad in ("SAME_UPPER", "SAME_LOWER"):
        for i in range(rank):
            total = at_least_zero((-(-extents[i] // steps[i]) - 1) * steps[i] + spans[i] - extents[i])
            small, large = total // 2, total - total // 2
            low[i], high[i] = (small, large) if auto_pad == "SAME_UPPER" else (large, small)
    out = [
        _count(extents[i], low[i], high[i], spans[i], steps[i], ceil_mode and auto_pad in ("NOTSET", "VALID"))
        for i in range(rank)
    ]
    return Windows(taps, steps, spread, tuple(low), tuple(high), tuple(out))


def _count(extent: Dim, low: Dim, high: Dim, span: int, step: int, ceil_mode: bool) -> Dim:
    """Windows along one dim."""
    room = extent + low + high - span
    if not ceil_mode:
        return at_least_zero(room // step + 1)
    count = -(-room // step) + 1
    # The last window must start inside the input or the pads before it.
    if is_symbolic(extent):
        return core.min_dim(count, -(-(extent + low) // step))
    return max(count - 1 if (count - 1) * step >= extent + low else count, 0)
