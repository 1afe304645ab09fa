"""The register tile of matrix products: ``mr`` rows by ``nv`` vectors of accumulators, as kernel text.

``B`` lies in *panels* ``[P][K][NR]`` (``NR = nv * lanes`` columns, zero-padded), so that a tile reads it
contiguously. Rows of ``A`` are addressed by one pointer each, and the reduction runs over *segments*: runs of
``A`` elements that start at an offset common to all rows. A matrix is one segment; a convolution has one for
each kernel row (or tap), its rows being output pixels. So one text serves both.
"""

from __future__ import annotations

from dataclasses import dataclass

from accelc.errors import ArtifactError
from accelc.targets.numba_cpu.isa import Isa
from accelc.targets.numba_cpu.kernels import expr_emit
from accelc.targets.numba_cpu.kernels.base import Params
from accelc.targets.numba_cpu.kernels.expr import Expr

DTYPES: dict[str, tuple[str, str]] = {"float32": ("ptr_f32", "f32"), "float64": ("ptr_f64", "f64")}
"""Pointer maker and element name for each dtype of these kernels."""

CHEAP_STEPS = 12
"""Epilogues of up to so many steps are repeated for each accumulator; longer ones run in a loop over the tile."""

VECTOR, SCALAR = "vector", "scalar"
KINDS = (VECTOR, SCALAR)
"""How an epilogue operand meets a row of the result: element by element, or one element for the whole row."""


@dataclass(frozen=True)
class Tile:
    """Accumulators of a micro-kernel: ``mr`` rows by ``nv`` vectors of ``lanes`` elements."""

    mr: int
    nv: int
    lanes: int

    def variants(self, exact: bool) -> list[int]:
        """Numbers of rows for which there is code, descending; unless ``exact``, others compute a row twice."""
        if exact:
            return list(range(self.mr, 0, -1))
        return sorted({self.mr, -(-2 * self.mr // 3), -(-self.mr // 3), 1}, reverse=True)

    @property
    def nr(self) -> int:
        """Columns of a panel."""
        return self.nv * self.lanes


def choose_tile(isa: Isa, dtype: str, columns: int | None) -> Tile:
    """The tile that keeps all accumulators in registers.

    Args:
        isa: Registers and vector width.
        dtype: Element type.
        columns: Columns of the product if known; few of them get a narrow tile, which wastes fewer lanes.
    """
    lanes = isa.lanes(dtype)
    registers = isa.registers
    if columns is not None and columns <= lanes:
        return Tile(8 if registers >= 16 else 4 if registers >= 8 else 2, 1, lanes)
    if registers >= 32:
        return Tile(8, 3, lanes) if columns is None or columns > 2 * lanes else Tile(12, 2, lanes)
    if registers >= 16:
        # Up to 72 columns of float32 on AVX2, where that leaves less of the last panel empty: 24, 68, 72.
        empty = [-columns % (nv * lanes) for nv in (2, 3)] if columns is not None else [0, 0]
        small = columns is not None and columns <= 9 * lanes
        return Tile(4, 3, lanes) if small and empty[1] < empty[0] else Tile(6, 2, lanes)
    return Tile(4 if registers >= 8 else 2, 1, lanes)


def tile_of(params: Params, isa: Isa) -> Tile:
    """The tile named by a call's parameters."""
    return Tile(params["mr"], params["nv"], isa.lanes(params["dtype"]))


@dataclass(frozen=True)
class Epilogue:
    """What is computed from an accumulator (operand 0) and further operands before the store."""

    expr: Expr | None
    kinds: tuple[str, ...]

    @classmethod
    def of(cls, params: Params) -> Epilogue:
        """The epilogue of a call."""
        data = params.get("epilogue")
        return cls(None if data is None else Expr.from_json(data), tuple(params.get("kinds", ())))

    @property
    def cheap(self) -> bool:
        """Whether to repeat it for every accumulator of a tile."""
        if self.expr is None:
            return True
        return len(self.expr.steps) <= CHEAP_STEPS and expr_emit.flops(self.expr) <= CHEAP_STEPS

    @property
    def arguments(self) -> str:
        """Pointer and row stride of each operand, as further arguments of a helper."""
        return "".join(f", e{k}, l{k}" for k in range(1, len(self.kinds) + 1))

    def lines(self, acc: str, row: str, column: str, indent: str, count: str = "") -> tuple[list[str], str]:
        """Statements that compute the result for one vector, and its name.

        Args:
            acc: Variable with the accumulator.
            row: Text of the row index, relative to the operand pointers.
            column: Text of the column index.
            indent: Indentation of the statements.
            count: Text of the number of valid lanes; empty if all are.
        """
        if self.expr is None or self.expr.is_identity:
            return [], acc
        out, names = [], [acc]
        for k, kind in enumerate(self.kinds, 1):
            name = f"{acc}_o{k}"
            if kind == SCALAR:
                load = f"vget(e{k}, {row} * l{k})"
            elif count:
                load = f"vloadm(e{k}, {row} * l{k} + {column}, {count})"
            else:
                load = f"vload(e{k}, {row} * l{k} + {column})"
            out.append(f"{indent}{name} = {load}")
            names.append(name)
        body, result = expr_emit.vector_lines(self.expr, names, f"{acc}_", indent)
        return out + body, result


def check_epilogue(params: Params) -> None:
    """Raise ArtifactError unless ``epilogue`` and ``kinds`` are of the right form and fit the dtype."""
    data, kinds, dtype = params.get("epilogue"), params.get("kinds", []), params.get("dtype")
    if not isinstance(kinds, list | tuple) or len(kinds) > 16 or any(kind not in KINDS for kind in kinds):
        raise ArtifactError(f"epilogue operands are {kinds!r}", why=f"each is one of {', '.join(KINDS)}")
    if data is None:
        if kinds:
            raise ArtifactError("a call has epilogue operands but no epilogue")
        return
    try:
        expr = Expr.from_json(data)
    except (KeyError, TypeError, ValueError) as error:
        raise ArtifactError("an epilogue is not an expression", why=str(error)) from error
    expr_emit.check(expr)
    if not fits(expr, str(dtype)) or expr.operands > len(kinds) + 1:
        raise ArtifactError(
            "an epilogue does not fit its kernel", why=f"all operands and the result are {dtype}"
        )


def fits(expr: Expr, dtype: str) -> bool:
    """Whether these kernels can run ``expr`` as an epilogue: vector code, operands and result of ``dtype``."""
    if expr.dtype != dtype or not expr_emit.can_vectorize(expr):
        return False
    return all(found == dtype for step, found in zip(expr.steps, expr.dtypes, strict=True) if step[0] == "in")


def rows_text(tile: Tile, m: int, epilogue: Epilogue, columns: bool) -> list[str]:
    """Helper ``tile<m>``: the product of ``m`` rows with one panel over segments ``s0..s1``.

    ``r0..`` point to the rows, whose elements are adjacent; or, with ``columns``, the rows themselves are adjacent
    and ``ks`` is the stride of an element. Other forms make LLVM spill pointers. Sums start at zero (``first``)
    or in ``part``; they end in ``part``, or, for a full tile if ``direct``, go through the epilogue into ``c``.
    """
    lanes, nr = tile.lanes, tile.nr
    cells = [(i, j) for i in range(m) for j in range(tile.nv)]
    rows = "r0, ks" if columns else ", ".join(f"r{i}" for i in range(m))
    full = m == tile.mr and epilogue.cheap
    tail = f", direct, c, ldc{epilogue.arguments}" if full else ""
    out = ["@inline", f"def tile{m}({rows}, bp, d, s0, s1, part, first{tail}):"]
    # Few accumulators: several sets of them, so that FMA latency does not bound the loop. Each set has a part of the
    # segment for itself: a panel that comes from memory is read as so many streams, whose prefetchers do not all meet
    # the end of a page at once (24 instead of 19 GB/s of one Zen 3 core).
    sets = 1 if len(cells) >= 8 else min(4, -(-8 // len(cells)))
    out += ["    if first:", *(f"        c{i}_{j} = vzero(bp)" for i, j in cells)]
    out += ["    else:", *(f"        c{i}_{j} = vload(part, {i * nr + j * lanes})" for i, j in cells)]
    for u in range(1, sets):
        out += [f"    u{u}_{i}_{j} = vzero(bp)" for i, j in cells]
    out += ["    for s in range(s0, s1):", "        o = get(d, 2 * s)", "        n = get(d, 2 * s + 1)"]
    out += [f"        q{i} = at(r{i}, o)" for i in range(1 if columns else m)]
    if sets > 1:
        out += [f"        share = n // {sets}", "        for k in range(share):"]
        for u in range(sets):
            out += _step(
                tile, m, f"(k + {u} * share)" if u else "k", f"u{u}_" if u else "c", columns, " " * 12
            )
    out += [f"        for k in range({f'{sets} * share, ' if sets > 1 else ''}n):"]
    out += _step(tile, m, "k", "c", columns, " " * 12)
    out += [f"        bp = at(bp, n * {nr})"]
    for u in range(1, sets):
        out += [f"    c{i}_{j} = vadd(c{i}_{j}, u{u}_{i}_{j})" for i, j in cells]
    store = [f"vstore(part, {i * nr + j * lanes}, c{i}_{j})" for i, j in cells]
    if not full:
        return out + [f"    {line}" for line in store]
    out += ["    if direct:"]
    for i, j in cells:
        body, result = epilogue.lines(f"c{i}_{j}", str(i), str(j * lanes), " " * 8)
        out += [*body, f"        vstore(c, {i} * ldc + {j * lanes}, {result})"]
    return [*out, "    else:", *(f"        {line}" for line in store)]


def _step(tile: Tile, m: int, k: str, prefix: str, columns: bool, indent: str) -> list[str]:
    """One step of the reduction: a row of the panel times one element of each row of A."""
    out = [f"{indent}b{j} = vload(bp, {k} * {tile.nr} + {j * tile.lanes})" for j in range(tile.nv)]
    for i in range(m):
        out.append(f"{indent}a = vget(q0, {k} * ks + {i})" if columns else f"{indent}a = vget(q{i}, {k})")
        out += [f"{indent}{prefix}{i}_{j} = vfma(a, b{j}, {prefix}{i}_{j})" for j in range(tile.nv)]
    return out


def finish_text(tile: Tile, epilogue: Epilogue) -> list[str]:
    """Helper ``finish``: a tile of sums through the epilogue into ``c``, any number of rows and columns."""
    lanes, nr = tile.lanes, tile.nr
    out = [
        "@inline",
        f"def finish(part, rows, cols, c, ldc{epilogue.arguments}):",
        "    for i in range(rows):",
        f"        for j in range(0, cols, {lanes}):",
        "            n = cols - j",
        f"            if n >= {lanes}:",
        f"                x = vload(part, i * {nr} + j)",
    ]
    body, result = epilogue.lines("x", "i", "j", " " * 16)
    out += [*body, f"                vstore(c, i * ldc + j, {result})", "            else:"]
    out += [f"                y = vload(part, i * {nr} + j)"]
    body, result = epilogue.lines("y", "i", "j", " " * 16, "n")
    return [*out, *body, f"                vstorem(c, i * ldc + j, {result}, n)"]


def dispatch_text(tile: Tile, epilogue: Epilogue, columns: bool, indent: str) -> list[str]:
    """The call of the right ``tile<m>`` for ``m`` rows whose offsets are in ``rows`` from index ``i`` on.

    ``rows`` holds a valid offset for every row of the last tile, so a variant may compute more rows than asked.
    """
    out: list[str] = []
    variants = tile.variants(columns)
    for m, below in zip(variants, [*variants[1:], 0], strict=True):
        word = "if" if m == tile.mr else "elif"
        out.append(f"{indent}{word} m > {below}:" if below else f"{indent}else:")
        rows = (
            "at(pa, get(rows, i)), ks"
            if columns
            else ", ".join(f"at(pa, get(rows, i + {r}))" for r in range(m))
        )
        tail = f", direct, pc, ldc{epilogue.arguments}" if m == tile.mr and epilogue.cheap else ""
        out.append(f"{indent}    tile{m}({rows}, bp, segments, s0, s1, pt, first{tail})")
    return out
