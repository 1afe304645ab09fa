"""A memory plan as a picture: time runs to the right, addresses upwards; one SVG text, no scripts, no links.

Colours follow the reader's light or dark scheme. Hovering over a buffer shows what it is (its ``title``).
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from html import escape

from accelc.plan.memory_map import MapBuffer, MemoryMap
from accelc.quantities import size_text

_LEFT, _RIGHT, _TOP, _BOTTOM = 84, 24, 74, 54
_LEGEND_ROW = 22
_MOST_KINDS = 12
"""Kinds with a colour of their own; the others share one."""
_LABEL_PX = 5.9
"""Width of a character of a buffer's label, about."""
_MOST_NAME = 200
_PALETTE = (
    "#4e79a7", "#f28e2b", "#59a14f", "#b07aa1", "#e15759", "#76b7b2",
    "#edc948", "#9c755f", "#ff9da7", "#86bcb6", "#d37295", "#a0cbe8",
)  # fmt: skip
"""Tableau's categorical colours: they stay apart next to each other, also for most colour-blind readers."""
_OTHER, _WORKSPACE = "#8b8f98", "#c3c7cf"

_STYLE = """
.map{--ink:#1c2330;--soft:#677083;--line:#dfe3ea;--paper:#ffffff;--plot:#f7f8fa;--peak:#c0392b;
--bound:#1f7a4d;font:12px system-ui,-apple-system,"Segoe UI",Roboto,"DejaVu Sans",sans-serif}
@media (prefers-color-scheme:dark){.map{--ink:#e6e9ef;--soft:#99a2b3;--line:#343b48;--paper:#161a21;
--plot:#1d222b;--peak:#ff7b6b;--bound:#5fd39a}}
.map text{fill:var(--ink)}.map .soft{fill:var(--soft)}
.map .paper{fill:var(--paper)}.map .plot{fill:var(--plot)}.map .grid{stroke:var(--line);stroke-width:1}
.map .box{stroke:var(--paper);stroke-width:.8;fill-opacity:.88}
.map .box:hover{fill-opacity:1;stroke:var(--ink)}
.map .tag{font-size:10px;fill:#fff;pointer-events:none}.map .dark{fill:#222}
.map .alive{fill:none;stroke:var(--ink);stroke-width:1.2;stroke-opacity:.75;pointer-events:none}
.map .head{font-size:16px;font-weight:600}
.map .peak{stroke:var(--peak);stroke-width:1.5;stroke-dasharray:7 4}
.map .bound{stroke:var(--bound);stroke-width:1.5;stroke-dasharray:2 3}
.map .peakt{fill:var(--peak);font-weight:600}.map .boundt{fill:var(--bound);font-weight:600}
.map .most{fill:var(--peak);fill-opacity:.12}.map .part{stroke:var(--soft);stroke-dasharray:1 3}
""".replace("\n", "")


@dataclass(frozen=True)
class _Scale:
    """From steps and bytes to pixels."""

    steps: int
    top_bytes: int
    width: int
    height: int

    def x(self, step: float) -> float:
        return _LEFT + step * (self.width - _LEFT - _RIGHT) / max(self.steps, 1)

    def y(self, address: float) -> float:
        return self.height - _BOTTOM - address * (self.height - _TOP - _BOTTOM) / max(self.top_bytes, 1)


def memory_svg(plan: MemoryMap, *, title: str = "Memory plan", width: int = 1200, height: int = 640) -> str:
    """Draw a plan: O(steps + buffers).

    Args:
        plan: What to draw.
        title: Heading; any text.
        width: Pixels.
        height: Pixels, the legend not included.

    Returns:
        An ``svg`` element: a file of its own, or part of a page.
    """
    colours = _colours(plan.buffers)
    scale = _Scale(len(plan.steps), round(plan.peak_bytes * 1.06), width, height)
    legend, legend_height = _legend(colours, width, height)
    whole = height + legend_height
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" class="map" viewBox="0 0 {width} {whole}" width="{width}" '
        f'height="{whole}" role="img" aria-label="{_text(title)}"><style>{_STYLE}</style>',
        f'<rect class="paper" width="{width}" height="{whole}"/>',
        *_heading(plan, title),
        *_axes(plan, scale),
        *_most(plan, scale),
        *_boxes(plan, scale, colours),
        *_alive(plan, scale),
        *_limits(plan, scale),
        *legend,
        "</svg>",
    ]
    return "\n".join(parts) + "\n"


def _text(text: str, limit: int = _MOST_NAME) -> str:
    """Text that a model may have chosen, as XML: escaped, short, without control characters."""
    clean = "".join(char if char.isprintable() else "\N{REPLACEMENT CHARACTER}" for char in text)
    return escape(clean if len(clean) <= limit else f"{clean[: limit - 1]}…")


def _colours(buffers: Sequence[MapBuffer]) -> dict[str, str]:
    """A colour for each kind, those that hold most memory for longest first."""
    weight: dict[str, int] = {}
    for buffer in buffers:
        if buffer.kind != "workspace":
            area = buffer.size * (buffer.last - buffer.first + 1)
            weight[buffer.kind] = weight.get(buffer.kind, 0) + area
    ranked = sorted(weight, key=lambda kind: (-weight[kind], kind))
    colours = dict(zip(ranked[:_MOST_KINDS], _PALETTE, strict=False))
    colours |= dict.fromkeys(ranked[_MOST_KINDS:], _OTHER)
    if any(buffer.kind == "workspace" for buffer in buffers):
        colours["workspace"] = _WORKSPACE
    return colours


def _heading(plan: MemoryMap, title: str) -> list[str]:
    at = ", ".join(f"{name}={size}" for name, size in plan.symbols.items())
    ratio = plan.peak_bytes / plan.lower_bound_bytes if plan.lower_bound_bytes else 1.0
    facts = f"peak {size_text(plan.peak_bytes)}, {ratio:.3f} of the most bytes alive at one step · "
    facts += f"{len(plan.buffers)} buffers · {len(plan.steps)} steps"
    return [
        f'<text class="head" x="{_LEFT}" y="30">{_text(title, 100)}</text>',
        f'<text class="soft" x="{_LEFT}" y="50">{_text(facts + (f" · at {at}" if at else ""))}</text>',
    ]


def _axes(plan: MemoryMap, scale: _Scale) -> Iterable[str]:
    left, right = scale.x(0), scale.x(scale.steps)
    yield (
        f'<rect class="plot" x="{left}" y="{_TOP}" width="{right - left:.1f}" '
        f'height="{scale.y(0) - _TOP:.1f}"/>'
    )
    for address in _ticks(scale.top_bytes, 1024):
        y = scale.y(address)
        yield f'<line class="grid" x1="{left}" x2="{right:.1f}" y1="{y:.1f}" y2="{y:.1f}"/>'
        yield f'<text class="soft" x="{left - 8}" y="{y + 4:.1f}" text-anchor="end">{size_text(address)}</text>'
    for step in _ticks(scale.steps, 10):
        x = scale.x(step)
        yield f'<text class="soft" x="{x:.1f}" y="{scale.y(0) + 18:.1f}" text-anchor="middle">{step}</text>'
    for start in plan.parts[1:]:
        x = scale.x(start)
        yield f'<line class="part" x1="{x:.1f}" x2="{x:.1f}" y1="{_TOP}" y2="{scale.y(0):.1f}"/>'
    middle, low = (left + right) / 2, scale.y(0) + 38
    yield f'<text class="soft" x="{middle:.1f}" y="{low:.1f}" text-anchor="middle">step (time →)</text>'
    x, y = 16, (scale.y(0) + _TOP) / 2
    yield (
        f'<text class="soft" x="{x}" y="{y:.1f}" text-anchor="middle" '
        f'transform="rotate(-90 {x} {y:.1f})">address in the arena</text>'
    )


def _ticks(end: int, base: int, count: int = 8) -> list[int]:
    """Round numbers from 0 to ``end``: 1, 2 or 5 (powers of two for base 1024) times a power of the base."""
    step, unit = 1, 1
    factors = (1, 2, 5) if base == 10 else tuple(1 << i for i in range(10))
    while step * count < end:
        for factor in factors:
            step = unit * factor
            if step * count >= end:
                break
        unit *= base
    return list(range(0, end + 1, step))


def _most(plan: MemoryMap, scale: _Scale) -> Iterable[str]:
    """A band over the step with most bytes alive."""
    alive = plan.alive_bytes()
    if not alive or not max(alive):
        return
    step = alive.index(max(alive))
    x, width = scale.x(step), max(scale.x(1) - scale.x(0), 2.0)
    what = plan.steps[step]
    about = f"most bytes alive: {size_text(alive[step])} at step {step}, {_of(what.kernel, what.origin)}"
    yield (
        f'<rect class="most" x="{x:.2f}" y="{_TOP}" width="{width:.2f}" height="{scale.y(0) - _TOP:.1f}">'
        f"<title>{_text(about)}</title></rect>"
    )
    end = x > (scale.x(0) + scale.x(scale.steps)) / 2
    yield (
        f'<text class="soft" x="{x + (width if end else 0):.1f}" y="{_TOP - 6}" '
        f'text-anchor="{"end" if end else "start"}">{_text(about, 110)}</text>'
    )


def _boxes(plan: MemoryMap, scale: _Scale, colours: Mapping[str, str]) -> Iterable[str]:
    for buffer in plan.buffers:
        if not buffer.size:
            continue
        x, width = scale.x(buffer.first), scale.x(buffer.last + 1) - scale.x(buffer.first)
        y = scale.y(buffer.offset + buffer.size)
        height = scale.y(buffer.offset) - y
        about = f"{buffer.name}\n{buffer.type}\n" if buffer.type else f"{buffer.name}\n"
        about += (
            f"{size_text(buffer.size)} at {size_text(buffer.offset)}, steps {buffer.first} to {buffer.last}"
        )
        about += f"\n{_of(buffer.kind, buffer.origin)}"
        title = "\n".join(_text(line) for line in about.split("\n"))
        yield (
            f'<rect class="box" x="{x:.2f}" y="{y:.2f}" width="{width:.2f}" height="{height:.2f}" '
            f'rx="1.5" fill="{colours[buffer.kind]}"><title>{title}</title></rect>'
        )
        if height >= 13 and width >= 34:
            dark = " dark" if colours[buffer.kind] in (_WORKSPACE, "#edc948", "#a0cbe8", "#ff9da7") else ""
            yield (
                f'<text class="tag{dark}" x="{x + 4:.1f}" y="{y + min(height / 2 + 3.5, 14):.1f}">'
                f"{_text(buffer.name.split(', ')[0], int((width - 6) / _LABEL_PX))}</text>"
            )


def _of(kernel: str, origin: Sequence[str]) -> str:
    return f"{kernel} ({', '.join(origin)})" if origin else kernel


def _alive(plan: MemoryMap, scale: _Scale) -> Iterable[str]:
    """The sum of the bytes alive, as a stepped line."""
    points = [f"M{scale.x(0):.1f} {scale.y(0):.1f}"]
    for step, alive in enumerate(plan.alive_bytes()):
        points.append(f"V{scale.y(alive):.1f}H{scale.x(step + 1):.1f}")
    yield f'<path class="alive" d="{"".join(points)}V{scale.y(0):.1f}"/>'


def _limits(plan: MemoryMap, scale: _Scale) -> Iterable[str]:
    """The peak and the bound below it."""
    left, right = scale.x(0), scale.x(scale.steps)
    close = scale.y(plan.lower_bound_bytes) - scale.y(plan.peak_bytes) < 16
    for name, size, text, y in (
        ("bound", plan.lower_bound_bytes, "lower bound", scale.y(plan.lower_bound_bytes) + 14),
        ("peak", plan.peak_bytes, "peak", scale.y(plan.peak_bytes) - 5),
    ):
        at = scale.y(size)
        yield f'<line class="{name}" x1="{left}" x2="{right:.1f}" y1="{at:.1f}" y2="{at:.1f}"/>'
        if name == "bound" and close:
            continue
        both = " = lower bound" if name == "peak" and plan.peak_bytes == plan.lower_bound_bytes else ""
        if name == "peak" and close and not both:
            both = f", lower bound {size_text(plan.lower_bound_bytes)}"
        yield (
            f'<text class="{name}t" x="{right - 6:.1f}" y="{y:.1f}" text-anchor="end">'
            f"{text} {size_text(size)}{both}</text>"
        )


def _legend(colours: Mapping[str, str], width: int, top: int) -> tuple[list[str], int]:
    """Swatches in rows, and their height."""
    entries = [(kind, colour) for kind, colour in colours.items() if colour != _OTHER]
    rest = len(colours) - len(entries)
    entries += [(f"{rest} other kinds", _OTHER)] if rest else []
    parts: list[str] = []
    x, y = float(_LEFT), top + 4
    for name, colour in entries:
        text = _text(name, 40)
        step = 36 + 7.4 * len(name[:40])
        if x + step > width - _RIGHT:
            x, y = float(_LEFT), y + _LEGEND_ROW
        parts.append(f'<rect x="{x:.1f}" y="{y}" width="12" height="12" rx="2" fill="{colour}"/>')
        parts.append(f'<text x="{x + 17:.1f}" y="{y + 10}">{text}</text>')
        x += step
    x = float(_LEFT) if x + 190 > width - _RIGHT else x
    y = y + _LEGEND_ROW if x == _LEFT and entries else y
    parts.append(f'<path class="alive" d="M{x:.1f} {y + 6}h14"/>')
    parts.append(f'<text x="{x + 19:.1f}" y="{y + 10}">bytes alive</text>')
    return parts, y - top + 28
