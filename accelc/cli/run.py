"""``accelc run``: run an artifact or a model once."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from accelc.cli import options as opt
from accelc.cli.option_groups import Compiling, Feeding, grouped
from accelc.cli.output import emit_json, progress, table
from accelc.quantities import time_text

if TYPE_CHECKING:
    import numpy as np

app = opt.verb()


@app.command()
@grouped
def run_model(
    source: Annotated[Path, typer.Argument(metavar="MODEL|ART", help="A model, or an artifact folder.")],
    *,
    feeding: Feeding,
    output: Annotated[
        Path | None, typer.Option("-o", "--output", help="Folder for inputs.npz and outputs.npz.")
    ] = None,
    compiling: Compiling,
    as_json: opt.Json = False,
) -> None:
    """Run a model once, on your inputs or random ones."""
    import time

    with progress(not as_json) as show:
        exe = compiling.open(source, show)
        feeds = feeding.complete(exe, compiling.dims)
        start = time.perf_counter()
        results = exe.run(None, feeds)
        ms = (time.perf_counter() - start) * 1e3
    named = dict(zip([spec.name for spec in exe.outputs], results, strict=True))
    if output is not None:
        _write(output, feeds, named)
    random = sorted(set(feeds) - set(feeding.given()))
    if as_json:
        described = {name: describe_array(array) for name, array in named.items()}
        emit_json(
            {
                "outputs": described,
                "random_inputs": random,
                "ms": ms,
                "written": str(output) if output else None,
                **({"call": told} if (told := exe.call_facts()) else {}),
            }
        )
        return
    lines = [("in " + n, *_row(a), "random" if n in random else "") for n, a in feeds.items()]
    lines += [("out " + n, *_row(a), "") for n, a in named.items()]
    print(table(("value", "dtype", "shape", "min", "mean", "max", "nan", ""), lines, right=(3, 4, 5, 6)))
    if notes := exe.call_facts().get("notes"):
        print("\n" + "\n".join(notes))
    print(
        f"\nthe first run took {time_text(ms)}"
        + (f"; inputs.npz and outputs.npz are in {output}" if output else "")
    )


def _write(folder: Path, feeds: dict[str, np.ndarray], results: dict[str, np.ndarray]) -> None:
    import numpy as np

    folder.mkdir(parents=True, exist_ok=True)
    for file, arrays in (("inputs.npz", feeds), ("outputs.npz", results)):
        content: dict[str, Any] = {n: a.astype(str) if a.dtype == object else a for n, a in arrays.items()}
        staging = folder / f".{file}.new.npz"
        np.savez(staging, **content)
        staging.replace(folder / file)


def describe_array(array: np.ndarray) -> dict[str, Any]:
    """Dtype, shape, and statistics of a numeric array."""
    import numpy as np

    facts: dict[str, Any] = {"dtype": str(array.dtype), "shape": list(array.shape)}
    if array.size and array.dtype.kind in "fiub":
        wide = array.astype(np.float64)
        bad = np.isnan(wide)
        facts["nan"] = int(bad.sum())
        if not bad.all():
            good = wide[~bad]
            facts |= {"min": float(good.min()), "mean": float(good.mean()), "max": float(good.max())}
    return facts


def _row(array: np.ndarray) -> tuple[str, ...]:
    facts = describe_array(array)
    numbers = [f"{facts[key]:.6g}" if key in facts else "" for key in ("min", "mean", "max")]
    shape = f"[{','.join(map(str, facts['shape']))}]"
    return (facts["dtype"], shape, *numbers, str(facts.get("nan", "") or ""))
