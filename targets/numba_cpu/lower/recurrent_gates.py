"""The input's part of the gates of LSTM, GRU and RNN: X @ W' + biases, for all time steps or for a part of them.

All steps at once need four times the memory of an LSTM's result. In four parts, each done right before the recurrence
takes it up, they need as much as the result; a reversed direction begins with the last part.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from accelc.ir.dims import Dim
from accelc.ir.pass_base import Refusal
from accelc.targets.numba_cpu.kernels.expr import Expr, ExprBuilder
from accelc.targets.numba_cpu.lower import dims as arith
from accelc.targets.numba_cpu.lower.context import LowerContext
from accelc.targets.numba_cpu.lower.elementwise import emit_map, map_operands
from accelc.targets.numba_cpu.lower.matmul import matmul
from accelc.targets.numba_cpu.lower.movement import emit_copy, sliced
from accelc.targets.numba_cpu.lower.table import Op, OutSpec
from accelc.targets.numba_cpu.program import Value, View

_PARTS = (4, 5, 6, 3, 2)
_LEAST_ROWS = 8
"""Rows of a product below which the weights are read too often."""


@dataclass(frozen=True)
class InputGates:
    """Operands of the products, and in how many parts they are done.

    Args:
        op: The node.
        x: ``[T, B, I]``, or ``[B, T, I]`` if ``batch_first``.
        batch_first: See ``x``.
        reverse: Whether each direction runs from the last step to the first.
        width: Gates times hidden size.
        parts: A divisor of the time steps.
        sides: Weights ``[I, width]`` and bias ``[width]`` of each direction; of all side by side if there is one part.
    """

    op: Op
    x: Value
    batch_first: bool
    reverse: tuple[bool, ...]
    width: int
    parts: int
    sides: tuple[tuple[Value, Value | None], ...]

    @property
    def steps(self) -> Dim:
        """Time steps."""
        return self.x.dims[1 if self.batch_first else 0]

    @property
    def batch(self) -> Dim:
        """Rows of a time step."""
        return self.x.dims[0 if self.batch_first else 1]

    @staticmethod
    def of(ctx: LowerContext, op: Op, cells: int, apart: bool) -> InputGates:
        """The operands of a node whose operands 0 to 2 are there.

        Args:
            ctx: The lowering context.
            op: LSTM, GRU or RNN.
            cells: Gates.
            apart: Whether the recurrent bias of the last gate is not added here.
        """
        x, w, r = op.inputs[:3]
        assert x is not None
        assert w is not None
        assert r is not None
        directions, hidden = r.dims[0], r.dims[2]
        assert isinstance(directions, int)
        assert isinstance(hidden, int)
        width = cells * hidden
        array = ctx.array(w)
        if array is None:
            weights = ctx.permuted(ctx.reshaped(w, (directions * width, w.dims[2])), (1, 0))
        else:
            flat = np.ascontiguousarray(array.reshape(directions * width, -1).T)
            weights = ctx.model_constant(flat, f"{w.name}.t")
        given = op.input(3)
        bias = None if given is None else _joint_bias(ctx, given, directions, hidden, cells, apart)
        first = bool(op.attrs.get("layout", 0))
        parts = (
            1
            if op.input(4) is not None
            else _parts(x.dims[1 if first else 0], x.dims[0 if first else 1], first)
        )
        sides: tuple[tuple[Value, Value | None], ...] = ((weights, bias),)
        if parts > 1 and directions > 1:
            starts = range(0, directions * width, width)
            sides = tuple(
                (
                    sliced(ctx, weights, 1, at, width),
                    None if bias is None else sliced(ctx, bias, 0, at, width),
                )
                for at in starts
            )
        direction = str(op.attrs.get("direction", "forward"))
        reverse = (direction == "reverse",) if directions == 1 else (False, True)
        return InputGates(op, x, first, reverse, width, parts, sides)

    def rows_of(self, ctx: LowerContext, value: Value, d: int, part: int) -> Value:
        """What direction ``d`` does of ``value`` ``[T, D, ...]`` in one part of the steps, ``[T / parts, 1, ...]``."""
        assert isinstance(self.steps, int)  # there are parts
        side = sliced(ctx, value, 1, d, 1) if len(self.reverse) > 1 else value
        return sliced(ctx, side, 0, self._start(d, part), self.steps // self.parts)

    def _start(self, d: int, part: int) -> int:
        """The first step of a part: a reversed direction begins with the last one."""
        assert isinstance(self.steps, int)
        return (self.parts - 1 - part if self.reverse[d] else part) * (self.steps // self.parts)

    def part(self, ctx: LowerContext, part: int) -> Value | Refusal:
        """Gates of one part of the steps, ``[T / parts, B, D, width]``: the last ones for a reversed direction."""
        directions = len(self.reverse)
        if self.parts == 1:
            rows = self._product(ctx, self.x, *self.sides[0], "gates")
            if isinstance(rows, Refusal):
                return rows
            gates = ctx.reshaped(rows, (*rows.dims[:2], directions, self.width))
            return ctx.permuted(gates, (1, 0, 2, 3)) if self.batch_first else gates
        assert isinstance(self.steps, int)  # there are parts
        count = self.steps // self.parts
        x = ctx.permuted(self.x, (1, 0, 2)) if self.batch_first else self.x
        whole: Value | None = None
        for d, side in enumerate(self.sides):
            rows = self._product(
                ctx, sliced(ctx, x, 0, self._start(d, part), count), *side, f"gates{d}.{part}"
            )
            if isinstance(rows, Refusal):
                return rows
            if directions == 1:
                return ctx.reshaped(rows, (count, rows.dims[1], 1, self.width))
            whole = whole or ctx.temp(rows.dtype, (directions, *rows.dims))
            place = ctx.make_view(View(sliced(ctx, whole, 0, d, 1).id, "reshape"), rows.dims)
            emit_copy(ctx, rows, place)
        assert whole is not None  # there is a direction
        return ctx.permuted(whole, (1, 2, 0, 3))

    def _product(
        self, ctx: LowerContext, x: Value, weights: Value, bias: Value | None, name: str
    ) -> Value | Refusal:
        dtype = x.dtype
        spec = OutSpec(f"{_name(self.op)}.{name}", dtype, (*x.dims[:-1], weights.dims[1]))
        epilogue: Expr | None = None
        if bias is not None:
            builder = ExprBuilder()
            total = builder.add(dtype, "add", builder.operand(0, dtype), builder.operand(1, dtype))
            epilogue = builder.build(total)
        operands = () if bias is None else (bias,)
        op = Op(
            "MatMul",
            "",
            self.op.version,
            (x, weights),
            (spec,),
            {},
            self.op.origin,
            None,
            (),
            epilogue,
            operands,
        )
        refusal = matmul(ctx, op)
        return ctx.by_name[spec.name] if refusal is None else refusal


def _parts(steps: Dim, batch: Dim, batch_first: bool) -> int:
    """In how many parts the steps are best done; 1 where their number is not known."""
    rows = batch if isinstance(batch, int) else 1
    if not isinstance(steps, int) or (batch_first and batch != 1):
        return 1  # steps of one batch row lie together: products would be small
    return next((n for n in _PARTS if steps % n == 0 and steps // n * rows >= _LEAST_ROWS), 1)


def _name(op: Op) -> str:
    return next(spec.name for spec in op.outputs if spec.name)


def _joint_bias(
    ctx: LowerContext, bias: Value, directions: int, hidden: int, cells: int, apart: bool
) -> Value:
    """Both biases of all gates as one row; with ``apart`` the recurrent one of the last gate stays out."""
    width = cells * hidden
    joined = np.ones(width, bool)
    if apart:
        joined[(cells - 1) * hidden :] = False
    array = ctx.array(bias)
    if array is not None:
        total = array[:, :width] + np.where(joined, array[:, width:], array.dtype.type(0))
        return ctx.model_constant(total.reshape(-1), f"{bias.name}.sum")
    builder = ExprBuilder()
    first, second = builder.operand(0, bias.dtype), builder.operand(1, bias.dtype)
    kept = builder.add(
        bias.dtype, "where", builder.operand(2, "bool"), second, builder.const(0.0, bias.dtype)
    )
    expr = builder.build(builder.add(bias.dtype, "add", first, kept))
    halves = [sliced(ctx, bias, 1, start, width) for start in (0, width)]
    mask = ctx.model_constant(joined, f"{bias.name}.joined")
    total_value = ctx.temp(bias.dtype, (directions, width))
    emit_map(ctx, expr, map_operands(ctx, total_value.dims, (0, 1), [*halves, mask]), total_value)
    return ctx.reshaped(total_value, (arith.mul(directions, width),))
