"""Family ``copy``: elements from any strides to any strides, blocked where both sides run across each other.

Params: ``itemsize`` (1, 2, 4, 8, 16 bytes). The input broadcasts to the output. Values are moved as unsigned
integers, so NaN payloads survive.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar

from accelc.errors import ArtifactError, CallError
from accelc.targets.numba_cpu.isa import Isa
from accelc.targets.numba_cpu.kernels.base import Address, Binding, Family, KernelSource, Params, Tensor
from accelc.targets.numba_cpu.kernels.rows import Rows, broadcast_strides, coalesce, physical_order
from accelc.targets.numba_cpu.kernels.text import BY_ITEMSIZE, POINTERS, helpers

_LOOPS = 8
_ROWS = Rows(_LOOPS, ("y", "x"))
_HEAD = 9
_RUN, _ACROSS = 0, 1
_TASK_ELEMENTS = 8192

_TEXT = """
@inline
def copy_run(y, x, first, last, s):
    i = first
    if s == 1:
        while i + {lanes} <= last:
            vstore(y, i, vload(x, i))
            i += {lanes}
        while i < last:
            put(y, i, get(x, i))
            i += 1
    elif s == 0:
        v = get(x, 0)
        while i < last:
            put(y, i, v)
            i += 1
    else:
        while i < last:
            put(y, i, get(x, i * s))
            i += 1

@inline
def copy_across(y, x, first, last, n, s, t):
    # Output rows b in [first, last) of n elements, t apart; input elements s apart along a row, 1 along b.
    b = first
    while b < last:
        width = least({lanes}, last - b)
        a = 0
        if width == {lanes}:
            while a + {lanes} <= n:
{tile}
                a += {lanes}
{narrow}
        while a < n:
            for k in range(width):
                put(y, (b + k) * t + a, get(x, a * s + b + k))
            a += 1
        b += width

def kernel(d, lo, hi, tid):
    across = get(d, 0)
    n = get(d, 1)
    s = get(d, 2)
    other = get(d, 3)
    t = get(d, 4)
    chunk = get(d, 5)
    chunks = get(d, 6)
    rows_per_task = get(d, 7)
    rows = get(d, 8)
{read}
    y = {pointer}(get(d, {addresses}))
    x = {pointer}(get(d, {addresses} + 1))
    for task in range(lo, hi):
        first = (task % chunks) * chunk
        row = (task // chunks) * rows_per_task
{start}
        for _ in range(row, least(row + rows_per_task, rows)):
            if across == 0:
                copy_run(at(y, o_y), at(x, o_x), first, least(first + chunk, n), s)
            else:
                copy_across(at(y, o_y), at(x, o_x), first, least(first + chunk, other), n, s, t)
{advance}
"""


class Copy(Family):
    """y[...] = x[...] for any strides."""

    name: ClassVar[str] = "copy"

    def check(self, params: Params) -> None:
        """See Family."""
        if params.get("itemsize") not in (1, 2, 4, 8, 16):
            raise ArtifactError(
                f"kernel parameter 'itemsize' is {params.get('itemsize')!r}",
                why="it must be 1, 2, 4, 8 or 16",
            )

    def source(self, params: Params, isa: Isa) -> KernelSource:
        """See Family."""
        dtype = BY_ITEMSIZE[min(8, params["itemsize"])]
        lanes = isa.lanes(dtype)
        tile = _transpose_tile(lanes) if params["itemsize"] >= 4 else _plain_tile(lanes)
        text = _TEXT.format(
            lanes=lanes,
            narrow="\n".join(" " * 8 + line for line in _narrow_tile(lanes))
            if params["itemsize"] >= 4
            else "",
            tile="\n".join(" " * 16 + line for line in tile),
            read="\n".join(_ROWS.read(_HEAD, "    ")),
            pointer=POINTERS[dtype],
            addresses=_HEAD + _ROWS.word_count,
            start="\n".join(_ROWS.start("row", "        ")),
            advance="\n".join(_ROWS.advance("            ")),
        )
        return KernelSource("copy", helpers(text) + text)

    def bind(
        self, params: Params, inputs: Sequence[Tensor | None], outputs: Sequence[Tensor], isa: Isa
    ) -> Binding:
        """See Family."""
        x, y = inputs[0], outputs[0]
        if x is None:
            raise CallError("copy without an input", fix="recompile the model")
        if y.size == 0:
            return Binding([], 0)
        order = physical_order(y)
        walked = broadcast_strides(x, y.shape)
        extents = [y.shape[dim] for dim in order]
        strides = [[y.strides[dim] for dim in order], [walked[dim] for dim in order]]
        if params["itemsize"] == 16:
            # Two words for each element.
            extents.append(2)
            strides = [[2 * stride for stride in operand] + [1] for operand in strides]
        merged, columns = coalesce(extents, strides)
        words = _plan(merged, columns)
        words += [y.address(), x.address()]
        return Binding(words, _task_count(words), grain=4)


def _task_count(words: Sequence[int | Address]) -> int:
    chunks, rows_per_task, rows = (int(word) for word in words[6:9] if not isinstance(word, Address))
    return -(-rows // rows_per_task) * chunks


def _plan(merged: list[int], columns: list[tuple[int, ...]]) -> list[int | Address]:
    """The descriptor without addresses: whether rows run along or across, their extents, tasks, outer dims."""
    if merged and columns[-1][0] == 1:
        n, (_, s) = merged.pop(), columns.pop()
    else:
        n, s = 1, 1
    across = next((dim for dim, column in enumerate(columns) if column[1] == 1), None)
    other, t = 1, 0
    if s in (0, 1) or across is None or n == 1:
        mode, length, along = _RUN, n, 1
    else:
        mode = _ACROSS
        other, (t, _) = merged.pop(across), columns.pop(across)
        length, along = other, n
    rows = 1
    for extent in merged:
        rows *= extent
    chunk = min(length, max(64, _TASK_ELEMENTS // along))
    chunks = -(-length // chunk)
    rows_per_task = max(1, _TASK_ELEMENTS // (chunk * along)) if chunks == 1 else 1
    head: list[int | Address] = [mode, n, s, other, t, chunk, chunks, rows_per_task, rows]
    return head + list(_ROWS.words(merged, columns))


def _plain_tile(lanes: int) -> list[str]:
    """One block of lanes x lanes elements, element by element."""
    return [
        f"for k in range({lanes}):",
        f"    for j in range({lanes}):",
        "        put(y, (b + k) * t + a + j, get(x, (a + j) * s + b + k))",
    ]


def _transpose_tile(lanes: int) -> list[str]:
    """The same in registers."""
    loads = [f"r0_{i} = vload(x, (a + {i}) * s + b)" for i in range(lanes)]
    interleaved, rows = _interleave(lanes)
    return loads + interleaved + [f"vstore(y, (b + {i}) * t + a, {row})" for i, row in enumerate(rows)]


def _narrow_tile(lanes: int) -> list[str]:
    """Dense output rows of fewer elements than a vector: each store but the last is overwritten from its n-th on.

    Channels are shuffled so: [pixels, groups, channels] to [pixels, channels, groups].
    """
    lines = [f"if n < {lanes} and t == n and (b + {lanes}) * t + {lanes} <= last * t:"]
    lines += [f"    r0_{i} = vload(x, least({i}, n - 1) * s + b)" for i in range(lanes)]
    interleaved, rows = _interleave(lanes)
    lines += [f"    {line}" for line in interleaved]
    lines += [f"    vstore(y, (b + {i}) * t, {row})" for i, row in enumerate(rows)]
    return [*lines, "    a = n"]


def _interleave(lanes: int) -> tuple[list[str], list[str]]:
    """Transpose ``r0_0..`` in log2(lanes) rounds of interleaving row i with row i + lanes / 2; names of the results."""
    low = tuple(lane // 2 + (lane % 2) * lanes for lane in range(lanes))
    high = tuple(lanes // 2 + lane for lane in low)
    lines = []
    rounds = lanes.bit_length() - 1
    for step in range(rounds):
        for i in range(lanes // 2):
            pair = f"r{step}_{i}, r{step}_{i + lanes // 2}"
            lines.append(f"r{step + 1}_{2 * i} = vshuffle({pair}, {low})")
            lines.append(f"r{step + 1}_{2 * i + 1} = vshuffle({pair}, {high})")
    return lines, [f"r{rounds}_{i}" for i in range(lanes)]
