"""``accelc golden record|check``: keep what a model answers, and compare what later builds answer."""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from accelc.cli import options as opt
from accelc.cli.option_groups import Compiling, Feeding, grouped
from accelc.cli.output import emit_json, table
from accelc.errors import EXIT_NUMERICS, EXIT_OK

if TYPE_CHECKING:
    import numpy as np

    from accelc.target import Executable
    from accelc.testing.golden import Row

app = opt.verb("Keep what a model answers, and compare later builds.")

Source = Annotated[Path, typer.Argument(metavar="MODEL|ART", help="A model file, or an artifact folder.")]


@app.command()
@grouped
def record(
    model: Source,
    folder: Annotated[Path, typer.Argument(metavar="DIR", help="Where the golden outputs go.")],
    *,
    feeding: Feeding,
    cases: Annotated[int, typer.Option(min=1, help="Random input sets, where none are given.")] = 3,
    bound: Annotated[float | None, typer.Option(help="Error allowed, as a share of max|output|.")] = None,
    compiling: Compiling,
    verify: Annotated[bool, typer.Option(help="Verify a model against onnxruntime first.")] = True,
    force: Annotated[bool, typer.Option(help="Replace golden outputs that are there.")] = False,
    as_json: opt.Json = False,
) -> None:
    """Run a model and keep inputs, outputs and tolerances in DIR.

    The inputs are those of --input, else the test data beside the model, else random ones.
    """
    from accelc.testing.golden import record as record_golden

    exe = compiling.open(model, verify=1 if verify else 0)
    given = feeding.given()
    feeds = [given] if given else _own_inputs(model, cases, feeding.seed, compiling.dims)
    golden = record_golden(
        exe, folder, feeds, bound=bound, model=model.name, model_sha256=_digest(exe, model), force=force
    )
    if as_json:
        emit_json({"folder": str(folder), "cases": len(golden.cases), "bounds": golden.bounds})
    else:
        bounds = ", ".join(f"{name} {value:g}" for name, value in golden.bounds.items())
        print(f"{len(golden.cases)} cases of {model.name} recorded in {folder} (bounds: {bounds})")


@app.command()
@grouped
def check(
    model: Source,
    folder: Annotated[Path, typer.Argument(metavar="DIR", help="Golden outputs recorded before.")],
    *,
    compiling: Compiling,
    as_json: opt.Json = False,
) -> None:
    """Run a model on the recorded inputs and compare; exit code 1 if an output differs."""
    from accelc.testing.golden import check as check_golden
    from accelc.testing.golden import load, require

    golden = load(folder)
    exe = compiling.open(model)
    rows = check_golden(exe, golden)
    if as_json:
        code = EXIT_NUMERICS if any(row.problem for row in rows) else EXIT_OK
        emit_json({"ok": code == EXIT_OK, "rows": [row.to_json() for row in rows]}, code)
        raise typer.Exit(code)
    print(rows_text(rows))
    require(rows)
    print(f"{len(golden.cases)} cases, {len(rows)} outputs: all as recorded")


def rows_text(rows: list[Row]) -> str:
    """One line per output: its largest error over the cases, beside the bound."""
    worst: dict[str, Row] = {}
    for row in rows:
        kept = worst.get(row.output)
        if kept is None or (bool(row.problem), row.error) > (bool(kept.problem), kept.error):
            worst[row.output] = row
    lines = [
        (name, "differs" if row.problem else "ok", f"{row.error:.2e}", f"{row.bound:.2e}")
        for name, row in worst.items()
    ]
    return table(("output", "", "error", "bound"), lines, right=(2, 3))


def _own_inputs(model: Path, cases: int, seed: int, dims: dict[str, int]) -> list[dict[str, np.ndarray]]:
    """Test data beside the model, else random inputs that its ops accept."""
    from accelc.bench_model import model_of
    from accelc.inputs import data_beside, random_feeds

    graph = model_of(model)
    beside = [] if dims or opt.is_artifact(model) else list(data_beside(model, graph))
    return beside or [random_feeds(graph, seed=seed + i, setting=i, sizes=dims) for i in range(cases)]


def _digest(exe: Executable, model: Path) -> str:
    if exe.info is not None and exe.info.model_sha256:
        return exe.info.model_sha256
    return hashlib.sha256(model.read_bytes()).hexdigest() if model.is_file() else ""
