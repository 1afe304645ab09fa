"""A memory plan as plain data for people: which buffer lies where, from which step to which step, and whose it is."""

from __future__ import annotations

from dataclasses import asdict, dataclass, field
from itertools import accumulate
from typing import Any


@dataclass(frozen=True)
class MapStep:
    """One step: the kernel that runs, and the nodes of the user's model that it stands for."""

    kernel: str
    origin: tuple[str, ...] = ()


@dataclass(frozen=True)
class MapBuffer:
    """One buffer of an arena.

    Args:
        name: The values that live in it, one after the other.
        kind: The kernel that writes it first, or ``workspace``.
        type: Dtype and shape of its values, for example ``float32[1,64,56,56]``.
        origin: Nodes of the user's model that write it.
        first: Number of the step that writes it first.
        last: Number of the step that uses it last, inclusive.
        offset: Bytes from the start of the arena.
        size: Bytes.
    """

    name: str
    kind: str
    type: str
    origin: tuple[str, ...]
    first: int
    last: int
    offset: int
    size: int


@dataclass(frozen=True)
class MemoryMap:
    """A plan with its steps and buffers.

    Args:
        steps: The steps, in order.
        buffers: What the arena holds.
        peak_bytes: Size of the arena (of the largest, where parts of a program are planned on their own).
        lower_bound_bytes: The most bytes alive at one step.
        parts: First step of each part with an arena of its own; one part begins at 0.
        symbols: Sizes of the symbolic dims for which the plan was made.
        formula: Expressions over the symbols, one of which is the number of bytes alive where most are, whatever
            the sizes (at least 1); sizes are not rounded up there. Empty if nothing stays free.
    """

    steps: tuple[MapStep, ...]
    buffers: tuple[MapBuffer, ...]
    peak_bytes: int
    lower_bound_bytes: int
    parts: tuple[int, ...] = (0,)
    symbols: dict[str, int] = field(default_factory=dict)
    formula: tuple[str, ...] = ()

    def alive_bytes(self) -> list[int]:
        """Bytes of the buffers alive at each step."""
        changes = [0] * (len(self.steps) + 1)
        for buffer in self.buffers:
            changes[buffer.first] += buffer.size
            changes[buffer.last + 1] -= buffer.size
        return list(accumulate(changes))[: len(self.steps)]

    def to_json(self) -> dict[str, Any]:
        """JSON-able data."""
        return asdict(self) | {"alive_bytes": self.alive_bytes()}
