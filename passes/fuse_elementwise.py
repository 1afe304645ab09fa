"""Fuse clusters of elementwise ops into one kernel each."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import ClassVar

import onnx_ir as ir

from accelc.ir.groups import MAX_GROUP, positions, refuse_operands, refuse_pairing
from accelc.ir.outline import Outliner
from accelc.ir.pass_base import Pass, PassContext, PassResult, Refusal
from accelc.ir.pointwise import INTEGERS, is_pointwise
from accelc.ir.rewrite import is_dead, regions, same_shape, use_count

MAX_OPERANDS = 16
"""Values one kernel reads: more pointers than registers make its inner loop slower than two kernels."""


@dataclass
class _Cluster:
    """Nodes, users before producers; the first is the sink. ``operands`` are read from outside."""

    nodes: list[ir.Node]
    operands: set[ir.Value] = field(default_factory=set)

    @property
    def result(self) -> ir.Value:
        return self.nodes[0].outputs[0]


@dataclass(frozen=True)
class FuseElementwise(Pass):
    """Outline connected elementwise ops of one shape that have one result used outside.

    A node joins the cluster of its users if all of them are in one cluster, so nothing is computed twice and the
    cluster is convex. All results inside have the shape of the cluster's; operands may broadcast to it.

    Needs:    inferred types and shapes; constants as initializers.
    Keeps:    graph inputs, outputs, their names; results to the last bit where the runtime keeps the order.
    Skips:    values that are graph outputs or read by several clusters; results of another or an unknown shape;
              integer division; dtypes other than bool, integers, float16, float32, float64; integers and bools
              of rank 0 and 1, which are mostly shape arithmetic and stay visible to the shape evaluator; more
              than 32 nodes or 16 operands; nodes that are
              sharded or in different pipeline stages; what the target's cost refuses.
    Cost:     one walk against the topological order, O(nodes + uses).
    Source:   DESIGN section 1.
    """

    name: ClassVar[str] = "fuse-elementwise"

    def apply(self, model: ir.Model, ctx: PassContext) -> PassResult:
        """Outline every cluster of at least two nodes."""
        outliner = Outliner(model, ctx)
        modified = False
        for graph in regions(model):
            for cluster in _clusters(graph, ctx):
                if len(cluster.nodes) < 2 or is_dead(cluster.nodes[0]) or not ctx.may_rewrite():
                    continue
                nodes = cluster.nodes[::-1]
                call = outliner.outline(nodes, anchor="map")
                ctx.rewrote("elementwise", nodes, call, " + ".join(node.op_type for node in nodes))
                modified = True
        return PassResult(model, modified)


def _clusters(graph: ir.Graph, ctx: PassContext) -> list[_Cluster]:
    """All clusters of a region, those of one node included."""
    found: list[_Cluster] = []
    cluster_of: dict[ir.Node, _Cluster] = {}
    for node in reversed(positions(graph)):
        if not is_pointwise(node):
            continue
        ctx.check_time(FuseElementwise.name)
        refusal = _refuse(node)
        if refusal is not None:
            ctx.refused(refusal, "elementwise", node)
            continue
        joined = _join(node, cluster_of, ctx)
        if joined is None:
            joined = _Cluster([node], {v for v in node.inputs if v is not None})
            found.append(joined)
        cluster_of[node] = joined
    return found


def _refuse(node: ir.Node) -> Refusal | None:
    """Why a node cannot be in any cluster, or None."""
    result = node.outputs[0]
    if result.shape is None:
        return Refusal(f"the shape of {result.name} is not known", at=result)
    if len(result.shape) < 2 and result.dtype in (INTEGERS | {ir.DataType.BOOL}):
        return Refusal(f"{result.name} may be shape arithmetic", at=result)
    return refuse_operands(node, result)


def _join(node: ir.Node, cluster_of: dict[ir.Node, _Cluster], ctx: PassContext) -> _Cluster | None:
    """The cluster of all users of ``node``, after ``node`` joined it; None if it starts its own."""
    result = node.outputs[0]
    if result.is_graph_output() or not 0 < use_count(result) <= 2 * MAX_GROUP:
        return None
    clusters = {id(c): c for c in (cluster_of.get(usage.node) for usage in result.uses())}
    cluster = next(iter(clusters.values()))
    if len(clusters) != 1 or cluster is None:
        return None
    refusal = _refuse_join(node, cluster) or refuse_pairing(ctx, cluster.nodes[0], node)
    if refusal is not None:
        ctx.refused(refusal, "elementwise", node)
        return None
    cluster.nodes.append(node)
    cluster.operands.discard(result)
    cluster.operands.update(v for v in node.inputs if v is not None)
    return cluster


def _refuse_join(node: ir.Node, cluster: _Cluster) -> Refusal | None:
    result = node.outputs[0]
    if not same_shape(result, cluster.result):
        return Refusal(f"{result.name} has another shape than {cluster.result.name}", at=result)
    if len(cluster.nodes) >= MAX_GROUP:
        return Refusal(f"the kernel of {cluster.result.name} already has {MAX_GROUP} ops", at=result)
    operands = cluster.operands | {v for v in node.inputs if v is not None}
    if len(operands) > MAX_OPERANDS + 1:
        return Refusal(
            f"the kernel of {cluster.result.name} would read over {MAX_OPERANDS} values", at=result
        )
    return None
