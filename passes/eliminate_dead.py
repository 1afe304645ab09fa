"""Remove what no output needs."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import onnx_ir as ir

from accelc.ir.pass_base import Pass, PassContext, PassResult
from accelc.ir.rewrite import Editor, describe, is_dead, regions, subgraphs_of, use_count


@dataclass(frozen=True)
class EliminateDead(Pass):
    """Remove nodes and weights that no graph output needs, and functions that no node calls.

    Needs:    nothing.
    Keeps:    graph inputs, used or not; every result bit for bit.
    Skips:    nothing.
    Cost:     one walk backwards, O(nodes + edges).
    Source:   liveness as reachability from the outputs.
    """

    name: ClassVar[str] = "eliminate-dead"

    def apply(self, model: ir.Model, ctx: PassContext) -> PassResult:
        """Nodes first (what dies by that too), then weights, then functions."""
        edit = Editor(model, ctx)
        graphs = list(regions(model))
        modified = _remove_nodes(graphs, edit)
        live_graphs = set(regions(model))
        for graph in graphs:
            if graph in live_graphs:
                modified |= _remove_weights(graph, ctx)
        return PassResult(model, _remove_functions(model, ctx) or modified)


def _remove_nodes(graphs: list[ir.Graph], edit: Editor) -> bool:
    """Inner regions first: a node there may be the last reader of an outer value."""
    modified = False
    pending = [node for graph in graphs for node in graph]
    while pending and edit.ctx.may_rewrite():
        node = pending.pop()
        if node.graph is None or not is_dead(node):
            continue
        inner = [n for sub in subgraphs_of(node) for n in sub]
        producers = node.predecessors()
        edit.remove(node)
        edit.ctx.rewrote("dead-node", [node], note=f"{describe(node)} is not needed")
        modified = True
        pending.extend(producers)
        _release(inner, pending)
        edit.touched.clear()
    return modified


def _release(nodes: list[ir.Node], pending: list[ir.Node]) -> None:
    """Give back the uses that the body of a removed node had of outer values."""
    stack = nodes
    while stack:
        node = stack.pop()
        stack.extend(n for sub in subgraphs_of(node) for n in sub)
        pending.extend(node.predecessors())
        node.resize_inputs(0)


def _remove_weights(graph: ir.Graph, ctx: PassContext) -> bool:
    modified = False
    for name, value in list(graph.initializers.items()):
        if not ctx.may_rewrite():
            break
        if use_count(value) or value.is_graph_output() or value.is_graph_input():
            continue
        del graph.initializers[name]
        ctx.rewrote("dead-weight", [], note=f"{name} is not used")
        modified = True
    return modified


def _remove_functions(model: ir.Model, ctx: PassContext) -> bool:
    called: set[tuple[str, str, str]] = set()
    bodies: list[ir.Graph] = list(regions(model))
    while bodies:
        for node in bodies.pop():
            key = node.op_identifier()
            if key in model.functions and key not in called:
                called.add(key)
                bodies.append(model.functions[key].graph)
            bodies.extend(subgraphs_of(node))
    modified = False
    for key in [key for key in model.functions if key not in called]:
        if ctx.may_rewrite():
            del model.functions[key]
            ctx.rewrote("dead-function", [], note=f"{key[1]} is not called")
            modified = True
    return modified
