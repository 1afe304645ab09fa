"""Outlining: a group of nodes becomes one call of a model-local ONNX function.

A fused kernel is such a function, in the domain ``accelc.fused``. Its body is its definition: plain ONNX
ops without shapes, in a canonical form, so that equal structure gives one function with one name whatever
the values were called and in whatever order the nodes stood. The name ends in a digest of that form.
``accelc.ir.inline`` is the way back.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence

import onnx_ir as ir

from accelc.errors import PassError
from accelc.ir.body import Body, build_function, canonical_order, escapes, write_body
from accelc.ir.pass_base import PassContext, node_name
from accelc.ir.rewrite import Editor, describe, is_dead, use_count

DOMAIN = "accelc.fused"
"""Domain of all fused functions."""

DIGEST_KEY = "accelc.digest"
"""Key in a function's metadata_props: the full SHA-256 of its canonical body, in hex."""

MAX_NAMED_OPS = 6
"""Ops spelled out in a function's name; the rest is a count."""


class Outliner:
    """Outlines groups of nodes of one model; make one per pass, its name tables are built once.

    Args:
        model: Edited in place.
        ctx: The pass context; the caller asks ``ctx.may_rewrite()`` and records the rewrite.
    """

    def __init__(self, model: ir.Model, ctx: PassContext) -> None:
        """Read the names in use when the first group is outlined."""
        self.model = model
        self.edit = Editor(model, ctx)

    def outline(self, nodes: Sequence[ir.Node], *, anchor: str) -> ir.Node:
        """Replace ``nodes`` by one call of a function with the same meaning.

        All results that are used outside must come from one of the nodes, the sink. Such a group is convex
        (a path that leaves it leaves through the sink, and nothing the sink leads to can lead back), and
        every operand is there before the sink is, so the call stands where the sink stood.

        Operands of the call are the values from outside in the order of their first use in the body;
        constants that steer the computation are in the body instead. The call keeps the names of the
        sink's results.

        Args:
            nodes: Nodes of one region, in any order.
            anchor: First word of the function's name; the ops in order follow (once, if it is the first op).

        Returns:
            The call; its ``accelc.origin`` lists the nodes it stands for.

        Raises:
            PassError: Nodes of several regions, several sinks, a node without effect on the sink, or a node
                that holds a subgraph.
        """
        members = dict.fromkeys(nodes)
        sink = _find_sink(members)
        sink_name = node_name(sink)
        self.edit.created.clear()
        ordered = canonical_order(sink, members)
        if len(ordered) != len(members):
            lost = next(iter(members.keys() - set(ordered)))
            raise PassError("cannot outline", where=describe(lost), why="nothing in the group reads it")
        body = write_body(members, ordered, self.model.opset_imports)
        function = self._function(body, anchor)
        results = [value for value in sink.outputs if escapes(value, members)]
        call = self.edit.node(
            function.name, body.inputs, before=sink, like=results, origin=ordered, domain=DOMAIN
        )
        call.device_configurations = sink.device_configurations  # fusion crosses no stage border
        for old, new in zip(results, call.outputs, strict=True):
            self.edit.replace(old, new)
        read = dict.fromkeys(value for node in ordered for value in node.inputs if value is not None)
        self.edit.sweep(ordered)
        self.edit.settle(sink_name)
        self.edit.touched.clear()
        for value in read:
            _drop_unused_constant(value)
        return call

    def _function(self, body: Body, anchor: str) -> ir.Function:
        """The function with this body: the model's, if it has it, else a new one."""
        digest = hashlib.sha256(body.text().encode()).hexdigest()
        ops = [step.op.lower() for step in body.steps]
        words = ops if anchor in ("", ops[0]) else [anchor, *ops]
        if len(words) > MAX_NAMED_OPS:
            words = [*words[:MAX_NAMED_OPS], f"and{len(words) - MAX_NAMED_OPS}"]
        # 64 bits name a kernel for people; the longer form is for the day when two bodies share them.
        for digits in (16, 64):
            name = f"{'_'.join(words)}_{digest[:digits]}"
            function = self.model.functions.get((DOMAIN, name, ""))
            if function is None:
                function = build_function(body, DOMAIN, name)
                function.metadata_props[DIGEST_KEY] = digest
                self.model.functions[function.identifier()] = function
                self.model.opset_imports.setdefault(DOMAIN, 1)
                return function
            if function.metadata_props.get(DIGEST_KEY) == digest:
                return function
        raise PassError(f"function {name} exists with another body")


def outline(model: ir.Model, nodes: Sequence[ir.Node], *, anchor: str) -> ir.Node:
    """Outline one group; for many groups of one model use an :class:`Outliner`."""
    return Outliner(model, PassContext()).outline(nodes, anchor=anchor)


def _find_sink(members: Mapping[ir.Node, None]) -> ir.Node:
    graphs = {node.graph for node in members}
    if len(graphs) != 1 or None in graphs:
        raise PassError(f"cannot outline {len(members)} nodes of {len(graphs)} regions")
    sinks = [node for node in members if any(escapes(value, members) for value in node.outputs)]
    if len(sinks) != 1:
        names = ", ".join(node_name(node) for node in sinks[:4])
        raise PassError(f"cannot outline: {len(sinks)} nodes have results used outside ({names})")
    return sinks[0]


def _drop_unused_constant(value: ir.Value) -> None:
    """Remove a constant that only the outlined nodes read."""
    if use_count(value) or value.is_graph_output() or value.is_graph_input():
        return
    graph = value.graph
    if value.is_initializer() and isinstance(graph, ir.Graph):
        graph.initializers.pop(str(value.name))
        return
    node = value.producer()
    if node is not None and node.op_type == "Constant" and node.graph is not None and is_dead(node):
        node.graph.remove(node)
