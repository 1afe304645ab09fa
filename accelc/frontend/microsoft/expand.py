"""Replace com.microsoft and ai.onnx.ml nodes by plain ONNX: each becomes a local function, which is then inlined."""

from __future__ import annotations

from collections.abc import Iterator

import onnx
import onnx.parser
import onnx.shape_inference

from accelc.frontend import classic_ml, tree_ensemble
from accelc.frontend.convert import OPSET, inline_functions
from accelc.frontend.microsoft import attention, cached_attention, fused, norms, quantized, rotary
from accelc.frontend.microsoft.call import DOMAIN, Call, Opaque, Rule
from accelc.ir.pass_base import Limits
from accelc.ir.schemas import domain_of

LOCAL = "accelc.microsoft"
"""Domain of the local functions made here; none is left after inlining."""

RULES: dict[tuple[str, str], Rule] = {
    (domain, op): rule
    for domain, rules in (
        (DOMAIN, norms.RULES),
        (DOMAIN, fused.RULES),
        (DOMAIN, attention.RULES),
        (DOMAIN, cached_attention.RULES),
        (DOMAIN, rotary.RULES),
        (DOMAIN, quantized.RULES),
        (classic_ml.DOMAIN, classic_ml.RULES),
        (classic_ml.DOMAIN, tree_ensemble.RULES),
    )
    for op, rule in rules.items()
}


def expand_microsoft(model: onnx.ModelProto, limits: Limits) -> tuple[onnx.ModelProto, list[str]]:
    """The model with its com.microsoft and ai.onnx.ml nodes in plain ONNX, as far as they have such a form.

    Args:
        model: At the pinned opset, without local functions; not changed if there is nothing to do.
        limits: Bounds on the nodes that come in.

    Returns:
        The model, and a note for each node that stays as it is, with the reason.

    Raises:
        LimitError: The bodies have too many nodes in total.
    """
    found = [node for node in _nodes(model.graph) if (node.domain, node.op_type) in RULES]
    version = next((e.version for e in model.opset_import if domain_of(e.domain) == ""), None)
    if not found:
        return model, []
    if version != OPSET:
        return model, [
            f"com.microsoft and ai.onnx.ml ops stay as they are: the model is at opset {version}, not {OPSET}"
        ]
    ranks, dtypes = _known(model)
    notes: list[str] = []
    for number, node in enumerate(found):
        call = Call(node, ranks, dtypes)
        try:
            RULES[node.domain, node.op_type](call)
            function = _function(call, f"{node.op_type}_{number}")
        except Opaque as reason:
            notes.append(
                f"node {node.name or node.output[0]} ({node.domain}.{node.op_type}) stays as it is: {reason}"
            )
            continue
        if node.op_type == "EmbedLayerNormalization" and call.wants(1):
            ranks[node.output[1]] = 1  # lengths, which Attention asks for
        model.functions.append(function)
        _turn_into_call(node, function)
    if not model.functions:
        return model, notes
    model.opset_import.append(onnx.helper.make_opsetid(LOCAL, 1))
    inlined = inline_functions(model, limits)
    kept = [entry for entry in inlined.opset_import if entry.domain != LOCAL]
    del inlined.opset_import[:]
    inlined.opset_import.extend(kept)
    return inlined, notes


def needs_data(model: onnx.ModelProto) -> str:
    """Why inputs cannot be drawn at random; empty if they can.

    Lengths of a cache that do not fit its shape make onnxruntime read what is not there.
    """
    for node in _nodes(model.graph):
        if node.domain == DOMAIN and node.op_type == "GroupQueryAttention":
            return f"the cache lengths of GroupQueryAttention at node {node.name or node.output[0]} must fit its shapes"
    return ""


def _function(call: Call, name: str) -> onnx.FunctionProto:
    """The body that a rule wrote."""
    inputs = [f"i{i}" for i in range(len(call.node.input)) if call.has(i)]
    wanted = [i for i in range(len(call.node.output)) if call.wants(i)]
    missing = [i for i in wanted if i not in call.results]
    if missing:
        raise Opaque(f"result {missing[0]} is used")
    ends = [f"o{i} = Identity({call.results[i]})" for i in wanted]
    text = "\n".join(
        [
            f'<opset_import: ["" : {OPSET}], domain: "{LOCAL}">',
            f"{name} ({', '.join(inputs)}) => ({', '.join(f'o{i}' for i in wanted)}) {{",
            *call.lines,
            *ends,
            "}",
        ]
    )
    return onnx.parser.parse_function(text)


def _turn_into_call(node: onnx.NodeProto, function: onnx.FunctionProto) -> None:
    inputs = [name for name in node.input if name]
    outputs = [name for name in node.output if name]
    del node.input[:], node.output[:], node.attribute[:]
    node.input.extend(inputs)
    node.output.extend(outputs)
    node.op_type, node.domain = function.name, LOCAL


def _known(model: onnx.ModelProto) -> tuple[dict[str, int], dict[str, int]]:
    """Ranks and element types, declared or found by ONNX's own inference."""
    try:
        typed = onnx.shape_inference.infer_shapes(model, data_prop=True)
    except (RuntimeError, ValueError):  # what is declared may be enough
        typed = model
    return _declared(typed.graph)


def _declared(graph: onnx.GraphProto) -> tuple[dict[str, int], dict[str, int]]:
    """Ranks and element types of values that declare them."""
    ranks = {tensor.name: len(tensor.dims) for tensor in graph.initializer}
    dtypes = {tensor.name: tensor.data_type for tensor in graph.initializer}
    for value in (*graph.input, *graph.value_info, *graph.output):
        if value.type.HasField("tensor_type"):
            dtypes.setdefault(value.name, value.type.tensor_type.elem_type)
            if value.type.tensor_type.HasField("shape"):
                ranks.setdefault(value.name, len(value.type.tensor_type.shape.dim))
    return ranks, dtypes


def _nodes(graph: onnx.GraphProto) -> Iterator[onnx.NodeProto]:
    pending = [graph]
    while pending:
        for node in pending.pop().node:
            yield node
            for attr in node.attribute:
                if attr.HasField("g"):
                    pending.append(attr.g)
                pending.extend(attr.graphs)
