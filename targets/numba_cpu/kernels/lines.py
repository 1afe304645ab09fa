"""Families that go along one dim of every line of a tensor in order: ``arg_reduce``, ``cumulate``, ``top_k``.

A line is all elements that differ in the index of ``axis`` only. Operands may have any strides. Params of all:
``dtype`` of the elements, ``axis``.
"""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Sequence
from typing import ClassVar

from accelc.errors import ArtifactError, CallError
from accelc.targets.numba_cpu.isa import Isa
from accelc.targets.numba_cpu.kernels.base import (
    WORKSPACE,
    Address,
    Binding,
    Family,
    KernelSource,
    Params,
    Tensor,
)
from accelc.targets.numba_cpu.kernels.rows import Rows, product
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

MAX_RANK = 9
_LOOPS = MAX_RANK - 1
_HEAD = 3


class LineFamily(Family):
    """Base: loops over lines; the body works on one. Streams are ``x`` and the outputs."""

    name: ClassVar[str]
    outputs: ClassVar[tuple[str, ...]] = ("y",)

    def check(self, params: Params) -> None:
        """See Family."""
        check_name(params, "dtype", tuple(POINTERS))
        check_int(params, "axis", 0, MAX_RANK - 1)
        if params["dtype"] == "bool":
            raise ArtifactError(f"{self.name} of bool has no kernel")

    @abstractmethod
    def body(self, params: Params, pad: str) -> list[str]:
        """Statements for one line of ``n`` elements, ``x`` at ``o_x`` with steps ``t_x`` and so on."""

    def output_dtypes(self, params: Params) -> tuple[str, ...]:
        """Dtype of each output."""
        return (params["dtype"],)

    def workspace(self, params: Params, outputs: Sequence[Tensor]) -> int:
        """Bytes of scratch memory for each thread."""
        return 0

    def source(self, params: Params, isa: Isa) -> KernelSource:
        """See Family."""
        rows = Rows(_LOOPS, ("x", *self.outputs))
        base = _HEAD + rows.word_count
        streams = (("x", params["dtype"]), *zip(self.outputs, self.output_dtypes(params), strict=True))
        lines = [
            "def kernel(d, lo, hi, tid):",
            "    n = get(d, 0)",
            "    lines_per_task = get(d, 1)",
            "    lines = get(d, 2)",
            *rows.read(_HEAD, "    "),
            f"    k = get(d, {base})",
            f"    scratch = ptr_i64(get(d, {base + 1}) + tid * get(d, {base + 2}))",
        ]
        for i, (name, dtype) in enumerate(streams):
            lines.append(f"    p_{name} = {POINTERS[dtype]}(get(d, {base + 3 + 2 * i}))")
            lines.append(f"    t_{name} = get(d, {base + 4 + 2 * i})")
        lines += [
            "    line = lo * lines_per_task",
            "    end = least(hi * lines_per_task, lines)",
            *rows.start("line", "    "),
            "    while line < end:",
            *self.body(params, "        "),
            *rows.advance("        "),
            "        line += 1",
            "",
        ]
        text = "\n".join(lines)
        more = _BETTER if "better(" in text else ""
        return KernelSource(self.name, helpers(text) + more + text)

    def bind(
        self, params: Params, inputs: Sequence[Tensor | None], outputs: Sequence[Tensor], isa: Isa
    ) -> Binding:
        """See Family."""
        x, axis = inputs[0], params["axis"]
        if x is None or axis >= len(x.shape) or len(x.shape) > MAX_RANK:
            raise CallError(f"{self.name} without a fitting operand", fix="recompile the model")
        n = x.shape[axis]
        kept = [dim for dim in range(len(x.shape)) if dim != axis]
        whole = [_at_full_rank(y, x, axis) for y in outputs]
        lines = product(x.shape[dim] for dim in kept)
        if lines == 0 or outputs[0].size == 0:
            return Binding([], 0)
        if n == 0 and params.get("may_be_empty") is True:
            return Binding([], 0)
        if n == 0:
            raise CallError(f"{self.name} over a dim of extent 0", fix="check the shapes of the inputs")
        columns = [tuple(strides[dim] for strides in (x.strides, *whole)) for dim in kept]
        per_task = max(1, 2048 // n)
        words: list[int | Address] = [n, per_task, lines]
        words += Rows(_LOOPS, ("x", *self.outputs)).words([x.shape[dim] for dim in kept], columns)
        scratch = -(-self.workspace(params, outputs) // 64) * 64
        k = outputs[0].shape[axis] if len(outputs[0].shape) == len(x.shape) else 1
        words += [k, Address(WORKSPACE) if scratch else 0, scratch, x.address(), x.strides[axis]]
        for y, strides in zip(outputs, whole, strict=True):
            words += [y.address(), strides[axis]]
        return Binding(words, -(-lines // per_task), grain=2, workspace_bytes=scratch)


def _at_full_rank(y: Tensor, x: Tensor, axis: int) -> tuple[int, ...]:
    """Strides of an output along the dims of ``x``; it may lack ``axis``."""
    if len(y.shape) == len(x.shape):
        return y.strides
    if len(y.shape) != len(x.shape) - 1:
        raise CallError(f"shapes {list(y.shape)} and {list(x.shape)} do not fit together")
    return (*y.strides[:axis], 0, *y.strides[axis:])


# Whether element i comes before element j: by value, NaN first, then by index.
_BETTER = """
@inline
def better(a, i, b, j, largest):
    if a != a:
        return b == b or i < j
    if b != b:
        return False
    if a == b:
        return i < j
    return (a > b) == largest
"""


class ArgReduce(LineFamily):
    """Index of the largest or smallest element; NaN counts as both.

    Params: also ``largest``, ``last`` (of equal elements take the last) and, if lines without elements are no error,
    ``may_be_empty``: nobody reads their index.
    """

    name: ClassVar[str] = "arg_reduce"

    def check(self, params: Params) -> None:
        """See Family."""
        super().check(params)
        _check_flags(params, "largest", "last")

    def output_dtypes(self, params: Params) -> tuple[str, ...]:
        """See LineFamily."""
        return ("int64",)

    def body(self, params: Params, pad: str) -> list[str]:
        """See LineFamily."""
        load = scalar_load(params["dtype"], "p_x", "o_x + i * t_x")
        order = ">" if params["largest"] else "<"
        beats = f"v {order}{'=' if params['last'] else ''} best"
        if params["dtype"] in FLOATS:
            nan = "v != v" if params["last"] else "(v != v and best == best)"
            beats = f"{nan} or (best == best and {beats})"
        return [
            f"{pad}best = {scalar_load(params['dtype'], 'p_x', 'o_x')}",
            f"{pad}where = i64(0)",
            f"{pad}for i in range(1, n):",
            f"{pad}    v = {load}",
            f"{pad}    if {beats}:",
            f"{pad}        best = v",
            f"{pad}        where = i",
            f"{pad}put(p_y, o_y, where)",
        ]


class Cumulate(LineFamily):
    """Running sum or ``product``. Params: also ``exclusive`` and ``reverse``, as ONNX CumSum has them."""

    name: ClassVar[str] = "cumulate"

    def check(self, params: Params) -> None:
        """See Family."""
        super().check(params)
        _check_flags({"product": False, **params}, "exclusive", "reverse", "product")

    def body(self, params: Params, pad: str) -> list[str]:
        """See LineFamily."""
        dtype = params["dtype"]
        short = SHORT[dtype]
        place = "n - 1 - step" if params["reverse"] else "step"
        sign, start = ("*", 1) if params.get("product", False) else ("+", 0)
        add = f"{pad}    total = {short}(total {sign} {scalar_load(dtype, 'p_x', 'o_x + i * t_x')})"
        store = f"{pad}    {scalar_store(dtype, 'p_y', 'o_y + i * t_y', 'total')}"
        if params["exclusive"]:
            # The element is read before its place is written: the output may be the input.
            update = [
                f"{pad}    v = {scalar_load(dtype, 'p_x', 'o_x + i * t_x')}",
                store,
                f"{pad}    total = {short}(total {sign} v)",
            ]
        else:
            update = [add, store]
        return [
            f"{pad}total = {short}({start})",
            f"{pad}for step in range(n):",
            f"{pad}    i = {place}",
            *update,
        ]


class TopK(LineFamily):
    """The k best elements in order and their indices, by a heap of k: O(n log k).

    Params: also ``largest``. Equal elements come in order of their indices; NaN comes first.
    """

    name: ClassVar[str] = "top_k"
    outputs: ClassVar[tuple[str, ...]] = ("y", "z")

    def check(self, params: Params) -> None:
        """See Family."""
        super().check(params)
        _check_flags(params, "largest")

    def output_dtypes(self, params: Params) -> tuple[str, ...]:
        """See LineFamily."""
        return (params["dtype"], "int64")

    def workspace(self, params: Params, outputs: Sequence[Tensor]) -> int:
        """See LineFamily."""
        return 8 * outputs[0].shape[params["axis"]]

    def body(self, params: Params, pad: str) -> list[str]:
        """See LineFamily: the root of the heap is the worst of those kept."""
        dtype, largest = params["dtype"], str(params["largest"])

        def value(index: str) -> str:
            return scalar_load(dtype, "p_x", f"o_x + ({index}) * t_x")

        def before(i: str, j: str) -> str:
            return f"better({value(i)}, {i}, {value(j)}, {j}, {largest})"

        sift = [
            "while 2 * node + 1 < size:",
            "    child = 2 * node + 1",
            "    if child + 1 < size:",
            "        left = get(scratch, child)",
            "        right = get(scratch, child + 1)",
            f"        if {before('left', 'right')}:",
            "            child += 1",
            "    below = get(scratch, child)",
            f"    if not {before('item', 'below')}:",
            "        break",
            "    put(scratch, node, below)",
            "    node = child",
            "put(scratch, node, item)",
        ]
        grow = [
            "node = i",
            "while node > 0:",
            "    above = get(scratch, (node - 1) // 2)",
            f"    if not {before('above', 'i')}:",
            "        break",
            "    put(scratch, node, above)",
            "    node = (node - 1) // 2",
            "put(scratch, node, i)",
        ]
        replace = ["top = get(scratch, 0)", f"if {before('i', 'top')}:", "    node = i64(0)", "    item = i"]
        return [
            f"{pad}size = least(k, n)",
            f"{pad}for i in range(size):",
            *(f"{pad}    {line}" for line in grow),
            f"{pad}for i in range(size, n):",
            *(f"{pad}    {line}" for line in replace),
            *(f"{pad}        {line}" for line in sift),
            f"{pad}while size > 0:",
            f"{pad}    size -= 1",
            f"{pad}    top = get(scratch, 0)",
            f"{pad}    {scalar_store(dtype, 'p_y', 'o_y + size * t_y', value('top'))}",
            f"{pad}    put(p_z, o_z + size * t_z, top)",
            f"{pad}    item = get(scratch, size)",
            f"{pad}    node = i64(0)",
            *(f"{pad}    {line}" for line in sift),
        ]


def _check_flags(params: Params, *names: str) -> None:
    for name in names:
        if not isinstance(params.get(name), bool):
            raise ArtifactError("malformed kernel parameters", why=f"{name!r} is not a boolean")
