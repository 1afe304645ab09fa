"""Kernel text of convolutions by minimal filtering; see winograd.py."""

from __future__ import annotations

from collections.abc import Sequence

from accelc.targets.numba_cpu.kernels.tiles import DTYPES, Epilogue, Tile, rows_text

INPUT: dict[int, list[list[float]]] = {
    2: [[1, 0, -1, 0], [0, 1, 1, 0], [0, -1, 1, 0], [0, 1, 0, -1]],
    4: [
        [4, 0, -5, 0, 1, 0],
        [0, -4, -4, 1, 1, 0],
        [0, 4, -4, -1, 1, 0],
        [0, -2, -1, 2, 1, 0],
        [0, 2, -1, -2, 1, 0],
        [0, 4, 0, -5, 0, 1],
    ],
}
"""The matrix that transforms image tiles, by m."""
OUTPUT: dict[int, list[list[float]]] = {
    2: [[1, 1, 1, 0], [0, 1, -1, -1]],
    4: [[1, 1, 1, 1, 1, 0], [0, 1, -1, 2, -2, 0], [0, 1, 1, 4, 4, 0], [0, 1, -1, 8, -8, 1]],
}
"""The matrix that transforms results back, by m."""

WORDS = (
    "ws", "ws_bytes", "x", "u", "y", "channels", "width", "panels", "group", "groups", "tiles", "tiles_w",
    "per_image", "block", "rows", "out_h", "out_w", "xn", "xh", "xw", "yn", "yp", "v_at", "products_at",
    "segment_at", "segment",
)  # fmt: skip
"""Words of the descriptor; the last two are the reduction's only segment. For each epilogue operand follow its
pointer, stride by image and stride by pixel."""

SEGMENT = len(WORDS) - 2


def winograd_text(tile: Tile, dtype: str, m: int, epilogue: Epilogue) -> str:
    """Text of the kernel."""
    plain = Epilogue(None, ())
    out = ['"""3x3 convolution by minimal filtering; see kernels/winograd.py."""', ""]
    for rows in tile.variants(exact=False):
        out += [*rows_text(tile, rows, plain, False), ""]
    out += [*_input_text(m, tile.lanes), "", *_output_text(m, tile, epilogue), ""]
    return "\n".join(out + _main_text(tile, dtype, m, epilogue)) + "\n"


def _combine(factors: Sequence[float], names: Sequence[str]) -> str:
    """Text of the sum of ``factors[i] * names[i]``, signs first so that a product is an FMA."""
    terms = [(factor, name) for factor, name in zip(factors, names, strict=True) if factor]
    terms.sort(key=lambda term: (term[0] != 1, abs(term[0]) != 1, term[0] < 0))
    factor, text = terms[0]
    if factor != 1:
        text = f"vmul(vlike({text}, {factor!r}), {text})"
    for factor, name in terms[1:]:
        if factor == 1:
            text = f"vadd({text}, {name})"
        elif factor == -1:
            text = f"vsub({text}, {name})"
        else:
            text = f"vfma(vlike({name}, {float(factor)!r}), {name}, {text})"
    return text


def _input_text(m: int, lanes: int) -> list[str]:
    """Helper ``input_tile``: one tile of all channels; element (i, j) goes to row ``t`` of matrix ``i * (m+2) + j``."""
    a = m + 2
    out = [
        "@inline",
        "def input_tile(p, v, channels, xh, xw, step):",
        f"    for c in range(0, channels, {lanes}):",
    ]
    for j in range(a):
        out += [f"        d{i} = vload(p, {i} * xh + {j} * xw + c)" for i in range(a)]
        out += [f"        t{i}_{j} = {_combine(INPUT[m][i], [f'd{k}' for k in range(a)])}" for i in range(a)]
    for i in range(a):
        for j in range(a):
            text = _combine(INPUT[m][j], [f"t{i}_{k}" for k in range(a)])
            out.append(f"        vstore(v, {i * a + j} * step + c, {text})")
    return out


def _output_text(m: int, tile: Tile, epilogue: Epilogue) -> list[str]:
    """Helper ``output_tile``: one vector of columns of one tile, through the epilogue into its pixels."""
    a, lanes = m + 2, tile.lanes
    out = ["@inline", f"def output_tile(s, r, step, q, high, wide, out_w, yp{epilogue.arguments}):"]
    for j in range(a):
        out += [f"    d{i} = vload(r, {i * a + j} * step)" for i in range(a)]
        out += [f"    t{i}_{j} = {_combine(OUTPUT[m][i], [f'd{k}' for k in range(a)])}" for i in range(m)]
    for i in range(m):
        for j in range(m):
            text = _combine(OUTPUT[m][j], [f"t{i}_{k}" for k in range(a)])
            out.append(f"    vstore(s, {(i * m + j) * lanes}, {text})")
    out += [
        "    for i in range(high):",
        "        for j in range(wide):",
        f"            x = vload(s, (i * {m} + j) * {lanes})",
        "            pixel = i * out_w + j",
    ]
    body, result = epilogue.lines("x", "pixel", "0", " " * 12)
    return [*out, *body, f"            vstore(q, pixel * yp, {result})"]


def _main_text(tile: Tile, dtype: str, m: int, epilogue: Epilogue) -> list[str]:
    pointer, _ = DTYPES[dtype]
    count = range(1, len(epilogue.kinds) + 1)
    out = ["def kernel(d, lo, hi, tid):"]
    out += [f"    {name} = get(d, {i})" for i, name in enumerate(WORDS[:SEGMENT])]
    for k in count:
        at = len(WORDS) + 3 * (k - 1)
        out += [f"    f{k} = get(d, {at})", f"    n{k} = get(d, {at + 1})", f"    l{k} = get(d, {at + 2})"]
    out += [
        f"    segments = at(d, {SEGMENT})",
        "    ws = ws + tid * ws_bytes",
        f"    scratch = {pointer}(ws)",
        f"    v = {pointer}(ws + v_at)",
        f"    products = {pointer}(ws + products_at)",
        "    done = -1",
        "    for task in range(lo, hi):",
        "        p0 = (task % groups) * group",
        "        p1 = p0 + group if p0 + group < panels else panels",
        "        first = task // groups * block",
        "        n = block if first + block < tiles else tiles - first",
        # Tasks of one block follow each other: their tiles are transformed once.
        "        if first != done:",
        "            done = first",
        "            for t in range(n):",
        "                image = (first + t) // per_image",
        "                rest = (first + t) % per_image",
        f"                corner = image * xn + rest // tiles_w * {m} * xh + rest % tiles_w * {m} * xw",
        f"                input_tile(at({pointer}(x), corner), at(v, t * channels), channels, xh, xw, rows * channels)",
        f"        for e in range({(m + 2) ** 2}):",
        "            for p in range(p0, p1):",
        f"                bp = at({pointer}(u), (e * panels + p) * channels * {tile.nr})",
        "                i = 0",
        "                while i < n:",
        *_product_text(tile, " " * 20),
        "                    i += k",
        *_back_text(tile, pointer, m, epilogue),
    ]
    return out


def _product_text(tile: Tile, indent: str) -> list[str]:
    """One tile of rows of one of the matrix products, its sums into ``products``."""
    mr = tile.mr
    out = [
        "k = n - i",
        f"if k > {mr + 2} or k == {mr}:",
        f"    k = {mr}",
        f"elif k > {mr}:",
        "    k = (k + 1) // 2",
        "a = at(v, (e * rows + i) * channels)",
        f"pt = at(products, ((e * group + p - p0) * rows + i) * {tile.nr})",
    ]
    variants = tile.variants(exact=False)
    for rows, below in zip(variants, [*variants[1:], 0], strict=True):
        word = "if" if rows == mr else "elif"
        out.append(f"{word} k > {below}:" if below else "else:")
        pointers = ", ".join(f"at(a, {r} * channels)" for r in range(rows))
        tail = ", 0, pt, 0" if rows == mr else ""
        out.append(f"    tile{rows}({pointers}, bp, segments, 0, 1, pt, 1{tail})")
    return [indent + line for line in out]


def _back_text(tile: Tile, pointer: str, m: int, epilogue: Epilogue) -> list[str]:
    """Transform the block's results back, tile by tile."""
    count = range(1, len(epilogue.kinds) + 1)
    out = [
        "        for t in range(n):",
        "            image = (first + t) // per_image",
        "            rest = (first + t) % per_image",
        f"            y0 = rest // tiles_w * {m}",
        f"            x0 = rest % tiles_w * {m}",
        f"            high = {m} if y0 + {m} <= out_h else out_h - y0",
        f"            wide = {m} if x0 + {m} <= out_w else out_w - x0",
        "            pixel = y0 * out_w + x0",
        f"            to = at({pointer}(y), image * yn + pixel * yp)",
        *(f"            g{k} = at({pointer}(f{k}), image * n{k} + pixel * l{k})" for k in count),
        f"            end = p1 * {tile.nr} if p1 * {tile.nr} < width else width",
        f"            for c in range(p0 * {tile.nr}, end, {tile.lanes}):",
        f"                p = c // {tile.nr}",
        f"                r = at(products, ((p - p0) * rows + t) * {tile.nr} + c - p * {tile.nr})",
    ]
    for k, kind in enumerate(epilogue.kinds, 1):
        out.append(f"                e{k} = at(g{k}, {'0' if kind == 'scalar' else 'c'})")
    args = epilogue.arguments
    out.append(
        f"                output_tile(scratch, r, group * rows * {tile.nr}, at(to, c), high, wide, out_w, yp{args})"
    )
    return out
