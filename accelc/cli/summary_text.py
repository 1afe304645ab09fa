"""The summary of a compile, and the table of passes, as aligned text."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from accelc.cli.output import rows, table
from accelc.quantities import count_text, size_text, time_text

if TYPE_CHECKING:
    from accelc.ir.pass_base import Trace


def summary_text(summary: Mapping[str, Any], *, title: str, files: Mapping[str, int]) -> str:
    """The one summary that a compile ends with."""
    nodes = summary.get("nodes", {})
    memory = summary.get("memory", {})
    pairs = [
        ("target", _target_text(summary)),
        ("nodes", f"{nodes.get('before', '?')} -> {nodes.get('after', '?')}{_rewrites(summary)}"),
        ("kernels", _kernels_text(summary)),
        ("parameters", _parameters_text(summary)),
        ("FLOPs", _flops_text(summary)),
        ("peak memory", _memory_text(memory, free=bool(summary.get("flops_at")))),
        ("memory limit", _limit_text(memory.get("limit"), summary.get("flops", 0))),
        ("verification", verification_text(summary["verification"])),
        ("fallbacks", _fallbacks_text(summary)),
        ("notes", "\n".join((*summary.get("notes", ()), *summary.get("target_facts", {}).get("notes", ())))),
        ("time", _time_text(summary.get("times_ms", {}))),
        ("files", f"{len(files)} files, {size_text(sum(files.values()))}" if files else ""),
    ]
    return f"{title}\n{rows(pairs)}"


def _target_text(summary: Mapping[str, Any]) -> str:
    detail = summary.get("target_facts", {}).get("detail", "")
    return f"{summary['target']} ({detail})" if detail else str(summary["target"])


def _rewrites(summary: Mapping[str, Any]) -> str:
    made, refused = summary.get("rewrites", 0), summary.get("refusals", 0)
    plural = "" if made == 1 else "s"
    return f"  ({made} rewrite{plural}, {refused} refused)" if made or refused else ""


def _kernels_text(summary: Mapping[str, Any]) -> str:
    facts = summary.get("target_facts", {})
    parts = [
        f"{facts[key]} {word}"
        for key, word in (("compiled", "compiled"), ("cached", "cached"))
        if key in facts
    ]
    total = str(summary.get("kernels", 0))
    return f"{total}  ({', '.join(parts)})" if parts else total


def _parameters_text(summary: Mapping[str, Any]) -> str:
    return f"{count_text(summary.get('parameters', 0))}  ({size_text(summary.get('model_weight_bytes', 0))})"


def _flops_text(summary: Mapping[str, Any]) -> str:
    at = ", ".join(f"{name}={size}" for name, size in summary.get("flops_at", {}).items())
    unknown = summary.get("flops_unknown_nodes", 0)
    notes = [f"at {at}" if at else "", f"{unknown} nodes of unknown shape" if unknown else ""]
    shown = "; ".join(note for note in notes if note)
    return f"{count_text(summary.get('flops', 0))}{f'  ({shown})' if shown else ''}"


def _limit_text(limit: Mapping[str, int] | None, flops: int) -> str:
    if not limit:
        return ""
    text = f"{size_text(limit['limit_bytes'])}  (without it {size_text(limit['unlimited_bytes'])}"
    if not limit["recomputed_calls"]:
        return f"{text}, nothing is recomputed)"
    share = f", {limit['recomputed_flops'] / flops:.2%} more" if flops else ""
    added = f"{limit['recomputed_calls']} more kernel calls, {count_text(limit['recomputed_flops'])} FLOPs"
    return f"{text}; costs {added}{share})"


def _memory_text(memory: Mapping[str, Any], *, free: bool) -> str:
    peak = memory.get("peak_bytes", 0)
    if not peak:
        return "planned at the first call"
    bound = memory.get("lower_bound_bytes", 0)
    notes = [f"lower bound {size_text(bound)}"] if bound else []
    notes.append(f"weights {size_text(memory.get('weight_bytes', 0))}")
    notes += ["at the shapes verified last"] if free else []
    return f"{size_text(peak)}  ({', '.join(notes)})"


def verification_text(verdict: Mapping[str, Any]) -> str:
    """``verified: error 1.2e-07 of max|output|, bound 2e-05, 2 input sets``."""
    status = str(verdict["status"])
    if status in ("off", "not verified"):
        return f"{status}: {verdict['reason']}" if verdict["reason"] else status
    sets = verdict["input_sets"]
    plural = "" if sets == 1 else "s"
    text = f"{status} against onnxruntime on {sets} input set{plural}: "
    text += f"max error {verdict['max_rel_error']:.2g} of max|output|, bound {verdict['bound']:.2g}"
    return f"{text}\n{verdict['reason']}" if verdict["reason"] else text


def _fallbacks_text(summary: Mapping[str, Any]) -> str:
    fallbacks = summary.get("fallbacks", ())
    return "\n".join(str(item) for item in fallbacks) if fallbacks else "none"


def _time_text(times: Mapping[str, float]) -> str:
    stages = ", ".join(f"{name} {time_text(ms)}" for name, ms in times.items() if name != "total")
    return f"{time_text(times['total'])}  ({stages})" if "total" in times else stages


def timing_text(trace: Trace) -> str:
    """One line per pass: time, nodes before and after, rewrites, refusals."""
    lines = [
        (r.name, f"{r.ms:.1f}", r.nodes_before, r.nodes_after, len(r.rewrites), len(r.refusals))
        for r in trace.records
    ]
    header = ("pass", "ms", "nodes", "after", "rewrites", "refused")
    return table(header, lines, right=(1, 2, 3, 4, 5)) + "\n"
