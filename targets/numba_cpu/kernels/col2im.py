"""Family ``col2im``: products of a transposed convolution summed where their windows overlap.

Each output pixel gathers the columns that reach it, so that no two tasks write the same element; vectors run over
channels, which are adjacent on both sides.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar

from accelc.errors import ArtifactError, CallError
from accelc.targets.numba_cpu.isa import Isa
from accelc.targets.numba_cpu.kernels.base import Address, Binding, Family, KernelSource, Params, Tensor
from accelc.targets.numba_cpu.kernels.text import POINTERS, VECTOR_FLOATS, check_name, helpers

SPATIAL = 3
_HEAD = 13

_TEXT = """
def kernel(d, lo, hi, tid):
    y = {pointer}(get(d, 0))
    x = {pointer}(get(d, 1))
    bias = {pointer}(get(d, 2))
    groups = get(d, 3)
    batch = get(d, 4)
    i0 = get(d, 5)
    i1 = get(d, 6)
    i2 = get(d, 7)
    o0 = get(d, 8)
    o1 = get(d, 9)
    o2 = get(d, 10)
    n = get(d, 11)
    per_task = get(d, 12)
    pixels = o0 * o1 * o2
    last = least(hi * per_task, batch * pixels)
    for item in range(lo * per_task, last):
        image = item // pixels
        p2 = item % o2
        p1 = item // o2 % o1
        p0 = item // (o2 * o1) % o0
        for group in range(groups):
            target = at(y, (item * groups + group) * n)
            c = 0
            while c < n:
                vstorem(target, c, {start}, n - c)
                c += {lanes}
            for k0 in range({k0}):
                t0 = p0 + {pad0} - k0 * {d0}
                if t0 >= 0 and t0 % {s0} == 0 and t0 // {s0} < i0:
                    for k1 in range({k1}):
                        t1 = p1 + {pad1} - k1 * {d1}
                        if t1 >= 0 and t1 % {s1} == 0 and t1 // {s1} < i1:
                            for k2 in range({k2}):
                                t2 = p2 + {pad2} - k2 * {d2}
                                if t2 >= 0 and t2 % {s2} == 0 and t2 // {s2} < i2:
                                    place = ((group * batch + image) * i0 + t0 // {s0}) * i1 + t1 // {s1}
                                    place = (place * i2 + t2 // {s2}) * {taps} + (k0 * {k1} + k1) * {k2} + k2
                                    source = at(x, place * n)
                                    c = 0
                                    while c + {lanes} <= n:
                                        vstore(target, c, vadd(vload(target, c), vload(source, c)))
                                        c += {lanes}
                                    while c < n:
                                        put(target, c, get(target, c) + get(source, c))
                                        c += 1
"""


class Col2Im(Family):
    """y[n, o, g, c] = bias[g, c] + sum of x[g, n, i, tap, c] over the taps that lead from pixel i to pixel o.

    Inputs: columns ``[G, N, i0, i1, i2, taps, C]`` and a bias of ``G * C`` elements or none; output
    ``[N, o0, o1, o2, G, C]``; all dense. Params: ``dtype``, ``kernel``, ``strides``, ``dilations``, ``pads`` (leading)
    of 3 dims each, ``bias``.
    """

    name: ClassVar[str] = "col2im"

    def check(self, params: Params) -> None:
        """See Family."""
        check_name(params, "dtype", VECTOR_FLOATS)
        for key, low in (("kernel", 1), ("strides", 1), ("dilations", 1), ("pads", -(1 << 20))):
            found = params.get(key)
            if not isinstance(found, list | tuple) or len(found) != SPATIAL:
                raise ArtifactError("malformed kernel parameters", why=f"{key!r} has {SPATIAL} numbers")
            if any(type(number) is not int or not low <= number <= 1 << 20 for number in found):
                raise ArtifactError("malformed kernel parameters", why=f"{key!r} is {found!r}")
        if not isinstance(params.get("bias"), bool):
            raise ArtifactError("malformed kernel parameters", why="'bias' is not a boolean")

    def source(self, params: Params, isa: Isa) -> KernelSource:
        """See Family."""
        dtype = params["dtype"]
        fields: dict[str, object] = {"pointer": POINTERS[dtype], "lanes": isa.lanes(dtype)}
        for letter, key in (("k", "kernel"), ("s", "strides"), ("d", "dilations"), ("pad", "pads")):
            fields |= {f"{letter}{i}": number for i, number in enumerate(params[key])}
        fields["taps"] = _taps(params)
        fields["start"] = "vloadm(bias, group * n + c, n - c)" if params["bias"] else "vzero(y)"
        text = _TEXT.format(**fields)
        return KernelSource(f"col2im_{dtype}", helpers(text) + text)

    def bind(
        self, params: Params, inputs: Sequence[Tensor | None], outputs: Sequence[Tensor], isa: Isa
    ) -> Binding:
        """See Family."""
        x, bias, y = inputs[0], inputs[1], outputs[0]
        if x is None or len(x.shape) != 7 or len(y.shape) != 6 or (bias is None) == params["bias"]:
            raise CallError("a transposed convolution lacks an operand", fix="recompile the model")
        groups, batch, channels = x.shape[0], x.shape[1], x.shape[6]
        if (batch, groups, channels) != (y.shape[0], *y.shape[4:]) or x.shape[5] != _taps(params):
            raise CallError(f"columns of shape {list(x.shape)} do not make up shape {list(y.shape)}")
        if bias is not None and bias.size != groups * channels:
            raise CallError(f"a bias of {bias.size} elements for {groups * channels} channels")
        if y.size == 0:
            return Binding([], 0)
        pixels = batch * y.shape[1] * y.shape[2] * y.shape[3]
        per_task = max(1, 8192 // max(1, groups * channels * _taps(params)))
        words: list[int | Address] = [
            y.address(), x.address(), 0 if bias is None else bias.address(), groups, batch, *x.shape[2:5],
            *y.shape[1:4], channels, per_task,
        ]  # fmt: skip
        return Binding(words, -(-pixels // per_task), grain=2)


def _taps(params: Params) -> int:
    first, second, third = params["kernel"]
    return int(first * second * third)
