"""The passes of a report: times, rewrites, and what was refused and why."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from typing import Any

from accelc.quantities import duration_text, time_text
from accelc.report.text import html

_MOST_LISTED = 120
_STAGES = {"import": "norm", "passes": "product", "lower": "conv", "verify": "element"}
"""Stages of a compile with the family whose colour they borrow."""


def passes_section(summary: Mapping[str, Any], trace: Sequence[Mapping[str, Any]]) -> str:
    """Stages of the compile as one bar, and a row for every pass that ran."""
    if not trace:
        return ""
    longest = max(record["ms"] for record in trace) or 1.0
    rows = "".join(_row(record, longest) for record in trace)
    return (
        f"{_stages(summary.get('times_ms', {}))}"
        '<div class="panel scroll"><table><thead><tr><th>Pass</th><th class="n">Time</th><th></th>'
        '<th class="n">Nodes</th><th>Rewrites</th><th>Refused</th></tr></thead>'
        f"<tbody>{rows}</tbody></table></div>"
    )


def _stages(times: Mapping[str, float]) -> str:
    known = [(name, times[name], colour) for name, colour in _STAGES.items() if times.get(name)]
    if not known:
        return ""
    bars = "".join(
        f'<i class="{colour}" style="flex:{ms:.3f};background:var(--kind)" title="{name}: {time_text(ms)}"></i>'
        for name, ms, colour in known
    )
    key = "".join(
        f'<span><i class="dot {colour}"></i>{name} {time_text(ms)}</span>' for name, ms, colour in known
    )
    return f'<div class="bars">{bars}</div><div class="key" style="margin-bottom:14px">{key}</div>'


def _row(record: Mapping[str, Any], longest: float) -> str:
    before, after = record["nodes_before"], record["nodes_after"]
    nodes = f"{before} → {after}" if before != after else f'<span class="faint">{after}</span>'
    rewrites = [_rewrite(each) for each in record["rewrites"]]
    refusals = _refusals(record["refusals"])
    width = 100 * record["ms"] / longest
    return (
        f'<tr><td>{html(record["pass"])}</td><td class="n">{duration_text(record["ms"])}</td>'
        f'<td style="width:110px"><div class="meter"><i style="width:{width:.1f}%"></i></div></td>'
        f'<td class="n">{nodes}</td><td>{_folded(rewrites, len(rewrites))}</td>'
        f"<td>{_folded(refusals, len(record['refusals']))}</td></tr>"
    )


def _rewrite(rewrite: Mapping[str, Any]) -> str:
    result = f" → {rewrite['result']}" if rewrite["result"] else ""
    note = f" ({rewrite['note']})" if rewrite["note"] else ""
    return f"{rewrite['rule']}: {', '.join(rewrite['nodes'])}{result}{note}"


def _refusals(refusals: Sequence[Mapping[str, Any]]) -> list[str]:
    """Each reason once, with the nodes that it holds for."""
    nodes: dict[tuple[str, str], list[str]] = defaultdict(list)
    for refusal in refusals:
        nodes[refusal["rule"], refusal["why"]].append(refusal["node"])
    lines = []
    for (rule, why), names in nodes.items():
        about = ", ".join(dict.fromkeys(name for name in names[:6] if name))
        more = f" and {len(names) - 6} more" if len(names) > 6 else ""
        lines.append(f"{f'{rule}: ' if rule else ''}{why}{f' ({about}{more})' if about else ''}")
    return lines


def _folded(lines: Sequence[str], count: int) -> str:
    if not lines:
        return '<span class="faint">0</span>'
    items = "".join(f"<li>{html(line, 400)}</li>" for line in lines[:_MOST_LISTED])
    more = f"<li>and {len(lines) - _MOST_LISTED} more</li>" if len(lines) > _MOST_LISTED else ""
    return f"<details><summary>{count}</summary><ul>{items}{more}</ul></details>"
