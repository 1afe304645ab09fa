"""Models of a few nodes, and programs whose circuits are matrices, so that nothing is searched for."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import onnx
import onnx_ir as ir
from onnx import TensorProto, helper, numpy_helper

from accelc.driver import import_model
from accelc.request import Request
from accelc.targets.quantum_circuit.circuit import Circuit
from accelc.targets.quantum_circuit.compose import Choices
from accelc.targets.quantum_circuit.encode.base import BlockEncoding, bits
from accelc.targets.quantum_circuit.executable import QuantumExecutable, Settings
from accelc.targets.quantum_circuit.lower import assemble
from accelc.targets.quantum_circuit.product import Product, constant_for, with_constant
from accelc.targets.quantum_circuit.segments import cut

KINDS = {"float": TensorProto.FLOAT, "double": TensorProto.DOUBLE, "int64": TensorProto.INT64}


def node(op: str, inputs: str, outputs: str, **attributes: Any) -> onnx.NodeProto:
    """``node("Gemm", "x w b", "y", transB=1)``; a point stands for an absent operand."""
    names = ["" if name == "." else name for name in inputs.split()]
    return helper.make_node(op, names, outputs.split(), name=f"n_{outputs.split()[0]}", **attributes)


def proto(
    nodes: Sequence[onnx.NodeProto],
    inputs: Mapping[str, Sequence[int | str]],
    weights: Mapping[str, np.ndarray],
    outputs: Mapping[str, Sequence[int | str]],
    kind: str = "double",
) -> onnx.ModelProto:
    """A model whose floating-point values have one dtype."""
    dtype = helper.tensor_dtype_to_np_dtype(KINDS[kind])
    stored = [
        numpy_helper.from_array(w.astype(dtype) if w.dtype.kind == "f" else w, name)
        for name, w in weights.items()
    ]
    graph = helper.make_graph(
        list(nodes),
        "graph",
        [helper.make_tensor_value_info(name, KINDS[kind], list(dims)) for name, dims in inputs.items()],
        [helper.make_tensor_value_info(name, KINDS[kind], list(dims)) for name, dims in outputs.items()],
        stored,
    )
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 21)], ir_version=10)


def imported(model: onnx.ModelProto) -> ir.Model:
    """As passes get it."""
    return import_model(Request(model)).model


@dataclass(frozen=True)
class Held(BlockEncoding):
    """A block encoding that is a matrix without gates."""

    matrix: np.ndarray = field(default_factory=lambda: np.zeros((0, 0)))

    def decoded(self) -> np.ndarray:
        """The matrix."""
        return self.matrix


def held(matrix: np.ndarray) -> Held:
    """An encoding of ``matrix`` with alpha its norm."""
    rows, columns = (tuple(range(bits(extent))) for extent in matrix.shape)
    circuit = Circuit(max(len(rows), len(columns)) + 1, ())
    return Held(matrix.shape, circuit, rows, columns, float(np.linalg.norm(matrix, 2)), "held", matrix)


def product(weights: np.ndarray, bias: np.ndarray | None = None) -> Product:
    """A product without gates."""
    constant = constant_for(weights, bias)
    return Product(weights, bias, constant, held(with_constant(weights, bias, constant)))


def program(
    model: onnx.ModelProto, settings: Settings | None = None, choices: Choices | None = None
) -> QuantumExecutable:
    """The executable of a model whose circuits have no gates."""
    graph = imported(model)
    found = cut(graph.graph, choices if choices is not None else Choices())
    assert not found.impossible
    products = [
        product(matrix, bias)
        for segment in found.segments
        for matrix, bias in zip(segment.map.matrices, segment.map.biases, strict=True)
    ]
    return QuantumExecutable(graph, assemble(graph, found, products), settings or Settings())


def segments(exe: QuantumExecutable) -> list[list[str]]:
    """Ops of every segment."""
    return [[each.op_type for each in segment.map.nodes] for segment in exe.program.cut.segments]


def hosted(exe: QuantumExecutable) -> dict[str, str]:
    """Kinds of host steps by op."""
    return {step.node.op_type: step.kind for step in exe.program.cut.steps if hasattr(step, "kind")}
