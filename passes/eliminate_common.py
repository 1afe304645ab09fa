"""Compute equal things once."""

from __future__ import annotations

import hashlib
from collections.abc import Hashable, Iterator
from dataclasses import dataclass, field
from typing import ClassVar

import numpy as np
import onnx_ir as ir

from accelc.ir.pass_base import Pass, PassContext, PassResult, Refusal
from accelc.ir.rewrite import Editor, constant_value, is_random, regions, subgraphs_of, use_count

Scope = dict[Hashable, ir.Node]
SAMPLE = 64
"""Elements of a large weight that are hashed before weights are compared in full."""


@dataclass(frozen=True)
class EliminateCommon(Pass):
    """Merge nodes with the same op, attributes and operands, and weights with the same bytes.

    Needs:    a sorted graph.
    Keeps:    every result bit for bit; graph output names.
    Skips:    random ops; nodes with subgraphs; two results that are both graph outputs.
    Cost:     O(nodes + bytes of weights of equal dtype, shape and sample).
    Source:   value numbering over the dominator tree of regions (a region sees its outer ones).
    """

    name: ClassVar[str] = "eliminate-common"

    def apply(self, model: ir.Model, ctx: PassContext) -> PassResult:
        """Weights first, so that nodes that read equal weights become equal."""
        edit = Editor(model, ctx)
        modified = False
        for graph in regions(model):
            modified |= _merge_weights(graph, edit)
        return PassResult(model, _merge_nodes(model.graph, edit) or modified)


def _merge_weights(graph: ir.Graph, edit: Editor) -> bool:
    buckets: dict[Hashable, list[ir.Value]] = {}
    modified = False
    for value in list(graph.initializers.values()):
        if not edit.ctx.may_rewrite():
            return modified
        array = constant_value(value)
        if array is None or not use_count(value) or value.is_graph_output():
            continue
        twins = buckets.setdefault((value.dtype, array.shape, _sample(array)), [])
        twin = next((v for v in twins if _same_bytes(constant_value(v), array)), None)
        if twin is None:
            twins.append(value)
            continue
        edit.replace(value, twin)
        edit.ctx.rewrote("common-weight", [], note=f"{value.name} has the bytes of {twin.name}")
        modified = True
    return modified


def _sample(array: np.ndarray) -> bytes:
    """A few elements spread over the array: reads some pages of a mapped weight, not all of it."""
    flat = array.reshape(-1)
    return flat[:: max(1, flat.size // SAMPLE)][:SAMPLE].tobytes()


def _same_bytes(a: np.ndarray | None, b: np.ndarray) -> bool:
    if a is None or a.nbytes != b.nbytes:
        return False
    left, right = (np.ascontiguousarray(x).reshape(-1).view(np.uint8) for x in (a, b))
    return bool(np.array_equal(left, right))


@dataclass
class _Frame:
    """A region being walked: what it has computed so far, and subgraphs to enter before its next node."""

    nodes: Iterator[ir.Node]
    seen: Scope = field(default_factory=dict)
    inner: list[ir.Graph] = field(default_factory=list)


def _merge_nodes(root: ir.Graph, edit: Editor) -> bool:
    """Walk regions in order of dominance: a region sees what those around it computed before it."""
    modified = False
    stack = [_Frame(iter(list(root)))]
    while stack and edit.ctx.may_rewrite():
        frame = stack[-1]
        if frame.inner:
            stack.append(_Frame(iter(list(frame.inner.pop(0)))))
            continue
        node = next(frame.nodes, None)
        if node is None:
            stack.pop()
            continue
        frame.inner = list(subgraphs_of(node))
        if not frame.inner and not is_random(node):
            modified |= _merge(node, stack, edit)
    return modified


def _merge(node: ir.Node, stack: list[_Frame], edit: Editor) -> bool:
    """Replace ``node`` by an equal one that dominates it, or remember it."""
    key = _key(node)
    twin = next((frame.seen[key] for frame in stack if key in frame.seen), None)
    if twin is None:
        stack[-1].seen[key] = node
        return False
    for old, new in zip(node.outputs, twin.outputs, strict=True):
        if not edit.can_replace(old, new):
            refusal = Refusal(f"it equals {twin.name}, but both give a graph output its name", at=node)
            edit.ctx.refused(refusal, "common-node", node)
            return False
    for old, new in zip(node.outputs, twin.outputs, strict=True):
        edit.replace(old, new)
    edit.remove(node)
    edit.ctx.rewrote("common-node", [node], twin, f"{node.name} equals {twin.name}")
    edit.touched.clear()
    return True


def _key(node: ir.Node) -> Hashable:
    attributes = tuple(sorted(((name, _attribute(a)) for name, a in node.attributes.items()), key=str))
    # Values are compared by identity: equal operands have been merged before.
    operands = tuple(id(value) if value is not None else None for value in node.inputs)
    used = tuple(bool(value.name) for value in node.outputs)
    return (*node.op_identifier(), node.version, operands, attributes, used)


def _attribute(attribute: ir.Attr) -> Hashable:
    if attribute.is_ref():
        return ("ref", attribute.ref_attr_name)
    if attribute.type == ir.AttributeType.TENSOR:
        tensor = attribute.as_tensor()
        strings = tensor.dtype == ir.DataType.STRING  # these have no bytes, their text stands for them
        data = repr(tensor.numpy().tolist()).encode() if strings else tensor.tobytes()
        digest = hashlib.sha256(data).hexdigest()
        return (str(tensor.dtype), tuple(tensor.shape.dims), digest)
    # repr tells 0.0 from -0.0 and takes NaN as equal to itself.
    return (str(attribute.type), repr(attribute.value))
