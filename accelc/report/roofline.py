"""The roofline: what each kernel reaches beside what the machine could give it.

Source: Williams, Waterman and Patterson, "Roofline: An Insightful Visual Performance Model for Multicore
Architectures" (2009).
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence

from accelc.machine_speed import Speed
from accelc.quantities import duration_text
from accelc.report.facts import GraphFacts, Kernel, family_of
from accelc.report.text import html

_WIDTH, _HEIGHT = 1120, 470
_LEFT, _RIGHT, _TOP, _BOTTOM = 76, 24, 26, 56


class _Axes:
    """Logarithmic on both sides: operations per byte to the right, operations per second upwards."""

    def __init__(self, points: Sequence[tuple[float, float]], speed: Speed) -> None:
        ridge = speed.flops_per_s / speed.bytes_per_s
        xs = [x for x, _ in points] + [ridge / 8, ridge * 8]
        ys = [y for _, y in points] + [speed.flops_per_s * 2.2, speed.flops_per_s / 50]
        self.x0, self.x1 = math.floor(math.log10(min(xs))), math.ceil(math.log10(max(xs)))
        self.y0, self.y1 = math.floor(math.log10(min(ys))), math.log10(max(ys) * 1.1)

    def x(self, value: float) -> float:
        return _LEFT + (math.log10(value) - self.x0) / (self.x1 - self.x0) * (_WIDTH - _LEFT - _RIGHT)

    def y(self, value: float) -> float:
        share = (math.log10(value) - self.y0) / (self.y1 - self.y0)
        return _HEIGHT - _BOTTOM - share * (_HEIGHT - _TOP - _BOTTOM)


def roofline_svg(graph: GraphFacts, speed: Speed) -> str:
    """Draw all kernels that compute: measured ones where they are, others on the roof, hollow."""
    numbered = [*enumerate(graph.kernels), *((None, each) for each in graph.joint)]
    computing = [(i, k) for i, k in numbered if k.flops > 0 and k.bytes > 0 and (k.ms or not graph.joint)]
    points = [(k.flops / k.bytes, _reached(k, speed)) for _, k in computing]
    axes = _Axes(points, speed)
    total = sum(each.ms or 0.0 for each in graph.timed)
    parts = [
        f'<svg class="roofline" viewBox="0 0 {_WIDTH} {_HEIGHT}" role="img" aria-label="Roofline of the kernels">',
        *_grid(axes),
        _roof(axes, speed),
    ]
    ordered = sorted(zip(computing, points, strict=True), key=lambda item: -(item[0][1].ms or 0.0))
    for (number, kernel), (x, y) in ordered:  # large ones first, so that small ones stay on top
        share = (kernel.ms or 0.0) / total if total else 0.0
        radius = 3.5 + 26 * math.sqrt(share)
        marked = "" if number is None else f'data-k="{number}" '
        parts.append(
            f'<circle class="point {family_of(kernel.ops)}{"" if kernel.ms is not None else " hollow"}" '
            f'{marked}cx="{axes.x(x):.1f}" cy="{axes.y(y):.1f}" r="{radius:.1f}">'
            f"<title>{_about(kernel, x, y, speed)}</title></circle>"
        )
    return "\n".join([*parts, *_roof_labels(axes, speed), "</svg>"])


def roof_over(kernels: Sequence[Kernel], speed: Speed) -> Speed:
    """The speed, raised to the best that a kernel reached: a busy moment must not lower the roof.

    Winograd kernels run fewer operations than a convolution counts, so they raise nothing.
    """
    best = speed.flops_per_s
    for kernel in kernels:
        if kernel.ms and not any(step["kernel"] == "winograd" for step in kernel.steps):
            best = max(best, kernel.flops / kernel.ms * 1e3)
    return Speed(best, speed.bytes_per_s)


def _reached(kernel: Kernel, speed: Speed) -> float:
    """Operations per second: measured, else the most that the roof allows."""
    seconds = kernel.ms / 1e3 if kernel.ms else speed.ms(kernel.flops, kernel.bytes) / 1e3
    return kernel.flops / seconds


def of_roof(kernel: Kernel, speed: Speed) -> float | None:
    """Share of the roof that a kernel reaches; None if it was not measured or moves and computes nothing."""
    if not kernel.ms or not kernel.bytes:
        return None
    return speed.ms(kernel.flops, kernel.bytes) / kernel.ms


def _about(kernel: Kernel, x: float, y: float, speed: Speed) -> str:
    lines = [f"{kernel.title}: {kernel.name}", f"{x:.3g} operations per byte"]
    if kernel.ms is not None:
        share = of_roof(kernel, speed) or 0.0
        lines.append(f"{y / 1e9:.3g} GFLOP/s in {duration_text(kernel.ms)}, {100 * share:.0f}% of the roof")
    else:
        lines.append(f"not measured; the roof is {y / 1e9:.3g} GFLOP/s")
    return "\n".join(html(line) for line in lines)


def _grid(axes: _Axes) -> Iterable[str]:
    bottom, right = _HEIGHT - _BOTTOM, _WIDTH - _RIGHT
    for power in range(axes.x0, axes.x1 + 1):
        x = axes.x(10.0**power)
        yield f'<line class="grid" x1="{x:.1f}" x2="{x:.1f}" y1="{_TOP}" y2="{bottom}"/>'
        yield f'<text class="soft" x="{x:.1f}" y="{bottom + 18}" text-anchor="middle">{_number(power)}</text>'
    for power in range(math.ceil(axes.y0), math.floor(axes.y1) + 1):
        y = axes.y(10.0**power)
        yield f'<line class="grid" x1="{_LEFT}" x2="{right}" y1="{y:.1f}" y2="{y:.1f}"/>'
        yield f'<text class="soft" x="{_LEFT - 8}" y="{y + 4:.1f}" text-anchor="end">{_number(power - 9)}</text>'
    middle = (_LEFT + right) / 2
    yield f'<text class="soft" x="{middle}" y="{bottom + 42}" text-anchor="middle">operations per byte moved</text>'
    turn = f'transform="rotate(-90 18 {(_TOP + bottom) / 2:.0f})"'
    yield f'<text class="soft" x="18" y="{(_TOP + bottom) / 2:.0f}" text-anchor="middle" {turn}>GFLOP/s</text>'


def _number(power: int) -> str:
    return f"{10**power:,}" if 0 <= power <= 6 else f"{10.0**power:g}"


def _roof(axes: _Axes, speed: Speed) -> str:
    """The roof: memory bandwidth up to the ridge, then the peak of the arithmetic."""
    start, ridge = _slope(axes, speed)
    return (
        f'<path class="roof" d="M{axes.x(start):.1f} {axes.y(start * speed.bytes_per_s):.1f}'
        f'L{axes.x(ridge):.1f} {axes.y(speed.flops_per_s):.1f}H{axes.x(10.0**axes.x1):.1f}"/>'
    )


def _slope(axes: _Axes, speed: Speed) -> tuple[float, float]:
    """Operations per byte where the slope enters the picture and where it ends."""
    return max(10.0**axes.x0, 10.0**axes.y0 / speed.bytes_per_s), speed.flops_per_s / speed.bytes_per_s


def _roof_labels(axes: _Axes, speed: Speed) -> Iterable[str]:
    start, ridge = _slope(axes, speed)
    right, below = _WIDTH - _RIGHT - 4, axes.y(speed.flops_per_s) + 18
    peak = f"peak {speed.flops_per_s / 1e9:.3g} GFLOP/s"
    yield f'<text class="rooft" x="{right}" y="{below:.1f}" text-anchor="end">{peak}</text>'
    at = math.sqrt(start * ridge)
    x, y = axes.x(at), axes.y(at * speed.bytes_per_s)
    turn = math.degrees(math.atan2(axes.y(ridge * speed.bytes_per_s) - y, axes.x(ridge) - x))
    memory = f"memory {speed.bytes_per_s / 1e9:.3g} GB/s"
    yield (
        f'<text class="rooft" x="{x:.1f}" y="{y + 18:.1f}" text-anchor="middle" '
        f'transform="rotate({turn:.1f} {x:.1f} {y:.1f})">{memory}</text>'
    )
