"""Inline every model-local function, then pin the opset: both by ONNX's own tools, on a proto without weights."""

from __future__ import annotations

from collections.abc import Iterator

import onnx
import onnx.inliner
import onnx.shape_inference
import onnx.version_converter

from accelc.errors import InvalidModelError, LimitError
from accelc.frontend.check import FunctionKey
from accelc.frontend.source import root_cause
from accelc.ir.pass_base import Limits
from accelc.ir.schemas import domain_of, schema_of

OPSET = 24
"""The opset that models are pinned to: the newest that the oracle (onnxruntime) runs everywhere."""
IR_VERSION = 11


def inline_functions(model: onnx.ModelProto, limits: Limits) -> onnx.ModelProto:
    """The model without local functions.

    Args:
        model: A checked model.
        limits: ``max_function_nodes`` bounds the nodes afterwards, ``max_nesting`` the depth of calls.

    Raises:
        LimitError: The expansion, counted before it is made, exceeds a limit.
        InvalidModelError: Functions call each other in a cycle, or cannot be inlined.
    """
    if not model.functions:
        return model
    _count_expansion(model, limits)
    _align_functions(model)
    try:
        inlined = onnx.inliner.inline_local_functions(model, True)
    except (RuntimeError, ValueError) as error:
        raise InvalidModelError("the model's functions cannot be inlined", why=root_cause(error)) from error
    del inlined.functions[:]
    return inlined


def _align_functions(model: onnx.ModelProto) -> None:
    """Bring function bodies to the model's opset, because the inliner converts only where all types are known."""
    target = opset_of(model)
    for function in model.functions:
        entry = next((entry for entry in function.opset_import if domain_of(entry.domain) == ""), None)
        if entry is None or target is None or entry.version == target:
            continue
        if any(attr.ref_attr_name for node in _nodes(function) for attr in node.attribute):
            continue  # the converter has no references to parameters
        body = onnx.GraphProto(name=function.name, node=function.node)
        body.input.extend(onnx.ValueInfoProto(name=name) for name in function.input)
        body.output.extend(onnx.ValueInfoProto(name=name) for name in function.output)
        alone = onnx.ModelProto(ir_version=IR_VERSION, graph=body, opset_import=function.opset_import)
        converted, _ = _convert(alone, target)
        if converted is not None:
            del function.node[:]
            function.node.extend(converted.graph.node)
            entry.version = target


def _nodes(body: onnx.GraphProto | onnx.FunctionProto) -> Iterator[onnx.NodeProto]:
    work = [body.node]
    while work:
        for node in work.pop():
            yield node
            for attr in node.attribute:
                if attr.HasField("g"):
                    work.append(attr.g.node)
                work.extend(graph.node for graph in attr.graphs)


def _count_expansion(model: onnx.ModelProto, limits: Limits) -> None:
    """Refuse exponential expansion by arithmetic on the call graph, in time linear in its edges."""
    functions: dict[FunctionKey, onnx.FunctionProto] = {
        (domain_of(f.domain), f.name, f.overload): f for f in model.functions
    }
    main: FunctionKey = ("", "", "")
    calls: dict[FunctionKey, list[FunctionKey]] = {}
    own: dict[FunctionKey, int] = {}
    everything: list[tuple[FunctionKey, onnx.GraphProto | onnx.FunctionProto]] = [(main, model.graph)]
    everything.extend(functions.items())
    for key, body in everything:
        called = [(domain_of(node.domain), node.op_type, node.overload) for node in _nodes(body)]
        calls[key] = [name for name in called if name in functions]
        own[key] = len(called) - len(calls[key])
    size: dict[FunctionKey, int] = {}
    depth: dict[FunctionKey, int] = {}
    active: dict[FunctionKey, Iterator[FunctionKey]] = {main: iter(calls[main])}
    while active:
        key = next(reversed(active))
        callee = next((name for name in active[key] if name not in size), None)
        if callee is None:
            active.pop(key)
            size[key] = own[key] + sum(size[name] for name in calls[key])
            depth[key] = 1 + max((depth[name] for name in calls[key]), default=0)
            if size[key] > limits.max_function_nodes or depth[key] > limits.max_nesting:
                _refuse_expansion(key, size[key], depth[key], limits)
        elif callee in active:
            raise InvalidModelError(
                "a function calls itself",
                where=[f"function {_title(name)}" for name in active if name != main],
            )
        else:
            active[callee] = iter(calls[callee])


def _title(key: FunctionKey) -> str:
    return ".".join(part for part in key if part) or "the main graph"


def _refuse_expansion(key: FunctionKey, size: int, depth: int, limits: Limits) -> None:
    if size > limits.max_function_nodes:
        count = str(size) if size < 10**12 else "more than 10^12"
        raise LimitError(
            f"inlining the model's functions would give {count} nodes",
            where=f"function {_title(key)}",
            why=f"the limit is {limits.max_function_nodes}",
            fix="raise limits.max_function_nodes",
        )
    raise LimitError(
        f"functions call each other {depth} levels deep",
        where=f"function {_title(key)}",
        why=f"the limit is {limits.max_nesting}",
        fix="raise limits.max_nesting",
    )


def opset_of(model: onnx.ModelProto) -> int | None:
    """The version of the standard domain that a model imports; None if it imports none."""
    return next((entry.version for entry in model.opset_import if domain_of(entry.domain) == ""), None)


def pin_opset(model: onnx.ModelProto) -> tuple[onnx.ModelProto, list[str]]:
    """The model at opset 24 and IR version 11, or as near as the converter gets.

    Args:
        model: A checked model without functions and large weights.

    Returns:
        The converted model, and a note if it keeps another opset.
    """
    model.ir_version = IR_VERSION
    # Some exporters list a domain twice; removing one of two equal messages would take the first.
    imports = {domain_of(entry.domain): entry.version for entry in model.opset_import}
    del model.opset_import[:]
    model.opset_import.extend(
        onnx.helper.make_opsetid(domain, version) for domain, version in imports.items()
    )
    entries = [entry for entry in model.opset_import if entry.domain == ""]
    if not entries:
        model.opset_import.append(onnx.helper.make_opsetid("", OPSET))
        return model, []
    current = entries[0].version
    if current < 7:
        _broadcast_slopes(model)
    if current < 9 and any(node.op_type == "Scan" and not node.domain for node in _nodes(model.graph)):
        # Scan lost its batch axis in opset 9, and the converter only changes the number.
        converted, problem = _convert(model, 8) if current < 8 else (model, "")
        kept = current if converted is None else 8
        return converted or model, [f"kept at opset {kept}: {problem or 'Scan changed in opset 9'}"]
    if _unchanged(model, current, OPSET):
        entries[0].version = OPSET
        return model, []
    converted, problem = _convert(model, OPSET)
    if converted is not None:
        return converted, []
    # Steps are made one version at a time, so all versions up to the failing step work: bisect for it.
    step = 1 if current < OPSET else -1
    low, high, best = 0, abs(OPSET - current), model
    while high - low > 1:
        middle = (low + high) // 2
        candidate, reason = _convert(model, current + step * middle)
        if candidate is None:
            high, problem = middle, reason
        else:
            low, best = middle, candidate
    return best, [f"kept at opset {current + step * low}: {problem}"]


def _broadcast_slopes(model: onnx.ModelProto) -> None:
    """Before opset 7 the slope [C] of PRelu belongs to dim 1; since then it broadcasts, which the converter forgets."""
    if not any(node.op_type == "PRelu" for node in model.graph.node):
        return
    typed = onnx.shape_inference.infer_shapes(model)
    values = (*typed.graph.input, *typed.graph.value_info, *typed.graph.output)
    ranks = {value.name: len(value.type.tensor_type.shape.dim) for value in values}
    ranks.update((tensor.name, len(tensor.dims)) for tensor in model.graph.initializer)
    nodes: list[onnx.NodeProto] = []
    for index, node in enumerate(model.graph.node):
        rank = ranks.get(node.input[0], 0) if node.op_type == "PRelu" else 0
        if rank > 2 and ranks.get(node.input[1]) == 1:
            name = f"{node.input[1]}_per_channel_{index}"
            axes = list(range(1, rank - 1))
            nodes.append(onnx.helper.make_node("Unsqueeze", [node.input[1]], [name], axes=axes))
            node.input[1] = name
        nodes.append(node)
    copies = [onnx.NodeProto.FromString(node.SerializeToString()) for node in nodes]
    del model.graph.node[:]
    model.graph.node.extend(copies)


def _convert(model: onnx.ModelProto, version: int) -> tuple[onnx.ModelProto | None, str]:
    try:
        converted = onnx.version_converter.convert_version(model, version)
    except (RuntimeError, ValueError, IndexError, onnx.version_converter.ConvertError) as error:
        return None, root_cause(error)
    converted.ir_version = IR_VERSION
    # The converter writes down every shape it infers; only what the model declared itself is kept.
    del converted.graph.value_info[:]
    converted.graph.value_info.extend(model.graph.value_info)
    for before, after in zip(model.graph.output, converted.graph.output, strict=True):
        after.CopyFrom(before)
    return converted, ""


def _unchanged(model: onnx.ModelProto, old: int, new: int) -> bool:
    """Whether no op of the model changed between two opsets: then only the number changes."""
    ops = {node.op_type for node in _nodes(model.graph) if domain_of(node.domain) == ""}
    for op_type in ops:
        before, after = schema_of(op_type, "", old), schema_of(op_type, "", new)
        if before is None or after is None or before.since != after.since:
            return False
    return True
