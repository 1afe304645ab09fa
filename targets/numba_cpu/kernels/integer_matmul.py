"""Family ``integer_matmul``: matrix products of integers, wrapping around as NumPy's do."""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar

from accelc.errors import CallError
from accelc.targets.numba_cpu.isa import Isa
from accelc.targets.numba_cpu.kernels.base import Address, Binding, Family, KernelSource, Params, Tensor
from accelc.targets.numba_cpu.kernels.rows import Rows, broadcast_strides, product
from accelc.targets.numba_cpu.kernels.text import (
    INTEGERS,
    POINTERS,
    SHORT,
    check_int,
    check_name,
    helpers,
)

MAX_BATCH = 8
_HEAD = 11

_TEXT = """
def kernel(d, lo, hi, tid):
    y = {pointer}(get(d, 0))
    a = {pointer}(get(d, 1))
    b = {pointer}(get(d, 2))
    m = get(d, 3)
    n = get(d, 4)
    depth = get(d, 5)
    a_m = get(d, 6)
    a_k = get(d, 7)
    b_k = get(d, 8)
    b_n = get(d, 9)
    blocks = get(d, 10)
    rows = (m + blocks - 1) // blocks
{read}
    for task in range(lo, hi):
        batch = task // blocks
        first = (task % blocks) * rows
{start}
        for i in range(first, least(first + rows, m)):
            for j in range(n):
                total = {short}(0)
                for k in range(depth):
                    left = get(a, o_a + i * a_m + k * a_k)
                    total = {short}(total + left * get(b, o_b + k * b_k + j * b_n))
                put(y, (batch * m + i) * n + j, total)
"""


class IntegerMatmul(Family):
    """y = a @ b: batch dims broadcast, matrices of any strides, a row-major result.

    Params: ``dtype`` (any integer), ``batch`` (batch dims of the result).
    """

    name: ClassVar[str] = "integer_matmul"

    def check(self, params: Params) -> None:
        """See Family."""
        check_name(params, "dtype", INTEGERS)
        check_int(params, "batch", 0, MAX_BATCH)

    def source(self, params: Params, isa: Isa) -> KernelSource:
        """See Family."""
        dtype = params["dtype"]
        rows = Rows(max(1, params["batch"]), ("a", "b"))
        text = _TEXT.format(
            pointer=POINTERS[dtype],
            short=SHORT[dtype],
            read="\n".join(rows.read(_HEAD, "    ")),
            start="\n".join(rows.start("batch", "        ")),
        )
        return KernelSource(f"matmul_{dtype}", helpers(text) + text)

    def bind(
        self, params: Params, inputs: Sequence[Tensor | None], outputs: Sequence[Tensor], isa: Isa
    ) -> Binding:
        """See Family."""
        a, b, y = inputs[0], inputs[1], outputs[0]
        if a is None or b is None or min(len(a.shape), len(b.shape), len(y.shape)) < 2:
            raise CallError("a product needs two matrices", fix="recompile the model")
        (m, depth), (inner, n) = a.shape[-2:], b.shape[-2:]
        if depth != inner or y.shape[-2:] != (m, n):
            raise CallError(
                f"shapes {list(a.shape)} and {list(b.shape)} do not multiply",
                fix="check the shapes of the inputs",
            )
        if y.size == 0:
            return Binding([], 0)
        batch = y.shape[:-2]
        strides = [
            broadcast_strides(Tensor(t.value, t.dtype, t.shape[:-2], t.strides[:-2]), batch) for t in (a, b)
        ]
        rows = Rows(max(1, params["batch"]), ("a", "b"))
        blocks = min(m, max(1, m * n * max(depth, 1) // 65536))
        words: list[int | Address] = [
            y.address(), a.address(), b.address(), m, n, depth, a.strides[-2], a.strides[-1],
            b.strides[-2], b.strides[-1], blocks,
        ]  # fmt: skip
        words += rows.words(batch, list(zip(*strides, strict=True)))
        work = max(1, 32768 // max(1, m * n * max(depth, 1) // blocks))
        return Binding(words, product(batch) * blocks, grain=work)
