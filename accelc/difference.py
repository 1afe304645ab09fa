"""What differs between two models: interface, nodes, kernels, weights, results on the same inputs."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import onnx_ir as ir

from accelc.inspection import FUSED, op_name
from accelc.ir.pass_base import node_name
from accelc.ir.shapes import describe
from accelc.ir.walk import all_nodes
from accelc.ir.weights import all_initializers


def difference(a: ir.Model, b: ir.Model) -> dict[str, Any]:
    """Differences of two graphs as plain data; lists are empty and ``same`` is true if there are none.

    Nodes are matched by name: equal ones have the same op and the same operand names and attributes. Weights are
    matched by name and compared bit by bit; the contents of those whose data is not at hand (packed in an
    artifact) are not compared.
    """
    facts: dict[str, Any] = {
        "inputs": _pair(a.graph.inputs, b.graph.inputs),
        "outputs": _pair(a.graph.outputs, b.graph.outputs),
        "ops": _counts(a, b),
        "nodes": _nodes(a, b),
        "kernels": _sets(_kernels(a), _kernels(b)),
        "weights": _weights(a, b),
    }
    parts = (facts["inputs"], facts["outputs"], facts["nodes"], facts["kernels"], facts["weights"])
    return {"same": not any(any(part.values()) for part in parts) and not facts["ops"], **facts}


def compare_results(a: Mapping[str, np.ndarray], b: Mapping[str, np.ndarray]) -> list[dict[str, Any]]:
    """One row for each output that both have: equal or not, largest error, as a share of max|a| too."""
    rows = []
    for name, left in a.items():
        right = b.get(name)
        if right is None:
            continue
        row: dict[str, Any] = {"name": name, "equal": False, "max_abs_error": None, "max_rel_error": None}
        if left.shape != right.shape or left.dtype != right.dtype:
            row["why"] = f"{left.dtype}{list(left.shape)} against {right.dtype}{list(right.shape)}"
        elif left.dtype.kind not in "fiub" or not left.size:
            row["equal"] = bool(np.array_equal(left, right))
        else:
            row |= _errors(left.astype(np.float64), right.astype(np.float64))
        rows.append(row)
    return rows


def _errors(left: np.ndarray, right: np.ndarray) -> dict[str, Any]:
    finite = np.isfinite(left) & np.isfinite(right)
    same = np.array_equal(left[~finite], right[~finite], equal_nan=True)
    error = float(np.abs(left[finite] - right[finite]).max(initial=0)) if same else float("inf")
    scale = float(np.abs(left[finite]).max(initial=0))
    relative = error / scale if scale else (0.0 if error == 0 else float("inf"))
    return {"equal": error == 0, "max_abs_error": error, "max_rel_error": relative}


def _pair(a: Sequence[ir.Value], b: Sequence[ir.Value]) -> dict[str, list[str]]:
    return _sets([describe(value) for value in a], [describe(value) for value in b])


def _sets(a: Sequence[str], b: Sequence[str]) -> dict[str, list[str]]:
    left, right = set(a), set(b)
    return {
        "only_a": [item for item in dict.fromkeys(a) if item not in right],
        "only_b": [item for item in dict.fromkeys(b) if item not in left],
    }


def _counts(a: ir.Model, b: ir.Model) -> list[dict[str, Any]]:
    left, right = (Counter(op_name(node) for node in all_nodes(model.graph)) for model in (a, b))
    ops = sorted(left.keys() | right.keys())
    return [{"op": op, "a": left[op], "b": right[op]} for op in ops if left[op] != right[op]]


def _nodes(a: ir.Model, b: ir.Model) -> dict[str, list[str]]:
    left, right = ({node_name(node): node for node in all_nodes(model.graph)} for model in (a, b))
    both = [name for name in left if name in right]
    changed = [name for name in both if _signature(left[name]) != _signature(right[name])]
    return {**_sets(list(left), list(right)), "changed": changed}


def _signature(node: ir.Node) -> tuple[Any, ...]:
    inputs = tuple(value.name if value is not None else None for value in node.inputs)
    attributes = tuple(sorted((name, _attribute(attr)) for name, attr in node.attributes.items()))
    return (node.domain, node.op_type, inputs, tuple(out.name for out in node.outputs), attributes)


def _attribute(attr: ir.Attr) -> str:
    if attr.type in (ir.AttributeType.GRAPH, ir.AttributeType.GRAPHS):
        return "graph"  # its nodes are compared one by one
    if attr.type == ir.AttributeType.TENSOR:
        return repr(attr.as_tensor().numpy().tolist())
    return repr(attr.value)


def _kernels(model: ir.Model) -> list[str]:
    return [node.op_type for node in model.graph if node.domain == FUSED]


def _weights(a: ir.Model, b: ir.Model) -> dict[str, list[str]]:
    left, right = dict(all_initializers(a)), dict(all_initializers(b))
    names_a, names_b = (
        list({**model.graph.initializers, **tensors}) for model, tensors in ((a, left), (b, right))
    )
    changed = [name for name in left if name in right and not _equal(left[name], right[name])]
    return {**_sets(names_a, names_b), "changed": changed}


def _equal(a: ir.TensorProtocol, b: ir.TensorProtocol) -> bool:
    if a is b:
        return True
    if a.dtype != b.dtype or tuple(a.shape) != tuple(b.shape):
        return False
    if a.dtype == ir.DataType.STRING:
        return bool(np.array_equal(a.numpy(), b.numpy()))
    return a.tobytes() == b.tobytes()
