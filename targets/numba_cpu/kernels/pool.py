"""Family ``pool``: max, average and Lp pooling of [N, D, H, W, C] in memory, lanes along the channels.

Params: ``kind`` (max, average, lp), ``dtype``, ``count_pads`` (average: pads count in the divisor too), ``p`` (lp: 1 or
2). Window, strides, dilations, pads and ends (trailing pads) are words, so one kernel serves all of them. The operands
are logical [N, C, spatial...] with up to three spatial dims; channels may have any stride, but only stride 1 is fast. A
window without an element gives -inf (max) or NaN (average).
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar

from accelc.errors import ArtifactError, CallError
from accelc.targets.numba_cpu.isa import Isa
from accelc.targets.numba_cpu.kernels.base import Address, Binding, Family, KernelSource, Params, Tensor
from accelc.targets.numba_cpu.kernels.reduce import fold_of
from accelc.targets.numba_cpu.kernels.text import (
    FLOATS,
    POINTERS,
    SHORT,
    VECTOR_FLOATS,
    check_int,
    check_name,
    helpers,
    scalar_load,
    scalar_store,
)

KINDS = ("max", "average", "lp")
_GROUP = 4

_TEXT = """
@inline
def first_inside(start, dilation):
    return (dilation - 1 - start) // dilation if start < 0 else i64(0)

@inline
def last_inside(start, dilation, size, window):
    stop = (size - start + dilation - 1) // dilation if size > start else i64(0)
    return stop if stop < window else window

def kernel(d, lo, hi, tid):
    y = {pointer}(get(d, 0))
    x = {pointer}(get(d, 1))
    channels = get(d, 2)
    y_c = get(d, 3)
    x_c = get(d, 4)
    y_n = get(d, 5)
    x_n = get(d, 6)
{words}
    for task in range(lo, hi):
        rest = task
        b = rest % out1
        rest = rest // out1
        a = rest % out0
        n = rest // out0
        start0 = a * stride0 - pad0
        start1 = b * stride1 - pad1
        low0 = first_inside(start0, dilation0)
        high0 = last_inside(start0, dilation0, size0, window0)
        low1 = first_inside(start1, dilation1)
        high1 = last_inside(start1, dilation1, size1, window1)
        for c in range(out2):
            start2 = c * stride2 - pad2
            low2 = first_inside(start2, dilation2)
            high2 = last_inside(start2, dilation2, size2, window2)
            count = {count}
            p_y = at(y, n * y_n + a * y0 + b * y1 + c * y2)
            p_x = at(x, n * x_n + start0 * x0 + start1 * x1 + start2 * x2)
{body}
"""


class Pool(Family):
    """y[n, c, o...] = fold over the window of x[n, c, o * stride - pad + k * dilation...]."""

    name: ClassVar[str] = "pool"

    def check(self, params: Params) -> None:
        """See Family."""
        kind = check_name(params, "kind", KINDS)
        check_name(params, "dtype", tuple(POINTERS))
        if params["dtype"] == "bool" or (kind != "max" and params["dtype"] not in FLOATS):
            raise ArtifactError(f"{kind} pooling of {params['dtype']} has no kernel")
        if not isinstance(params.get("count_pads"), bool):
            raise ArtifactError("malformed kernel parameters", why="'count_pads' is not a boolean")
        check_int(params, "p", 1, 2)
        for key in ("window", "strides", "dilations", "pads", "ends"):
            values = params.get(key)
            if not isinstance(values, list | tuple) or len(values) not in (1, 2, 3):
                raise ArtifactError("malformed kernel parameters", why=f"{key!r} is {values!r}")
            for value in values:
                check_int({key: value}, key, 0 if key in ("pads", "ends") else 1, 1 << 30)
        if len({len(params[key]) for key in ("window", "strides", "dilations", "pads", "ends")}) != 1:
            raise ArtifactError("malformed kernel parameters", why="window, strides and pads differ in rank")

    def source(self, params: Params, isa: Isa) -> KernelSource:
        """See Family."""
        dtype, kind = params["dtype"], params["kind"]
        names = [
            f"{name}{i}"
            for i in range(3)
            for name in ("out", "size", "window", "stride", "dilation", "pad", "y", "x", "end")
        ]
        words = "\n".join(f"    {name} = get(d, {7 + i})" for i, name in enumerate(names))
        inside = "most(high0 - low0, 0) * most(high1 - low1, 0) * most(high2 - low2, 0)"
        # A window may reach past the trailing pads where the number of windows is rounded up: that part never counts.
        padded = (f"last_inside(start{i}, dilation{i}, size{i} + end{i}, window{i})" for i in range(3))
        count = " * ".join(padded) if params["count_pads"] else inside
        pad = " " * 12
        fold = {"max": "max", "average": "sum", "lp": "l1" if params["p"] == 1 else "l2"}[kind]
        if dtype in VECTOR_FLOATS:
            body = _vector_body(kind, fold, dtype, isa.lanes(dtype), pad)
        else:
            body = [f"{pad}for i in range(channels):", *_scalar_body(kind, fold, dtype, pad + "    ")]
        text = _TEXT.format(pointer=POINTERS[dtype], words=words, count=count, body="\n".join(body))
        return KernelSource("pool", helpers(text) + text)

    def bind(
        self, params: Params, inputs: Sequence[Tensor | None], outputs: Sequence[Tensor], isa: Isa
    ) -> Binding:
        """See Family."""
        x, y = inputs[0], outputs[0]
        spatial = len(params["window"])
        if (
            x is None
            or len(x.shape) != spatial + 2
            or len(y.shape) != spatial + 2
            or x.shape[:2] != y.shape[:2]
        ):
            raise CallError("pooling operands do not fit together", fix="check the shapes of the inputs")
        if y.size == 0:
            return Binding([], 0)
        words: list[int | Address] = [y.address(), x.address(), y.shape[1], y.strides[1], x.strides[1]]
        words += [y.strides[0], x.strides[0]]
        words += [1, 1, 1, 1, 1, 0, 0, 0, 0] * (3 - spatial)
        for i in range(spatial):
            words += [y.shape[2 + i], x.shape[2 + i], params["window"][i], params["strides"][i]]
            words += [params["dilations"][i], params["pads"][i], y.strides[2 + i], x.strides[2 + i]]
            words.append(params["ends"][i])
        tasks = y.shape[0]
        outer = [1] * (3 - spatial) + list(y.shape[2:])
        tasks *= outer[0] * outer[1]
        window = 1
        for extent in params["window"]:
            window *= extent
        return Binding(words, tasks, grain=max(1, 40000 // max(1, outer[2] * y.shape[1] * window)))


def _window(pad: str, body: list[str]) -> list[str]:
    """Loops over the part of the window inside the input; ``o`` is the element's offset without its channel."""
    return [
        f"{pad}for k0 in range(low0, high0):",
        f"{pad}    for k1 in range(low1, high1):",
        f"{pad}        o = k0 * dilation0 * x0 + k1 * dilation1 * x1 + low2 * dilation2 * x2",
        f"{pad}        for k2 in range(low2, high2):",
        *(f"{pad}            {line}" for line in body),
        f"{pad}            o += dilation2 * x2",
    ]


def _vector_body(kind: str, fold_kind: str, dtype: str, lanes: int, pad: str) -> list[str]:
    lines = [f"{pad}i = 0", f"{pad}if y_c == 1 and x_c == 1:"]
    inner = pad + "    "
    for group in (_GROUP, 1):
        lines.append(f"{inner}while i + {group * lanes} <= channels:")
        lines += _block(kind, fold_kind, lanes, group, "", inner + "    ")
        lines.append(f"{inner}    i += {group * lanes}")
    lines.append(f"{inner}if i < channels:")
    lines += _block(kind, fold_kind, lanes, 1, "channels - i", inner + "    ")
    lines += [f"{pad}else:", f"{inner}while i < channels:"]
    return [*lines, *_scalar_body(kind, fold_kind, dtype, inner + "    "), f"{inner}    i += 1"]


def _block(kind: str, fold_kind: str, lanes: int, group: int, count: str, pad: str) -> list[str]:
    fold = fold_of(fold_kind, "float32")
    lines = [f"{pad}v{u} = vlike(vzero(p_x), {fold.start})" for u in range(group)]
    steps = []
    for u in range(group):
        at = f"o + i + {u * lanes}"
        load = f"vloadm(p_x, {at}, {count})" if count else f"vload(p_x, {at})"
        steps.append(
            f"v{u} = {fold.vector.format(a=f'v{u}', x=load)}" if fold_kind != "l2" else f"w{u} = {load}"
        )
        if fold_kind == "l2":
            steps.append(f"v{u} = vfma(w{u}, w{u}, v{u})")
    lines += _window(pad, steps)
    for u in range(group):
        result = {"average": f"vdiv(v{u}, vlike(v{u}, count))", "lp": f"vsqrt(v{u})"}.get(kind, f"v{u}")
        result = f"v{u}" if fold_kind == "l1" else result
        tail = f", {count}" if count else ""
        lines.append(f"{pad}vstore{'m' if count else ''}(p_y, i + {u * lanes}, {result}{tail})")
    return lines


def _scalar_body(kind: str, fold_kind: str, dtype: str, pad: str) -> list[str]:
    fold, short = fold_of(fold_kind, dtype), SHORT[dtype]
    result = {"average": f"r / {short}(count)", "lp": "math.sqrt(r)"}.get(kind, "r")
    result = "r" if fold_kind == "l1" else result
    return [
        f"{pad}r = {short}({fold.start})",
        *_window(
            pad,
            [
                f"e = {scalar_load(dtype, 'p_x', 'o + i * x_c')}",
                f"r = {short}({fold.scalar.format(a='r', x='e')})",
            ],
        ),
        f"{pad}{scalar_store(dtype, 'p_y', 'i * y_c', f'{short}({result})')}",
    ]
