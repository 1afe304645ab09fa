"""Scaled dot-product attention in one kernel: softmax(q kᵀ · scale + mask) v, for one head and a block of rows.

A task packs its head's K and V into panels, computes the scores of its rows into the workspace, turns each row
into unnormalised probabilities, and multiplies by V; the division by the row's sum is done on the result. Scores
never leave the cache: a block of rows times all keys, 64 kB for 128 rows and keys.

Semantics: ONNX Attention-24, https://onnx.ai/onnx/operators/onnx__Attention.html
"""

from __future__ import annotations

import struct
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
from accelc.targets.numba_cpu.kernels.tiles import Tile, choose_tile

MASKS = ("none", "float", "bool")
ROW_BLOCK = 96
"""Rows of a task: packing K and V costs one part in that many of the products."""

WORDS = (
    "ws", "ws_bytes", "q", "k", "v", "o", "mask", "rows", "keys", "depth", "width", "blocks", "heads", "shared",
    "qb", "qh", "qs", "qd", "kb", "kh", "ks", "kd", "vb", "vh", "vs", "vd", "ob", "oh", "os",
    "mb", "mh", "ms", "kp_at", "vp_at", "sc_at", "sum_at", "part_at", "row_block", "scale_bits",
)  # fmt: skip


class Attention(Family):
    """float32 attention; params: ``mask`` (one of MASKS), ``causal`` (bool)."""

    name: ClassVar[str] = "attention"

    def source(self, params: Params, isa: Isa) -> KernelSource:
        """Literal: tile, kind of mask, causality. Extents and strides are words."""
        tile = choose_tile(isa, "float32", None)
        causal = "_causal" if params["causal"] else ""
        return KernelSource(
            f"attention_f32_{tile.mr}x{tile.nr}_{params['mask']}{causal}",
            _text(tile, params["mask"], bool(params["causal"])),
        )

    def bind(
        self, params: Params, inputs: Sequence[Tensor | None], outputs: Sequence[Tensor], isa: Isa
    ) -> Binding:
        """Operands q [B, Hq, S, D], k [B, Hkv, T, D], v [B, Hkv, T, E], mask [B|1, Hq|1, S|1, T].

        The result is [B, Hq, S, E].
        """
        q, k, v, mask = (*inputs, None)[:4]
        out = outputs[0]
        assert q is not None  # the lowering passes all three
        assert k is not None
        assert v is not None
        batch, heads, rows, depth = q.shape
        keys, width = v.shape[2], v.shape[3]
        fits = (
            k.shape == (batch, k.shape[1], keys, depth)
            and v.shape[:2] == k.shape[:2]
            and out.shape == (batch, heads, rows, width)
            and k.shape[1] > 0
            and heads % k.shape[1] == 0
        )
        if not fits:
            raise CallError(
                "attention operands do not fit together",
                why=f"q {list(q.shape)}, k {list(k.shape)}, v {list(v.shape)}, result {list(out.shape)}",
            )
        tile = choose_tile(isa, "float32", None)
        row_block = min(rows, ROW_BLOCK)
        blocks = -(-rows // max(row_block, 1))
        row_block = -(-rows // max(blocks, 1))
        kp_bytes = _round(-(-keys // tile.nr) * tile.nr * depth * 4)
        vp_bytes = _round(-(-width // tile.nr) * tile.nr * keys * 4)
        score_bytes = _round(row_block * -(-keys // tile.nr) * tile.nr * 4)
        part_bytes = _round(tile.mr * tile.nr * 4)
        workspace = kp_bytes + vp_bytes + score_bytes + _round(row_block * 4) + part_bytes
        words: dict[str, int | Address] = {
            "ws": Address(WORKSPACE), "ws_bytes": workspace,
            "q": q.address(), "k": k.address(), "v": v.address(), "o": out.address(),
            "mask": 0 if mask is None else mask.address(),
            "rows": rows, "keys": keys, "depth": depth, "width": width, "blocks": blocks, "heads": heads,
            "shared": heads // k.shape[1],
            "kp_at": 0, "vp_at": kp_bytes, "sc_at": kp_bytes + vp_bytes,
            "sum_at": kp_bytes + vp_bytes + score_bytes, "part_at": workspace - part_bytes, "row_block": row_block,
            "scale_bits": struct.unpack("<i", struct.pack("<f", params["scale"]))[0],
        }  # fmt: skip
        for letter, tensor in (("q", q), ("k", k), ("v", v)):
            words |= dict(
                zip((f"{letter}b", f"{letter}h", f"{letter}s", f"{letter}d"), tensor.strides, strict=True)
            )
        words |= dict(zip(("ob", "oh", "os"), out.strides, strict=False))
        words |= dict(zip(("mb", "mh", "ms"), _mask_strides(mask, (batch, heads, rows, keys)), strict=True))
        if out.strides[3] != 1 and width > 1 and out.size:
            raise CallError("attention writes rows of adjacent elements", why=f"strides {list(out.strides)}")
        return Binding([words[name] for name in WORDS], batch * heads * blocks if width else 0, 1, workspace)

    def check(self, params: Params) -> None:
        """See Family.check."""
        scale = params.get("scale")
        if (
            params.get("mask") not in MASKS
            or not isinstance(params.get("causal"), bool)
            or not isinstance(scale, int | float)
            or not abs(scale) < 3e38
        ):
            raise ArtifactError("attention parameters are out of range", why=repr(dict(params))[:200])


def _mask_strides(mask: Tensor | None, shape: tuple[int, int, int, int]) -> tuple[int, int, int]:
    """Strides of the outer dims of a mask, 0 where it is broadcast; its last dim is the keys, adjacent."""
    if mask is None:
        return (0, 0, 0)
    full = (1,) * (4 - len(mask.shape)) + mask.shape
    strides = (0,) * (4 - len(mask.shape)) + mask.strides
    if any(extent not in (1, wanted) for extent, wanted in zip(full, shape, strict=True)) or (
        full[3] != shape[3] or (strides[3] != 1 and full[3] > 1)
    ):
        raise CallError(
            "the attention mask does not fit", why=f"mask {list(mask.shape)}, scores {list(shape)}"
        )
    b, h, s = (0 if extent == 1 else stride for extent, stride in zip(full[:3], strides[:3], strict=True))
    return b, h, s


def _round(size: int) -> int:
    return -(-size // 64) * 64


def _text(tile: Tile, mask: str, causal: bool) -> str:
    out = ['"""Attention for one head and a block of rows; see kernels/attention.py."""', ""]
    for m in range(1, tile.mr + 1):
        out += _tile_text(tile, m)
    out += [_finish_text(tile), _PACK.format(lanes=tile.lanes, nr=tile.nr, last=tile.nr - 1)]
    out += _softmax_text(tile, mask, causal)
    return "\n".join(out + _main_text(tile, mask, causal)) + "\n"


def _tile_text(tile: Tile, m: int) -> list[str]:
    """Helper ``tile<m>``: m rows of A times one panel, stored to rows of ``c``."""
    out = ["@inline", f"def tile{m}(a0, lda, ka, b, depth, c, ldc):"]
    out += [f"    a{i} = at(a{i - 1}, lda)" for i in range(1, m)]
    out += [f"    c{i}_{j} = vzero(b)" for i in range(m) for j in range(tile.nv)]
    out += ["    for t in range(depth):", "        o = t * ka", f"        w = at(b, t * {tile.nr})"]
    out += [f"        b{j} = vload(w, {j * tile.lanes})" for j in range(tile.nv)]
    for i in range(m):
        out += [f"        x = vget(a{i}, o)"]
        out += [f"        c{i}_{j} = vfma(x, b{j}, c{i}_{j})" for j in range(tile.nv)]
    for i in range(m):
        out += [f"    vstore(c, {j * tile.lanes}, c{i}_{j})" for j in range(tile.nv)]
        out += ["    c = at(c, ldc)"] if i < m - 1 else []
    return [*out, ""]


def _finish_text(tile: Tile) -> str:
    """Helper ``finish``: a tile of sums divided by the rows' totals, its first ``cols`` columns stored."""
    return f"""
@inline
def finish(part, m, sums, o, ldo, cols):
    for i in range(m):
        y = vget(sums, i)
        for j in range(0, cols, {tile.lanes}):
            x = vdiv(vload(part, i * {tile.nr} + j), y)
            if j + {tile.lanes} <= cols:
                vstore(o, i * ldo + j, x)
            else:
                vstorem(o, i * ldo + j, x, cols - j)

"""


_PACK = '''
@inline
def pack_rows(to, v, vs, vd, keys, width):
    """V [keys, width] into panels [width / {nr}][keys][{nr}], zero-padded."""
    for p in range((width + {last}) // {nr}):
        base = at(to, p * keys * {nr})
        cols = width - p * {nr}
        if cols >= {nr} and vd == 1:
            for t in range(keys):
                for j in range(0, {nr}, {lanes}):
                    vstore(base, t * {nr} + j, vload(v, t * vs + p * {nr} + j))
        else:
            for t in range(keys):
                for j in range({nr}):
                    if j < cols:
                        put(base, t * {nr} + j, get(v, t * vs + (p * {nr} + j) * vd))
                    else:
                        put(base, t * {nr} + j, f32(0.0))


@inline
def pack_columns(to, k, ks, kd, keys, depth):
    """K [keys, depth] transposed into panels [keys / {nr}][depth][{nr}], zero-padded."""
    for p in range((keys + {last}) // {nr}):
        base = at(to, p * depth * {nr})
        for j in range({nr}):
            key = p * {nr} + j
            if key < keys:
                row = at(k, key * ks)
                for t in range(depth):
                    put(base, t * {nr} + j, get(row, t * kd))
            else:
                for t in range(depth):
                    put(base, t * {nr} + j, f32(0.0))
'''


def _softmax_text(tile: Tile, mask: str, causal: bool) -> list[str]:
    """Helper ``softmax``: one row of scores into exp(x - max), and its sum; ``n`` of ``padded`` keys are visible."""
    lanes = tile.lanes
    scaled = {
        "none": "vmul(vload(s, j), scale)",
        "float": "vfma(vload(s, j), scale, vload(mask, j))",
        "bool": "vmul(vload(s, j), scale)",
    }[mask]
    scalar = "get(s, j) * factor" + (" + get(mask, j)" if mask == "float" else "")
    out = [
        "@inline",
        "def softmax(s, mask, n, padded, factor):",
        "    scale = vset(factor)",
        f"    full = n // {lanes} * {lanes}",
        "    top = f32(-math.inf)",
        "    best = vset(top)",
        f"    for j in range(0, full, {lanes}):",
        f"        x = {scaled}",
    ]
    if mask == "bool":
        out += [
            "        vstore(s, j, x)",
            f"        for t in range(j, j + {lanes}):",
            "            if get(mask, t) == 0:",
            "                put(s, t, f32(-math.inf))",
            "        x = vload(s, j)",
        ]
    out += [
        "        best = vmax(best, x)",
        "        vstore(s, j, x)",
        "    top = vhmax(best)",
        "    for j in range(full, n):",
        f"        y = f32({scalar})",
    ]
    if mask == "bool":
        out += ["        if get(mask, j) == 0:", "            y = f32(-math.inf)"]
    return [
        *out,
        "        put(s, j, y)",
        # NaN must win: every comparison with it is false
        "        if not (y <= top):",
        "            top = y",
        # A row without a visible key gives 0 (ONNX Attention), not exp(-inf - -inf)
        "    if top == f32(-math.inf):",
        "        top = f32(0.0)",
        "    peak = vset(top)",
        "    total = vset(f32(0.0))",
        f"    for j in range(0, full, {lanes}):",
        "        e = vexp(vsub(vload(s, j), peak))",
        "        total = vadd(total, e)",
        "        vstore(s, j, e)",
        "    result = vsum(total)",
        "    if full < n:",
        "        e = vexp(vsub(vloadm(s, full, n - full), peak))",
        "        vstorem(s, full, e, n - full)",
        "        for j in range(full, n):",
        "            result += get(s, j)",
        "    for j in range(n, padded):",
        "        put(s, j, f32(0.0))",
        "    return result if result != f32(0.0) else f32(1.0)",
        "",
    ]


def _main_text(tile: Tile, mask: str, causal: bool) -> list[str]:
    nr = tile.nr
    pointer = {"none": "ptr_f32", "float": "ptr_f32", "bool": "ptr_u8"}[mask]
    out = ["", "def kernel(d, lo, hi, tid):"]
    out += [f"    {name} = get(d, {i})" for i, name in enumerate(WORDS[:-1])]
    out += [
        f"    factor = get(ptr_f32(addr(at(d, {len(WORDS) - 1}))), 0)",
        "    ws = ws + tid * ws_bytes",
        "    kp = ptr_f32(ws + kp_at)",
        "    vp = ptr_f32(ws + vp_at)",
        "    sc = ptr_f32(ws + sc_at)",
        "    sums = ptr_f32(ws + sum_at)",
        "    part = ptr_f32(ws + part_at)",
        f"    panels = (keys + {nr - 1}) // {nr}",
        f"    padded = panels * {nr}",
        "    packed = -1",
        "    for task in range(lo, hi):",
        "        block = task % blocks",
        "        head = (task // blocks) % heads",
        "        item = task // (blocks * heads)",
        "        row0 = block * row_block",
        "        count = rows - row0",
        "        if count > row_block:",
        "            count = row_block",
        "        group = item * heads + head // shared",
        # Neighbouring tasks share a head: pack once
        "        if group != packed:",
        "            packed = group",
        "            pack_columns(kp, at(ptr_f32(k), item * kb + head // shared * kh), ks, kd, keys, depth)",
        "            pack_rows(vp, at(ptr_f32(v), item * vb + head // shared * vh), vs, vd, keys, width)",
        "        pq = at(ptr_f32(q), item * qb + head * qh + row0 * qs)",
        "        po = at(ptr_f32(o), item * ob + head * oh + row0 * os)",
        f"        pm = at({pointer}(mask), item * mb + head * mh + row0 * ms)",
    ]
    return out + _rows_text(tile, causal)


def _rows_text(tile: Tile, causal: bool) -> list[str]:
    """Scores of a task's rows, their softmax, and the product with V."""
    nr, mr = tile.nr, tile.mr
    visible = "row0 + i + 1 if row0 + i + 1 < keys else keys" if causal else "keys"
    tiles = [
        "            i = 0",
        "            while i < count:",
        f"                m = count - i if count - i < {mr} else {mr}",
    ]
    arguments = (
        f"at(pq, i * qs), qs, qd, at(kp, p * depth * {nr}), depth, at(sc, i * padded + p * {nr}), padded"
    )
    out = ["        for p in range(panels):", *tiles, *_dispatch(mr, arguments)]
    out += [
        "                i += m",
        "        for i in range(count):",
        f"            n = {visible}",
        "            put(sums, i, softmax(at(sc, i * padded), at(pm, i * ms), n, padded, factor))",
        f"        for p in range((width + {nr - 1}) // {nr}):",
        *tiles,
    ]
    out += _dispatch(mr, f"at(sc, i * padded), padded, 1, at(vp, p * keys * {nr}), keys, part, {nr}")
    out += [
        f"                cols = width - p * {nr}",
        f"                if cols > {nr}:",
        f"                    cols = {nr}",
        f"                finish(part, m, at(sums, i), at(po, i * os + p * {nr}), os, cols)",
        "                i += m",
    ]
    return out


def _dispatch(mr: int, arguments: str) -> list[str]:
    """The tile for ``m`` rows."""
    out = []
    for m in range(mr, 0, -1):
        out += [
            f"                {'if' if m == mr else 'elif'} m == {m}:",
            f"                    tile{m}({arguments})",
        ]
    return out
