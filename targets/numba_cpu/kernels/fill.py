"""Families ``iota`` (start + i * step) and ``triangle`` (a band of a matrix, zero elsewhere)."""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar

from accelc.errors import ArtifactError, CallError
from accelc.targets.numba_cpu.isa import Isa
from accelc.targets.numba_cpu.kernels.base import Address, Binding, Family, KernelSource, Params, Tensor
from accelc.targets.numba_cpu.kernels.rows import product
from accelc.targets.numba_cpu.kernels.text import (
    BY_ITEMSIZE,
    POINTERS,
    SHORT,
    check_name,
    helpers,
    scalar_load,
    scalar_store,
)

_IOTA = """
def kernel(d, lo, hi, tid):
    y = {pointer}(get(d, 0))
    p = {pointer}(get(d, 1))
    q = {pointer}(get(d, 2))
    chunk = get(d, 4)
    start = {start}
    step = {step}
    for i in range(lo * chunk, least(hi * chunk, get(d, 3))):
        v = {short}(start + {short}(i) * step)
        {store}
"""

_TRIANGLE = """
def kernel(d, lo, hi, tid):
    y = {pointer}(get(d, 0))
    x = {pointer}(get(d, 1))
    k = get(ptr_i64(get(d, 2)), 0)
    rows = get(d, 3)
    n = get(d, 4)
    per_task = get(d, 5)
    for row in range(lo * per_task, least(hi * per_task, get(d, 6))):
        # Column row + k is on the diagonal; far away diagonals are outside on either side.
        edge = least(most(row % rows + most(least(k, n), -rows) + {shift}, i64(0)), n)
        o = row * n
        for i in range(edge):
            put(y, o + i, {before})
        for i in range(edge, n):
            put(y, o + i, {after})
"""


class Iota(Family):
    """y[i] = start + i * step; inputs are start and step, one element each. Params: ``dtype``."""

    name: ClassVar[str] = "iota"

    def check(self, params: Params) -> None:
        """See Family."""
        check_name(params, "dtype", tuple(POINTERS))
        if params["dtype"] == "bool":
            raise ArtifactError("a range of bool has no kernel")

    def source(self, params: Params, isa: Isa) -> KernelSource:
        """See Family."""
        dtype = params["dtype"]
        text = _IOTA.format(
            pointer=POINTERS[dtype],
            short=SHORT[dtype],
            start=scalar_load(dtype, "p", "0"),
            step=scalar_load(dtype, "q", "0"),
            store=scalar_store(dtype, "y", "i", "v"),
        )
        return KernelSource("iota", helpers(text) + text)

    def bind(
        self, params: Params, inputs: Sequence[Tensor | None], outputs: Sequence[Tensor], isa: Isa
    ) -> Binding:
        """See Family."""
        start, step, y = inputs[0], inputs[1], outputs[0]
        if start is None or step is None or start.size != 1 or step.size != 1:
            raise CallError("a range needs one start and one step")
        words: list[int | Address] = [y.address(), start.address(), step.address(), y.size, 8192]
        return Binding(words, -(-y.size // 8192))


class Triangle(Family):
    """The upper or lower triangle of row-major matrices from diagonal k (an int64 operand) on.

    Params: ``itemsize``, ``side`` (``upper`` or ``lower``).
    """

    name: ClassVar[str] = "triangle"

    def check(self, params: Params) -> None:
        """See Family."""
        if params.get("itemsize") not in BY_ITEMSIZE:
            raise ArtifactError(
                f"kernel parameter 'itemsize' is {params.get('itemsize')!r}", why="1, 2, 4 or 8"
            )
        check_name(params, "side", ("upper", "lower"))

    def source(self, params: Params, isa: Isa) -> KernelSource:
        """See Family."""
        upper = params["side"] == "upper"
        keep = "get(x, o + i)"
        text = _TRIANGLE.format(
            pointer=POINTERS[BY_ITEMSIZE[params["itemsize"]]],
            shift=0 if upper else 1,
            before=0 if upper else keep,
            after=keep if upper else 0,
        )
        return KernelSource("triangle", helpers(text) + text)

    def bind(
        self, params: Params, inputs: Sequence[Tensor | None], outputs: Sequence[Tensor], isa: Isa
    ) -> Binding:
        """See Family."""
        x, k, y = inputs[0], inputs[1], outputs[0]
        if x is None or k is None or len(x.shape) < 2 or x.shape != y.shape:
            raise CallError("a triangle needs matrices and a diagonal", fix="check the shapes of the inputs")
        if y.size == 0:
            return Binding([], 0)
        rows, n = y.shape[-2:]
        per_task = max(1, 8192 // n)
        lines = product(y.shape[:-1])
        words: list[int | Address] = [y.address(), x.address(), k.address(), rows, n, per_task, lines]
        return Binding(words, -(-lines // per_task))
