"""What verbs print: JSON with a schema number, aligned rows, progress on a terminal."""

from __future__ import annotations

import json
import math
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

SCHEMA = 1
"""Version of the JSON that every verb prints with ``--json``."""


def emit_json(payload: Mapping[str, Any], exit_code: int = 0) -> None:
    """Print one JSON object; infinities and NaN become strings, as JSON has none."""
    content = {"schema": SCHEMA, "exit_code": exit_code, **payload}
    print(json.dumps(_plain(content), indent=1, allow_nan=False, default=str))


def _plain(value: Any) -> Any:
    """Replace what JSON cannot hold. Payloads are shallow, their depth is ours."""
    if isinstance(value, float) and not math.isfinite(value):
        return str(value)
    if isinstance(value, Mapping):
        return {str(key): _plain(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(item) for item in value]
    return value


def to_stderr(text: str) -> None:
    """Print to standard error, with the first word in red on a terminal."""
    if sys.stderr.isatty():
        head, colon, rest = text.partition(":")
        if colon and "\n" not in head and " " not in head:
            text = f"\x1b[1;31m{head}\x1b[0m:{rest}"
    print(text, file=sys.stderr)


def rows(pairs: Sequence[tuple[str, str]], *, indent: int = 2) -> str:
    """Label and text, aligned; labels dim on a terminal. Pairs without text are left out."""
    shown = [(label, text) for label, text in pairs if text]
    width = max((len(label) for label, _ in shown), default=0)
    dim, reset = ("\x1b[2m", "\x1b[0m") if sys.stdout.isatty() else ("", "")
    gap = "\n" + " " * (indent + width + 2)
    return "\n".join(f"{' ' * indent}{dim}{k:<{width}}{reset}  {v.replace(chr(10), gap)}" for k, v in shown)


def table(header: Sequence[str], lines: Sequence[Sequence[object]], *, right: Sequence[int] = ()) -> str:
    """Columns aligned with two spaces between them; columns in ``right`` flush right."""
    cells = [list(header), *[[str(cell) for cell in line] for line in lines]]
    widths = [max(len(row[i]) for row in cells) for i in range(len(header))]
    return "\n".join(
        "  ".join(
            c.rjust(widths[i]) if i in right else c.ljust(widths[i]) for i, c in enumerate(row)
        ).rstrip()
        for row in cells
    )


@contextmanager
def progress(enabled: bool = True) -> Iterator[Callable[[str, int, int], None] | None]:
    """A bar on standard error while the body runs: only on a terminal, and gone afterwards."""
    if not enabled or not sys.stderr.isatty():
        yield None
        return
    from rich.console import Console
    from rich.progress import BarColumn, Progress, SpinnerColumn, TextColumn, TimeElapsedColumn

    columns = (
        SpinnerColumn(),
        BarColumn(bar_width=24),
        TimeElapsedColumn(),
        TextColumn("{task.description}"),
    )
    with Progress(*columns, console=Console(stderr=True), transient=True) as bar:
        task = bar.add_task("", total=None)

        def show(what: str, done: int, total: int) -> None:
            bar.update(task, description=what.replace("[", "\\["), completed=done, total=total or None)

        yield show
