"""Shapes and strides of a program's values for one set of symbols; views are resolved from their base upwards."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from math import prod
from typing import Any

import numpy as np

from accelc.errors import CallError
from accelc.ir.dims import evaluate, symbols_in
from accelc.targets.numba_cpu.kernels.base import Tensor
from accelc.targets.numba_cpu.program import Program, Value, View


class TensorTable:
    """Operands by value id, made when first asked for.

    Args:
        program: The program.
        symbols: Sizes of the symbols that the values asked for depend on.
        known: Operands that do not depend on symbols, if they were made before.
    """

    def __init__(
        self, program: Program, symbols: Mapping[str, int], known: Mapping[int, Tensor] | None = None
    ) -> None:
        self.program = program
        self.symbols = symbols
        self.tensors: dict[int, Tensor] = dict(known or {})
        self._extents: dict[str, int] = {}

    def copy(self, program: Program) -> TensorTable:
        """A table for a program with the same values and more."""
        table = TensorTable(program, self.symbols)
        table.tensors, table._extents = dict(self.tensors), dict(self._extents)
        return table

    def tensor(self, value: int) -> Tensor:
        """The operand for a value.

        Raises:
            CallError: Extents do not fit together, or a view needs dense memory that its base does not have.
        """
        if value in self.tensors:
            return self.tensors[value]
        chain = []
        current = value
        while current not in self.tensors:
            chain.append(current)
            view = self.program.values[current].view
            if view is None:
                break
            current = view.base
        for each in reversed(chain):
            self.tensors[each] = self._make(self.program.values[each])
        return self.tensors[value]

    def shape(self, value: Value) -> tuple[int, ...]:
        """Concrete dims of a value."""
        return tuple([dim if isinstance(dim, int) else self._extent(dim) for dim in value.dims])

    def _extent(self, dim: str) -> int:
        """An expression's number; few different ones occur in a program, and exact arithmetic takes a while."""
        known = self._extents.get(dim)
        if known is None:
            known = self._extents[dim] = evaluate(dim, self.symbols)
            if known < 0:
                sizes = ", ".join(f"{name}={self.symbols[name]}" for name in sorted(symbols_in(dim)))
                raise CallError(
                    f"the size {dim} would be {known} for {sizes}",
                    why="shapes were derived for free dims of at least 1",
                    fix="compile with the size given: --dim NAME=0",
                )
        return known

    def start(self, view: View) -> int:
        """The first element of a slice."""
        return view.start if isinstance(view.start, int) else self._extent(view.start)

    def _make(self, value: Value) -> Tensor:
        view = value.view
        if view is not None and view.kind == "permute":
            base = self.tensors[view.base]
            return Tensor(
                base.value,
                base.dtype,
                tuple([base.shape[dim] for dim in view.perm]),
                tuple([base.strides[dim] for dim in view.perm]),
                base.offset,
            )
        shape = self.shape(value)
        if view is None:
            return Tensor(value.id, value.dtype, shape, dense_strides(shape, value.order))
        base = self.tensors[view.base]
        if view.kind == "reshape":
            return _reshape(value, base, shape)
        return self._slice(value, view, base, shape)

    def _slice(self, value: Value, view: View, base: Tensor, shape: tuple[int, ...]) -> Tensor:
        strides = list(base.strides)
        start = self.start(view)
        extent, count = base.shape[view.axis], shape[view.axis]
        last = start + (count - 1) * view.step
        if count > 0 and not (0 <= start < extent and 0 <= last < extent):
            raise CallError(
                f"slice '{value.name}' is out of range",
                why=f"elements {start} to {last} of axis {view.axis}, which has {extent}",
            )
        offset = base.offset + start * strides[view.axis]
        strides[view.axis] *= view.step
        return Tensor(base.value, base.dtype, shape, tuple(strides), offset)


def constant_tensors(program: Program) -> dict[int, Tensor]:
    """Constants and their views, as they lie for all sizes of the symbols. O(values)."""
    table = TensorTable(program, {})
    fixed: set[int] = set()
    for value in program.values:  # every base comes before its views
        dims = value.dims if value.view is None else (*value.dims, value.view.start)
        owned = value.kind == "constant" if value.view is None else value.view.base in fixed
        if owned and all(isinstance(dim, int) for dim in dims):
            fixed.add(value.id)
            table.tensor(value.id)
    return table.tensors


def _reshape(value: Value, base: Tensor, shape: tuple[int, ...]) -> Tensor:
    if prod(shape) != base.size:
        raise CallError(f"'{value.name}' cannot be reshaped", why=f"from {list(base.shape)} to {list(shape)}")
    if not base.size or is_dense(base):
        return Tensor(base.value, base.dtype, shape, dense_strides(shape, ()), base.offset)
    strides = _view_strides(base, shape)
    if strides is None:
        raise CallError(
            f"'{value.name}' cannot be reshaped in place",
            why=f"strides {list(base.strides)} of {list(base.shape)} are not dense",
        )
    return Tensor(base.value, base.dtype, shape, strides, base.offset)


def _view_strides(base: Tensor, shape: Sequence[int]) -> tuple[int, ...] | None:
    """Strides of ``base`` seen with another shape; None if its elements do not lie so (then a copy is needed).

    Runs of dims that are one run of memory are cut anew; dims of extent 1 do not matter.
    """
    runs: list[tuple[int, int]] = []  # extent and innermost stride
    for extent, stride in zip(base.shape, base.strides, strict=True):
        if extent == 1:
            continue
        if runs and runs[-1][1] == extent * stride:
            runs[-1] = (runs[-1][0] * extent, stride)
        else:
            runs.append((extent, stride))
    strides = [1] * len(shape)
    left, step = 1, 0
    for dim in range(len(shape) - 1, -1, -1):
        extent = shape[dim]
        if extent == 1:
            continue
        if left == 1:
            left, step = runs.pop()
        if left % extent:
            return None
        strides[dim] = step
        left, step = left // extent, step * extent
    return tuple(strides)


def is_dense(tensor: Tensor) -> bool:
    """Whether a tensor with elements is one row-major run of memory; dims of extent 1 do not matter."""
    step = 1
    for extent, stride in zip(reversed(tensor.shape), reversed(tensor.strides), strict=True):
        if extent != 1:
            if stride != step:
                return False
            step *= extent
    return True


def dense_strides(shape: Sequence[int], order: Sequence[int]) -> tuple[int, ...]:
    """Strides in elements of dense storage: dim ``order[0]`` is the outermost; row-major if empty."""
    strides = [1] * len(shape)
    step = 1
    for dim in reversed(order or range(len(shape))):
        strides[dim] = step
        step *= max(shape[dim], 1)
    return tuple(strides)


def numpy_dtype(name: str) -> np.dtype[Any]:
    """The NumPy dtype of a name in a program; ml_dtypes' names included."""
    try:
        return np.dtype(name)
    except TypeError:
        import ml_dtypes

        found: np.dtype[Any] = np.dtype(getattr(ml_dtypes, name))
        return found
