"""Kernel text of matrix products and convolutions, and the descriptor both use.

A task is a block of rows times a group of panels of one batch item. For each block of the reduction (so that a
panel's part of it stays in the L1 cache) and each panel, tiles run down the rows; sums between reduction blocks
are kept in the workspace, never in ``C``, so that an epilogue operand may share ``C``'s memory.
"""

from __future__ import annotations

from accelc.targets.numba_cpu.kernels.base import WORKSPACE, Address, Binding, Tensor
from accelc.targets.numba_cpu.kernels.schedule import Schedule
from accelc.targets.numba_cpu.kernels.tiles import (
    DTYPES,
    Epilogue,
    Tile,
    dispatch_text,
    finish_text,
    rows_text,
)

STRIDED, COLUMNS, PIXELS = "strided", "columns", "pixels"
"""A: rows of adjacent elements at a fixed stride; adjacent rows (A is transposed); or rows that are the output
pixels of a convolution."""
PACKED, ROWS, ANY = "packed", "rows", "any"
"""B: in panels already; to be packed by the task from unit-stride rows, or from any strides."""

WORDS = (
    "ws", "ws_bytes", "a", "b", "c", "height", "width", "panels", "ks", "row_at", "ldc", "mc", "row_blocks", "group",
    "groups", "nbatch", "batch_at", "nblocks", "blocks_at", "segments_at", "panel_size", "keep", "part_at",
    "pack_at", "bk", "bn",
)  # fmt: skip
"""The fixed words of the descriptor. Pointer and row stride of each epilogue operand follow, then the tables:
batch dims (extent, strides of a, b, c and the operands), reduction blocks (first and last segment, depth before
them), segments (offset, length), and where rows are pixels the extents and strides of the output's pixels."""


def kernel_text(tile: Tile, dtype: str, rows: str, b: str, epilogue: Epilogue) -> str:
    """Text of the kernel for a tile, dtype, row kind, panel kind and epilogue."""
    out = ['"""Matrix product in register tiles; see kernels/gemm_text.py."""', ""]
    for m in tile.variants(rows == COLUMNS):
        out += [*rows_text(tile, m, epilogue, rows == COLUMNS), ""]
    out += [*finish_text(tile, epilogue), ""]
    if rows == PIXELS:
        out += [_PIXELS]
    if b != PACKED:
        out += _pack_text(tile, b)
    return "\n".join(out + _main_text(tile, dtype, rows, b, epilogue)) + "\n"


def _main_text(tile: Tile, dtype: str, rows: str, b: str, epilogue: Epilogue) -> list[str]:
    pointer, _ = DTYPES[dtype]
    operands = range(1, len(epilogue.kinds) + 1)
    out = ["def kernel(d, lo, hi, tid):"]
    skip = {"bk", "bn", "pack_at"} if b == PACKED else {"panel_size"}
    out += [f"    {name} = get(d, {i})" for i, name in enumerate(WORDS) if name not in skip]
    for k in operands:
        out += [
            f"    f{k} = get(d, {len(WORDS) + 2 * k - 2})",
            f"    l{k} = get(d, {len(WORDS) + 2 * k - 1})",
        ]
    out += [
        "    ws = ws + tid * ws_bytes",
        "    rows = ptr_i64(ws)",
        f"    part = {pointer}(ws + part_at)",
        "    segments = at(d, segments_at)",
        "    for task in range(lo, hi):",
        "        column_block = task % groups",
        "        rest = task // groups",
        "        row0 = (rest % row_blocks) * mc",
        "        rest = rest // row_blocks",
        "        nrows = height - row0",
        "        if nrows > mc:",
        "            nrows = mc",
        f"        pa = {pointer}(a)",
        f"        pb = {pointer}(b)",
        f"        pc0 = {pointer}(c)",
        *(f"        g{k} = {pointer}(f{k})" for k in operands),
        "        for t in range(nbatch):",
        f"            w = at(d, batch_at + t * {4 + len(operands)})",
        "            extent = get(w, 0)",
        "            index = rest % extent",
        "            rest = rest // extent",
        "            pa = at(pa, index * get(w, 1))",
        "            pb = at(pb, index * get(w, 2))",
        "            pc0 = at(pc0, index * get(w, 3))",
        *(f"            g{k} = at(g{k}, index * get(w, {3 + k}))" for k in operands),
    ]
    if rows == PIXELS:
        out += ["        pixel_offsets(rows, at(d, row_at), row0, nrows)"]
    else:
        out += ["        for i in range(nrows):", "            put(rows, i, (row0 + i) * row_at)"]
    out += [
        "        for i in range(nrows, mc):",
        "            put(rows, i, get(rows, nrows - 1))",
    ]
    return out + _loops_text(tile, pointer, b, epilogue, rows == COLUMNS)


def _loops_text(tile: Tile, pointer: str, b: str, epilogue: Epilogue, columns: bool) -> list[str]:
    """Loops over reduction blocks, panels and tiles of one task."""
    mr, nr = tile.mr, tile.nr
    operands = range(1, len(epilogue.kinds) + 1)
    out = [
        "        first_panel = column_block * group",
        "        last_panel = first_panel + group if first_panel + group < panels else panels",
        "        for kb in range(nblocks):",
        "            w = at(d, blocks_at + 3 * kb)",
        "            s0 = get(w, 0)",
        "            s1 = get(w, 1)",
        "            k0 = get(w, 2)",
        "            first = 1 if kb == 0 else 0",
        "            last = 1 if kb == nblocks - 1 else 0",
        "            depth = get(w, 5) - k0",
    ]
    if b != PACKED:
        out += [
            f"            packed = {pointer}(ws + pack_at)",
            f"            span = (last_panel - first_panel) * {nr}",
            f"            if first_panel * {nr} + span > width:",
            f"                span = width - first_panel * {nr}",
            f"            pack(packed, at(pb, k0 * bk + first_panel * {nr} * bn), depth, bk, bn, span)",
        ]
        panel = f"at(packed, (p - first_panel) * depth * {nr})"
    else:
        panel = f"at(pb, p * panel_size + k0 * {nr})"
    direct = f"1 if last == 1 and cols == {nr} and m == {mr} else 0" if epilogue.cheap else "0"
    out += [
        "            for p in range(first_panel, last_panel):",
        f"                cols = {nr} if p * {nr} + {nr} <= width else width - p * {nr}",
        f"                bp = {panel}",
        "                i = 0",
        *(_ahead_text(tile, 4 if pointer == "ptr_f32" else 8) if b == PACKED else []),
        "                while i < nrows:",
        *(_PREFETCH if b == PACKED else []),
        "                    m = nrows - i",
        # One or two rows leave the FMA units idle: share the last rows out evenly between two tiles.
        f"                    if m > {mr + 2} or m == {mr}:",
        f"                        m = {mr}",
        f"                    elif m > {mr}:",
        "                        m = (m + 1) // 2",
        f"                    direct = {direct}",
        f"                    pt = at(part, keep * ((p - first_panel) * mc + i) * {nr})",
        f"                    pc = at(pc0, (row0 + i) * ldc + p * {nr})",
    ]
    for k in operands:
        column = "" if epilogue.kinds[k - 1] == "scalar" else f" + p * {nr}"
        out += [f"                    e{k} = at(g{k}, (row0 + i) * l{k}{column})"]
    out += dispatch_text(tile, epilogue, columns, " " * 20)
    out += [
        "                    if last == 1 and direct == 0:",
        f"                        finish(pt, m, cols, pc, ldc{epilogue.arguments})",
        "                    i += m",
    ]
    return out


def _ahead_text(tile: Tile, size: int) -> list[str]:
    """What to prefetch while a panel is at work: the part of B that comes next, a share of it for each tile.

    The hardware's prefetcher starts anew at every jump: where weights are in no cache, as between two runs of a
    BERT, this gives 4 to 8 % (Zen 3).
    """
    step = tile.nr * size
    return [
        "                if p + 1 < last_panel:",
        "                    ahead = addr(bp) + panel_size * " + str(size),
        "                elif last == 0:",
        f"                    ahead = addr(pb) + (first_panel * panel_size + (k0 + depth) * {tile.nr}) * {size}",
        "                else:",
        f"                    ahead = addr(pb) + last_panel * panel_size * {size}",
        f"                share = depth * {step} * {tile.mr} // nrows",
        # With few tiles the panel itself is streamed, and the next part would only be in its way.
        f"                share = share + 64 if nrows > {4 * tile.mr} else 0",
    ]


_PREFETCH = [
    "                    for line in range(ahead, ahead + share, 64):",
    "                        pf(ptr_u8(line), 0)",
    "                    ahead += share",
]


def _pack_text(tile: Tile, b: str) -> list[str]:
    """Helper ``pack``: ``cols`` columns of B from ``depth`` rows on, into panels."""
    lanes, nr = tile.lanes, tile.nr
    out = [
        "@inline",
        "def pack(to, b, depth, bk, bn, cols):",
        f"    for j in range(0, cols, {lanes}):",
        f"        q = at(to, (j // {nr}) * depth * {nr} + j % {nr})",
        "        n = cols - j",
        f"        if n >= {lanes}:",
        "            for k in range(depth):",
    ]
    load = "vload(b, k * bk + j)" if b == ROWS else "vloads(b, k * bk + j * bn, bn)"
    out += [
        f"                vstore(q, k * {nr}, {load})",
        "        else:",
        "            for k in range(depth):",
    ]
    if b == ROWS:
        out += [f"                vstore(q, k * {nr}, vloadm(b, k * bk + j, n))"]
    else:
        out += [
            f"                vstore(q, k * {nr}, vzero(b))",
            "                for t in range(n):",
            f"                    put(q, k * {nr} + t, get(b, k * bk + (j + t) * bn))",
        ]
    return [*out, ""]


_PIXELS = '''
@inline
def pixel_offsets(rows, w, row0, nrows):
    """Offsets of the input windows of output pixels row0.. (pixels of all images, row-major)."""
    od = get(w, 0)
    oh = get(w, 1)
    ow = get(w, 2)
    x = row0 % ow
    rest = row0 // ow
    y = rest % oh
    rest = rest // oh
    z = rest % od
    image = rest // od
    for i in range(nrows):
        put(rows, i, image * get(w, 3) + z * get(w, 4) + y * get(w, 5) + x * get(w, 6))
        x += 1
        if x == ow:
            x = 0
            y += 1
            if y == oh:
                y = 0
                z += 1
                if z == od:
                    z = 0
                    image += 1
'''


def bind_product(
    tile: Tile,
    schedule: Schedule,
    *,
    a: Tensor,
    b: Tensor,
    c: Tensor,
    operands: list[tuple[Tensor, int]],
    words: dict[str, int],
    batch: list[list[int]],
    segments: list[tuple[int, int]],
    pixels: list[int] | None = None,
    packs: bool = False,
) -> Binding:
    """The descriptor of one product.

    Args:
        tile: Register tile of the kernel.
        schedule: Blocks and tasks.
        a: Left operand; the address of its first element is used.
        b: Right operand, or its panels.
        c: Result.
        operands: Epilogue operands with their row strides.
        words: The words height, width, ks, row_at, ldc, panel_size, bk, bn as far as the kernel reads them.
        batch: Outer dims: extent, then strides of a, b, c and the operands; innermost first.
        segments: Offset and length of each segment of the reduction.
        pixels: Extents and strides of pixels (rows are pixels).
        packs: Whether tasks pack their panels.
    """
    size = itemsize_of(c)
    item = schedule.group * tile.nr * size
    keep = 1 if len(schedule.blocks) > 1 else 0
    part_at = _round_up(schedule.mc * 8)
    part_bytes = schedule.mc * item if keep else tile.mr * tile.nr * size
    pack_at = part_at + _round_up(part_bytes)
    deepest = max((stop - start for _, _, start, stop in schedule.blocks), default=0)
    workspace = pack_at + (_round_up(deepest * item) if packs else 0)
    tables_at = len(WORDS) + 2 * len(operands)
    table: list[int | Address] = [word for row in batch for word in row]
    blocks_at = tables_at + len(table)
    for first, last, start, _ in schedule.blocks:
        table += [first, last, start]
    # The packing task reads where the next block starts.
    table += [len(segments), len(segments), schedule.blocks[-1][3]]
    segments_at = tables_at + len(table)
    table += [word for segment in segments for word in segment]
    pixels_at = tables_at + len(table)
    table += pixels or []
    fixed: dict[str, int | Address] = {
        "ws": Address(WORKSPACE), "ws_bytes": workspace, "a": a.address(), "b": b.address(), "c": c.address(),
        "panels": schedule.panels, "mc": schedule.mc, "row_blocks": schedule.row_blocks, "group": schedule.group,
        "groups": schedule.groups, "nbatch": len(batch), "batch_at": tables_at,
        "nblocks": len(schedule.blocks), "blocks_at": blocks_at, "segments_at": segments_at, "keep": keep,
        "part_at": part_at, "pack_at": pack_at, "row_at": pixels_at, "panel_size": 0, "ks": 1,
        "bk": 0, "bn": 0, **words,
    }  # fmt: skip
    head: list[int | Address] = [fixed[name] for name in WORDS]
    for tensor, stride in operands:
        head += [tensor.address(), stride]
    return Binding(head + table, schedule.tasks, schedule.grain, workspace)


def itemsize_of(tensor: Tensor) -> int:
    """Bytes of an element of one of these kernels' tensors."""
    return 8 if tensor.dtype == "float64" else 4


def _round_up(n: int) -> int:
    return -(-n // 64) * 64
