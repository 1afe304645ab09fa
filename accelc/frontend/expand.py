"""Ops that ONNX itself defines by a function of simpler ops, replaced by that function at import.

No target has kernels for these ops as they stand, and the parts of their bodies optimise better than the whole.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import onnx
import onnx.shape_inference

from accelc.errors import LimitError
from accelc.frontend.convert import inline_functions
from accelc.ir.pass_base import Limits
from accelc.ir.schemas import domain_of

DOMAIN = "accelc.schema"
"""Domain of the local functions made here; none is left after inlining."""
ROUNDS = 4
"""Bodies may hold further such ops (the losses do): so many times, far above what the schemas have."""

EXPANDED = frozenset(
    {
        ("", "AffineGrid"),
        ("", "BlackmanWindow"),
        ("", "CausalConvWithState"),
        ("", "CenterCropPad"),
        ("", "HammingWindow"),
        ("", "HannWindow"),
        ("", "LinearAttention"),
        ("", "MeanVarianceNormalization"),
        ("", "NegativeLogLikelihoodLoss"),
        ("", "RotaryEmbedding"),
        ("", "SequenceMap"),
        ("", "SoftmaxCrossEntropyLoss"),
        ("", "SwiGLU"),
        ("ai.onnx.preview", "FlexAttention"),
    }
)
_PLAIN_ATTENTION = frozenset({"scale", "is_causal", "q_num_heads", "kv_num_heads", "softmax_precision"})


def expand_functions(model: onnx.ModelProto, limits: Limits) -> onnx.ModelProto:
    """The model with the ops of EXPANDED, and uncommon forms of others, replaced by their definitions.

    Args:
        model: Without local functions; not changed if there is nothing to expand.
        limits: ``max_function_nodes`` bounds the nodes that come in.

    Raises:
        LimitError: The bodies have too many nodes in total.
    """
    for _ in range(ROUNDS):
        if not any(_wanted(node) for node in _nodes(model.graph)):
            break
        typed = _infer(model)
        if not _localise(typed, limits):
            break
        model = inline_functions(typed, limits)
    return model


def _infer(model: onnx.ModelProto) -> onnx.ModelProto:
    try:
        return onnx.shape_inference.infer_shapes(model, check_type=False, strict_mode=False, data_prop=True)
    except (RuntimeError, ValueError):  # declared types may be all there is
        copy = onnx.ModelProto()
        copy.CopyFrom(model)
        return copy


def _wanted(node: onnx.NodeProto) -> bool:
    """Whether a node is to be expanded, as far as the node alone tells."""
    domain = domain_of(node.domain)
    if (domain, node.op_type) in EXPANDED:
        return True
    if domain != "":
        return False
    further = any(node.output[1:])
    if node.op_type == "LayerNormalization":
        return further
    if node.op_type == "Attention":
        odd = any(attr.name not in _PLAIN_ATTENTION for attr in node.attribute)
        return further or any(node.input[4:]) or odd
    return False


def _localise(model: onnx.ModelProto, limits: Limits) -> bool:
    """Turn each node to expand into a call of a local function; whether there was one that has a body."""
    types = {}
    for graph in _graphs(model.graph):
        for value in (*graph.input, *graph.output, *graph.value_info):
            types[value.name] = value.type
        for tensor in graph.initializer:
            types[tensor.name] = onnx.helper.make_tensor_type_proto(tensor.data_type, list(tensor.dims))
    versions = {domain_of(entry.domain): entry.version for entry in model.opset_import}
    count = 0
    for node in list(_nodes(model.graph)):
        if not _wanted(node):
            continue
        function = _body(node, versions.get(domain_of(node.domain), 0), versions.get("", 0), types)
        if function is None:
            continue
        count += len(function.node)
        if count > limits.max_function_nodes:
            raise LimitError(
                f"expanding ops into their definitions gives more than {limits.max_function_nodes} nodes",
                where=f"node {node.name} ({node.op_type})",
            )
        given = {attr.name for attr in node.attribute}
        defaults = onnx.defs.get_schema(
            node.op_type, versions.get(domain_of(node.domain), 0), domain_of(node.domain)
        ).attributes
        node.attribute.extend(
            attr.default_value
            for name, attr in defaults.items()
            if name in function.attribute and name not in given and attr.default_value.name
        )
        function.domain, function.name = DOMAIN, f"{node.op_type}_{len(model.functions)}"
        node.domain, node.op_type = function.domain, function.name
        model.functions.append(function)
    if model.functions:
        model.opset_import.append(onnx.helper.make_opsetid(DOMAIN, 1))
    return bool(model.functions)


def _body(
    node: onnx.NodeProto, version: int, opset: int, types: dict[str, onnx.TypeProto]
) -> onnx.FunctionProto | None:
    """The function that defines ``node``, None if the schema has none for these operands."""
    try:
        schema: Any = onnx.defs.get_schema(node.op_type, version, domain_of(node.domain))  # stubs lack a part
    except onnx.defs.SchemaError:
        return None
    function = onnx.FunctionProto()
    if schema.has_context_dependent_function:
        operands = [types.get(name, onnx.TypeProto()).SerializeToString() for name in node.input]
        try:
            text = schema.get_context_dependent_function_with_opset_version(
                max(
                    schema.context_dependent_function_opset_versions or (opset,),
                    key=lambda v: (v <= opset, v),
                ),
                node.SerializeToString(),
                operands,
            )
        except (RuntimeError, ValueError, IndexError):  # a type that the definition needs is not known
            return None
    elif schema.has_function:
        fitting = [v for v in schema.function_opset_versions if v <= opset]
        text = schema.get_function_with_opset_version(max(fitting, default=schema.since_version))
    else:
        return None
    if not text:
        return None
    function.ParseFromString(text)
    del function.output[len(node.output) :]  # a definition may leave out what the node does not ask for
    return function


def _graphs(graph: onnx.GraphProto) -> Iterator[onnx.GraphProto]:
    work = [graph]
    while work:
        each = work.pop()
        yield each
        for node in each.node:
            for attr in node.attribute:
                work += [attr.g] if attr.HasField("g") else []
                work += attr.graphs


def _nodes(graph: onnx.GraphProto) -> Iterator[onnx.NodeProto]:
    for each in _graphs(graph):
        yield from each.node
