"""Families that follow index tensors: ``gather`` (runs of elements) and ``gather_at`` (single elements).

An index below 0 counts from the end. One that is out of range is clamped to the nearest valid one, so that no
memory outside the operand is touched, and sets the call's flag, which becomes an error behind the region.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar

from accelc.errors import ArtifactError, CallError
from accelc.targets.numba_cpu.isa import Isa
from accelc.targets.numba_cpu.kernels.base import Address, Binding, Family, KernelSource, Params, Tensor
from accelc.targets.numba_cpu.kernels.rows import Rows, product
from accelc.targets.numba_cpu.kernels.text import BY_ITEMSIZE, POINTERS, check_int, check_name, helpers

INDEX_DTYPES = ("int32", "int64")
INSIDE = """
@inline
def inside(i, extent, d, flag):
    if i < 0:
        i += extent
    if i < 0 or i >= extent:
        put(d, flag, 1)
    return most(least(i, extent - 1), i64(0))
"""

_GATHER = """
def kernel(d, lo, hi, tid):
    y = {pointer}(get(d, 0))
    x = {pointer}(get(d, 1))
    index = {index_pointer}(get(d, 2))
    rows = get(d, 3)
    indices = get(d, 4)
    index_step = get(d, 5)
    batch_step = get(d, 6)
    run = get(d, 7)
    parts = get(d, 8)
    rows_per_task = get(d, 9)
    row = lo * rows_per_task
    end = least(hi * rows_per_task, rows)
    while row < end:
        batch = row // indices
        item = row % indices
        place = batch * batch_step
        first = batch * index_step + item * parts
        for part in range(parts):
            extent = get(d, {first} + 2 * part)
            place += inside(i64(get(index, first + part)), extent, d, {flag}) * get(d, {first} + 1 + 2 * part)
        i = 0
        source = at(x, place)
        target = at(y, row * run)
        while i + {lanes} <= run:
            vstore(target, i, vload(source, i))
            i += {lanes}
        while i < run:
            put(target, i, get(source, i))
            i += 1
        row += 1
"""


FLAG = 10
"""Word of a gather that tells of an index out of range; extents and strides of the indexed dims follow it."""


def check_gather(params: Params) -> None:
    """Raise ArtifactError unless itemsize and index dtype are known."""
    if params.get("itemsize") not in BY_ITEMSIZE:
        raise ArtifactError(f"kernel parameter 'itemsize' is {params.get('itemsize')!r}", why="1, 2, 4 or 8")
    check_name(params, "index", INDEX_DTYPES)


def gather_words(x: Tensor, index: Tensor, axis: int, batch: int, *, parts: bool) -> list[int]:
    """Words 3 to 9, the flag, and the extents and strides of the indexed dims; operands are row-major.

    Args:
        x: The operand that is indexed.
        index: ONNX indices: any shape, or [..., k] with ``parts``.
        axis: First dim that is indexed.
        batch: Leading dims that ``x`` and ``index`` share.
        parts: Whether the last dim of ``index`` holds one index for each of several dims.
    """
    k = index.shape[-1] if parts else 1
    if axis + k > len(x.shape):
        raise CallError(f"indices of {k} parts do not fit shape {list(x.shape)}")
    run = product(x.shape[axis + k :])
    extents = x.shape[axis : axis + k]
    steps = [run * product(extents[j + 1 :]) for j in range(k)]
    outer = product(x.shape[:axis])
    indices = product(index.shape[batch:-1] if parts else index.shape[batch:])
    if 0 in extents and outer * indices:
        raise CallError("an index into a dim of extent 0", fix="check the shapes of the inputs")
    rows = outer * indices
    per_task = max(1, 4096 // max(1, run))
    words = [rows, max(1, indices), indices * k if batch else 0, product(x.shape[axis:]), run, k, per_task, 0]
    for extent, step in zip(extents, steps, strict=True):
        words += [extent, step]
    return words


class Gather(Family):
    """y[b, i, :] = x[b, index[i], :]: ONNX Gather, and GatherND with batch dims.

    Params: ``itemsize``, ``index`` (its dtype), ``axis`` (first indexed dim), ``batch`` (dims shared with the
    index tensor), ``parts`` (whether the last dim of the indices spans several dims). Operands are row-major.
    """

    name: ClassVar[str] = "gather"

    def check(self, params: Params) -> None:
        """See Family."""
        check_gather(params)
        check_int(params, "axis", 0, 64)
        check_int(params, "batch", 0, 64)
        if not isinstance(params.get("parts"), bool):
            raise ArtifactError("malformed kernel parameters", why="'parts' is not a boolean")

    def source(self, params: Params, isa: Isa) -> KernelSource:
        """See Family."""
        dtype = BY_ITEMSIZE[params["itemsize"]]
        text = _GATHER.format(
            pointer=POINTERS[dtype],
            index_pointer=POINTERS[params["index"]],
            lanes=isa.lanes(dtype),
            first=FLAG + 1,
            flag=FLAG,
        )
        return KernelSource("gather", helpers(INSIDE) + INSIDE + text)

    def bind(
        self, params: Params, inputs: Sequence[Tensor | None], outputs: Sequence[Tensor], isa: Isa
    ) -> Binding:
        """See Family."""
        x, index = inputs[0], inputs[1]
        y = outputs[0]
        if x is None or index is None:
            raise CallError("gather without operands", fix="recompile the model")
        if y.size == 0:
            return Binding([], 0)
        found = gather_words(x, index, params["axis"], params["batch"], parts=params["parts"])
        if found[0] * found[4] != y.size:
            raise CallError(f"gathered elements do not make up shape {list(y.shape)}")
        words: list[int | Address] = [y.address(), x.address(), index.address(), *found]
        return Binding(words, -(-found[0] // found[6]), grain=6, flag=FLAG)


MAX_RANK = 8
AT_ROWS = Rows(MAX_RANK, ("i", "y", "x"))
AT_FLAG = 7
AT_HEAD = 8

_GATHER_AT = """
def kernel(d, lo, hi, tid):
    y = {pointer}(get(d, 0))
    x = {pointer}(get(d, 1))
    index = {index_pointer}(get(d, 2))
    count = get(d, 3)
    per_task = get(d, 4)
    extent = get(d, 5)
    step = get(d, 6)
{read}
    item = lo * per_task
    end = least(hi * per_task, count)
{start}
    while item < end:
        put(y, o_y, get(x, o_x + inside(i64(get(index, o_i)), extent, d, {flag}) * step))
{advance}
        item += 1
"""


def at_text(template: str, **fields: str) -> str:
    """A kernel that walks an index tensor element by element."""
    return (
        helpers(INSIDE + template)
        + INSIDE
        + template.format(
            flag=AT_FLAG,
            read="\n".join(AT_ROWS.read(AT_HEAD, "    ")),
            start="\n".join(AT_ROWS.start("item", "    ")),
            advance="\n".join(AT_ROWS.advance("        ")),
            **fields,
        )
    )


def at_words(indexed: Tensor, index: Tensor, other: Tensor, axis: int) -> list[int]:
    """Words 3 on: the walk over ``index``; ``indexed`` is placed by its indices along ``axis``."""
    rank = len(index.shape)
    if (
        not len(indexed.shape) == rank == len(other.shape)
        or not 0 <= axis < rank
        or index.shape != other.shape
    ):
        raise CallError("indices and operands do not fit together", fix="check the shapes of the inputs")
    for dim in range(rank):
        if dim != axis and index.shape[dim] > indexed.shape[dim]:
            raise CallError(f"indices of shape {list(index.shape)} exceed shape {list(indexed.shape)}")
    if indexed.shape[axis] == 0:
        raise CallError("an index into a dim of extent 0", fix="check the shapes of the inputs")
    placed = [0 if dim == axis else stride for dim, stride in enumerate(indexed.strides)]
    columns = list(zip(index.strides, other.strides, placed, strict=True))
    head = [index.size, 2048, indexed.shape[axis], indexed.strides[axis], 0]
    return head + AT_ROWS.words(index.shape, columns)


class GatherAt(Family):
    """y[i, j, ...] = x[i, index[i, j, ...], ...]: ONNX GatherElements along ``axis``, any strides."""

    name: ClassVar[str] = "gather_at"

    def check(self, params: Params) -> None:
        """See Family."""
        check_gather(params)
        check_int(params, "axis", 0, MAX_RANK - 1)

    def source(self, params: Params, isa: Isa) -> KernelSource:
        """See Family."""
        pointer = POINTERS[BY_ITEMSIZE[params["itemsize"]]]
        text = at_text(_GATHER_AT, pointer=pointer, index_pointer=POINTERS[params["index"]])
        return KernelSource("gather_at", text)

    def bind(
        self, params: Params, inputs: Sequence[Tensor | None], outputs: Sequence[Tensor], isa: Isa
    ) -> Binding:
        """See Family."""
        x, index = inputs[0], inputs[1]
        if x is None or index is None:
            raise CallError("gather without operands", fix="recompile the model")
        if index.size == 0:
            return Binding([], 0)
        found = at_words(x, index, outputs[0], params["axis"])
        words: list[int | Address] = [outputs[0].address(), x.address(), index.address(), *found]
        return Binding(words, -(-found[0] // found[1]), grain=2, flag=AT_FLAG)
