"""What is in a model: ops with their share of the work, nodes, weights."""

from __future__ import annotations

import math
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import onnx_ir as ir

from accelc.errors import ArtifactError, UsageError
from accelc.ir.cost import inlined, node_cost
from accelc.ir.editor import origin_of
from accelc.ir.pass_base import node_name
from accelc.ir.shapes import describe, dims_of, dtype_name, infer
from accelc.ir.weights import all_initializers, subgraphs_of

if TYPE_CHECKING:
    from accelc.plan.memory_map import MemoryMap

FUSED = "accelc.fused"


def op_name(node: ir.Node) -> str:
    """Op with its domain; fused kernels by what they do, without the digest."""
    if node.domain == FUSED:
        return node.op_type.rpartition("_")[0] or node.op_type
    return f"{node.domain}.{node.op_type}" if node.domain else node.op_type


def ops_by_work(model: ir.Model, symbols: Mapping[str, int]) -> list[dict[str, Any]]:
    """Ops of the plain graph with count and FLOPs, most work first; fused kernels are taken apart."""
    plain = inlined(model)
    if plain is not model:
        infer(plain)
    found: dict[str, dict[str, Any]] = {}
    pending = [plain.graph]
    while pending:
        for node in pending.pop():
            row = found.setdefault(op_name(node), {"op": op_name(node), "count": 0, "flops": 0})
            row["count"] += 1
            row["flops"] += node_cost(node, symbols).flops
            pending.extend(subgraphs_of(node))
    return sorted(found.values(), key=lambda row: (-row["flops"], -row["count"], row["op"]))


def nodes_in_order(model: ir.Model) -> list[dict[str, Any]]:
    """Top-level nodes: name, op, result, and the nodes of the user's model they stand for."""
    return [
        {
            "name": node_name(node),
            "op": op_name(node),
            "kernel": node.op_type if node.domain == FUSED else "",
            "outputs": [describe(value) for value in node.outputs if value.name],
            "origin": list(origin_of(node)),
        }
        for node in model.graph
    ]


def largest_weights(model: ir.Model, count: int = 10) -> list[dict[str, Any]]:
    """The largest weights: name, dtype, shape, bytes."""
    found = [(name, tensor.dtype, concrete_shape(tensor.shape)) for name, tensor in all_initializers(model)]
    packed = [v for v in model.graph.initializers.values() if v.const_value is None and v.dtype and v.shape]
    found += [(str(v.name), v.dtype, concrete_shape(v.shape)) for v in packed if v.dtype and v.shape]
    rows: list[dict[str, Any]] = [
        {
            "name": name,
            "dtype": dtype_name(dtype),
            "shape": shape,
            "bytes": math.ceil(math.prod(shape) * dtype.itemsize),
        }
        for name, dtype, shape in found
        if dtype != ir.DataType.STRING
    ]
    return sorted(rows, key=lambda row: (-row["bytes"], row["name"]))[:count]


def concrete_shape(shape: ir.ShapeProtocol) -> list[int]:
    """Dims of a weight, all of them numbers."""
    return [int(dim) for dim in shape.numpy()]


def interface(model: ir.Model) -> dict[str, list[str]]:
    """Inputs and outputs as text."""
    initial = model.graph.initializers
    return {
        "inputs": [describe(value) for value in model.graph.inputs if value.name not in initial],
        "outputs": [describe(value) for value in model.graph.outputs],
    }


def free_symbols(model: ir.Model) -> dict[str, int]:
    """Symbolic dims of the inputs, each at size 1."""
    return {dim: 1 for value in model.graph.inputs for dim in dims_of(value) or () if isinstance(dim, str)}


def artifact_circuits(manifest: Mapping[str, Any]) -> list[dict[str, Any]]:
    """What each circuit of a quantum artifact takes, as its manifest says; empty for other targets.

    Raises:
        ArtifactError: The manifest is damaged there.
    """
    try:
        return [
            {"segment": str(entry["segment"]), "qasm": str(entry["qasm"]), **dict(entry["facts"])}
            for entry in manifest["payload"].get("circuits", [])
        ]
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise ArtifactError(
            "the artifact is damaged", where="circuits of the manifest", why=str(error)
        ) from error


def artifact_memory(folder: Path, sizes: Mapping[str, int]) -> MemoryMap:
    """The memory plan of an artifact for sizes of its free dims, without loading kernels.

    Raises:
        UsageError: ``folder`` is no artifact, or its target plans no memory.
        UnsupportedError: A size is missing.
    """
    from accelc import artifact
    from accelc.driver import resolve_target

    if not folder.is_dir():
        raise UsageError(
            f"{folder} has no memory plan", why="only a compiled model has", fix=f"accelc compile {folder}"
        )
    manifest = artifact.read(folder)
    found = resolve_target(str(manifest["target"])).plan_memory(folder, manifest, sizes)
    if found is None:
        raise UsageError(f"target {manifest['target']!r} plans no memory", fix="compile for --target cpu")
    return found
