"""What a compile did, as plain data: for the command line, for JSON and for the manifest."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict
from typing import Any

import onnx_ir as ir

from accelc.inputs import model_inputs
from accelc.ir.cost import model_cost, parameter_count, weight_bytes
from accelc.ir.pass_base import Trace, count_nodes
from accelc.ir.shapes import dims_of, symbols_in
from accelc.target import Executable


def model_facts(model: ir.Model) -> dict[str, Any]:
    """Size and cost of an imported model. Free dims count as 1, and ``flops_at`` says so."""
    symbols = {s: 1 for v in model_inputs(model) for dim in dims_of(v) or () for s in sorted(symbols_in(dim))}
    cost = model_cost(model, symbols)
    return {
        "nodes": {"before": count_nodes(model)},
        "parameters": parameter_count(model),
        "model_weight_bytes": weight_bytes(model),
        "flops": cost.flops,
        "flops_at": symbols,
        "flops_unknown_nodes": cost.unknown,
    }


def manifest_facts(exe: Executable, facts: Mapping[str, Any]) -> dict[str, Any]:
    """What goes into the manifest: the same for every compile of the same input."""
    memory = exe.memory_plan
    own = exe.summary if hasattr(exe, "summary") else {}
    return {
        **facts,
        "kernels": own.get("kernels", facts["nodes"]["after"]),
        "memory": asdict(memory),
        "fallbacks": list(exe.fallbacks),
        "inputs": [_spec(spec) for spec in exe.inputs],
        "outputs": [_spec(spec) for spec in exe.outputs],
    }


def _spec(spec: Any) -> dict[str, Any]:
    shape = None if spec.shape is None else list(spec.shape)
    return {"name": spec.name, "dtype": str(spec.dtype), "shape": shape}


def describe_result(exe: Executable, times_ms: Mapping[str, float], notes: Sequence[str]) -> dict[str, Any]:
    """The summary of a compiled or loaded executable."""
    info = exe.info
    own = dict(exe.summary) if hasattr(exe, "summary") else {}
    facts = dict(info.facts) if info is not None else {}
    return {
        "model": {"name": info.model_name, "sha256": info.model_sha256} if info is not None else {},
        "target": exe.target_name,
        "passes": list(info.passes) if info is not None else [],
        **facts,
        "memory": asdict(exe.memory_plan),
        "verification": asdict(exe.verification),
        "rewrites": sum(len(record.rewrites) for record in exe.trace.records),
        "refusals": sum(len(record.refusals) for record in exe.trace.records),
        "times_ms": {name: round(ms, 3) for name, ms in times_ms.items()},
        "notes": list(notes),
        "target_facts": own,
    }


def trace_json(trace: Trace) -> list[dict[str, Any]]:
    """The records of all passes as plain data."""
    return [
        {
            "pass": record.name,
            "ms": round(record.ms, 3),
            "nodes_before": record.nodes_before,
            "nodes_after": record.nodes_after,
            "rewrites": [asdict(rewrite) for rewrite in record.rewrites],
            "refusals": [
                {"rule": refusal.rule, "node": refusal.node, "why": refusal.why}
                for refusal in record.refusals
            ],
        }
        for record in trace.records
    ]
