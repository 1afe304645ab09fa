"""Evaluate what depends on constants only."""

from __future__ import annotations

import time
from dataclasses import dataclass, field
from typing import ClassVar

import numpy as np
import onnx_ir as ir

from accelc.errors import AccelcError
from accelc.ir.fold_cost import output_bytes, too_slow
from accelc.ir.pass_base import Evaluator, Pass, PassContext, PassResult, Refusal
from accelc.ir.rewrite import (
    Editor,
    constant_tensor,
    constant_value,
    is_dead,
    is_op,
    is_random,
    regions,
    static_shape,
    subgraphs_of,
    use_count,
)

_VIEWS = ("Reshape", "Flatten", "Squeeze", "Unsqueeze", "Identity")


@dataclass(frozen=True)
class FoldConstants(Pass):
    """Replace nodes whose operands are constant by their value, and Constant nodes by weights.

    Needs:    dtypes; shapes help to know sizes beforehand.
    Keeps:    every result as the reference computes it; graph output names.
    Skips:    random ops; DequantizeLinear (it is how a quantised weight is said); results that would grow the
              model beyond ``limits.max_fold_bytes`` in all, or whose size is not known before; what takes longer
              than ``limits.max_fold_seconds`` in all; ops with subgraphs unless all they capture is constant and
              they are short; external data that is absent; integer division by zero or overflow; casts of NaN or
              of values out of range to integers; what the evaluator cannot do.
    Cost:     O(nodes) plus the evaluation, within the limits.
    Source:   accelc.reference evaluates single nodes with onnx.reference.
    """

    name: ClassVar[str] = "fold-constants"

    def apply(self, model: ir.Model, ctx: PassContext) -> PassResult:
        """One walk in topological order, outer regions first, so that chains fold in one go."""
        run = _Run(Editor(model, ctx), ctx, _evaluator(ctx))
        for graph in regions(model):
            for node in list(graph):
                if not ctx.may_rewrite():
                    return PassResult(model, run.modified)
                ctx.check_time(f"pass {self.name}")
                run.visit(node)
        return PassResult(model, run.modified)


def _evaluator(ctx: PassContext) -> Evaluator:
    if ctx.evaluator is not None:
        return ctx.evaluator
    from accelc.reference import evaluate_node

    return evaluate_node


@dataclass
class _Run:
    """One walk: what was spent of the budgets."""

    edit: Editor
    ctx: PassContext
    evaluate: Evaluator
    modified: bool = False
    grown_bytes: int = 0
    seconds: float = 0.0
    refused: set[ir.Node] = field(default_factory=set)

    def visit(self, node: ir.Node) -> None:
        """Fold ``node`` if it can and may be."""
        if is_op(node, "Constant"):
            self._lift(node)
            return
        if is_dead(node) or not self._is_constant(node) or _names_an_output(node):
            return
        inputs = [constant_value(value) for value in node.inputs]
        answer = self._check(node, inputs) or self._compute(node, inputs)
        if isinstance(answer, Refusal):
            self.ctx.refused(answer, "fold", node)
        else:
            self._put(node, answer)

    def _is_constant(self, node: ir.Node) -> bool:
        """Whether everything the node reads is constant, captured values of its subgraphs included."""
        if node.domain not in ("", "ai.onnx.ml") or not node.outputs:
            return False
        if any(v is not None and not _readable(v) for v in node.inputs):
            return False
        if not node.inputs and not any(True for _ in subgraphs_of(node)):
            return is_random(node)  # for the refusal; other ops without operands are left alone
        from accelc.reference import captured_values

        return all(_readable(value) for value in captured_values(node)) if _has_body(node) else True

    def _check(self, node: ir.Node, inputs: list[np.ndarray | None]) -> Refusal | None:
        """Why the node must not be evaluated."""
        limits = self.ctx.limits
        if is_random(node):
            return Refusal(f"{node.op_type} is random", at=node)
        if is_op(node, "DequantizeLinear"):
            return Refusal("a quantised weight stays quantised", at=node)
        if any(a is None and v is not None for a, v in zip(inputs, node.inputs, strict=True)):
            return Refusal("a constant operand cannot be read: its external data is absent", at=node)
        size = output_bytes(node)
        if size is None:
            return Refusal("the size of its result is not known beforehand", at=node)
        growth = size - _freed_bytes(node)
        if growth > 0 and self.grown_bytes + growth > limits.max_fold_bytes:
            return Refusal(
                f"the model would grow by {growth} bytes, max_fold_bytes leaves "
                f"{max(0, limits.max_fold_bytes - self.grown_bytes)}",
                at=node,
            )
        elements = sum(a.size for a in inputs if a is not None) + size
        if why := too_slow(node, elements):
            return Refusal(why, at=node)
        if self.seconds > limits.max_fold_seconds:
            return Refusal(f"the {limits.max_fold_seconds:g} s for folding are spent", at=node)
        return _check_cast(node, inputs)

    def _compute(self, node: ir.Node, inputs: list[np.ndarray | None]) -> list[np.ndarray] | Refusal:
        start = time.monotonic()
        unmarked = node.version is None
        if unmarked:  # subgraphs import no opsets of their own, so the evaluator could not know
            node.version = self.edit.model.opset_imports.get(node.domain)
        try:
            view = _as_view(node, inputs)
            results = [view] if view is not None else self.evaluate(node, inputs)
        except AccelcError as error:
            return Refusal(error.why or error.what, at=node)
        finally:
            if unmarked:
                node.version = None
            self.seconds += time.monotonic() - start
        for value, array in zip(node.outputs, results, strict=False):
            why = _mismatch(value, array)
            if why:
                return Refusal(why, at=value)
        return results

    def _put(self, node: ir.Node, results: list[np.ndarray]) -> None:
        named = [value for value in node.outputs if value.name]
        freed = _freed_bytes(node)
        sizes = 0
        # The reference gives one array per output in use.
        for value, array in zip(named, results, strict=False):
            sizes += array.nbytes
            if use_count(value) or value.is_graph_output():
                self.edit.replace(value, self._constant_for(value, array, node))
        self.grown_bytes += sizes - freed
        self._finish("fold", node, f"{node.op_type} of constants, {sizes} bytes")

    def _constant_for(self, value: ir.Value, array: np.ndarray, node: ir.Node) -> ir.Value:
        kept = value.is_graph_output()  # an Identity of the constant will carry the name
        name = f"{value.name}_folded" if kept else self.edit.give_up_name(value)
        return self.edit.constant(array, near=node, name=name)

    def _lift(self, node: ir.Node) -> None:
        """Make the value of a Constant node a weight of its region."""
        value = node.outputs[0]
        tensor = constant_tensor(value)
        if tensor is None or value.is_graph_output() or not use_count(value):
            return
        name = self.edit.give_up_name(value)
        self.edit.replace(value, self.edit.constant(tensor, near=node, name=name))
        self._finish("lift-constant", node, "Constant node to weight")

    def _finish(self, rule: str, node: ir.Node, note: str) -> None:
        self.edit.remove(node)
        self.edit.touched.clear()
        self.ctx.rewrote(rule, [node], note=note)
        self.modified = True


def _readable(value: ir.Value) -> bool:
    tensor = constant_tensor(value)
    return tensor is not None and tensor.dtype != ir.DataType.STRING


def _has_body(node: ir.Node) -> bool:
    return any(True for _ in subgraphs_of(node))


def _names_an_output(node: ir.Node) -> bool:
    """An Identity that gives a weight the name of a graph output has nothing left to fold."""
    return is_op(node, "Identity") and node.outputs[0].is_graph_output()


def _freed_bytes(node: ir.Node) -> int:
    """Bytes of constants that only ``node`` reads."""
    total = 0
    for value in {id(v): v for v in node.inputs if v is not None}.values():
        tensor = constant_tensor(value)
        uses = sum(1 for v in node.inputs if v is value)
        if tensor is not None and use_count(value) == uses and not value.is_graph_output():
            total += tensor.nbytes
    return total


def _as_view(node: ir.Node, inputs: list[np.ndarray | None]) -> np.ndarray | None:
    """Ops that only change the shape keep a mapped weight mapped."""
    shape = static_shape(node.outputs[0])
    if not is_op(node, *_VIEWS) or shape is None or not inputs or inputs[0] is None:
        return None
    return inputs[0].reshape(shape) if inputs[0].size == int(np.prod(shape, dtype=object)) else None


def _mismatch(value: ir.Value, array: np.ndarray) -> str:
    """A result of another dtype or shape than inferred means that the reference is wrong about this op."""
    if value.dtype is not None and value.dtype.numpy() != array.dtype:
        return f"the reference gives {array.dtype}, the graph says {value.dtype.name}"
    shape = static_shape(value)
    if shape is not None and shape != array.shape:
        return f"the reference gives shape {list(array.shape)}, the graph says {list(shape)}"
    return ""


def _check_cast(node: ir.Node, inputs: list[np.ndarray | None]) -> Refusal | None:
    """What a float out of an integer's range becomes is up to the hardware, so it must not be fixed here."""
    array = inputs[0] if inputs else None
    target = node.outputs[0].dtype
    if not is_op(node, "Cast", "CastLike") or array is None or target is None or array.dtype.kind in "iub":
        return None
    if not target.is_integer() or target == ir.DataType.BOOL:
        return None
    info = np.iinfo(target.numpy())
    wide = np.trunc(array.astype(np.float64))
    # float(info.max) rounds up to 2**63 for int64, which is out of range itself: hence "<" there.
    fits = (wide >= float(info.min)) & (wide < float(info.max) + 1.0)
    if bool(fits.all()):
        return None
    return Refusal(f"a value is NaN or out of the range of {target.name}", at=node)
