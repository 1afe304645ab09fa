"""Take the weights out of a proto before it is converted, and put them into the graph afterwards.

Conversion goes through protobuf, which is limited to 2 GB and copies: large weights wait outside meanwhile, and
graph inputs of their names and types stand for them.
"""

from __future__ import annotations

from collections.abc import Iterator

import onnx
import onnx_ir as ir

from accelc.errors import LimitError
from accelc.frontend.external import ExternalData
from accelc.frontend.source import Source
from accelc.frontend.tensors import densify, mapped
from accelc.frontend.wire import MIN_STRIPPED_BYTES
from accelc.ir.pass_base import Limits

_LARGE = MIN_STRIPPED_BYTES


def bodies(model: onnx.ModelProto) -> Iterator[onnx.GraphProto | onnx.FunctionProto]:
    """Every graph and function body, subgraphs included; no recursion."""
    work: list[onnx.GraphProto | onnx.FunctionProto] = [model.graph, *model.functions]
    while work:
        body = work.pop()
        yield body
        for node in body.node:
            for attr in node.attribute:
                if attr.HasField("g"):
                    work.append(attr.g)
                work.extend(attr.graphs)


def take_weights(
    source: Source, external: ExternalData, limits: Limits
) -> tuple[dict[str, ir.TensorProtocol], list[str]]:
    """Remove large initializers from ``source.proto`` and make the rest plain.

    Sparse initializers become dense, initializers that are also inputs become constants, and external data
    outside of the main graph's initializers is read in.

    Args:
        source: The model; its proto is changed.
        external: Opens external data.
        limits: ``max_dense_bytes`` bounds sparse tensors and external data in attributes.

    Returns:
        Weights by name, in the model's order (None of the small ones that stay), and notes.

    Raises:
        InvalidModelError, UnsafeModelError, LimitError: See ExternalData and densify.
    """
    graph = source.proto.graph
    notes: list[str] = []
    weights: dict[str, ir.TensorProtocol] = dict(source.tensors)
    names = {tensor.name for tensor in graph.initializer} | {s.values.name for s in graph.sparse_initializer}
    doubled = [info.name for info in graph.input if info.name in names]
    if doubled and source.proto.ir_version >= 4:
        notes.append(f"inputs with a default value are compiled in as constants: {', '.join(doubled[:5])}")
    inputs = [info for info in graph.input if info.name not in names]
    small: list[onnx.TensorProto] = []
    for index, tensor in enumerate(graph.initializer):
        where = f"initializer {tensor.name}"
        span = source.spans.get(index)
        if span is not None:
            data = source.buffer[span.offset : span.offset + span.length]
            weights[tensor.name] = mapped(data, ir.DataType(tensor.data_type), tensor.dims, tensor.name)
        elif tensor.data_location == onnx.TensorProto.EXTERNAL:
            weights[tensor.name] = external.tensor(tensor, where)
        elif tensor.ByteSize() >= _LARGE and tensor.data_type != onnx.TensorProto.STRING:
            weights[tensor.name] = ir.tensor(
                ir.serde.deserialize_tensor(tensor).numpy(), ir.DataType(tensor.data_type), name=tensor.name
            )
        else:
            small.append(tensor)
    budget = limits.max_dense_bytes
    for sparse in graph.sparse_initializer:
        dense = densify(sparse, f"sparse initializer {sparse.values.name}", budget)
        budget -= dense.nbytes
        weights[sparse.values.name] = dense
    for name, tensor_ in weights.items():
        if name not in source.tensors:
            inputs.append(onnx.helper.make_tensor_value_info(name, int(tensor_.dtype), tensor_.shape.numpy()))
    _replace(graph.input, inputs)
    _replace(graph.initializer, small)
    # Before IR version 4 an initializer was an input too, and ONNX's inference does not see one that is not.
    source.proto.ir_version = max(source.proto.ir_version, 4)
    del graph.sparse_initializer[:]
    _plain_inner_tensors(source.proto, external, budget)
    return weights, notes


def _replace(field: object, items: list[onnx.ValueInfoProto] | list[onnx.TensorProto]) -> None:
    """Set a repeated field to ``items``, some of which may be its own."""
    copies = [type(item).FromString(item.SerializeToString()) for item in items]
    del field[:]  # type: ignore[attr-defined]
    field.extend(copies)  # type: ignore[attr-defined]


def _plain_inner_tensors(model: onnx.ModelProto, external: ExternalData, budget: int) -> None:
    """Read external and sparse tensors of subgraphs and attributes into the proto, within ``budget`` bytes."""
    for body in bodies(model):
        tensors: list[tuple[onnx.TensorProto, str]] = []
        if isinstance(body, onnx.GraphProto):
            tensors += [(tensor, f"initializer {tensor.name} of {body.name}") for tensor in body.initializer]
            for sparse in body.sparse_initializer:
                dense = densify(sparse, f"sparse initializer {sparse.values.name} of {body.name}", budget)
                budget -= dense.nbytes
                body.initializer.append(ir.to_proto(dense))
            del body.sparse_initializer[:]
        for node in body.node:
            for attr in node.attribute:
                where = (
                    f"attribute {attr.name} of node {node.name or ''.join(node.output[:1])} ({node.op_type})"
                )
                if attr.HasField("t"):
                    tensors.append((attr.t, where))
                tensors += [(tensor, where) for tensor in attr.tensors]
                if (
                    node.op_type == "Constant"
                    and attr.name == "sparse_value"
                    and attr.HasField("sparse_tensor")
                ):
                    dense = densify(attr.sparse_tensor, where, budget)
                    budget -= dense.nbytes
                    attr.CopyFrom(onnx.helper.make_attribute("value", ir.to_proto(dense)))
        for tensor, where in tensors:
            if tensor.data_location != onnx.TensorProto.EXTERNAL:
                continue
            data = external.bytes_of(tensor, where)
            budget -= len(data)
            if budget < 0:
                raise LimitError(
                    "attributes hold too much external data", where=where, fix="raise limits.max_dense_bytes"
                )
            tensor.raw_data = bytes(data)
            tensor.data_location = onnx.TensorProto.DEFAULT
            del tensor.external_data[:]


def put_weights(graph: ir.Graph, weights: dict[str, ir.TensorProtocol], order: list[str]) -> None:
    """Turn the inputs that stand for weights into initializers, in the model's original order.

    Args:
        graph: The main graph after conversion.
        weights: What ``take_weights`` returned.
        order: Names of all initializers as the file listed them.
    """
    kept = [value for value in graph.inputs if value.name not in weights]
    stand_ins = [value for value in graph.inputs if value.name in weights]
    graph.inputs.clear()
    graph.inputs.extend(kept)
    for value in stand_ins:
        tensor = weights[str(value.name)]
        value.type, value.shape = ir.TensorType(tensor.dtype), ir.Shape(tensor.shape.numpy())
        value.const_value = tensor
        graph.register_initializer(value)
    rank = {name: index for index, name in enumerate(order)}
    values = sorted(graph.initializers.values(), key=lambda value: rank.get(str(value.name), len(rank)))
    graph.initializers.clear()
    for value in values:
        graph.register_initializer(value)
