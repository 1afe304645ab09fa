"""What families share that work on one row at a time and write a row of the same length.

Params: ``expr`` and ``access`` (see row_operands.py; evaluated once for each element), ``order`` (the walk, outermost
first), ``span`` (how many of its last dims make a row), ``loops`` (outer loops), ``tables`` (further inputs: one
dense row of the same dtype each, the same for all rows), ``cost``, and what the family adds.
Rows of the output are dense; float32 and float64. In place: the output may take over a ``unit`` input.
"""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Sequence
from typing import ClassVar

from accelc.errors import ArtifactError, CallError
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
from accelc.targets.numba_cpu.kernels.rows import Rows, broadcast_strides, check_dims, coalesce, product
from accelc.targets.numba_cpu.kernels.text import POINTERS, check_int, helpers

_HEAD = 3
UNROLL = 4


class RowText:
    """Helps a family write the body of its kernel: loops over the row ``y`` at ``o_y``, ``n`` elements."""

    def __init__(self, operands: Operands, lanes: int) -> None:
        self.operands = operands
        self.lanes = lanes

    def first_pass(self, pad: str, each: str, tail: str) -> list[str]:
        """Evaluate the expression into the row; if it is an operand itself, only read that.

        Args:
            pad: Indentation.
            each: Statement on accumulator ``{a}`` and the vector ``{v}``.
            tail: The same for the last ``n - i`` lanes; ``{v}`` is 0 in the others.
        """
        if self.plain:
            return self.next_pass(pad, [each], [tail], from_input=True)
        lines = self.operands.hoisted(pad, self.lanes)
        wide = UNROLL * self.lanes
        lines += [f"{pad}i = 0", f"{pad}while i + {wide} <= n:"]
        for u in range(UNROLL):
            more, v = self.operands.vector(f"i + {u * self.lanes}", self.lanes, pad + "    ", f"m{u}_")
            lines += [*more, f"{pad}    vstore(p_y, o_y + i + {u * self.lanes}, {v})"]
            lines.append(f"{pad}    {each.format(a=f'a{u}', v=v)}")
        lines += [f"{pad}    i += {wide}", f"{pad}while i < n:"]
        more, v = self.operands.vector("i", self.lanes, pad + "    ", "u_", count="n - i")
        lines += [*more, f"{pad}    vstorem(p_y, o_y + i, {v}, n - i)"]
        return [*lines, f"{pad}    {tail.format(a='a0', v=v)}", f"{pad}    i += {self.lanes}"]

    @property
    def plain(self) -> bool:
        """Whether the expression is one dense operand, which later passes can read in place of a stored row."""
        return self.operands.expr.is_identity and self.operands.access[0] == "unit"

    @staticmethod
    def joined(operation: str) -> str:
        """All accumulators as one vector."""
        parts = [f"a{u}" for u in range(UNROLL)]
        while len(parts) > 1:
            parts = [f"{operation}({parts[i]}, {parts[i + 1]})" for i in range(0, len(parts), 2)]
        return parts[0]

    def next_pass(
        self, pad: str, each: Sequence[str], tail: Sequence[str], *, from_input: bool = False
    ) -> list[str]:
        """Statements over the row: ``{v}`` is the vector at ``{i}``, ``{a}`` an accumulator.

        Args:
            pad: Indentation.
            each: Statements on whole vectors.
            tail: Statements on the last ``n - i`` lanes, the others being 0.
            from_input: Read the operand of a plain expression instead of the row.
        """
        place = "p_x0, o_x0" if from_input and self.plain else "p_y, o_y"
        wide = UNROLL * self.lanes
        lines = [f"{pad}i = 0", f"{pad}while i + {wide} <= n:"]
        for u in range(UNROLL):
            at = f"i + {u * self.lanes}"
            lines.append(f"{pad}    v{u} = vload({place} + {at})")
            lines += [f"{pad}    {text.format(v=f'v{u}', a=f'a{u}', i=at)}" for text in each]
        lines += [f"{pad}    i += {wide}", f"{pad}while i < n:"]
        lines.append(f"{pad}    v0 = vloadm({place} + i, n - i)")
        lines += [f"{pad}    {text.format(v='v0', a='a0', i='i')}" for text in tail]
        return [*lines, f"{pad}    i += {self.lanes}"]

    @staticmethod
    def accumulators(pad: str, start: str) -> list[str]:
        """Accumulators of a pass."""
        return [f"{pad}a{u} = vlike(vzero(p_y), {start})" for u in range(UNROLL)]


class RowFamily(Family):
    """Base of softmax and the normalisations."""

    name: ClassVar[str]
    table_names: ClassVar[tuple[str, ...]] = ()
    element_ns: ClassVar[float] = 0.4
    """Nanoseconds that an element takes, about: its share of the passes over its row."""

    def check(self, params: Params) -> None:
        """See Family."""
        operands = Operands.check(params)
        if operands.vector_dtype() is None or operands.expr.dtype != operands.vector_dtype():
            raise ArtifactError("malformed kernel parameters", why="the expression is not of one float dtype")
        check_dims(params, "order")
        check_int(params, "span", 1, max(1, len(params["order"])))
        check_int(params, "loops", 1, 16)
        check_int(params, "cost", 0, 1 << 20)
        check_int(params, "tables", 0, len(self.table_names))

    @abstractmethod
    def body(self, params: Params, text: RowText, pad: str) -> list[str]:
        """Statements for one row: ``n`` elements, output at ``p_y``/``o_y``, tables at ``p_<name>``."""

    def source(self, params: Params, isa: Isa) -> KernelSource:
        """See Family."""
        operands = Operands.read(params)
        dtype, used, tables = operands.expr.dtype, operands.used, params["tables"]
        rows = _rows(operands, params)
        base = _HEAD + rows.word_count
        pointer = POINTERS[dtype]
        first_table = base + 1 + 2 * len(used)
        lines = [
            "def kernel(d, lo, hi, tid):",
            "    n = get(d, 0)",
            "    rows_per_task = get(d, 1)",
            "    rows = get(d, 2)",
            *rows.read(_HEAD, "    "),
            f"    p_y = {pointer}(get(d, {base}))",
            *operands.pointers(range(base + 1, base + 1 + len(used)), "    "),
            *(f"    t_x{k} = get(d, {base + 1 + len(used) + i})" for i, k in enumerate(used)),
            *(
                f"    p_{name} = {pointer}(get(d, {first_table + i}))"
                for i, name in enumerate(self.table_names[:tables])
            ),
            "    row = lo * rows_per_task",
            "    end = least(hi * rows_per_task, rows)",
            *rows.start("row", "    "),
            "    while row < end:",
            *self.body(params, RowText(operands, isa.lanes(dtype)), "        "),
            *rows.advance("        "),
            "        row += 1",
            "",
        ]
        text = "\n".join(lines)
        used_helpers = VECTOR_HELPERS if "vload_any" in text else ""
        return KernelSource(self.name, f"{helpers(text)}{used_helpers}\n{text}")

    def bind(
        self, params: Params, inputs: Sequence[Tensor | None], outputs: Sequence[Tensor], isa: Isa
    ) -> Binding:
        """See Family."""
        operands = Operands.read(params)
        y = outputs[0]
        if y.size == 0:
            return Binding([], 0)
        used: list[Tensor] = []
        for k in operands.used:
            operand = inputs[k]
            if operand is None:
                raise CallError(f"operand {k} of {self.name} is missing", fix="recompile the model")
            used.append(operand)
        order, span = params["order"], params["span"]
        strides = [list(y.strides), *(broadcast_strides(x, y.shape) for x in used)]
        outer, inner = order[:-span], order[-span:]
        n = product(y.shape[dim] for dim in inner)
        merged, columns = coalesce(
            [y.shape[dim] for dim in outer], [[s[dim] for dim in outer] for s in strides]
        )
        steps = [s[inner[-1]] for s in strides[1:]]
        for k, step in zip(operands.used, steps, strict=True):
            if n > 1 and span == 1 and step != {"unit": 1, "zero": 0}.get(operands.access[k], step):
                raise CallError(f"operand {k} of {self.name} does not lie as its kernel needs")
        tables = inputs[len(operands.access) : len(operands.access) + params["tables"]]
        for table in tables:
            if table is None or table.size != n:
                raise CallError(
                    f"{self.name} needs tables of {n} elements", fix="check the shapes of the inputs"
                )
        rows = product(merged)
        rows_per_task = max(1, min(rows, 2048 // n))
        words: list[int | Address] = [n, rows_per_task, rows, *_rows(operands, params).words(merged, columns)]
        words += [y.address(), *(x.address() for x in used), *steps]
        words += [table.address() for table in tables if table is not None]
        return Binding(words, -(-rows // rows_per_task), grain_of(n * rows_per_task * self.element_ns))


def _rows(operands: Operands, params: Params) -> Rows:
    return Rows(params["loops"], ("y", *operands.streams()))
