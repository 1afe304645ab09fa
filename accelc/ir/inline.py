"""The inverse of outlining: calls of fused functions become the plain ops of their bodies again."""

from __future__ import annotations

from collections.abc import Collection

import onnx_ir as ir

from accelc.ir.outline import DOMAIN
from accelc.ir.pass_base import PassContext, node_name
from accelc.ir.rewrite import Editor, regions


def inline_all(model: ir.Model, *, only: Collection[ir.OperatorIdentifier] | None = None) -> bool:
    """Replace every call of a fused function by its body, in place, and drop those functions.

    For runtimes that take no local functions. One walk; names of graph outputs are kept; bodies are flat, so
    nothing recurses. Values of a body are named ``<call>/<name in the body>``.

    Args:
        model: Changed in place.
        only: Identifiers of the functions to inline; all fused functions by default.

    Returns:
        Whether the model changed.
    """
    fused = {key: function for key, function in model.functions.items() if _chosen(key, only)}
    if not fused:
        return False
    edit = Editor(model, PassContext())
    for graph in list(regions(model)):
        for node in list(graph):
            function = fused.get(node.op_identifier())
            if function is not None:
                inline_call(edit, node, function)
    for key in fused:
        del model.functions[key]
    if not any(key[0] == DOMAIN for key in model.functions):
        model.opset_imports.pop(DOMAIN, None)
    return True


def _chosen(key: ir.OperatorIdentifier, only: Collection[ir.OperatorIdentifier] | None) -> bool:
    return key[0] == DOMAIN and (only is None or key in only)


def inline_call(edit: Editor, call: ir.Node, function: ir.Function) -> None:
    """Replace one call by the body of its function; see :func:`inline_all`."""
    operands: list[ir.Value | None] = list(call.inputs)
    operands += [None] * (len(function.inputs) - len(operands))
    values: dict[ir.Value, ir.Value | None] = dict(zip(function.inputs, operands, strict=True))
    for inner in function:
        inputs = [values[v] if v is not None else None for v in inner.inputs]
        attributes = {name: ir.Attr(name, a.type, a.value) for name, a in inner.attributes.items()}
        node = edit.node(
            inner.op_type,
            inputs,
            attributes,
            before=call,
            domain=inner.domain,
            outputs=len(inner.outputs),
            origin=(call,),
        )
        for old, new in zip(inner.outputs, node.outputs, strict=True):
            new.name = edit.fresh_name(f"{node_name(call)}/{old.name}") if old.name else ""
            values[old] = new
    for formal, result in zip(function.outputs, call.outputs, strict=True):
        made = values[formal]
        if made is not None:
            edit.replace(result, made)
    edit.remove(call)
    edit.touched.clear()
    edit.created.clear()
