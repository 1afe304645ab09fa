"""Cache blocks and tasks of a matrix product, chosen when extents are known."""

from __future__ import annotations

from dataclasses import dataclass

from accelc.targets.numba_cpu.kernels.tiles import Tile

PANEL_BYTES = 16 * 1024
"""A panel's part of one reduction block: half of a 32 KB L1 cache."""
ROWS_BYTES = 192 * 1024
"""A row block's part of one reduction block: well within a 512 KB L2 cache."""
MAX_ROWS = 252
MAX_GROUP = 8
TASK_FLOPS = 1_000_000
"""Least work of a task that is split further: about 10 µs."""
WANTED_TASKS = 32
"""Tasks of a large product: enough for 16 threads."""


@dataclass(frozen=True)
class Schedule:
    """Blocks of one product.

    Args:
        mc: Rows of a block, a multiple of the tile's.
        row_blocks: Blocks of rows.
        panels: Panels of B.
        group: Panels of a task.
        groups: Groups of panels.
        blocks: Reduction blocks: first and last segment, first and last depth.
        tasks: Independent tasks, batch included.
        grain: Tasks worth one thread's while.
    """

    mc: int
    row_blocks: int
    panels: int
    group: int
    groups: int
    blocks: tuple[tuple[int, int, int, int], ...]
    tasks: int
    grain: int


def split_segments(segments: list[tuple[int, int]], depth: int, unit: int) -> list[tuple[int, int]]:
    """Segments cut so that none is longer than ``depth``; ``unit`` is the stride within a segment."""
    out: list[tuple[int, int]] = []
    for offset, length in segments:
        pieces = max(1, -(-length // depth))
        step = -(-length // pieces)
        starts = range(0, max(length, 1), max(step, 1))
        out += [(offset + start * unit, min(step, length - start)) for start in starts]
    return out


def group_segments(segments: list[tuple[int, int]], depth: int) -> tuple[tuple[int, int, int, int], ...]:
    """Reduction blocks of up to ``depth`` made of consecutive segments; at least one block."""
    blocks: list[tuple[int, int, int, int]] = []
    first, start, end = 0, 0, 0
    for i, (_, length) in enumerate(segments):
        if end > start and end + length - start > depth:
            blocks.append((first, i, start, end))
            first, start = i, end
        end += length
    blocks.append((first, len(segments), start, end))
    return tuple(blocks)


def plan(
    tile: Tile, itemsize: int, *, m: int, n: int, segments: list[tuple[int, int]], unit: int, batch: int = 1
) -> tuple[Schedule, list[tuple[int, int]]]:
    """Choose blocks for a product of ``m`` rows and ``n`` columns; returns the segments as cut for it."""
    total = sum(length for _, length in segments)
    panels = -(-n // tile.nr)
    depth = max(64, PANEL_BYTES // (tile.nr * itemsize))
    depth = max(total, 1) if m <= 2 * tile.mr or total <= depth * 3 // 2 else -(-total // -(-total // depth))
    # Whole segments where they are short, so that loops stay long.
    cut = split_segments(segments, depth, unit)
    blocks = group_segments(cut, depth + depth // 4)
    deepest = max(stop - start for _, _, start, stop in blocks)
    most = max(tile.mr, min(MAX_ROWS, ROWS_BYTES // max(1, deepest * itemsize)) // tile.mr * tile.mr)
    row_blocks = max(1, -(-m // most))
    mc = _even(m, row_blocks, tile.mr)
    group = max(1, min(MAX_GROUP, panels))
    flops = 2 * tile.nr * max(total, 1)
    while True:
        groups = -(-panels // group)
        tasks = batch * row_blocks * groups
        work = mc * group * flops
        if tasks >= WANTED_TASKS or work <= 2 * TASK_FLOPS:
            break
        if group > 1:
            group = -(-group // 2)
        elif mc > 4 * tile.mr:
            row_blocks *= 2
            mc = _even(m, row_blocks, tile.mr)
            row_blocks = -(-m // mc)
        else:
            break
    groups = -(-panels // group)
    tasks = batch * row_blocks * groups
    work = mc * group * flops
    # One row streams B: memory, not arithmetic, is what a task costs.
    cost = work if m > 2 else work * 4
    grain = max(1, TASK_FLOPS // 2 // max(1, cost))
    return Schedule(mc, row_blocks, panels, group, groups, blocks, tasks if m and n else 0, grain), cut


def _even(m: int, blocks: int, mr: int) -> int:
    """Rows of a block, so that ``blocks`` blocks of whole tiles cover ``m`` rows."""
    rows = -(-m // blocks)
    return max(mr, -(-rows // mr) * mr)
