"""Family ``elementwise``: one expression over operands that broadcast to the output.

Params: ``expr`` (operand ``k`` is input ``k``), ``access`` (kind of each input along the output's innermost dim),
``loops`` (outer loops; 0 means that all operands are one run of elements), ``cost`` (flops per element, sizes tasks).
The output is walked in its own memory order; it may take over the memory of a ``unit`` input of its item size.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar

from accelc.errors import CallError
from accelc.targets.numba_cpu.isa import Isa
from accelc.targets.numba_cpu.kernels.base import (
    Address,
    Binding,
    Family,
    KernelSource,
    Params,
    Tensor,
    grain_of,
)
from accelc.targets.numba_cpu.kernels.row_operands import VECTOR_HELPERS, Operands
from accelc.targets.numba_cpu.kernels.rows import Rows, broadcast_strides, coalesce, physical_order
from accelc.targets.numba_cpu.kernels.text import POINTERS, check_int, helpers, scalar_store

MAX_LOOPS = 16
_HEAD = 5


class Elementwise(Family):
    """out[i] = expr(x0[i], x1[i], ...) with NumPy broadcasting. Any dtypes; vectors for float32 and float64."""

    name: ClassVar[str] = "elementwise"

    def check(self, params: Params) -> None:
        """See Family."""
        Operands.check(params)
        check_int(params, "loops", 0, MAX_LOOPS)
        check_int(params, "cost", 0, 1 << 20)

    def source(self, params: Params, isa: Isa) -> KernelSource:
        """See Family."""
        operands = Operands.read(params)
        rows = _rows(operands, params["loops"])
        lanes = operands.lanes(isa)
        used = operands.used
        addresses = _HEAD + rows.word_count
        lines = [
            "def kernel(d, lo, hi, tid):",
            "    n = get(d, 0)",
            "    chunk = get(d, 1)",
            "    chunks = get(d, 2)",
            "    rows_per_task = get(d, 3)",
            "    rows = get(d, 4)",
            *rows.read(_HEAD, "    "),
            f"    p_y = {POINTERS[operands.expr.dtype]}(get(d, {addresses}))",
            *operands.pointers(range(addresses + 1, addresses + 1 + len(used)), "    "),
        ]
        strides = addresses + 1 + len(used)
        lines += [f"    t_x{k} = get(d, {strides + i})" for i, k in enumerate(used)]
        body = _vector_row if lanes else _scalar_row
        if rows.loops == 0:
            lines += [f"    o_{stream} = 0" for stream in rows.streams]
            lines += [
                "    first = lo * chunk",
                "    last = least(hi * chunk, n)",
                *body(operands, lanes, "    "),
            ]
        else:
            lines += [
                "    for task in range(lo, hi):",
                "        first = (task % chunks) * chunk",
                "        last = least(first + chunk, n)",
                "        row = (task // chunks) * rows_per_task",
                *rows.start("row", "        "),
                "        for _ in range(row, least(row + rows_per_task, rows)):",
                *body(operands, lanes, "            "),
                *rows.advance("            "),
            ]
        text = "\n".join(lines) + "\n"
        used_helpers = VECTOR_HELPERS if "vload_any" in text else ""
        return KernelSource("elementwise", f"{helpers(text)}{used_helpers}\n{text}")

    def bind(
        self, params: Params, inputs: Sequence[Tensor | None], outputs: Sequence[Tensor], isa: Isa
    ) -> Binding:
        """See Family."""
        operands = Operands.read(params)
        output = outputs[0]
        if output.size == 0:
            return Binding([], 0)
        used = [_present(inputs, k) for k in operands.used]
        order = physical_order(output)
        extents = [output.shape[dim] for dim in order]
        strides = [[output.strides[dim] for dim in order]]
        for operand in used:
            walked = broadcast_strides(operand, output.shape)
            strides.append([walked[dim] for dim in order])
        merged, columns = coalesce(extents, strides)
        kinds = ["unit", *(operands.access[k] for k in operands.used)]
        if merged and all(_fits(kind, step) for kind, step in zip(kinds, columns[-1], strict=True)):
            n, inner = merged.pop(), columns.pop()
        else:
            n, inner = 1, (1,) * len(kinds)
        rows = _rows(operands, params["loops"])
        row_count = 1
        for extent in merged:
            row_count *= extent
        chunk = min(n, 4096 if params["cost"] < 8 else 2048)
        chunks = -(-n // chunk)
        rows_per_task = max(1, 4096 // chunk) if chunks == 1 else 1
        words: list[int | Address] = [n, chunk, chunks, rows_per_task, row_count]
        words += rows.words(merged, columns)
        words += [output.address(), *(operand.address() for operand in used), *inner[1:]]
        # An element costs its way through the caches, then its arithmetic: 0.1 ns for a sum, 1 ns for a Gelu.
        task_ns = chunk * rows_per_task * (0.05 * len(kinds) + 0.03 * params["cost"])
        return Binding(words, -(-row_count // rows_per_task) * chunks, grain_of(task_ns))


def _rows(operands: Operands, loops: int) -> Rows:
    return Rows(loops, ("y", *operands.streams()))


def _present(inputs: Sequence[Tensor | None], k: int) -> Tensor:
    operand = inputs[k] if k < len(inputs) else None
    if operand is None:
        raise CallError(f"operand {k} of an elementwise kernel is missing", fix="recompile the model")
    return operand


def _fits(kind: str, stride: int) -> bool:
    """Whether the text for an access kind may walk this stride."""
    return kind == "any" or stride == (1 if kind == "unit" else 0)


def _vector_row(operands: Operands, lanes: int, indent: str) -> list[str]:
    inner = indent + "    "
    main, result = operands.vector("x", lanes, inner, "a")
    tail, tail_result = operands.vector("x", lanes, inner, "b", count="last - x")
    stored = "vcast_u8({})" if operands.expr.dtype == "bool" else "{}"
    return [
        *operands.hoisted(indent, lanes),
        f"{indent}x = first",
        f"{indent}while x + {lanes} <= last:",
        *main,
        f"{inner}vstore(p_y, o_y + x, {stored.format(result)})",
        f"{inner}x += {lanes}",
        f"{indent}if x < last:",
        *tail,
        f"{inner}vstorem(p_y, o_y + x, {stored.format(tail_result)}, last - x)",
    ]


def _scalar_row(operands: Operands, lanes: int, indent: str) -> list[str]:
    inner = indent + "    "
    lines, result = operands.scalar("x", inner, "a")
    return [
        *operands.hoisted_scalars(indent),
        f"{indent}for x in range(first, last):",
        *lines,
        f"{inner}{scalar_store(operands.expr.dtype, 'p_y', 'o_y + x', result)}",
    ]
