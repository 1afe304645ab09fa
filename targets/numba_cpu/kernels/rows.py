"""Loops over the outer dims of strided operands: how shapes become a few words, and the text that walks them.

A kernel walks *rows*: all outer dims but the innermost, as an odometer. The number of outer loops is literal in
the text, extents and strides are words; dims of extent 1 fill up what a shape does not need.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from accelc.errors import ArtifactError, CallError
from accelc.targets.numba_cpu.kernels.base import Params, Tensor

_MAX_RANK = 16


def broadcast_strides(operand: Tensor, shape: Sequence[int]) -> list[int]:
    """Strides of ``operand`` walked along ``shape`` by NumPy's broadcasting rules: 0 where it is repeated.

    Raises:
        CallError: The operand does not broadcast to ``shape``.
    """
    missing = len(shape) - len(operand.shape)
    strides = [0] * max(missing, 0)
    for extent, stride, wanted in zip(operand.shape, operand.strides, shape[missing:], strict=missing >= 0):
        if extent != wanted and extent != 1:
            raise CallError(
                f"operand of shape {list(operand.shape)} does not broadcast to {list(shape)}",
                why=f"extent {extent} meets {wanted}",
                fix="check the shapes of the inputs",
            )
        strides.append(0 if extent == 1 else stride)
    return strides


def coalesce(
    extents: Sequence[int], strides: Sequence[Sequence[int]]
) -> tuple[list[int], list[tuple[int, ...]]]:
    """Drop dims of extent 1 and merge neighbours that all operands walk as one.

    Args:
        extents: Outermost first.
        strides: For each operand, its strides along them.

    Returns:
        Extents of the merged dims, and for each of them the strides of all operands.
    """
    merged: list[int] = []
    columns: list[tuple[int, ...]] = []
    for dim, extent in enumerate(extents):
        if extent == 1:
            continue
        column = tuple(operand[dim] for operand in strides)
        if merged and all(outer == inner * extent for outer, inner in zip(columns[-1], column, strict=True)):
            merged[-1] *= extent
            columns[-1] = column
        else:
            merged.append(extent)
            columns.append(column)
    return merged, columns


def physical_order(tensor: Tensor) -> list[int]:
    """Dims of a tensor, outermost in memory first."""
    return sorted(range(len(tensor.shape)), key=lambda dim: (-abs(tensor.strides[dim]), dim))


def product(extents: Iterable[int]) -> int:
    """Product of extents; 1 for none."""
    result = 1
    for extent in extents:
        result *= extent
    return result


def check_dims(params: Params, key: str) -> None:
    """Raise ArtifactError unless ``params[key]`` is a list of different dims."""
    dims = params.get(key)
    ok = isinstance(dims, list | tuple) and len(dims) <= _MAX_RANK and len(set(map(repr, dims))) == len(dims)
    if not ok or not all(
        isinstance(d, int) and not isinstance(d, bool) and 0 <= d < _MAX_RANK for d in dims or ()
    ):
        raise ArtifactError(f"kernel parameter {key!r} is {dims!r}", why="it must list different dims")


@dataclass(frozen=True)
class Rows:
    """Text of an odometer over ``loops`` dims that keeps the element offset of each stream.

    Args:
        loops: Dims walked, 0 or more.
        streams: Name of each operand; its offset is the variable ``o_<stream>``.
        prefix: Distinguishes several odometers of one kernel.
    """

    loops: int
    streams: tuple[str, ...]
    prefix: str = "r"

    @property
    def word_count(self) -> int:
        """Words that ``words`` makes."""
        return self.loops * (1 + len(self.streams))

    def words(self, extents: Sequence[int], columns: Sequence[Sequence[int]]) -> list[int]:
        """Descriptor words: extents, then the strides of each stream.

        Raises:
            CallError: There are more dims than loops.
        """
        missing = self.loops - len(extents)
        if missing < 0:
            raise CallError(
                f"kernel has {self.loops} outer loops, shapes need {len(extents)}",
                fix="recompile the model for these shapes",
            )
        words = [1] * missing + list(extents)
        for stream in range(len(self.streams)):
            words += [0] * missing + [column[stream] for column in columns]
        return words

    def read(self, word: int, indent: str) -> list[str]:
        """Statements that read the words, which start at ``word``."""
        p = self.prefix
        lines = [f"{indent}{p}e{dim} = get(d, {word + dim})" for dim in range(self.loops)]
        for number, stream in enumerate(self.streams):
            base = word + self.loops * (1 + number)
            lines += [f"{indent}{p}s{dim}_{stream} = get(d, {base + dim})" for dim in range(self.loops)]
            # What a step of dim adds once the dim inside it has run through.
            lines += [
                f"{indent}{p}w{dim}_{stream} = {p}s{dim}_{stream} - {p}e{dim + 1} * {p}s{dim + 1}_{stream}"
                for dim in range(self.loops - 1)
            ]
        return lines

    def start(self, row: str, indent: str, origin: str = "0") -> list[str]:
        """Statements that set indices and offsets to row number ``row``; ``origin`` is added to each offset."""
        p = self.prefix
        lines = [f"{indent}{p}rest = {row}"]
        for dim in range(self.loops - 1, -1, -1):
            if dim:
                lines.append(f"{indent}{p}i{dim} = {p}rest % {p}e{dim}")
                lines.append(f"{indent}{p}rest = {p}rest // {p}e{dim}")
            else:
                lines.append(f"{indent}{p}i0 = {p}rest")
        for stream in self.streams:
            terms = [f"{p}i{dim} * {p}s{dim}_{stream}" for dim in range(self.loops)]
            start = origin.format(stream=stream)
            lines.append(f"{indent}o_{stream} = {' + '.join([start, *terms])}")
        return lines

    def advance(self, indent: str) -> list[str]:
        """Statements that go on to the next row."""
        p, lines = self.prefix, []
        for level, dim in enumerate(range(self.loops - 1, -1, -1)):
            pad = indent + "    " * level
            step = "s" if level == 0 else "w"
            lines.append(f"{pad}{p}i{dim} += 1")
            lines += [f"{pad}o_{stream} += {p}{step}{dim}_{stream}" for stream in self.streams]
            if dim:
                lines.append(f"{pad}if {p}i{dim} == {p}e{dim}:")
                lines.append(f"{pad}    {p}i{dim} = 0")
        return lines
