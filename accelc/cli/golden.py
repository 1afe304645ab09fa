"""``accelc golden record|check``: keep what a model answers, and compare what later builds answer."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from accelc.errors import UsageError

if TYPE_CHECKING:
    import numpy as np

    from accelc.target import Executable
    from accelc.testing.golden import Row

app = typer.Typer(
    help="Keep what a model answers in a folder, and compare what later builds answer.", no_args_is_help=True
)

Source = Annotated[Path, typer.Argument(metavar="MODEL|ART", help="A model file, or an artifact folder.")]
Target = Annotated[str, typer.Option(help="Target to compile for (an artifact has its own).")]
Threads = Annotated[int, typer.Option(min=1, help="Threads of one call.")]
Json = Annotated[bool, typer.Option("--json", help="Print one JSON document.")]


@app.command()
def record(
    model: Source,
    folder: Annotated[Path, typer.Argument(metavar="DIR", help="Where the golden outputs go.")],
    data: Annotated[
        list[Path] | None, typer.Option(help="Inputs by name in an .npz file; repeat for more.")
    ] = None,
    cases: Annotated[int, typer.Option(min=1, help="Random input sets, where there is no data.")] = 3,
    seed: Annotated[int, typer.Option(help="Seed of random inputs.")] = 0,
    dim: Annotated[
        list[str] | None, typer.Option(help="Size of a symbolic dim in random inputs, N=8.")
    ] = None,
    bound: Annotated[float | None, typer.Option(help="Error allowed, as a share of max|output|.")] = None,
    target: Target = "cpu",
    threads: Threads = 1,
    verify: Annotated[bool, typer.Option(help="Verify a model against onnxruntime first.")] = True,
    force: Annotated[bool, typer.Option(help="Replace golden outputs that are there.")] = False,
    as_json: Json = False,
) -> None:
    """Run a model and keep inputs, outputs and tolerances in DIR.

    The inputs are those of --data, else the test data beside the model, else random ones.
    """
    from accelc.cli.parse import dims_from, feeds_from
    from accelc.testing.golden import record as record_golden

    exe = executable(model, target=target, threads=threads, verify=1 if verify else 0)
    feeds = [feeds_from(file) for file in data or ()]
    feeds = feeds or _own_inputs(exe, model, cases, seed, dims_from(dim or ()))
    golden = record_golden(
        exe, folder, feeds, bound=bound, model=model.name, model_sha256=_digest(exe, model), force=force
    )
    if as_json:
        document = {"schema": 1, "folder": str(folder), "cases": len(golden.cases), "bounds": golden.bounds}
        print(json.dumps(document))
    else:
        bounds = ", ".join(f"{name} {value:g}" for name, value in golden.bounds.items())
        print(f"{len(golden.cases)} cases of {model.name} recorded in {folder} (bounds: {bounds})")


@app.command()
def check(
    model: Source,
    folder: Annotated[Path, typer.Argument(metavar="DIR", help="Golden outputs recorded before.")],
    target: Target = "cpu",
    threads: Threads = 1,
    as_json: Json = False,
) -> None:
    """Run a model on the recorded inputs and compare; exit code 1 if an output differs."""
    from accelc.testing.golden import check as check_golden
    from accelc.testing.golden import load, require

    golden = load(folder)
    exe = executable(model, target=target, threads=threads, verify=0)
    rows = check_golden(exe, golden)
    if as_json:
        document = {
            "schema": 1,
            "ok": not any(row.problem for row in rows),
            "rows": [r.to_json() for r in rows],
        }
        print(json.dumps(document))
        if not document["ok"]:
            raise typer.Exit(1)
        return
    print_rows(rows)
    require(rows)
    print(f"{len(golden.cases)} cases, {len(rows)} outputs: all as recorded")


def executable(model: Path, *, target: str, threads: int, verify: int) -> Executable:
    """Compile a model file, or load an artifact folder."""
    from accelc.driver import compile as compile_model
    from accelc.driver import load

    if model.is_dir():
        return load(model, threads=threads)
    return compile_model(model, target=target, threads=threads, verify=verify)


def print_rows(rows: list[Row]) -> None:
    """One line per output: its largest error beside the bound."""
    worst: dict[str, Row] = {}
    for row in rows:
        if row.output not in worst or row.error > worst[row.output].error or row.problem:
            worst[row.output] = row
    width = max((len(name) for name in worst), default=0)
    for name, row in worst.items():
        mark = "differs" if row.problem else "ok"
        print(f"{name:<{width}}  {mark:<7}  error {row.error:.2e}, bound {row.bound:.2e}")


def _own_inputs(
    exe: Executable, model: Path, cases: int, seed: int, dims: dict[str, int]
) -> list[dict[str, np.ndarray]]:
    """Test data beside the model, else random inputs that its ops accept."""
    from accelc.frontend import load_model
    from accelc.inputs import data_beside, random_feeds

    if model.is_dir():
        graph: Any = exe.model
        if graph is None:
            raise UsageError(f"{model} does not hold its graph", fix="give inputs with --data FILE.npz")
        beside: list[dict[str, np.ndarray]] = []
    else:
        graph = load_model(model).model
        beside = [] if dims else list(data_beside(model, graph))
    return beside or [random_feeds(graph, seed=seed + i, setting=i, sizes=dims) for i in range(cases)]


def _digest(exe: Executable, model: Path) -> str:
    if exe.info is not None and exe.info.model_sha256:
        return exe.info.model_sha256
    return hashlib.sha256(model.read_bytes()).hexdigest() if model.is_file() else ""
