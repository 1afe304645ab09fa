"""From an optimised graph to a hybrid program: cut, check sizes, find a circuit for every matrix."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from pathlib import Path

import onnx_ir as ir

from accelc.errors import FallbackError, LoweringError
from accelc.inputs import model_inputs
from accelc.ir.reading import constant_tensor, describe
from accelc.targets.quantum_circuit.compose import Choices
from accelc.targets.quantum_circuit.executable import QuantumExecutable, Settings
from accelc.targets.quantum_circuit.product import AT_THE_NORM, Product, check_memory, make_product
from accelc.targets.quantum_circuit.program import Program
from accelc.targets.quantum_circuit.segments import REFERENCE, Cut, Segment, cut

_MOST_LISTED = 20

Progress = Callable[[str, int, int], None]


def lower(
    model: ir.Model,
    settings: Settings,
    *,
    strict: bool = False,
    cache_dir: Path | None = None,
    progress: Progress | None = None,
) -> QuantumExecutable:
    """Lower a model without fused functions.

    Raises:
        LoweringError: Nodes that can run neither as circuits nor on the host, all of them.
        FallbackError: ``strict``, and there are ops that no mode of the target is made for.
        LimitError: Matrices whose circuits would not fit the memory, with their qubits.
        UnsupportedError: What the search for circuits needs is not installed.
    """
    check_memory(_shapes(model.graph))
    found = cut(model.graph, Choices())
    _check_runs(found, strict)
    matrices = [(segment, group) for segment in found.segments for group in range(len(segment.map.matrices))]
    products = []
    for done, (segment, group) in enumerate(matrices):
        rows, columns = segment.map.matrices[group].shape
        what = f"circuit of {segment.name}, {rows}x{columns}"
        if progress is not None:
            progress(what, done, len(matrices))
        products.append(
            make_product(
                segment.map.matrices[group],
                segment.map.biases[group],
                max_error=settings.encoding_error,
                time_limit_s=settings.encoding_seconds / len(segment.map.matrices),
                methods=AT_THE_NORM if settings.shots else None,
                seed=settings.seed,
                cache_dir=cache_dir,
                progress=_told(progress, what, done, len(matrices)),
            )
        )
    return QuantumExecutable(model, assemble(model, found, products), settings)


def _told(progress: Progress | None, what: str, done: int, total: int) -> Callable[[str], None] | None:
    return None if progress is None else lambda text: progress(f"{what}: {text}", done, total)


def assemble(model: ir.Model, found: Cut, products: Sequence[Product]) -> Program:
    """The program of a cut graph; ``products`` in the order of its matrices."""
    each = iter(products)
    grouped = tuple(tuple(next(each) for _ in segment.map.matrices) for segment in found.segments)
    return Program(
        tuple(model_inputs(model)), tuple(model.graph.outputs), found, grouped, dict(model.opset_imports)
    )


def _check_runs(found: Cut, strict: bool) -> None:
    if found.impossible:
        raise LoweringError(
            f"target 'quantum' cannot lower {len(found.impossible)} node(s)",
            where=[describe(node) for node, _ in found.impossible[:_MOST_LISTED]],
            why="; ".join(sorted({reason for _, reason in found.impossible})),
        )
    hosted = [step for step in found.steps if not isinstance(step, Segment) and step.kind == REFERENCE]
    if strict and hosted:
        raise FallbackError(
            f"{len(hosted)} node(s) would run on the host's reference",
            where=[describe(step.node) for step in hosted[:_MOST_LISTED]],
            why="; ".join(sorted({step.reason for step in hosted})),
            fix="compile without --strict to run them there",
        )


def _shapes(graph: ir.Graph) -> dict[str, tuple[int, int, int]]:
    """Rows, columns and number of the matrices of each product with constant weights, none of them read."""
    shapes: dict[str, tuple[int, int, int]] = {}
    for node in graph:
        if node.domain != "" or node.op_type not in ("Conv", "Gemm", "MatMul"):
            continue
        tensors = [constant_tensor(value) for value in node.inputs[:2]]
        weights = next((tensor for tensor in reversed(tensors) if tensor is not None), None)
        if weights is not None and len(weights.shape) > 1:
            rows, *rest = (int(extent) for extent in weights.shape.numpy())
            groups = node.attributes.get_int("group", 1) if node.op_type == "Conv" else 1
            shapes[describe(node)] = (rows // max(1, groups), math.prod(rest), groups)
    return shapes
