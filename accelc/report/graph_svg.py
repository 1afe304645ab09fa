"""The optimised graph as SVG: boxes to click, edges to follow; complete without scripts."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from accelc.quantities import duration_text
from accelc.report.facts import GraphFacts, Kernel, family_of
from accelc.report.layout import Layout, Point, layered
from accelc.report.text import clean, html

_CHARACTER = 7.7
_SMALL_CHARACTER = 6.6
_HEIGHT, _PILL_HEIGHT = 42.0, 26.0
_NARROW, _WIDE = 92.0, 250.0
_MARGIN = 24.0
_TYPE = re.compile(r"(?:^|\s)([a-z]\w*)\[([^\[\]]*)\]$")


@dataclass(frozen=True)
class _Box:
    """One thing drawn: a kernel, an input or an output of the graph."""

    kernel: int | None
    title: str
    detail: str
    kind: str
    width: float
    height: float


def graph_svg(facts: GraphFacts) -> str:
    """Draw the graph; kernels carry their number as ``data-k``, edges their ends as ``data-a`` and ``data-b``."""
    boxes, edges = _boxes(facts)
    layout = layered(
        [box.width for box in boxes], [box.height for box in boxes], [(a, b) for a, b, _ in edges]
    )
    width, height = layout.width + 2 * _MARGIN, layout.height + 2 * _MARGIN
    first = len(facts.inputs)
    parts = [
        f'<svg id="graph" class="graph" viewBox="0 0 {width:.0f} {height:.0f}" data-w="{width:.0f}" '
        f'data-h="{height:.0f}" role="img" aria-label="The optimised graph"><g id="scene">'
        f'<g id="drawing" transform="translate({_MARGIN:.0f} {_MARGIN:.0f})">',
        *_edge_parts(edges, layout, first),
        *_box_parts(boxes, layout, facts.kernels),
        "</g></g></svg>",
    ]
    return "\n".join(parts)


def _boxes(facts: GraphFacts) -> tuple[list[_Box], list[tuple[int, int, str]]]:
    """Inputs, kernels and outputs as boxes numbered from 0, and the edges in these numbers."""
    inputs = [_pill(text) for text in facts.inputs]
    kernels = [_box(i, kernel) for i, kernel in enumerate(facts.kernels)]
    boxes = [*inputs, *kernels, *(_pill(text) for text in facts.outputs)]
    shift = len(inputs)
    edges = [
        (-1 - source if source < 0 else source + shift, target + shift, text)
        for source, target, text in facts.edges
    ]
    return boxes, edges


def _pill(text: str) -> _Box:
    shown = f"{clean(text, 22).split()[0] if text.split() else ''} {short_type(text)}"
    return _Box(None, shown, text, "port", 26 + len(shown) * _SMALL_CHARACTER, _PILL_HEIGHT)


def _box(number: int, kernel: Kernel) -> _Box:
    title = clean(kernel.title, 34)
    kind = short_type(kernel.outputs[0]) if kernel.outputs else ""
    detail = f"{kind} · {duration_text(kernel.ms)}" if kernel.ms is not None else kind
    wide = 26 + max(len(title) * _CHARACTER, len(detail) * _SMALL_CHARACTER)
    return _Box(number, title, detail, family_of(kernel.ops), min(max(wide, _NARROW), _WIDE), _HEIGHT)


def short_type(text: str) -> str:
    """The dims at the end of a value as text, with its dtype unless that is float32; empty if there are none."""
    found = _TYPE.search(text)
    if found is None:
        return ""
    shape = clean(found[2].replace(",", "\N{MULTIPLICATION SIGN}"), 28) or "scalar"
    return shape if found[1] == "float32" else f"{found[1]} {shape}"


def _edge_parts(edges: Sequence[tuple[int, int, str]], layout: Layout, first: int) -> Iterable[str]:
    for (source, target, text), route in zip(edges, layout.routes, strict=True):
        yield (
            f'<path class="edge" data-a="{source - first}" data-b="{target - first}" d="{_path(route)}">'
            f"<title>{html(text)}</title></path>"
        )


def _path(route: Sequence[Point]) -> str:
    """Curves that leave downwards and arrive from above; straight through the layers passed."""
    (x, y), *rest = route
    parts = [f"M{x:.1f} {y:.1f}"]
    for i, (next_x, next_y) in enumerate(rest):
        if i % 2:  # from the upper to the lower end of a passed layer
            parts.append(f"V{next_y:.1f}")
        else:
            middle = (y + next_y) / 2
            parts.append(f"C{x:.1f} {middle:.1f} {next_x:.1f} {middle:.1f} {next_x:.1f} {next_y:.1f}")
        x, y = next_x, next_y
    return "".join(parts)


def _box_parts(boxes: Sequence[_Box], layout: Layout, kernels: Sequence[Kernel]) -> Iterable[str]:
    total = sum(kernel.ms or 0.0 for kernel in kernels)
    longest = max((kernel.ms or 0.0 for kernel in kernels), default=0.0)
    for box, (x, y) in zip(boxes, layout.centers, strict=True):
        place = f'transform="translate({x - box.width / 2:.1f} {y - box.height / 2:.1f})"'
        size = f'width="{box.width:.1f}" height="{box.height:.1f}"'
        if box.kernel is None:
            yield (
                f'<g class="node port" {place}><title>{html(box.detail)}</title>'
                f'<rect class="box" {size} rx="13"/>'
                f'<text class="small" x="{box.width / 2:.1f}" y="17" text-anchor="middle">{html(box.title)}</text></g>'
            )
            continue
        kernel = kernels[box.kernel]
        heat = (kernel.ms or 0.0) / longest if longest else 0.0
        share = f" · {100 * (kernel.ms or 0) / total:.1f}% of the time" if total and kernel.ms else ""
        yield (
            f'<g class="node {box.kind}" data-k="{box.kernel}" style="--heat:{heat:.3f}" {place}>'
            f"<title>{html(kernel.name)}{share}</title>"
            f'<rect class="box" {size} rx="7"/><rect class="stripe" width="5" height="{box.height:.1f}" rx="2.5"/>'
            f'<text class="head" x="14" y="18">{html(box.title)}</text>'
            f'<text class="small" x="14" y="33">{html(box.detail)}</text>'
            f'<rect class="bar" x="5" y="{box.height - 3:.1f}" width="{heat * (box.width - 7):.1f}" height="3"/></g>'
        )
