"""Steps on the host: one node in float64, by ONNX's meaning.

Floating-point values are float64 between steps, whatever the model's dtype. An op whose meaning is a rounding (Cast,
QuantizeLinear), one with a body, and one that the reference cannot do in float64 run in the model's own dtypes.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import onnx_ir as ir

from accelc.errors import AccelcError, CallError, UnsupportedError
from accelc.ir.attributes import attributes, constant_array
from accelc.ir.reading import describe, subgraphs_of
from accelc.reference import captured_values, evaluate_node, is_float
from accelc.targets.host_ops import HOST_OPS

_ROUNDS = frozenset(("Cast", "CastLike", "DequantizeLinear", "DynamicQuantizeLinear", "QuantizeLinear"))


def widened(value: Any) -> Any:
    """Floating-point arrays as float64; sequences element by element, anything else as it is."""
    if isinstance(value, list):
        return [widened(item) for item in value]
    if isinstance(value, np.ndarray | np.generic):
        array = np.asarray(value)
        return array.astype(np.float64) if array.dtype != object and is_float(array.dtype) else array
    return value


def declared(value: Any, dtype: ir.DataType | None) -> Any:
    """A value in the dtype that the model gives it."""
    if isinstance(value, list):
        return [declared(item, dtype) for item in value]
    if not isinstance(value, np.ndarray) or dtype is None or value.dtype != np.float64:
        return value
    with np.errstate(all="ignore"):
        return value.astype(dtype.numpy())


def constant_of(value: ir.Value) -> Any:
    """The array behind an initializer or a Constant node; None if there is none."""
    if value.is_initializer():
        tensor = value.const_value
        if tensor is None:
            return None
        array: Any = tensor.numpy()
        return _text(array) if tensor.dtype == ir.DataType.STRING else np.asarray(array)
    node = value.producer()
    is_constant = node is not None and node.domain == "" and node.op_type == "Constant"
    return constant_array(node) if is_constant and node is not None else None


def _text(array: Any) -> np.ndarray:
    flat = [item.decode("utf-8") if isinstance(item, bytes) else str(item) for item in np.ravel(array)]
    result = np.empty(len(flat), dtype=object)
    result[:] = flat
    return result.reshape(np.shape(array))


def run_node(node: ir.Node, values: dict[ir.Value, Any], opset: int | None) -> None:
    """Run a node on what ``values`` holds, and put what it makes there.

    Raises:
        CallError: The values make no sense to the op.
        UnsupportedError: The reference cannot do it.
    """
    operands = [None if value is None else _found(value, values) for value in node.inputs]
    has_body = any(True for _ in subgraphs_of(node))
    narrow = node.op_type in _ROUNDS or has_body
    try:
        with np.errstate(all="ignore"):
            results = _results(node, operands, values, opset, narrow)
    except AccelcError as error:
        where = error.where if describe(node) in error.where else (*error.where, describe(node))
        raise type(error)(error.what, where=where, why=error.why, fix=error.fix) from error
    except (ArithmeticError, LookupError, TypeError, ValueError) as error:  # NumPy, on values that do not fit
        raise CallError(
            f"{node.op_type} cannot be computed on these values", where=describe(node), why=str(error)
        ) from error
    for value, result in zip(node.outputs, results, strict=False):
        values[value] = widened(result)


def _found(value: ir.Value, values: dict[ir.Value, Any]) -> Any:
    if value in values:
        return values[value]
    found = widened(constant_of(value))
    if found is None:
        raise CallError(f"value {value.name!r} was never made")
    return found


def _results(
    node: ir.Node, operands: Sequence[Any], values: dict[ir.Value, Any], opset: int | None, narrow: bool
) -> list[Any]:
    own = [declared(x, v.dtype) if v is not None else x for x, v in zip(operands, node.inputs, strict=True)]
    host = HOST_OPS.get((node.domain, node.op_type))
    if host is not None and not any(True for _ in subgraphs_of(node)):
        return host(own if narrow else operands, attributes(node))
    captures = {
        str(value.name): declared(_found(value, values), value.dtype) for value in captured_values(node)
    }
    if not narrow:
        try:
            return _all_outputs(node, evaluate_node(node, operands, captures=captures, opset=opset))
        except UnsupportedError:
            pass  # the reference may know this op in the model's own dtypes only
    return _all_outputs(node, evaluate_node(node, own, captures=captures, opset=opset))


def _all_outputs(node: ir.Node, results: list[np.ndarray]) -> list[Any]:
    """The reference gives the outputs that have names: None in the places of the others."""
    given = iter(results)
    return [next(given, None) if output.name else None for output in node.outputs]
