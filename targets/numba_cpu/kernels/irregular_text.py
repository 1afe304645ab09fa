"""Bodies of the ``irregular`` kernels (irregular.py): what one task does, as Python text.

Operands are dense; ``x_1`` is the extent of dim 1 of operand ``x``, ``task`` the number of the task. ``Z`` is the
element type in which the text computes.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from accelc.targets.numba_cpu.kernels.resize_text import PLACES, ROUNDINGS, TAPS, resize_taps

Params = Mapping[str, Any]

HELPERS = """
@inline
def least(a, b):
    return a if a < b else b


@inline
def most(a, b):
    return a if a > b else b


@inline
def reflect(x, low, high):
    width = high - low
    if x < low:
        away = low - x
        times = i64(away / width)
        rest = away - times * width
        return low + rest if times % 2 == 0 else high - rest
    if x > high:
        away = x - high
        times = i64(away / width)
        rest = away - times * width
        return high - rest if times % 2 == 0 else low + rest
    return x


@inline
def near(x):
    f = i64(math.floor(x))
    part = x - f
    if part > 0.5 or (part == 0.5 and f % 2 != 0):
        return f + 1
    return f
"""


@dataclass(frozen=True)
class Kind:
    """One kind of kernel.

    Args:
        outputs: Name and rank of each output, and its dtype if it is not that of the params.
        inputs: The same of each input.
        tasks: Leading dims of output 0 that are split into tasks.
        flags: Boolean params.
        lists: Params that hold a list of integers of this length.
        numbers: Params that hold one number.
        names: Params that hold one of these strings.
        body: Text of a task.
        floating: Whether only float32 and float64 have the kernel.
    """

    outputs: tuple[tuple[str, int, str], ...]
    inputs: tuple[tuple[str, int, str], ...]
    tasks: int
    body: Callable[[Params], str]
    flags: tuple[str, ...] = ()
    lists: tuple[tuple[str, int], ...] = ()
    numbers: tuple[str, ...] = ()
    names: tuple[tuple[str, tuple[str, ...]], ...] = ()
    floating: bool = True


def _reverse_sequence(params: Params) -> str:
    batch, time = ("y_0", "y_1") if params["batch_first"] else ("y_1", "y_0")
    b, t = ("task // y_1", "task % y_1") if params["batch_first"] else ("task % y_1", "task // y_1")
    place = f"b * {time} + s" if params["batch_first"] else f"s * {batch} + b"
    return f"""
b = {b}
t = {t}
count = most(least(get(lens, b), {time}), i64(0))
s = count - 1 - t if t < count else t
source = ({place}) * y_2
for i in range(y_2):
    put(y, task * y_2 + i, get(x, source + i))
"""


def _det(params: Params) -> str:
    return """
n = x_1
base = task * n * n
for i in range(n * n):
    put(w, base + i, get(x, base + i))
result = Z(1.0)
for k in range(n):
    best = k
    for i in range(k + 1, n):
        if math.fabs(get(w, base + i * n + k)) > math.fabs(get(w, base + best * n + k)):
            best = i
    pivot = get(w, base + best * n + k)
    if best != k:
        result = -result
        for j in range(n):
            swap = get(w, base + k * n + j)
            put(w, base + k * n + j, get(w, base + best * n + j))
            put(w, base + best * n + j, swap)
    result = result * pivot
    if pivot != 0:
        for i in range(k + 1, n):
            factor = get(w, base + i * n + k) / pivot
            for j in range(k + 1, n):
                put(w, base + i * n + j, get(w, base + i * n + j) - factor * get(w, base + k * n + j))
put(y, task, result)
"""


def _max_pool(params: Params) -> str:
    place = "(s0 * x_2 + s1) * x_3 + s2"
    if params["column_major"]:
        place = "s0 + x_1 * (s1 + x_2 * s2)"
    lines = ["size = x_1 * x_2 * x_3", "for p in range(y_1 * y_2 * y_3):", "    q2 = p % y_3"]
    lines += ["    q1 = p // y_3 % y_2", "    q0 = p // (y_3 * y_2)", "    found = i64(-1)"]
    lines += ["    best = get(x, task * size)", "    where = i64(0)"]
    pad = "    "
    for i in range(3):
        k, stride = params["kernel"][i], params["strides"][i]
        lines.append(f"{pad}for k{i} in range({k}):")
        pad += "    "
        lines.append(f"{pad}s{i} = q{i} * {stride} - {params['pads'][i]} + k{i} * {params['dilations'][i]}")
        lines.append(f"{pad}if s{i} >= 0 and s{i} < x_{i + 1}:")
        pad += "    "
    lines += [
        f"{pad}v = get(x, task * size + (s0 * x_2 + s1) * x_3 + s2)",
        f"{pad}if found < 0 or v > best or (v != v and best == best):",
        f"{pad}    found = i64(1)",
        f"{pad}    best = v",
        f"{pad}    where = {place}",
        "    put(y, task * y_1 * y_2 * y_3 + p, best)",
        "    put(z, task * y_1 * y_2 * y_3 + p, task * size + where)",
    ]
    return "\n".join(lines)


_ROI_SAMPLE = [
    "            a = Z(0.0)",
    "            b = Z(0.0)",
    "            e = Z(0.0)",
    "            f = Z(0.0)",
    "            if v >= Z(-1.0) and v <= Z(x_2) and u >= Z(-1.0) and u <= Z(x_3):",
    "                t = most(v, Z(0.0))",
    "                s = most(u, Z(0.0))",
    "                y0 = i64(t)",
    "                x0 = i64(s)",
    "                y1 = least(y0 + 1, x_2 - 1)",
    "                x1 = least(x0 + 1, x_3 - 1)",
    "                if y0 >= x_2 - 1:",
    "                    y0 = x_2 - 1",
    "                    t = Z(y0)",
    "                if x0 >= x_3 - 1:",
    "                    x0 = x_3 - 1",
    "                    s = Z(x0)",
    "                t = t - Z(y0)",
    "                s = s - Z(x0)",
    "                a = (Z(1.0) - t) * (Z(1.0) - s) * get(source, y0 * x_3 + x0)",
    "                b = (Z(1.0) - t) * s * get(source, y0 * x_3 + x1)",
    "                e = t * (Z(1.0) - s) * get(source, y1 * x_3 + x0)",
    "                f = t * s * get(source, y1 * x_3 + x1)",
]
"""The four weighted neighbours a, b, e, f of the sample (u, v); 0 outside of the image."""


def _roi_align(params: Params) -> str:
    shift = 0.5 if params["half_pixel"] else 0.0
    ratio = int(params["sampling_ratio"])
    counts = (
        [f"gy = i64({ratio})", f"gx = i64({ratio})"]
        if ratio > 0
        else [
            "gy = i64(math.ceil(tall / Z(y_2)))",
            "gx = i64(math.ceil(wide / Z(y_3)))",
        ]
    )
    lines = [
        "r = task // y_1",
        "c = task % y_1",
        "image = most(least(i64(get(index, r)), x_0 - 1), i64(0))",
        "source = at(x, (image * x_1 + c) * x_2 * x_3)",
    ]
    scale = repr(float(params["spatial_scale"]))
    for k, name in enumerate(("left", "top", "right", "bottom")):
        lines.append(f"{name} = get(rois, r * 4 + {k}) * Z({scale}) - Z({shift})")
    lines += ["wide = right - left", "tall = bottom - top"]
    if not params["half_pixel"]:
        lines += ["wide = most(wide, Z(1.0))", "tall = most(tall, Z(1.0))"]
    lines += counts
    take = "total = total + (a + b + e + f)"
    if params["max"]:
        take = (
            "total = most(total, most(most(a, b), most(e, f))) if seen != 0 else most(most(a, b), most(e, f))"
        )
    finish = "total" if params["max"] else "total / Z(most(gx * gy, i64(1)))"
    lines += [
        "high = tall / Z(y_2)",
        "broad = wide / Z(y_3)",
        "for p in range(y_2 * y_3):",
        "    total = Z(0.0)",
        "    seen = i64(0)",
        "    for iy in range(gy):",
        "        v = top + Z(p // y_3) * high + (Z(iy) + Z(0.5)) * high / Z(gy)",
        "        for ix in range(gx):",
        "            u = left + Z(p % y_3) * broad + (Z(ix) + Z(0.5)) * broad / Z(gx)",
        *_ROI_SAMPLE,
        f"            {take}",
        "            seen = i64(1)",
        f"    put(y, task * y_2 * y_3 + p, {finish})",
    ]
    return "\n".join(lines)


def _deform_columns(params: Params) -> str:
    """Columns of a deformable convolution: y[n, p, tap, c], bilinear samples that are 0 outside of the image."""
    kh, kw = params["kernel"]
    mask = "get(mask, ((n * groups + g) * taps + tap) * x_pixels + p)" if params["mask"] else "Z(1.0)"
    return f"""
n = task // y_1
p = task % y_1
taps = i64({kh * kw})
x_pixels = y_1
groups = i64({params["offset_groups"]})
per = x_1 // groups
row = p // offset_3
column = p % offset_3
for g in range(groups):
    for tap in range(taps):
        first = ((n * groups + g) * taps + tap) * 2 * x_pixels + p
        v = Z(row * {params["strides"][0]} - {params["pads"][0]} + tap // {kw} * {params["dilations"][0]})
        u = Z(column * {params["strides"][1]} - {params["pads"][1]} + tap % {kw} * {params["dilations"][1]})
        v = v + get(offset, first)
        u = u + get(offset, first + x_pixels)
        weight = {mask}
        y0 = i64(math.floor(v))
        x0 = i64(math.floor(u))
        t = v - Z(y0)
        s = u - Z(x0)
        up = y0 >= 0 and y0 < x_2
        down = y0 >= -1 and y0 < x_2 - 1
        west = x0 >= 0 and x0 < x_3
        east = x0 >= -1 and x0 < x_3 - 1
        for k in range(per):
            c = g * per + k
            source = at(x, (n * x_1 + c) * x_2 * x_3)
            total = Z(0.0)
            if up and west:
                total += (Z(1.0) - t) * (Z(1.0) - s) * get(source, y0 * x_3 + x0)
            if up and east:
                total += (Z(1.0) - t) * s * get(source, y0 * x_3 + x0 + 1)
            if down and west:
                total += t * (Z(1.0) - s) * get(source, (y0 + 1) * x_3 + x0)
            if down and east:
                total += t * s * get(source, (y0 + 1) * x_3 + x0 + 1)
            put(y, (task * taps + tap) * x_1 + c, total * weight)
"""


def _grid_sample(params: Params) -> str:
    """Samples of [N, C, d0, d1, d2] (leading spatial dims of extent 1 left out) at ``grid`` for each output pixel."""
    rank, mode, padding = params["rank"], params["mode"], params["padding"]
    taps = {"nearest": 1, "linear": 2, "cubic": 4}[mode]
    lines = ["n = task // y_2", "p = task % y_2"]
    for i in range(rank):
        extent = f"x_{2 + i}"
        lines.append(f"g = get(grid, (n * y_2 + p) * {rank} + {rank - 1 - i})")
        if params["align"]:
            lines += [
                f"v = (g + Z(1.0)) / Z(2.0) * Z({extent} - 1)",
                "low = Z(0.0)",
                f"high = Z({extent} - 1)",
            ]
        else:
            lines += [f"v = ((g + Z(1.0)) * Z({extent}) - Z(1.0)) / Z(2.0)", "low = Z(-0.5)"]
            lines.append(f"high = Z({extent}) - Z(0.5)")
        if mode == "nearest":
            lines.append("v = Z(near(v))")
        if padding == "border":
            lines.append(f"v = least(most(v, Z(0.0)), Z({extent} - 1)) if (v < low or v > high) else v")
        elif padding == "reflection":
            lines.append("v = Z(reflect(v, low, high))")
        lines.append("f = i64(v)" if mode == "nearest" else "f = i64(math.floor(v))")
        lines.append("t = v - Z(f)")
        for k, weight in enumerate(_weights(mode)):
            lines += [f"w{i}_{k} = {weight}", f"j = f + {k - (1 if mode == 'cubic' else 0)}"]
            if padding == "zeros":
                lines.append(f"j{i}_{k} = j if j >= 0 and j < {extent} else i64(-1)")
            elif padding == "border":
                lines.append(f"j{i}_{k} = least(most(j, i64(0)), {extent} - 1)")
            else:
                lines.append("j = i64(reflect(Z(j), low, high))")
                lines.append(f"j{i}_{k} = least(most(j, i64(0)), {extent} - 1)")
    size = " * ".join(f"x_{2 + i}" for i in range(rank))
    lines += ["for c in range(x_1):", f"    source = at(x, (n * x_1 + c) * {size})", "    total = Z(0.0)"]
    for chosen in itertools.product(range(taps), repeat=rank):
        place = f"j0_{chosen[0]}"
        for i in range(1, rank):
            place = f"({place}) * x_{2 + i} + j{i}_{chosen[i]}"
        inside = " and ".join(f"j{i}_{k} >= 0" for i, k in enumerate(chosen))
        weight = " * ".join(f"w{i}_{k}" for i, k in enumerate(chosen))
        lines.append(f"    if {inside}:")
        lines.append(f"        total += {weight} * get(source, {place})")
    lines.append("    put(y, (n * y_1 + c) * y_2 + p, total)")
    return "\n".join(lines)


def _pad_places(params: Params) -> str:
    """Which element of a dim stands at place ``task`` of the padded dim, however far the pads reach."""
    lines = ["n = get(sizes, 0)", f"p = task - {int(params['before'])}"]
    if params["mode"] == "wrap":
        return "\n".join([*lines, "put(y, task, p % n if n > 0 else i64(0))"])
    lines += [
        "period = most(2 * (n - 1), i64(1))",
        "p = p % period",
        "put(y, task, p if p < n else period - p)",
    ]
    return "\n".join(lines)


def _weights(mode: str) -> list[str]:
    """Weight of each tap for the part ``t`` behind the first one; cubic convolution with a = -0.75 (Keys 1981)."""
    if mode == "nearest":
        return ["Z(1.0)"]
    if mode == "linear":
        return ["Z(1.0) - t", "t"]
    outer = "((Z(-0.75) * {0} + Z(3.75)) * {0} - Z(6.0)) * {0} + Z(3.0)"
    inner = "(Z(1.25) * {0} - Z(2.25)) * {0} * {0} + Z(1.0)"
    return [
        outer.format("(t + Z(1.0))"),
        inner.format("t"),
        inner.format("(Z(1.0) - t)"),
        outer.format("(Z(2.0) - t)"),
    ]


KINDS: dict[str, Kind] = {
    "reverse_sequence": Kind(
        (("y", 3, ""),), (("x", 3, ""), ("lens", 1, "int64")), 2, _reverse_sequence, ("batch_first",),
        floating=False,
    ),
    "det": Kind((("y", 1, ""), ("w", 3, "")), (("x", 3, ""),), 1, _det),
    "max_pool": Kind(
        (("y", 4, ""), ("z", 4, "int64")), (("x", 4, ""),), 1, _max_pool, ("column_major",),
        (("kernel", 3), ("strides", 3), ("dilations", 3), ("pads", 3)), floating=False,
    ),
    "roi_align": Kind(
        (("y", 4, ""),), (("x", 4, ""), ("rois", 2, ""), ("index", 1, "int64")), 2, _roi_align,
        ("half_pixel", "max"), (), ("sampling_ratio", "spatial_scale"),
    ),
    "deform_columns": Kind(
        (("y", 4, ""),), (("x", 4, ""), ("offset", 4, ""), ("mask", 4, "")), 2, _deform_columns, ("mask",),
        (("kernel", 2), ("strides", 2), ("dilations", 2), ("pads", 2)), ("offset_groups",),
    ),
    "grid_sample": Kind(
        (("y", 3, ""),), (("x", 5, ""), ("grid", 3, "")), 0, _grid_sample, ("align",), (), ("rank",),
        (("mode", ("nearest", "linear", "cubic")), ("padding", ("zeros", "border", "reflection"))),
    ),
    "pad_places": Kind(
        (("y", 1, "int64"),), (("sizes", 1, "int64"),), 1, _pad_places, (), (), ("before",),
        (("mode", ("reflect", "wrap")),), floating=False,
    ),
    "resize_taps": Kind(
        (("y", 2, ""), ("z", 2, "int64")), (("sizes", 1, "int64"),), 2, resize_taps, ("exclude_outside",), (),
        ("scale", "cubic_a"), (("mode", tuple(TAPS)), ("place", tuple(PLACES)), ("rounding", tuple(ROUNDINGS))),
    ),
}  # fmt: skip
"""All kinds by name. ``grid_sample`` has its own number of tasks: one for each output pixel (irregular.py)."""
