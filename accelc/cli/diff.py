"""``accelc diff``: what differs between two models or artifacts."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from accelc.cli import options as opt
from accelc.cli.option_groups import Compiling, Feeding, grouped
from accelc.cli.output import emit_json, progress, rows, table
from accelc.errors import EXIT_NUMERICS, EXIT_OK, UsageError

if TYPE_CHECKING:
    import numpy as np

app = opt.verb()

_SHOWN = 12


@app.command()
@grouped
def diff_models(
    a: Annotated[Path, typer.Argument(metavar="A", help="A model, or an artifact folder.")],
    b: Annotated[Path, typer.Argument(metavar="B", help="Another.")],
    *,
    run: Annotated[bool, typer.Option("--run/--no-run", help="Compare results on the same inputs.")] = True,
    feeding: Feeding,
    tolerance: Annotated[
        float, typer.Option("--tolerance", min=0, help="Error allowed, as a share of max|output|.")
    ] = 1e-4,
    compiling: Compiling,
    as_json: opt.Json = False,
) -> int:
    """Show what differs between two models or artifacts.

    Inputs, outputs, nodes, kernels, weights, and results on the same inputs: exit code 1 if these differ.
    """
    from accelc.bench_model import model_of
    from accelc.difference import compare_results, difference

    for source in (a, b):
        if not source.exists():
            opt.missing(source)
    facts = difference(model_of(a), model_of(b))
    results: list[dict[str, Any]] = []
    if run:
        with progress(not as_json) as show:
            left, right = (compiling.open(source, show) for source in (a, b))
            feeds = feeding.complete(left, compiling.dims)
            if strange := [spec.name for spec in right.inputs if spec.name not in feeds]:
                raise UsageError(
                    "the results cannot be compared",
                    why=f"{b} takes {', '.join(strange)}, which {a} does not",
                    fix="--no-run compares the graphs alone",
                )
            results = compare_results(_run(left, feeds), _run(right, feeds))
    failed = [row for row in results if not row["equal"] and not (row["max_rel_error"] or 0) <= tolerance]
    failed += [
        row for row in results if row not in failed and not row["equal"] and row["max_rel_error"] is None
    ]
    code = EXIT_NUMERICS if failed else EXIT_OK
    if as_json:
        emit_json({"a": str(a), "b": str(b), **facts, "results": results}, code)
    else:
        _print(facts, results, run)
    return code


def _run(exe: Any, feeds: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
    """Results by name, on those of the inputs that the model has."""
    own = {spec.name for spec in exe.inputs}
    results = exe.run(None, {name: array for name, array in feeds.items() if name in own})
    return dict(zip([spec.name for spec in exe.outputs], results, strict=True))


def _print(facts: dict[str, Any], results: list[dict[str, Any]], run: bool) -> None:
    pairs: list[tuple[str, str]] = []
    for part in ("inputs", "outputs", "nodes", "kernels", "weights"):
        for which, label in (("only_a", "only in A"), ("only_b", "only in B"), ("changed", "changed")):
            names = facts[part].get(which, [])
            if names:
                more = [f"and {len(names) - _SHOWN} more"] if len(names) > _SHOWN else []
                pairs.append((f"{part} {label}", "\n".join([*names[:_SHOWN], *more])))
    print(rows(pairs) if pairs else "  the graphs are the same")
    if facts["ops"]:
        print("\n" + table(("op", "A", "B"), [(r["op"], r["a"], r["b"]) for r in facts["ops"]], right=(1, 2)))
    if run:
        print(
            "\n" + table(("output", "result", "error", "relative"), [_row(r) for r in results], right=(2, 3))
        )
        if not results:
            print("no output that both have")


def _row(row: dict[str, Any]) -> tuple[str, ...]:
    verdict = "equal" if row["equal"] else row.get("why", "differs")
    numbers = [
        f"{row[key]:.1e}" if row[key] is not None else "" for key in ("max_abs_error", "max_rel_error")
    ]
    return (row["name"], verdict, *numbers)
