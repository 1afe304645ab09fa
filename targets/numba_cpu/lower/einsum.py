"""Lowering of Einsum: operands are joined one after the other by transposes, sums and a matrix product."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

from accelc.ir.dims import Dim
from accelc.ir.pass_base import Refusal
from accelc.targets.numba_cpu.kernels.expr import Expr
from accelc.targets.numba_cpu.kernels.text import FLOATS, POINTERS
from accelc.targets.numba_cpu.lower import dims as arith
from accelc.targets.numba_cpu.lower.context import LowerContext
from accelc.targets.numba_cpu.lower.matmul import matmul
from accelc.targets.numba_cpu.lower.movement import emit_copy, sliced
from accelc.targets.numba_cpu.lower.narrow import also_narrow
from accelc.targets.numba_cpu.lower.reduce import emit_reduce
from accelc.targets.numba_cpu.lower.table import LoweringTable, Op, OutSpec
from accelc.targets.numba_cpu.program import Value

TABLE = LoweringTable()


@dataclass(frozen=True)
class Term:
    """A value with a label for each of its dims."""

    value: Value
    labels: tuple[str, ...]

    def dim(self, label: str) -> Dim:
        """The extent of a label."""
        return self.value.dims[self.labels.index(label)]


def parse(equation: str, ranks: Sequence[int]) -> tuple[list[tuple[str, ...]], tuple[str, ...]] | Refusal:
    """Labels of each operand and of the result; dims of an ellipsis are named ``...0``, ``...1`` from the right."""
    text = equation.replace(" ", "")
    left, arrow, right = text.partition("->")
    parts = left.split(",")
    if len(parts) != len(ranks):
        return Refusal(f"equation '{equation}' has {len(parts)} terms for {len(ranks)} operands")
    inputs: list[tuple[str, ...]] = []
    widest = 0
    for part, rank in zip(parts, ranks, strict=True):
        head, dots, tail = part.partition("...")
        count = rank - len(head) - len(tail) if dots else 0
        if count < 0 or (not dots and len(part) != rank) or (not (head + tail).isalpha() and head + tail):
            return Refusal(f"term '{part}' of the equation does not fit rank {rank}")
        widest = max(widest, count)
        inputs.append((*head, *(f"...{i}" for i in reversed(range(count))), *tail))
    spread = tuple(f"...{i}" for i in reversed(range(widest)))
    if not arrow:
        letters = sorted({label for labels in inputs for label in labels if len(label) == 1})
        once = tuple(label for label in letters if sum(labels.count(label) for labels in inputs) == 1)
        return inputs, (*spread, *once)
    head, dots, tail = right.partition("...")
    return inputs, (*head, *(spread if dots else ()), *tail)


@TABLE.op("Einsum", since=12)
@also_narrow
def einsum(ctx: LowerContext, op: Op) -> Refusal | None:
    """Sums of products along labelled dims, ellipses and repeated labels included.

    Operands are joined left to right; of each pair shared labels become batch or reduction dims of a product.
    Source: https://onnx.ai/onnx/operators/onnx__Einsum.html
    """
    inputs = [value for value in op.inputs if value is not None]
    dtype = op.outputs[0].dtype
    if dtype not in POINTERS or dtype == "bool" or (dtype in FLOATS and dtype not in ("float32", "float64")):
        return Refusal(f"Einsum of {dtype} has no kernel")
    parsed = parse(str(op.attrs.get("equation", "")), [len(value.dims) for value in inputs])
    if isinstance(parsed, Refusal):
        return parsed
    labels, wanted = parsed
    terms = [_undoubled(ctx, Term(value, own)) for value, own in zip(inputs, labels, strict=True)]
    total = terms[0]
    for i, term in enumerate(terms[1:], 1):
        later = {label for other in terms[i + 1 :] for label in other.labels}
        joined = _join(ctx, op, total, term, {*wanted, *later}, i)
        if isinstance(joined, Refusal):
            return joined
        total = joined
    total = _summed(ctx, total, set(wanted))
    if set(total.labels) != set(wanted) or len(wanted) != len(set(wanted)):
        return Refusal("the equation's result has labels that no operand has, or one twice")
    result = ctx.permuted(total.value, [total.labels.index(label) for label in wanted])
    if result.dims == op.outputs[0].dims and ctx.program.values[ctx.program.root(result.id)].kind == "temp":
        ctx.same(op, 0, result)
    else:
        emit_copy(ctx, result, ctx.out(op, 0))
    return None


def _undoubled(ctx: LowerContext, term: Term) -> Term:
    """``term`` with its diagonal along labels that it has twice."""
    while len(set(term.labels)) < len(term.labels):
        label = next(label for label in term.labels if term.labels.count(label) > 1)
        first = term.labels.index(label)
        second = term.labels.index(label, first + 1)
        rest = [i for i in range(len(term.labels)) if i not in (first, second)]
        moved = ctx.permuted(term.value, [*rest, first, second])
        extent = moved.dims[-1]
        if not isinstance(extent, int):
            break
        flat = ctx.reshaped(moved, (*moved.dims[:-2], extent * extent))
        diagonal = sliced(ctx, flat, len(rest), 0, extent, extent + 1)
        term = Term(diagonal, (*(term.labels[i] for i in rest), label))
    return term


def _summed(ctx: LowerContext, term: Term, kept: set[str]) -> Term:
    """``term`` summed over the labels that nobody needs."""
    axes = tuple(i for i, label in enumerate(term.labels) if label not in kept)
    if not axes:
        return term
    labels = tuple(label for label in term.labels if label in kept)
    result = ctx.temp(term.value.dtype, [term.dim(label) for label in labels])
    emit_reduce(ctx, "sum", Expr.identity(term.value.dtype), (term.value,), axes, result)
    return Term(result, labels)


def _join(ctx: LowerContext, op: Op, left: Term, right: Term, kept: set[str], number: int) -> Term | Refusal:
    """The product of two terms, summed over shared labels that nobody needs."""
    left = _summed(ctx, left, kept | set(right.labels))
    right = _summed(ctx, right, kept | set(left.labels))
    shared = [label for label in left.labels if label in right.labels]
    # An ellipsis broadcasts, which batch dims of a product do and reduction dims do not.
    reduced = [label for label in shared if label not in kept]
    if any(left.dim(label) != right.dim(label) for label in reduced):
        return Refusal("a summed label of two extents has no kernel")
    batch = [label for label in shared if label in kept]
    rows = [label for label in left.labels if label not in shared]
    columns = [label for label in right.labels if label not in shared]
    a = _matrix(ctx, left, batch, rows, reduced)
    b = _matrix(ctx, right, batch, reduced, columns)
    batch_dims = [right.dim(label) if left.dim(label) == 1 else left.dim(label) for label in batch]
    dims = (*batch_dims, a.dims[-2], b.dims[-1])
    spec = OutSpec(f"{op.outputs[0].name}.join{number}", left.value.dtype, dims)
    refusal = matmul(ctx, replace(op, op_type="MatMul", inputs=(a, b), outputs=(spec,), attrs={}))
    if refusal is not None:
        return refusal
    free = [*(left.dim(label) for label in rows), *(right.dim(label) for label in columns)]
    result = ctx.reshaped(ctx.by_name[spec.name], (*batch_dims, *free))
    return Term(result, (*batch, *rows, *columns))


def _matrix(
    ctx: LowerContext, term: Term, batch: Sequence[str], first: Sequence[str], second: Sequence[str]
) -> Value:
    """``term`` as [batch..., first, second], each group of labels merged into one dim."""
    order = [term.labels.index(label) for label in (*batch, *first, *second)]
    value = ctx.permuted(term.value, order)
    if len(first) == 1 and len(second) == 1:
        return value
    merged = (arith.product([term.dim(x) for x in first]), arith.product([term.dim(x) for x in second]))
    return ctx.reshaped(value, (*(term.dim(label) for label in batch), *merged))
