"""Groups of nodes that can become one kernel: grown downwards from an anchor, or upwards from it.

Every group has one node whose results are used outside, so it is convex (see ``accelc.ir.outline``). Growing
costs time in proportion to the uses of the values of the group.
"""

from __future__ import annotations

import heapq
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

import onnx_ir as ir

from accelc.ir.pass_base import PassContext, Refusal, node_name
from accelc.ir.pointwise import FUSIBLE, broadcasts_to, is_pointwise
from accelc.ir.rewrite import same_shape, use_count

MAX_GROUP = 32
"""Nodes per group: a longer chain becomes several kernels instead of one that takes seconds to compile."""

MAX_OPEN = 8
"""Nodes that a detour may have before it must come together again (x * tanh(softplus(x)) has two)."""

Admit = Callable[[ir.Node, Mapping[ir.Value, int]], Refusal | None]
"""Whether a node may join a group whose values are given; a refusal with no reason is not worth telling."""

SILENT = Refusal("")
"""No, and nobody needs to know: the node is not of the kind that fuses."""


@dataclass
class Grown:
    """What growing found: the nodes after the anchor in order, and why it went no further."""

    nodes: list[ir.Node] = field(default_factory=list)
    refusal: Refusal | None = None


def positions(graph: ir.Graph) -> dict[ir.Node, int]:
    """Place of each node in its region; regions of a valid model are sorted topologically."""
    return {node: index for index, node in enumerate(graph)}


def grow_down(start: ir.Value, place: Mapping[ir.Node, int], admit: Admit) -> Grown:
    """The longest epilogue of ``start``: nodes that use it and each other, with one result used outside.

    Values may be used several times inside the group (``x * sigmoid(x)``): nodes are taken in topological
    order and kept once all paths have come together again.

    Args:
        start: The anchor's result.
        place: Topological position of the nodes that may join.
        admit: Asked for each node in turn; growth stops at the first that is refused.
    """
    remaining = {start: use_count(start)}
    taken: list[ir.Node] = []
    kept = 0
    queue: list[tuple[int, ir.Node]] = []
    seen: set[ir.Node] = set()
    newest, refusal = start, None
    while not newest.is_graph_output() and len(taken) < MAX_GROUP and len(taken) - kept <= MAX_OPEN:
        if use_count(newest) > MAX_OPEN:
            refusal = Refusal(f"{use_count(newest)} nodes read {newest.name}", at=newest)
            break
        for usage in newest.uses():
            if usage.node not in place:
                return Grown(taken[:kept], SILENT)  # read in a subgraph, or by a kernel made before
            if usage.node not in seen:
                seen.add(usage.node)
                heapq.heappush(queue, (place[usage.node], usage.node))
        if not queue:
            break
        node = heapq.heappop(queue)[1]
        refusal = admit(node, remaining)
        if refusal is not None:
            break
        for value in node.inputs:
            if value in remaining:
                remaining[value] -= 1
        newest = node.outputs[0]
        if not use_count(newest) and not newest.is_graph_output():
            return Grown(taken[:kept], SILENT)  # dead, and not ours to revive
        remaining[newest] = use_count(newest)
        taken.append(node)
        if not any(left for value, left in remaining.items() if value is not newest):
            kept = len(taken)
    return Grown(taken[:kept], refusal)


def grow_up(anchor: ir.Node, index: int, ctx: PassContext) -> Grown:
    """The elementwise prologue of operand ``index``: nodes that nothing but the group reads.

    All values of the prologue have the operand's full shape; what they read from outside broadcasts to it.
    """
    target = anchor.inputs[index]
    members = {anchor}
    grown = Grown()
    pending = [target]
    while pending and len(grown.nodes) < MAX_GROUP:
        value = pending.pop()
        node = value.producer() if value is not None else None
        if value is None or node is None or node in members or node.graph is not anchor.graph:
            continue
        if not is_pointwise(node):
            continue
        grown.refusal = refuse_prologue(node, value, target, members, ctx, anchor)
        if grown.refusal is None:
            members.add(node)
            grown.nodes.append(node)
            pending.extend(node.inputs)
    return grown


def refuse_prologue(
    node: ir.Node,
    value: ir.Value,
    target: ir.Value | None,
    members: set[ir.Node],
    ctx: PassContext,
    anchor: ir.Node,
) -> Refusal | None:
    """Why an elementwise node cannot join the kernel that reads its result, or None."""
    if value.is_graph_output():
        return Refusal(f"{value.name} is a graph output", at=value)
    if use_count(value) > MAX_GROUP or any(usage.node not in members for usage in value.uses()):
        return Refusal(f"{value.name} is also read outside the kernel", at=value)
    if not same_shape(value, target):
        return Refusal(f"{value.name} is not known to have the full shape", at=value)
    return refuse_operands(node, target) or refuse_pairing(ctx, anchor, node)


def refuse_operands(node: ir.Node, target: ir.Value | None) -> Refusal | None:
    """Why the operands of an elementwise node do not fit a kernel of the shape of ``target``, or None."""
    for value in (*node.inputs, *node.outputs):
        if value is None:
            continue
        if value.dtype not in FUSIBLE:
            kind = value.dtype.name if value.dtype is not None else "an unknown type"
            return Refusal(f"{value.name} has {kind}, which fused kernels do not take", at=value)
        if not broadcasts_to(value.shape, target.shape if target is not None else None):
            return Refusal(f"{value.name} is not known to broadcast to the kernel's shape", at=value)
    if node.op_type in ("Div", "Mod") and node.outputs[0].dtype not in (
        ir.DataType.FLOAT,
        ir.DataType.DOUBLE,
        ir.DataType.FLOAT16,
    ):
        return Refusal("integer division needs a check of every divisor", at=node)
    return None


def refuse_pairing(ctx: PassContext, anchor: ir.Node, node: ir.Node) -> Refusal | None:
    """Why two nodes must not share a kernel: they are on different devices, or the target objects."""
    if anchor.device_configurations or node.device_configurations:
        for one in (anchor, node):
            if any(configuration.sharding_specs for configuration in one.device_configurations):
                return Refusal(f"{node_name(one)} is sharded", at=one)
        if _stages(anchor) != _stages(node):
            return Refusal(f"{node_name(node)} is in another pipeline stage", at=node)
    return ctx.cost.can_fuse(anchor, node) if ctx.cost is not None else None


def _stages(node: ir.Node) -> set[tuple[int, int | None]]:
    return {(id(entry.configuration), entry.pipeline_stage) for entry in node.device_configurations}
