"""Symbolic shapes: infer them over a model, read them off values; dimensions come from accelc.ir.dims.

Source: onnx-shape-inference does the inference; what it cannot do stays without a shape and stops nothing.
"""

from __future__ import annotations

import json
import logging
from collections.abc import Iterator
from contextlib import contextmanager

import onnx_ir as ir

from accelc.errors import InvalidModelError
from accelc.ir.dims import Dim, evaluate, is_expression, is_symbol, same, symbols_in, unify
from accelc.ir.shape_rules import install
from accelc.ir.walk import all_nodes

__all__ = [
    "Dim",
    "describe",
    "dims_of",
    "dtype_name",
    "evaluate",
    "infer",
    "is_expression",
    "is_symbol",
    "place",
    "same",
    "symbolic_value",
    "symbols_in",
    "unify",
]

SYMBOLIC_DATA = "pkg.onnx_shape_inference.sym_data"
OPAQUE_DOMAIN = "accelc.opaque"
"""Domain that hides a node from inference while its rule is known to fail."""
MAX_FAILURES = 16
"""Inference restarts after a failure; past this many different failing nodes it keeps what it has."""
MAX_DIM = 2**62


def dims_of(value: ir.Value | None) -> tuple[Dim | None, ...] | None:
    """The dimensions of ``value``: ints, expressions, None where unknown; None if the rank is unknown."""
    if value is None or value.shape is None:
        return None
    return tuple(dim if isinstance(dim, int) else _plain(dim.value) for dim in value.shape.dims)


def _plain(dim: str | None) -> Dim | None:
    """A dimension as inference writes it; a number that it computed is one."""
    return int(dim) if dim is not None and dim.isdecimal() else dim


def symbolic_value(value: ir.Value | None) -> tuple[Dim, ...] | None:
    """Elements of a small integer tensor as far as they are known before running, flattened; else None.

    An element is a number or an expression over the model's symbols.
    """
    if value is None:
        return None
    text = value.metadata_props.get(SYMBOLIC_DATA)
    if text is not None:
        return tuple(item if isinstance(item, int) else str(item) for item in json.loads(text))
    tensor = ir.convenience.get_const_tensor(value)
    if tensor is None or len(tensor.shape) > 1 or tensor.size > 1024 or not tensor.dtype.is_integer():
        return None
    return tuple(int(item) for item in tensor.numpy().reshape(-1))


def describe(value: ir.Value | None) -> str:
    """A value for people: ``x float32[N,3,H,W]``."""
    if value is None:
        return "(omitted)"
    dims = dims_of(value)
    shape = "[?]" if dims is None else f"[{','.join('?' if d is None else str(d) for d in dims)}]"
    return f"{value.name} {dtype_name(value.dtype)}{shape}"


def dtype_name(dtype: ir.DataType | None) -> str:
    """A dtype as NumPy spells it: ``float32``, ``bfloat16``, ``int4``, ``string``; ``?`` if not known."""
    if dtype is None or dtype == ir.DataType.UNDEFINED:
        return "?"
    return {"FLOAT": "float32", "DOUBLE": "float64"}.get(dtype.name, dtype.name.lower())


def place(node: ir.Node, model: ir.Model) -> str:
    """Where a node is, for errors: ``node conv1 (Conv, opset 24)``."""
    opset = node.version or model.opset_imports.get(node.domain)
    op = f"{node.domain}.{node.op_type}" if node.domain else node.op_type
    name = node.name or next((str(out.name) for out in node.outputs if out.name), "(unnamed)")
    return f"node {name} ({op}, opset {opset if opset is not None else '?'})"


@contextmanager
def _quiet() -> Iterator[None]:
    """Keep the inference library from logging; whoever called hears of failures through the result."""
    logger = logging.getLogger("onnx_shape_inference")
    before = logger.level
    logger.setLevel(logging.CRITICAL)
    try:
        yield
    finally:
        logger.setLevel(before)


def infer(model: ir.Model) -> tuple[str, ...]:
    """Infer dtype and shape of every value of ``model``, in place; symbols are kept (``2*S``).

    A node whose inference fails keeps outputs without shapes and is named in the result.

    Args:
        model: Sorted, SSA. Where a declared dimension contradicts the inferred one, the declared one stays:
            the import has checked declarations by ONNX's own inference.

    Returns:
        Notes: one line per node that could not be inferred.

    Raises:
        InvalidModelError: A dimension is negative or exceeds 2**62.
    """
    _forget(model)
    hidden: list[tuple[ir.Node, str]] = []
    notes: list[str] = []
    try:
        with _quiet():
            for _ in range(MAX_FAILURES):
                failed = _attempt(model, notes)
                if not failed:
                    break
                for node in failed:
                    hidden.append((node, node.domain))
                    node.domain = OPAQUE_DOMAIN
    finally:
        for node, domain in hidden:
            node.domain = domain
    _check_sizes(model)
    return tuple(notes)


def _attempt(model: ir.Model, notes: list[str]) -> list[ir.Node]:
    """One inference of the whole model; the nodes that stopped it, if hiding them may help."""
    import onnx_shape_inference as inference

    install()
    try:
        inference.infer_symbolic_shapes(model, policy="refine", warn_on_missing=False)
    except (inference.ShapeInferenceError, inference.OpUsageError) as error:
        failed = _failing_nodes(model, error)
        problem = _reason(error)
        notes.extend(f"no shape for {place(node, model)}: {problem}" for node in failed)
        if not failed:
            notes.append(f"shape inference stopped: {problem}")
        return failed
    except (ValueError, TypeError, ArithmeticError, RecursionError, LookupError, AttributeError) as error:
        # The library's own constraint solver failed, not the rule of an op: shapes found so far stay.
        notes.append(f"shape inference stopped early: {type(error).__name__}: {error}")
    return []


def _forget(model: ir.Model) -> None:
    """Drop element values of an earlier inference: dimensions may have been bound since."""
    for graph in (model.graph, *(function.graph for function in model.functions.values())):
        for node in all_nodes(graph):
            for out in node.outputs:
                if (
                    SYMBOLIC_DATA in out.metadata_props
                    and out.metadata_props.pop(SYMBOLIC_DATA)
                    and node.op_type != "Constant"
                ):
                    out.const_value = None


def _reason(error: Exception) -> str:
    cause = error.__cause__
    message = getattr(error, "message", str(error))
    return f"{message} ({cause})" if cause is not None else str(message)


def _failing_nodes(model: ir.Model, error: Exception) -> list[ir.Node]:
    """Nodes the error speaks of; several if names repeat."""
    node = getattr(error, "node", None)
    wanted: tuple[object, ...]
    if isinstance(node, ir.Node):
        wanted = (node.name, node.op_type, node.domain)
    else:
        wanted = tuple(getattr(error, key, None) for key in ("node_name", "op_type", "domain"))
    graphs = (model.graph, *(function.graph for function in model.functions.values()))
    return [
        candidate
        for graph in graphs
        for candidate in all_nodes(graph)
        if (candidate.name, candidate.op_type, candidate.domain) == wanted
    ]


def _check_sizes(model: ir.Model) -> None:
    for node in all_nodes(model.graph):
        for out in node.outputs:
            if out.shape is None:
                continue
            for dim in out.shape.dims:
                if isinstance(dim, int) and not 0 <= dim <= MAX_DIM:
                    raise InvalidModelError(
                        f"output {out.name} has the impossible dimension {dim}",
                        where=place(node, model),
                        why=f"a dimension lies between 0 and {MAX_DIM}",
                    )
