"""The walk that runs nodes on arrays while JAX traces: one node after the other, deep models included."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, MutableMapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import onnx_ir as ir
from jax import lax

from accelc.errors import AccelcError, LoweringError
from accelc.ir.attributes import attributes
from accelc.ir.pass_base import node_name
from accelc.targets.jax_xla.context import Ctx
from accelc.targets.jax_xla.program import Constants
from accelc.targets.jax_xla.shape_arithmetic import evaluate, is_symbolic, shape_of, size_of
from accelc.targets.jax_xla.table import LoweringTable, snake

WITHOUT_MEANING = frozenset({"consumed_inputs"})
"""Attributes that say nothing about the result: opset 1 told runtimes which buffers they may reuse."""
Values = MutableMapping[ir.Value, Any]
"""Arrays by value: NumPy where known while tracing, JAX otherwise."""


class RefusedNode(Exception):  # noqa: N818 - not an error: the node runs on the host instead
    """A node that cannot be part of a compiled function, found while tracing."""

    def __init__(self, node: ir.Node, why: str) -> None:
        super().__init__(f"{node_name(node)} ({node.op_type}): {why}")
        self.node = node
        self.why = why


@dataclass
class Tracer:
    """Runs nodes on traced and known values.

    Args:
        table: The lowerings.
        opsets: Versions of the domains.
        constants: The model's constants.
        static: Values that are known while tracing.
        platform: What XLA compiles for.
        precision: Of products and convolutions.
        key: Random key of this call.
    """

    table: LoweringTable
    opsets: Mapping[str, int]
    constants: Constants
    static: frozenset[ir.Value]
    platform: str
    precision: str
    key: jax.Array | None = None
    _draws: int = field(default=0, init=False)

    def run(self, nodes: Iterable[ir.Node], values: Values) -> None:
        """Run ``nodes`` in order, putting what they make into ``values``.

        Raises:
            RefusedNode: A lowering cannot do it, with the reason.
        """
        from accelc.targets.jax_xla.control import LOWERINGS

        for node in nodes:
            if node.domain == "" and node.op_type == "Constant":
                continue
            try:
                control = LOWERINGS.get(node.op_type) if node.domain == "" else None
                if control is not None:
                    results: Sequence[Any] = control(self, node, values)
                elif self.static.issuperset(node.outputs):
                    results = self._known(node, values)
                else:
                    results = self._traced(node, values)
            except (RefusedNode, MemoryError):
                raise
            except AccelcError as error:
                raise RefusedNode(node, f"{error.what}: {error.why}" if error.why else error.what) from error
            except Exception as error:  # JAX raises dozens of classes for what it cannot do
                why = f"{type(error).__name__}: {str(error).strip() or 'no reason given'}"
                raise RefusedNode(node, " ".join(why.split())[:300]) from error
            for output, result in zip(node.outputs, results, strict=False):
                values[output] = result

    # ------------------------------------------------------------------ operands
    def value(self, value: ir.Value, values: Mapping[ir.Value, Any]) -> Any:
        """The array of a value; constants that are part of the program are read."""
        if value in values:
            return values[value]
        array = self.constants.array(value)
        if array is None:
            raise LoweringError(f"value {value.name!r} is used before it is made")
        return array

    def known(self, value: ir.Value, values: Mapping[ir.Value, Any]) -> np.ndarray:
        """The array of a value that must be known while tracing."""
        if value in values and isinstance(values[value], np.ndarray | np.generic):
            return np.asarray(values[value])
        array = self.constants.array(value)
        if array is None:
            raise LoweringError(f"value {value.name!r} is not known while tracing")
        return array

    def operands(
        self, node: ir.Node, values: Mapping[ir.Value, Any], static: Sequence[int] = ()
    ) -> list[Any]:
        """The operands of a node, None for absent ones; trailing absent ones are left out."""
        found: list[Any] = []
        for place, value in enumerate(node.inputs):
            if value is None or (not value.name and value.producer() is None):
                found.append(None)
            elif place in static:
                found.append(self.known(value, values))
            else:
                array = self.value(value, values)
                found.append(_dims_to_array(array) if is_symbolic(array) else array)
        while found and found[-1] is None:
            found.pop()
        return found

    # ------------------------------------------------------------------ one node
    def _known(self, node: ir.Node, values: Mapping[ir.Value, Any]) -> list[np.ndarray]:
        """The results of a node that only depends on what is known."""
        attrs = attributes(node)
        if node.domain == "" and node.op_type in ("Shape", "Size"):
            operand = node.inputs[0]
            assert operand is not None  # of neither op it is optional
            shape = self.value(operand, values).shape
            return [shape_of(shape, attrs) if node.op_type == "Shape" else size_of(shape)]
        operands = [None if value is None else self.known(value, values) for value in node.inputs]
        while operands and operands[-1] is None:
            operands.pop()
        if node.domain == "":
            found = evaluate(node.op_type, operands, attrs)
            if found is not None:
                return [found]
        if any(is_symbolic(operand) for operand in operands):
            raise LoweringError(f"{node.op_type} of a symbolic shape has no single value")
        with jax.ensure_compile_time_eval():
            return [np.asarray(result) for result in self._call(node, operands, attrs)]

    def _traced(self, node: ir.Node, values: Mapping[ir.Value, Any]) -> list[Any]:
        rule = self.table.find(node.domain, node.op_type, self._version(node))
        if rule is None:
            raise LoweringError(f"no lowering for {node.op_type}")
        results = self._call(node, self.operands(node, values, rule.static), attributes(node))
        return [strong(result) for result in results]

    def _call(self, node: ir.Node, operands: Sequence[Any], attrs: Mapping[str, Any]) -> Sequence[Any]:
        version = self._version(node)
        rule = self.table.find(node.domain, node.op_type, version)
        if rule is None:
            raise LoweringError(f"no lowering for {node.op_type}")
        count = max((i + 1 for i, output in enumerate(node.outputs) if output.name), default=1)
        ctx = Ctx(node, version, count, self.platform, self.precision, self._next_key())
        named = {snake(name): value for name, value in attrs.items() if name not in WITHOUT_MEANING}
        result = rule.function(ctx, *operands, **named)
        return result if isinstance(result, tuple | list) else (result,)

    def _next_key(self) -> jax.Array | None:
        if self.key is None:
            return None
        self._draws += 1
        return jax.random.fold_in(self.key, self._draws)

    def _version(self, node: ir.Node) -> int:
        return node.version or self.opsets.get(node.domain, 1)


def strong(result: Any) -> Any:
    """An array with a dtype of its own: results of Python scalars would change the dtype of what they meet."""
    if isinstance(result, jax.Array) and getattr(result, "weak_type", False):
        return lax.convert_element_type(result, result.dtype)
    return result


def _dims_to_array(dims: np.ndarray) -> jax.Array:
    """Symbolic dims as an int64 array."""
    items = [jnp.asarray(item, jnp.int64) for item in dims.reshape(-1)]
    return jnp.stack(items).reshape(dims.shape) if items else jnp.zeros(dims.shape, jnp.int64)


def as_array(value: Any) -> jax.Array:
    """What leaves a compiled function: known values become constants of it."""
    return _dims_to_array(value) if is_symbolic(value) else strong(jnp.asarray(value))
