"""Reading a fused function: at most one anchor op, elementwise work before it, elementwise work after it.

The body of an ``accelc.fused`` function is plain ONNX (DESIGN: the body is the definition). Here it becomes what
kernels take: an anchor op with a prologue and an epilogue expression, or one expression if there is no anchor.
A body of any other form is refused, and the caller inlines it.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
import onnx_ir as ir

from accelc.ir.attributes import attributes, constant_array
from accelc.ir.pass_base import Refusal
from accelc.targets.numba_cpu.kernels.expr import Expr, ExprBuilder
from accelc.targets.numba_cpu.lower.elementwise import result_dtype, to_expr

Source = int | np.ndarray
"""An operand: number of a function input, or the contents of a constant of the body."""


@dataclass(frozen=True)
class Stage:
    """An elementwise expression; operand ``k`` of it is ``operands[k]``.

    The first operand of an epilogue is None: the anchor's result. A prologue's first operand is the tensor the
    anchor would read without it.
    """

    expr: Expr
    operands: tuple[Source | None, ...]


@dataclass(frozen=True)
class Body:
    """A fused function as a kernel sees it. ``inputs`` are the anchor's operands, None where absent.

    With a prologue, ``inputs[0]`` is the prologue's first operand. Without an anchor only ``epilogue`` is set, and
    all its operands are sources.
    """

    anchor: ir.Node | None
    inputs: tuple[Source | None, ...]
    prologue: Stage | None
    epilogue: Stage | None


@dataclass
class _Chain:
    """An expression under construction."""

    builder: ExprBuilder = field(default_factory=ExprBuilder)
    operands: list[Source | None] = field(default_factory=list)
    steps: dict[ir.Value, int] = field(default_factory=dict)
    slots: dict[ir.Value, int] = field(default_factory=dict)

    def operand(self, source: Source | None, dtype: str, value: ir.Value | None) -> int:
        if value is not None and value in self.slots:
            return self.slots[value]
        step = self.builder.operand(len(self.operands), dtype)
        self.operands.append(source)
        if value is not None:
            self.slots[value] = step
        return step

    def stage(self, result: int) -> Stage:
        return Stage(self.builder.build(result), tuple(self.operands))


class _Reader:
    def __init__(self, function: ir.Function, dtypes: Sequence[str]) -> None:
        self.function = function
        self.number = {value: i for i, value in enumerate(function.inputs)}
        self.dtypes: dict[ir.Value, str] = dict(zip(function.inputs, dtypes, strict=True))
        self.constants: dict[ir.Value, np.ndarray] = {}

    def source(self, value: ir.Value) -> Source | None:
        """What a value is if it comes from outside the elementwise work."""
        if value in self.number:
            return self.number[value]
        return self.constants.get(value)

    def extend(self, chain: _Chain, node: ir.Node) -> Refusal | None:
        """Add one elementwise node to a chain."""
        args: list[int | None] = []
        for value in node.inputs:
            if value is None:
                args.append(None)
                continue
            step = chain.steps.get(value)
            if step is None:
                step = self._leaf(chain, value)
            if step is None:
                return Refusal("an operand comes from the other side of the anchor", at=value)
            args.append(step)
        dtypes = [None if arg is None else chain.builder.dtype(arg) for arg in args]
        attrs = attributes(node)
        out = result_dtype(node.op_type, attrs, dtypes)
        step_or_refusal = to_expr(node.op_type, attrs, dtypes, chain.builder, args, out)
        if isinstance(step_or_refusal, Refusal):
            return step_or_refusal
        chain.steps[node.outputs[0]] = step_or_refusal
        self.dtypes[node.outputs[0]] = out
        return None

    def _leaf(self, chain: _Chain, value: ir.Value) -> int | None:
        array = self.constants.get(value)
        if array is not None:
            if array.size == 1 and array.dtype.kind in "biuf":
                return chain.builder.const(array.reshape(-1)[0].item(), array.dtype.name)
            return chain.operand(array, array.dtype.name, value)
        if value in self.number:
            return chain.operand(self.number[value], self.dtypes[value], value)
        return None


def read_body(function: ir.Function, dtypes: Sequence[str], is_elementwise: frozenset[str]) -> Body | Refusal:
    """Split a body into prologue, anchor and epilogue.

    Args:
        function: A function with one output and a body in topological order.
        dtypes: NumPy names of the dtypes of the call's operands.
        is_elementwise: Op types that expressions can hold.
    """
    if len(function.outputs) != 1:
        return Refusal(f"the function has {len(function.outputs)} outputs, a kernel writes one")
    reader = _Reader(function, dtypes)
    before, after = _Chain(), _Chain()
    anchor: ir.Node | None = None
    for node in function:
        if node.op_type == "Constant" and node.domain == "":
            array = constant_array(node)
            if array is None:
                return Refusal("a constant of the body is not a tensor", at=node)
            reader.constants[node.outputs[0]] = array
        elif node.domain == "" and node.op_type in is_elementwise:
            chain = before if anchor is None else after
            if (refusal := reader.extend(chain, node)) is not None:
                return refusal
        elif anchor is None:
            anchor = node
            dtype = (
                before.builder.dtype(before.steps[first])
                if (first := node.inputs[0]) in before.steps
                else None
            )
            dtype = dtype or reader.dtypes.get(first) or "float32" if first is not None else "float32"
            after.steps[node.outputs[0]] = after.operand(None, dtype, None)
        else:
            return Refusal("the function has two anchors", at=node)
    return _assemble(reader, before, anchor, after)


def _assemble(reader: _Reader, before: _Chain, anchor: ir.Node | None, after: _Chain) -> Body | Refusal:
    result = reader.function.outputs[0]
    if anchor is None:
        if result not in before.steps:
            return Refusal("the function returns one of its inputs", at=result)
        return Body(None, (), None, before.stage(before.steps[result]))
    if result not in after.steps:
        return Refusal("the function's result does not depend on its anchor", at=result)
    epilogue = after.stage(after.steps[result])
    inputs: list[Source | None] = []
    prologue: Stage | None = None
    for i, value in enumerate(anchor.inputs):
        if value is None:
            inputs.append(None)
        elif value in before.steps:
            if i > 0:
                return Refusal("only the anchor's first operand may be computed in the kernel", at=value)
            prologue = before.stage(before.steps[value])
            inputs.append(prologue.operands[0])
        else:
            source = reader.source(value)
            if source is None:
                return Refusal("an operand of the anchor is not an input of the function", at=value)
            inputs.append(source)
    if prologue is None and before.steps:
        return Refusal("elementwise work does not feed the anchor's first operand", at=anchor)
    return Body(anchor, tuple(inputs), prologue, None if epilogue.expr.is_identity else epilogue)
