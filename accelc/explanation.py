"""What became of one node of a model: passes that changed it or refused to, its kernel, its time."""

from __future__ import annotations

import difflib
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from typing import Any

import onnx_ir as ir

from accelc.errors import UsageError
from accelc.inspection import op_name
from accelc.ir.cost import Cost, inlined, node_cost
from accelc.ir.editor import origin_of
from accelc.ir.pass_base import Trace, node_name
from accelc.ir.shapes import describe, infer
from accelc.ir.walk import all_nodes
from accelc.machine_speed import Speed
from accelc.target import StepTime


def explain(
    name: str,
    *,
    original: ir.Model | None,
    final: ir.Model,
    trace: Trace,
    steps: Sequence[StepTime] = (),
    symbols: Mapping[str, int] | None = None,
    speed: Speed | None = None,
) -> dict[str, Any]:
    """All that is known of the node ``name``, as plain data.

    Args:
        name: A node of the user's model or of the optimised one, or a value: then the node that makes it.
        original: The imported model; None if it is not at hand (artifacts hold only the optimised one).
        final: The optimised model.
        trace: What the passes did; empty for artifacts.
        steps: Steps of the compiled model with their times.
        symbols: Sizes of free dims, for FLOPs and bytes.
        speed: Of the machine, for the predicted time.

    Raises:
        UsageError: There is no such node; names that are close are in the message.
    """
    models = [model for model in (original, final) if model is not None]
    node = next((found for model in models if (found := _find(model, name)) is not None), None)
    known = {origin for each in final.graph for origin in origin_of(each)}
    if node is None and name not in known:
        raise _unknown(name, models, known)
    wanted = {name, *([node_name(node)] if node is not None else [])}
    now = [each for each in all_nodes(final.graph) if wanted & {node_name(each), *origin_of(each)}]
    related = wanted | {node_name(each) for each in now}
    origins = wanted.union(*(origin_of(each) for each in now if node_name(each) in wanted))
    cost = _cost(final, now, symbols or {})
    predicted = None
    if speed is not None and now and not cost.unknown:
        predicted = speed.ms(cost.flops, cost.bytes_read + cost.bytes_written)
    return {
        "node": name,
        "original": _describe(node) if node is not None and original is not None else None,
        "rewrites": _rewrites(trace, related | origins),
        "refusals": _refusals(trace, related),
        "becomes": [{**_describe(each), "origin": list(origin_of(each))} for each in now],
        "flops": cost.flops,
        "bytes": cost.bytes_read + cost.bytes_written,
        "predicted_ms": predicted,
        "steps": [asdict(step) for step in steps if origins & set(step.origin)],
    }


def _find(model: ir.Model, name: str) -> ir.Node | None:
    """The node of that name, else the one that makes the value of that name."""
    maker = None
    for node in all_nodes(model.graph):
        if node_name(node) == name:
            return node
        if maker is None and any(out.name == name for out in node.outputs):
            maker = node
    return maker


def _unknown(name: str, models: Sequence[ir.Model], known: set[str]) -> UsageError:
    names = {node_name(node) for model in models for node in all_nodes(model.graph)} | known
    close = difflib.get_close_matches(name, sorted(names)[:20000], n=4, cutoff=0.5)
    return UsageError(
        f"there is no node {name!r}",
        why=f"close names: {', '.join(close)}" if close else f"the model has {len(names)} others",
        fix="list all nodes with: accelc inspect --nodes MODEL",
    )


def _describe(node: ir.Node) -> dict[str, Any]:
    return {
        "name": node_name(node),
        "op": op_name(node),
        "kernel": node.op_type if node.domain == "accelc.fused" else "",
        "inputs": [describe(value) for value in node.inputs if value is not None],
        "outputs": [describe(value) for value in node.outputs if value.name],
    }


def _cost(final: ir.Model, nodes: Sequence[ir.Node], symbols: Mapping[str, int]) -> Cost:
    """Work of these top-level nodes: fused ones are taken apart for the FLOPs, their bytes are those outside."""
    bodies = {origin_of(node) for node in nodes if node.domain == "accelc.fused"}
    total = Cost()
    for node in nodes:
        total += node_cost(node, symbols)
    if not bodies:
        return total
    flat = inlined(final)
    infer(flat)
    work = sum(node_cost(node, symbols).flops for node in flat.graph if origin_of(node) in bodies)
    return Cost(total.flops + work, total.bytes_read, total.bytes_written)


def _rewrites(trace: Trace, names: set[str]) -> list[dict[str, Any]]:
    """Rewrites that took one of the names, or what an earlier one of them made, in order."""
    following, found = set(names), []
    for record in trace.records:
        for rewrite in record.rewrites:
            if following & set(rewrite.nodes) or rewrite.result in names:
                following |= {rewrite.result} if rewrite.result else set()
                found.append({"pass": record.name, **asdict(rewrite)})
    return found


def _refusals(trace: Trace, names: set[str]) -> list[dict[str, Any]]:
    """Each different refusal about one of the names once, in order."""
    found: dict[tuple[str, str, str], dict[str, Any]] = {}
    for record in trace.records:
        for refusal in record.refusals:
            if refusal.node in names:
                key = (record.name, refusal.rule, refusal.why)
                found[key] = {
                    "pass": record.name,
                    "rule": refusal.rule,
                    "node": refusal.node,
                    "why": refusal.why,
                }
    return list(found.values())
