"""The report as one HTML file: nothing is loaded from anywhere, names of the model cannot break out."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from importlib.resources import files
from string import Template
from typing import Any

import accelc
from accelc.machine_speed import Speed
from accelc.plan.memory_map import MemoryMap
from accelc.plan.picture import memory_svg
from accelc.quantities import count_text, duration_text, size_text
from accelc.report.facts import GraphFacts, Kernel, family_of
from accelc.report.graph_svg import graph_svg
from accelc.report.overview import cards, header
from accelc.report.passes import passes_section
from accelc.report.roofline import of_roof, roofline_svg
from accelc.report.text import embedded_json, html

_MOST_ROWS = 2000


def page(
    summary: Mapping[str, Any],
    trace: Sequence[Mapping[str, Any]],
    graph: GraphFacts,
    *,
    command: str,
    machine: Mapping[str, Any],
    speed: Speed | None,
    memory: MemoryMap | None,
    untimed: str = "",
) -> str:
    """Write the page.

    Args:
        summary: The executable's summary.
        trace: Records of the passes (accelc.summary.trace_json).
        graph: The optimised graph.
        command: What was run.
        machine: Facts about where (accelc.machine.facts).
        speed: The machine's best, for the roofline; None leaves the section out.
        memory: The plan, if the target has one.
        untimed: Why no step was timed, where that is not the target's way.
    """
    sections = {
        "overview": ("Overview", header(summary, command) + cards(summary, graph)),
        "graph-section": ("Graph", _graph_section(graph)),
        "kernels": ("Kernels", _kernels_section(graph, speed, untimed)),
        "roofline": ("Roofline", _roofline_section(graph, speed)),
        "memory": ("Memory", _memory_section(summary, memory)),
        "passes": ("Passes", passes_section(summary, trace)),
        "environment": ("Environment", _environment_section(summary, machine)),
    }
    shown = {key: each for key, each in sections.items() if each[1]}
    template = Template(_resource("page.html"))
    return template.substitute(
        version=html(accelc.__version__),
        title=html(f"{summary.get('model', {}).get('name') or 'model'} compiled by accelc"),
        style=_resource("page.css"),
        script=_resource("page.js"),
        navigation="".join(f'<a href="#{key}">{title}</a>' for key, (title, _) in shown.items()),
        body="\n".join(_section(key, *each) for key, each in shown.items()),
        facts=embedded_json({"kernels": [_kernel_json(kernel, speed) for kernel in graph.kernels]}),
    )


def _resource(name: str) -> str:
    return (files("accelc.report") / name).read_text(encoding="utf-8")


def _section(key: str, title: str, content: str) -> str:
    heading = "" if key == "overview" else f"<h2>{title}</h2>"
    return f'<section id="{key}">{heading}{content}</section>'


def _kernel_json(kernel: Kernel, speed: Speed | None) -> dict[str, Any]:
    return {**kernel.to_json(), "roof": of_roof(kernel, speed) if speed is not None else None}


def _graph_section(graph: GraphFacts) -> str:
    timed = any(kernel.ms is not None for kernel in graph.kernels)
    heat = '<label><input type="checkbox" id="heat"> colour by time</label>' if timed else ""
    used = dict.fromkeys(family_of(kernel.ops) for kernel in graph.kernels)
    key = "".join(f'<span><i class="dot {name}"></i>{_FAMILY_NAMES[name]}</span>' for name in used)
    return (
        f"<p>Each box is one {'kernel' if timed else 'node'} of the optimised graph, with the shape of its result"
        f"{' and its time' if timed else ''}. Click one to see the nodes of the model behind it.</p>"
        '<div class="panel"><div class="tools">'
        '<input type="search" id="search" placeholder="Find a node, an op, a name…" aria-label="Find">'
        '<span id="hits" class="soft"></span>'
        '<button type="button" id="in" aria-label="Zoom in">+</button>'
        '<button type="button" id="out" aria-label="Zoom out">&minus;</button>'
        f'<button type="button" id="fit">All</button>{heat}'
        '<span class="hint">drag or scroll to move, Ctrl and scroll to zoom, ↑ ↓ to follow an edge</span></div>'
        f'<div class="viewer"><div class="stage" id="stage" tabindex="0">{graph_svg(graph)}</div>'
        '<div class="mini" id="mini" aria-hidden="true"></div>'
        '<aside class="detail" id="detail"><p class="soft">Click a box.</p></aside></div></div>'
        f'<p class="key" style="margin-top:10px">{key}</p>'
    )


_FAMILY_NAMES = {
    "conv": "convolution",
    "product": "matrix product",
    "attention": "attention, softmax",
    "recurrent": "loops, recurrent",
    "norm": "normalisation",
    "pool": "pooling, resizing",
    "reduce": "reduction",
    "move": "data movement",
    "element": "elementwise and others",
}


def _kernels_section(graph: GraphFacts, speed: Speed | None, untimed: str) -> str:
    kernels = graph.kernels
    total = sum(each.ms or 0.0 for each in graph.timed)
    order = sorted(range(len(kernels)), key=lambda i: (-(kernels[i].ms or 0.0), -kernels[i].flops))
    columns = ("Time", "Share", "Operations", "Bytes", "GFLOP/s", "Of the roof")
    head = "<th class='sort'>Kernel</th>" + "".join(f'<th class="n sort">{name}</th>' for name in columns)
    rows = [_kernel_row(None, each, total, speed) for each in graph.joint]
    rows += [_kernel_row(i, kernels[i], total, speed) for i in order[:_MOST_ROWS]]
    more = f"<p>The {_MOST_ROWS} heaviest of {len(kernels)}.</p>" if len(kernels) > _MOST_ROWS else ""
    more += f"<p>Nothing was timed: {html(untimed)}.</p>" if untimed else ""
    return (
        f'{more}<div class="panel scroll"><table><thead><tr>{head}<th>Nodes of the model</th></tr></thead>'
        f"<tbody>{''.join(rows)}</tbody></table></div>"
    )


def _kernel_row(number: int | None, kernel: Kernel, total: float, speed: Speed | None) -> str:
    ms = kernel.ms
    roof = of_roof(kernel, speed) if speed is not None else None
    rate = kernel.flops / ms / 1e6 if ms else None
    cells = (
        (ms, "" if ms is None else duration_text(ms)),
        (ms, f"{100 * ms / total:.1f}%" if ms is not None and total else ""),
        (kernel.flops, count_text(kernel.flops)),
        (kernel.bytes, size_text(kernel.bytes)),
        (rate, "" if rate is None else f"{rate:.1f}"),
        (roof, "" if roof is None else f"{100 * roof:.0f}%"),
    )
    numbers = "".join(f'<td class="n" data-v="{value or 0:.6g}">{text}</td>' for value, text in cells)
    names = [name for name, _, _ in kernel.origin]
    shown = ", ".join(names[:4]) + (f" and {len(names) - 4} more" if len(names) > 4 else "")
    marked = "" if number is None else f' data-k="{number}"'
    return (
        f'<tr{marked}><td><i class="dot {family_of(kernel.ops)}"></i>{html(kernel.title)}</td>'
        f'{numbers}<td class="soft">{html(shown)}</td></tr>'
    )


def _roofline_section(graph: GraphFacts, speed: Speed | None) -> str:
    if speed is None or not any(kernel.flops and kernel.bytes for kernel in graph.kernels):
        return ""
    what = (
        "A disc is a kernel, its area its share of the time. Above the slope its operands come from the caches, "
        "above the roof it runs fewer operations than a convolution counts (Winograd)."
        if graph.timed
        else "This target measures no kernels: hollow discs show the most that each could reach."
    )
    return (
        f"<p>{what} The roof is the most that a matrix product in NumPy or a kernel here reached, "
        "and what a copy of memory does.</p>"
        f'<div class="panel figure">{roofline_svg(graph, speed)}</div>'
    )


def _memory_section(summary: Mapping[str, Any], memory: MemoryMap | None) -> str:
    if memory is None or not memory.buffers:
        return ""
    return (
        "<p>Where every buffer lies in the arena of one call, and from which step to which. "
        "Buffers whose owners no longer need them are taken over by others.</p>"
        f'<div class="panel figure">{memory_svg(memory, title="Arena of one call")}</div>'
    )


def _environment_section(summary: Mapping[str, Any], machine: Mapping[str, Any]) -> str:
    versions = machine.get("versions") or {}
    rows = [
        ("Model", str(summary.get("model", {}).get("name", ""))),
        ("SHA-256", str(summary.get("model", {}).get("sha256", ""))),
        ("CPU", f"{machine['cpu']}, {machine['usable_cpus']} usable"),
        ("System", str(machine["system"])),
        *((name, str(version)) for name, version in versions.items()),
    ]
    lines = "".join(
        f'<tr><td class="soft">{html(name)}</td><td>{html(value)}</td></tr>' for name, value in rows
    )
    return f'<div class="panel"><table><tbody>{lines}</tbody></table></div>'
