"""A program: kernel calls in order over typed values. Plain data, printed, saved and read back.

A value has logical dims and lies in memory in some order. Storage is dense: row-major over
``dims[order[0]], dims[order[1]], ...``; channels-last is ``order = (0, 2, 3, 1)``. A *view* has no storage of
its own: it is another value's memory reshaped, permuted or sliced. So transposes cost nothing unless a kernel
cannot take the strides.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from accelc.ir.dims import Dim

Dims = tuple[Dim, ...]


@dataclass(frozen=True)
class View:
    """How a value without storage lies in its base.

    - ``reshape``: same elements, row-major on both sides.
    - ``permute``: dim ``i`` of the view is dim ``perm[i]`` of the base.
    - ``slice``: along ``axis`` from element ``start`` (a Dim, not negative) with ``step`` (an int, not 0).
    """

    base: int
    kind: str
    perm: tuple[int, ...] = ()
    axis: int = 0
    start: Dim = 0
    step: int = 1


@dataclass(frozen=True)
class Value:
    """One tensor of a program.

    Args:
        id: Index in ``Program.values``; a view's base has a smaller id.
        name: Name in the model, or a derived one for temporaries.
        dtype: NumPy name.
        dims: Logical dims: ints or expressions over the model's symbols.
        kind: ``input``, ``output``, ``constant``, ``temp``, ``view``, or ``host`` (made by a host call).
        order: Physical order of the dims, outermost first; empty means row-major.
        view: Set exactly when kind is ``view``.
    """

    id: int
    name: str
    dtype: str
    dims: Dims
    kind: str
    order: tuple[int, ...] = ()
    view: View | None = None


@dataclass(frozen=True)
class Call:
    """One kernel call. ``inputs`` holds -1 for an absent optional operand.

    ``inplace`` lists inputs whose memory output 0 may take over when nobody needs them afterwards (same size).
    ``origin`` names the nodes of the user's model that this call stands for.
    """

    family: str
    params: Mapping[str, Any]
    inputs: tuple[int, ...]
    outputs: tuple[int, ...]
    inplace: tuple[int, ...] = ()
    origin: tuple[str, ...] = ()


@dataclass(frozen=True)
class HostCall:
    """One node run by the single-op reference in Python: an op without a kernel.

    It ends a region: its output shapes may depend on data. ``node`` is a serialized NodeProto of the given
    opset; the last ``len(captures)`` inputs are the values that its subgraphs take from outside, by these names.
    """

    node: bytes
    op: str
    inputs: tuple[int, ...]
    outputs: tuple[int, ...]
    origin: tuple[str, ...] = ()
    reason: str = ""
    opset: int = 0
    captures: tuple[str, ...] = ()


@dataclass(frozen=True)
class SymbolCall:
    """A small integer tensor whose elements are known once the symbols are: shape arithmetic, done at bind time."""

    elements: Dims
    output: int


@dataclass
class Program:
    """Steps in order over values. Steps between two host calls form a region, planned once its shapes are known."""

    values: list[Value] = field(default_factory=list)
    steps: list[Call | HostCall | SymbolCall] = field(default_factory=list)
    inputs: list[int] = field(default_factory=list)
    outputs: list[int] = field(default_factory=list)
    output_names: list[str] = field(default_factory=list)
    constants: dict[int, np.ndarray] = field(default_factory=dict)
    packed: set[int] = field(default_factory=set)
    """Constants in a kernel's own layout; the others are row-major tensors of the model."""

    def regions(self) -> list[list[Call | SymbolCall] | HostCall]:
        """Steps grouped: runs of kernel calls, and host calls alone."""
        regions: list[list[Call | SymbolCall] | HostCall] = []
        for step in self.steps:
            if isinstance(step, HostCall):
                regions.append(step)
            elif regions and isinstance(regions[-1], list):
                regions[-1].append(step)
            else:
                regions.append([step])
        return regions

    def root(self, value: int) -> int:
        """The value whose storage holds ``value``."""
        while (view := self.values[value].view) is not None:
            value = view.base
        return value
