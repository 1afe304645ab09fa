"""Family ``reduce``: fold dims of an expression's value away.

Params: ``expr`` over inputs (its dtype is the input's), ``access`` (kinds along the innermost dim of the walk),
``kind`` (sum, mean, prod, max, min, sumsq, l1, l2, logsum), ``axes`` (reduced dims of input 0),
``inner`` (``reduced`` or ``kept``: what the innermost dim of the walk is), ``order`` (the walk, outermost first),
``kept`` and ``folded`` (outer loops over kept and reduced dims), ``dtype`` of the result, ``cost``.

Inputs broadcast to the shape of the walk, which is that of input ``full``. The output has the kept dims only, in
any strides. Where the innermost dim is reduced, lanes are folded at the end of each row; where it is kept, lanes
are neighbouring results. Sums run in several accumulators, so their error grows with the row length / lanes.
An empty reduction gives the identity (0, 1, inf, -inf); mean gives NaN.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

from accelc.errors import ArtifactError, CallError
from accelc.targets.numba_cpu.isa import Isa
from accelc.targets.numba_cpu.kernels.base import Address, Binding, Family, KernelSource, Params, Tensor
from accelc.targets.numba_cpu.kernels.row_operands import VECTOR_HELPERS, Operands
from accelc.targets.numba_cpu.kernels.rows import Rows, broadcast_strides, check_dims, coalesce, product
from accelc.targets.numba_cpu.kernels.text import (
    FLOATS,
    POINTERS,
    SHORT,
    check_dtype,
    check_int,
    check_name,
    helpers,
    scalar_store,
)

KINDS = ("sum", "mean", "prod", "max", "min", "sumsq", "l1", "l2", "logsum")
MAX_RANK = 16
_HEAD = 7


@dataclass(frozen=True)
class Fold:
    """How one kind accumulates: start value, how an element joins, how two accumulators join."""

    start: str
    vector: str
    scalar: str
    join: str
    lanes: str


def fold_of(kind: str, dtype: str) -> Fold:
    """The fold of a kind; ``{a}`` is the accumulator, ``{x}`` the element."""
    if kind == "max" or kind == "min":
        lowest = ("-math.inf" if kind == "max" else "math.inf") if dtype in FLOATS else _extreme(kind, dtype)
        scalar = f"{kind}_nan({{a}}, {{x}})"
        return Fold(lowest, f"v{kind}({{a}}, {{x}})", scalar, f"v{kind}({{a}}, {{x}})", f"vh{kind}({{a}})")
    if kind == "prod":
        return Fold("1", "vmul({a}, {x})", "{a} * {x}", "vmul({a}, {x})", "vprod({a})")
    if kind in ("sumsq", "l2"):
        return Fold("0", "vfma({x}, {x}, {a})", "{a} + {x} * {x}", "vadd({a}, {x})", "vsum({a})")
    if kind == "l1":
        absolute = "{a} + ({x} if {x} > 0 else -{x})" if dtype not in FLOATS else "{a} + math.fabs({x})"
        return Fold("0", "vadd({a}, vabs({x}))", absolute, "vadd({a}, {x})", "vsum({a})")
    return Fold("0", "vadd({a}, {x})", "{a} + {x}", "vadd({a}, {x})", "vsum({a})")


def _extreme(kind: str, dtype: str) -> str:
    if dtype == "bool":
        return "0" if kind == "max" else "1"
    bits = int(dtype.lstrip("uint"))
    low, high = (0, 2**bits - 1) if dtype.startswith("u") else (-(2 ** (bits - 1)), 2 ** (bits - 1) - 1)
    return str(low if kind == "max" else high)


def finish(kind: str, value: str, count: str, dtype: str) -> str:
    """Text that makes the result of the accumulated scalar ``value``."""
    if kind == "mean":
        return (
            f"{value} / {SHORT[dtype]}({count})"
            if dtype in FLOATS
            else f"truncated_div(i64({value}), {count})"
        )
    if kind == "l2":
        return f"math.sqrt({value})"
    if kind == "logsum":
        return f"math.log({value})"
    return value


class Reduce(Family):
    """y[kept] = fold over the reduced dims of expr(x0, x1, ...)."""

    name: ClassVar[str] = "reduce"

    def check(self, params: Params) -> None:
        """See Family."""
        operands = Operands.check(params)
        check_name(params, "kind", KINDS)
        check_name(params, "inner", ("reduced", "kept"))
        dtype = check_dtype(params.get("dtype"))
        if dtype == "bool" and params["kind"] not in ("max", "min"):
            raise ArtifactError("malformed kernel parameters", why="only max and min reduce bool")
        if dtype != operands.expr.dtype:
            raise ArtifactError("malformed kernel parameters", why="a reduction keeps its dtype")
        if params["kind"] in ("l2", "logsum") and dtype not in FLOATS:
            raise ArtifactError("malformed kernel parameters", why=f"{params['kind']} takes floats")
        for key in ("kept", "folded"):
            check_int(params, key, 1, MAX_RANK)
        check_int(params, "full", 0, 64)
        check_int(params, "cost", 0, 1 << 20)
        check_dims(params, "order")
        check_dims(params, "axes")

    def source(self, params: Params, isa: Isa) -> KernelSource:
        """See Family."""
        text = _Text(params, isa).kernel()
        used_helpers = VECTOR_HELPERS if "vload_any" in text else ""
        return KernelSource("reduce", f"{helpers(text)}{used_helpers}\n{text}")

    def bind(
        self, params: Params, inputs: Sequence[Tensor | None], outputs: Sequence[Tensor], isa: Isa
    ) -> Binding:
        """See Family."""
        operands = Operands.read(params)
        full, y = inputs[params["full"]], outputs[0]
        if full is None or y.size == 0:
            return Binding([], 0)
        axes = set(params["axes"])
        used = [inputs[k] for k in operands.used]
        walked = [broadcast_strides(x, full.shape) for x in used if x is not None]
        out = _output_strides(full.shape, y, axes)
        kept = [dim for dim in params["order"] if dim not in axes]
        folded = [dim for dim in params["order"] if dim in axes]
        count = 1
        for dim in folded:
            count *= full.shape[dim]
        if count == 0:
            # Nothing to read: every result is the identity.
            walked = [[0] * len(full.shape) for _ in walked]
        kept_extents, kept_columns = coalesce(
            [full.shape[dim] for dim in kept], [[s[dim] for dim in kept] for s in (out, *walked)]
        )
        folded_extents, folded_columns = coalesce(
            [full.shape[dim] for dim in folded], [[s[dim] for dim in folded] for s in walked]
        )
        kinds = [operands.access[k] for k in operands.used]
        n, inner, y_step = 1, (1,) * len(kinds), 0
        source = (
            (folded_extents, folded_columns) if params["inner"] == "reduced" else (kept_extents, kept_columns)
        )
        skip = 0 if params["inner"] == "reduced" else 1
        if source[0] and all(_fits(k, s) for k, s in zip(kinds, source[1][-1][skip:], strict=True)):
            n = source[0].pop()
            column = source[1].pop()
            inner, y_step = column[skip:], column[0] if skip else 0
        kept_rows, folded_rows = _kept_rows(operands, params), _folded_rows(operands, params)
        rows = product(kept_extents)
        steps = product(folded_extents)
        per_row = max(1, count if params["inner"] == "reduced" else count * n)
        rows_per_task = max(1, min(rows, 4096 // per_row))
        chunk = max(1, n)
        if params["inner"] == "kept" and per_row > 8192 and n >= 128:
            chunk = max(64, 8192 // max(1, count) // 64 * 64)
        chunks = max(1, -(-n // chunk))
        if chunks > 1:
            rows_per_task = 1
        words: list[int | Address] = [n, chunk, chunks, rows_per_task, rows, steps, count]
        words += kept_rows.words(kept_extents, kept_columns)
        words += folded_rows.words(folded_extents, folded_columns)
        words += [y.address(), y_step, *(x.address() for x in used if x is not None), *inner]
        return Binding(words, -(-rows // rows_per_task) * chunks, grain=4)


def _fits(kind: str, stride: int) -> bool:
    return kind == "any" or stride == (1 if kind == "unit" else 0)


def _output_strides(shape: Sequence[int], y: Tensor, axes: set[int]) -> list[int]:
    """Strides of the output along the dims of the walk; it may have kept the reduced dims or not."""
    if len(y.shape) == len(shape):
        return [0 if dim in axes else y.strides[dim] for dim in range(len(shape))]
    strides = iter(y.strides)
    if len(y.shape) != len(shape) - len(axes):
        raise CallError(
            f"reduction of {list(shape)} to {list(y.shape)} over axes {sorted(axes)}",
            fix="recompile the model",
        )
    return [0 if dim in axes else next(strides) for dim in range(len(shape))]


def _kept_rows(operands: Operands, params: Params) -> Rows:
    return Rows(params["kept"], ("y", *(f"k{name}" for name in operands.streams())), "k")


def _folded_rows(operands: Operands, params: Params) -> Rows:
    return Rows(params["folded"], operands.streams(), "f")


class _Text:
    """The text of one reduction kernel."""

    def __init__(self, params: Params, isa: Isa) -> None:
        self.operands = Operands.read(params)
        self.kind: str = params["kind"]
        self.dtype: str = params["dtype"]
        self.inner: str = params["inner"]
        self.lanes = self.operands.lanes(isa) if self.dtype in ("float32", "float64") else 0
        self.kept = _kept_rows(self.operands, params)
        self.folded = _folded_rows(self.operands, params)
        self.fold = fold_of(self.kind, self.dtype)

    def kernel(self) -> str:
        used = self.operands.used
        base = _HEAD + self.kept.word_count + self.folded.word_count
        names = ("n", "chunk", "chunks", "rows_per_task", "rows", "steps", "count")
        return "\n".join(
            [
                "def kernel(d, lo, hi, tid):",
                *(f"    {name} = get(d, {word})" for word, name in enumerate(names)),
                *self.kept.read(_HEAD, "    "),
                *self.folded.read(_HEAD + self.kept.word_count, "    "),
                f"    p_y = {POINTERS[self.dtype]}(get(d, {base}))",
                f"    t_y = get(d, {base + 1})",
                *self.operands.pointers(range(base + 2, base + 2 + len(used)), "    "),
                *(f"    t_x{k} = get(d, {base + 2 + len(used) + i})" for i, k in enumerate(used)),
                "    for task in range(lo, hi):",
                "        first = (task % chunks) * chunk",
                "        last = least(first + chunk, n)",
                "        row = (task // chunks) * rows_per_task",
                *self.kept.start("row", "        "),
                "        for _ in range(row, least(row + rows_per_task, rows)):",
                *(
                    self._reduced("            ")
                    if self.inner == "reduced"
                    else self._columns("            ")
                ),
                *self.kept.advance("            "),
                "",
            ]
        )

    def _start(self, shift: str = "") -> list[str]:
        """Offsets of the first folded row below the current kept row."""
        lines = [f"o_{stream} = o_k{stream}" for stream in self.operands.streams()]
        return lines + [f"fi{dim} = 0" for dim in range(self.folded.loops)]

    def _zero(self) -> str:
        return f"{SHORT[self.dtype] if self.dtype != 'bool' else 'u8'}({self.fold.start})"

    # ------------------------------------------------------------------ innermost dim reduced
    def _reduced(self, pad: str) -> list[str]:
        lines = [pad + line for line in self._start()]
        if not self.lanes:
            return lines + self._reduced_scalar(pad)
        width, wide = self.lanes, 4 * self.lanes
        lines += [f"{pad}a{i} = vzeron(p_y, {width})" for i in range(4)]
        lines += [f"{pad}a{i} = vlike(a{i}, {self.fold.start})" for i in range(4)]
        lines.append(f"{pad}for step in range(steps * (count > 0)):")
        body = pad + "    "
        lines += self.operands.hoisted(body, width)
        lines += [f"{body}x = 0", f"{body}while x + {wide} <= n:"]
        for i in range(4):
            more, value = self.operands.vector(f"x + {i * width}", width, body + "    ", f"m{i}_")
            lines += [*more, f"{body}    a{i} = {self.fold.vector.format(a=f'a{i}', x=value)}"]
        lines += [f"{body}    x += {wide}", f"{body}while x + {width} <= n:"]
        more, value = self.operands.vector("x", width, body + "    ", "s_")
        lines += [
            *more,
            f"{body}    a0 = {self.fold.vector.format(a='a0', x=value)}",
            f"{body}    x += {width}",
        ]
        more, value = self.operands.vector("x", width, body + "    ", "u_", count="n - x")
        joined = self.fold.vector.format(a="a1", x=value)
        lines += [
            f"{body}if x < n:",
            *more,
            f"{body}    a1 = vselect(vmask(a1, n - x), {joined}, a1)",
            *self.folded.advance(body),
            f"{pad}a0 = {self.fold.join.format(a='a0', x='a1')}",
            f"{pad}a2 = {self.fold.join.format(a='a2', x='a3')}",
            f"{pad}a0 = {self.fold.join.format(a='a0', x='a2')}",
            f"{pad}r = {self.fold.lanes.format(a='a0')}",
            f"{pad}put(p_y, o_y, {finish(self.kind, 'r', 'count', self.dtype)})",
        ]
        return lines

    def _reduced_scalar(self, pad: str) -> list[str]:
        body = pad + "    "
        more, value = self.operands.scalar("x", body + "    ", "s_")
        convert = SHORT[self.dtype] if self.dtype != "bool" else "u8"
        element = f"u8({value})" if self.dtype == "bool" else value
        result = finish(self.kind, "r", "count", self.dtype)
        stored = "r != 0" if self.dtype == "bool" else f"{convert}({result})"
        return [
            f"{pad}r = {self._zero()}",
            f"{pad}for step in range(steps * (count > 0)):",
            *self.operands.hoisted_scalars(body),
            f"{body}for x in range(n):",
            *more,
            f"{body}    e = {element}",
            f"{body}    r = {convert}({self.fold.scalar.format(a='r', x='e')})",
            *self.folded.advance(body),
            f"{pad}{scalar_store(self.dtype, 'p_y', 'o_y', stored)}",
        ]

    # ------------------------------------------------------------------ innermost dim kept
    def _columns(self, pad: str) -> list[str]:
        lines = [f"{pad}x = first"]
        if self.lanes:
            for group in (4, 1):
                lines.append(f"{pad}while x + {group * self.lanes} <= last:")
                lines += self._column_block(pad + "    ", group, "")
                lines.append(f"{pad}    x += {group * self.lanes}")
            lines.append(f"{pad}if x < last:")
            return lines + self._column_block(pad + "    ", 1, "last - x")
        lines.append(f"{pad}while x < last:")
        return [*lines, *self._column_scalar(pad + "    "), f"{pad}    x += 1"]

    def _column_block(self, pad: str, group: int, count: str) -> list[str]:
        """``group`` vectors of neighbouring results; long folds go through a second accumulator every 256 rows."""
        body = pad + "        "
        lines = [pad + line for line in self._start()]
        lines += [f"{pad}b{i} = vlike(vzeron(p_y, {self.lanes}), {self.fold.start})" for i in range(group)]
        lines += [
            f"{pad}step = 0",
            f"{pad}while step < steps * (count > 0):",
            f"{pad}    stop = least(step + 256, steps)",
            *(f"{pad}    a{i} = vlike(b{i}, {self.fold.start})" for i in range(group)),
            f"{pad}    while step < stop:",
            *self.operands.hoisted(body, self.lanes),
        ]
        for i in range(group):
            more, value = self.operands.vector(
                f"x + {i * self.lanes}", self.lanes, body, f"m{i}_", count=count
            )
            lines += [*more, f"{body}a{i} = {self.fold.vector.format(a=f'a{i}', x=value)}"]
        lines += [*self.folded.advance(body), f"{body}step += 1"]
        lines += [f"{pad}    b{i} = {self.fold.join.format(a=f'b{i}', x=f'a{i}')}" for i in range(group)]
        for i in range(group):
            lines += self._store_vector(pad, f"b{i}", f"x + {i * self.lanes}", count)
        return lines

    def _store_vector(self, pad: str, value: str, at: str, count: str) -> list[str]:
        text = {
            "mean": f"vdiv({value}, vlike({value}, count))",
            "l2": f"vsqrt({value})",
            "logsum": f"vlog({value})",
        }.get(self.kind, value)
        limit = count or str(self.lanes)
        return [
            f"{pad}{value} = {text}",
            f"{pad}if t_y == 1:",
            f"{pad}    vstorem(p_y, o_y + {at}, {value}, {count})"
            if count
            else f"{pad}    vstore(p_y, o_y + {at}, {value})",
            f"{pad}else:",
            f"{pad}    for lane in range({limit}):",
            f"{pad}        put(p_y, o_y + ({at} + lane) * t_y, vlane({value}, lane))",
        ]

    def _column_scalar(self, pad: str) -> list[str]:
        body = pad + "    "
        more, value = self.operands.scalar("x", body, "s_")
        convert = SHORT[self.dtype] if self.dtype != "bool" else "u8"
        element = f"u8({value})" if self.dtype == "bool" else value
        result = finish(self.kind, "r", "count", self.dtype)
        stored = "r != 0" if self.dtype == "bool" else f"{convert}({result})"
        return [
            *(pad + line for line in self._start()),
            f"{pad}r = {self._zero()}",
            f"{pad}for step in range(steps * (count > 0)):",
            *self.operands.hoisted_scalars(body),
            *more,
            f"{body}e = {element}",
            f"{body}r = {convert}({self.fold.scalar.format(a='r', x='e')})",
            *self.folded.advance(body),
            f"{pad}{scalar_store(self.dtype, 'p_y', 'o_y + x * t_y', stored)}",
        ]
