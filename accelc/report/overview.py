"""The head of a report: the verdict, the command, what changed."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from accelc.quantities import count_text, duration_text, size_text, time_text
from accelc.report.facts import GraphFacts
from accelc.report.text import html

_VERDICTS = {
    "verified": ("good", "Verified"),
    "failed": ("bad", "Answers differ"),
    "not verified": ("warn", "Not verified"),
    "off": ("warn", "Not verified"),
}


def header(summary: Mapping[str, Any], command: str) -> str:
    """Title, verdict and command."""
    verdict = summary["verification"]
    kind, word = _VERDICTS.get(verdict["status"], ("warn", str(verdict["status"])))
    name = summary.get("model", {}).get("name") or "model"
    target = summary["target"]
    detail = summary.get("target_facts", {}).get("detail", "")
    return (
        f'<div class="title"><h1>{html(name)}</h1><span class="badge {kind}">{html(word)}</span></div>'
        f'<p class="sub">for target {html(target)}{f" ({html(detail)})" if detail else ""}. '
        f"{html(_verdict_text(verdict), 600)}</p>"
        f'<pre class="command">{html(command, 2000)}</pre>'
    )


def _verdict_text(verdict: Mapping[str, Any]) -> str:
    reason = str(verdict.get("reason") or "")
    if verdict["status"] not in ("verified", "failed"):
        return f"Not compared with onnxruntime{f': {reason}' if reason else ''}."
    sets = verdict["input_sets"]
    text = (
        f"Compared with onnxruntime on {sets} set{'' if sets == 1 else 's'} of inputs: the largest error is "
    )
    text += f"{verdict['max_rel_error']:.2g} of max|output|, the bound is {verdict['bound']:.2g}."
    return f"{text} {reason}".strip()


def cards(summary: Mapping[str, Any], graph: GraphFacts) -> str:
    """Before and after, each as one number with what belongs to it."""
    memory = summary.get("memory", {})
    before, after = graph.before, graph.after
    at = ", ".join(f"{name}={size}" for name, size in graph.symbols.items())
    total = sum(each.ms or 0.0 for each in graph.timed)
    found = [
        _change("Nodes", before.nodes, after.nodes, count_text, _rewrites(summary)),
        _change("Bytes moved", before.bytes, after.bytes, size_text, "to and from memory in one run"),
        _change("Operations", before.flops, after.flops, count_text, f"at {at}" if at else "in one run"),
    ]
    if total:
        steps = sum(len(each.steps) for each in graph.timed)
        note = f"sum of {steps} steps, each timed on its own" if steps > 1 else "of its only step"
        found.append(_card("Time of the steps", duration_text(total), note))
    if memory.get("peak_bytes"):
        bound = memory.get("lower_bound_bytes", 0)
        note = f"lower bound {size_text(bound)}" if bound else "of one call"
        found.append(
            _card(
                "Peak memory",
                size_text(memory["peak_bytes"]),
                note,
                bound / memory["peak_bytes"] if bound else None,
            )
        )
    weights = f"{count_text(summary.get('parameters', 0))} parameters"
    found.append(_card("Weights", size_text(summary.get("model_weight_bytes", 0)), weights))
    fallbacks = summary.get("fallbacks") or ()
    found.append(
        _card(
            "Fallbacks",
            str(len(fallbacks)) if fallbacks else "none",
            "; ".join(map(str, fallbacks)) or "every op has a kernel",
        )
    )
    times = summary.get("times_ms", {})
    if "total" in times:
        stages = ", ".join(f"{name} {time_text(ms)}" for name, ms in times.items() if name != "total")
        found.append(_card("Compile time", time_text(times["total"]), stages))
    return f'<div class="cards">{"".join(found)}</div>'


def _rewrites(summary: Mapping[str, Any]) -> str:
    return f"{summary.get('rewrites', 0)} rewrites, {summary.get('refusals', 0)} refused"


def _change(title: str, before: int, after: int, text: Any, note: str) -> str:
    was = f'<span class="was">{html(text(before))} → </span>'
    return _card(title, text(after), note, after / before if before else None, was)


def _card(title: str, value: str, note: str, share: float | None = None, was: str = "") -> str:
    meter = ""
    if share is not None:
        meter = f'<div class="meter"><i style="width:{100 * min(max(share, 0.0), 1.0):.1f}%"></i></div>'
    return (
        f'<div class="card"><h3>{html(title)}</h3><div class="value">{was}{html(value)}</div>{meter}'
        f'<div class="note">{html(note)}</div></div>'
    )
