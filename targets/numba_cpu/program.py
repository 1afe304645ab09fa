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
        dtype: NumPy name; ``object`` for what only host calls touch: strings, sequences, optionals, tensors of
            unknown rank.
        dims: Logical dims: ints or expressions over the model's symbols.
        kind: ``input``, ``output``, ``constant``, ``temp``, ``view``, or ``host`` (made by a host or body call).
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
    """One node run in Python, by NumPy (``kind`` is ``numpy``) or the single-op reference (``reference``).

    NumPy serves ops whose output shapes depend on data, and strings, sequences and optionals; the reference
    serves ops without a kernel, and is a fallback. A host call ends a region. ``node`` is a serialized NodeProto
    of the given opset; the last ``len(captures)`` inputs are the values that its subgraphs take from outside, by
    these names.
    """

    node: bytes
    op: str
    inputs: tuple[int, ...]
    outputs: tuple[int, ...]
    origin: tuple[str, ...] = ()
    reason: str = ""
    opset: int = 0
    captures: tuple[str, ...] = ()
    kind: str = "reference"


@dataclass(frozen=True)
class BodyCall:
    """If, Loop, Scan or SequenceMap: programs of their own, run as often as the op says. It ends a region.

    Args:
        op: The op.
        bodies: Indexes in ``Program.bodies``: then and else, or the one body.
        inputs: The node's inputs (-1 for an absent one), then what each body takes from outside.
        given: How many of ``inputs`` are the node's own.
        captures: How many values each body takes from outside; they are the last inputs of its program.
        outputs: The node's outputs, -1 for one that nobody wants.
        params: ``num_scan_inputs``, axes and directions of a Scan.
    """

    op: str
    bodies: tuple[int, ...]
    inputs: tuple[int, ...]
    given: int
    captures: tuple[int, ...]
    outputs: tuple[int, ...]
    params: Mapping[str, Any] = field(default_factory=dict)
    origin: tuple[str, ...] = ()


@dataclass(frozen=True)
class SymbolCall:
    """A small integer tensor whose elements are known once the symbols are: shape arithmetic, done at bind time."""

    elements: Dims
    output: int


Step = Call | HostCall | BodyCall | SymbolCall


@dataclass
class Program:
    """Steps in order over values. Steps between host or body calls form a region, planned once its shapes are known."""

    values: list[Value] = field(default_factory=list)
    steps: list[Step] = field(default_factory=list)
    inputs: list[int] = field(default_factory=list)
    outputs: list[int] = field(default_factory=list)
    output_names: list[str] = field(default_factory=list)
    constants: dict[int, np.ndarray] = field(default_factory=dict)
    packed: set[int] = field(default_factory=set)
    """Constants in a kernel's own layout; the others are row-major tensors of the model."""
    strings: dict[int, np.ndarray] = field(default_factory=dict)
    """Constants of dtype ``object``: arrays of str."""
    steering: dict[int, Dims] = field(default_factory=dict)
    """Integer inputs that steer shapes: their elements as dims; names among them are bound by the values given."""
    optional: set[int] = field(default_factory=set)
    """Inputs of an optional type, which a caller may leave out."""
    arenas: dict[str, tuple[int, ...]] = field(default_factory=dict)
    """Offsets found by a search when compiling, by the digest of the buffers that they are for."""
    bodies: list[Program] = field(default_factory=list)
    """Programs of the body calls; each has values, steps and constants of its own."""

    def regions(self) -> list[list[Call | SymbolCall] | HostCall | BodyCall]:
        """Steps grouped: runs of kernel calls, and host and body calls alone."""
        regions: list[list[Call | SymbolCall] | HostCall | BodyCall] = []
        for step in self.steps:
            if isinstance(step, HostCall | BodyCall):
                regions.append(step)
            elif regions and isinstance(regions[-1], list):
                regions[-1].append(step)
            else:
                regions.append([step])
        return regions

    def programs(self) -> list[Program]:
        """This program and those of its body calls, at any depth, outer ones first."""
        found = [self]
        for program in found:  # grows while it is walked
            found.extend(program.bodies)
        return found

    def root(self, value: int) -> int:
        """The value whose storage holds ``value``."""
        while (view := self.values[value].view) is not None:
            value = view.base
        return value
