"""Families that write where index tensors say: ``scatter`` (runs) and ``scatter_at`` (single elements).

The output already holds the data. Updates are applied in order, so of several with one index the last wins; with a
reduction all count. Indices out of range are clamped and told of (gather.py). Tasks never share an element: ``scatter``
splits the runs, ``scatter_at`` is one task.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar

from accelc.errors import ArtifactError, CallError
from accelc.targets.numba_cpu.isa import Isa
from accelc.targets.numba_cpu.kernels.base import Address, Binding, Family, KernelSource, Params, Tensor
from accelc.targets.numba_cpu.kernels.gather import (
    AT_FLAG,
    FLAG,
    INDEX_DTYPES,
    INSIDE,
    MAX_RANK,
    at_text,
    at_words,
    gather_words,
)
from accelc.targets.numba_cpu.kernels.text import (
    FLOATS,
    POINTERS,
    SHORT,
    check_int,
    check_name,
    helpers,
    scalar_load,
    scalar_store,
)

REDUCTIONS = ("none", "add", "mul", "max", "min")

_SCATTER = """
def kernel(d, lo, hi, tid):
    y = {pointer}(get(d, 0))
    x = {pointer}(get(d, 1))
    index = {index_pointer}(get(d, 2))
    rows = get(d, 3)
    run = get(d, 7)
    parts = get(d, 8)
    chunk = get(d, 9)
    last = least(hi * chunk, run)
    for row in range(rows):
        place = i64(0)
        for part in range(parts):
            extent = get(d, {first} + 2 * part)
            at_part = i64(get(index, row * parts + part))
            place += inside(at_part, extent, d, {flag}) * get(d, {first} + 1 + 2 * part)
        for i in range(lo * chunk, last):
            v = {update}
{combine}
            {store}
"""

_SCATTER_AT = """
def kernel(d, lo, hi, tid):
    y = {pointer}(get(d, 0))
    x = {pointer}(get(d, 1))
    index = {index_pointer}(get(d, 2))
    count = get(d, 3)
    extent = get(d, 5)
    step = get(d, 6)
    item = i64(0)
{{read}}
{{start}}
    while item < count:
        place = o_x + inside(i64(get(index, o_i)), extent, d, {{flag}}) * step
        v = {update}
{combine}
        {store}
{{advance}}
        item += 1
"""


def _combine(params: Params, place: str, pad: str) -> str:
    dtype, reduction = params["dtype"], params["reduction"]
    if reduction == "none":
        return ""
    old = f"{pad}w = {scalar_load(dtype, 'y', place)}\n"
    texts = {"add": "w + v", "mul": "w * v"}
    if dtype in FLOATS:
        texts |= {"max": "max_nan(w, v)", "min": "min_nan(w, v)"}
    else:
        texts |= {"max": "most(w, v)", "min": "least(w, v)"}
    return f"{old}{pad}v = {SHORT[dtype]}({texts[reduction]})"


class _Scatters(Family):
    def check(self, params: Params) -> None:
        """See Family."""
        check_name(params, "dtype", tuple(POINTERS))
        check_name(params, "index", INDEX_DTYPES)
        check_name(params, "reduction", REDUCTIONS)
        check_int(params, "axis", 0, MAX_RANK - 1)
        if params["dtype"] == "bool" and params["reduction"] != "none":
            raise ArtifactError("a reduction of bool has no scatter kernel")

    def _fields(self, params: Params, place: str, source: str, pad: str) -> dict[str, str]:
        return {
            "pointer": POINTERS[params["dtype"]],
            "index_pointer": POINTERS[params["index"]],
            "update": scalar_load(params["dtype"], "x", source),
            "combine": _combine(params, place, pad),
            "store": scalar_store(params["dtype"], "y", place, "v"),
        }


class Scatter(_Scatters):
    """y[index[i], :] = x[i, :], the last dim of ``index`` spanning several dims: ONNX ScatterND."""

    name: ClassVar[str] = "scatter"

    def source(self, params: Params, isa: Isa) -> KernelSource:
        """See Family."""
        text = _SCATTER.format(
            first=FLAG + 1, flag=FLAG, **self._fields(params, "place + i", "row * run + i", " " * 12)
        )
        return KernelSource("scatter", helpers(INSIDE + text) + INSIDE + text)

    def bind(
        self, params: Params, inputs: Sequence[Tensor | None], outputs: Sequence[Tensor], isa: Isa
    ) -> Binding:
        """See Family."""
        index, updates = inputs[0], inputs[1]
        y = outputs[0]
        if index is None or updates is None:
            raise CallError("scatter without operands", fix="recompile the model")
        if updates.size == 0 or y.size == 0:
            return Binding([], 0)
        found = gather_words(y, index, 0, 0, parts=True)
        rows, run = found[0], found[4]
        if rows * run != updates.size:
            raise CallError(f"updates of shape {list(updates.shape)} do not fit the indices")
        chunk = found[6] = min(run, max(64, 4096 // rows))
        words: list[int | Address] = [y.address(), updates.address(), index.address(), *found]
        return Binding(words, -(-run // chunk), grain=2, flag=FLAG)


class ScatterAt(_Scatters):
    """y[i, index[i, j, ...], ...] = x[i, j, ...]: ONNX ScatterElements along ``axis``, any strides."""

    name: ClassVar[str] = "scatter_at"

    def source(self, params: Params, isa: Isa) -> KernelSource:
        """See Family."""
        fields = self._fields(params, "place", "o_y", " " * 8)
        text = at_text(_SCATTER_AT.format(**fields))
        return KernelSource("scatter_at", text)

    def bind(
        self, params: Params, inputs: Sequence[Tensor | None], outputs: Sequence[Tensor], isa: Isa
    ) -> Binding:
        """See Family."""
        index, updates = inputs[0], inputs[1]
        y = outputs[0]
        if index is None or updates is None:
            raise CallError("scatter without operands", fix="recompile the model")
        if index.size == 0:
            return Binding([], 0)
        # In at_words' terms: stream y walks the updates, stream x is placed in the output.
        found = at_words(y, index, updates, params["axis"])
        return Binding([y.address(), updates.address(), index.address(), *found], 1, flag=AT_FLAG)
