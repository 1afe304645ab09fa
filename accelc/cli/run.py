"""``accelc run``: run an artifact or a model once."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from accelc.cli import options as opt
from accelc.cli.output import emit_json, progress, table, time_text
from accelc.errors import UsageError

if TYPE_CHECKING:
    import numpy as np

    from accelc.target import Executable

app = typer.Typer()


@app.command()
def run_model(
    source: Annotated[Path, typer.Argument(metavar="MODEL|ART", help="A model, or an artifact folder.")],
    inputs: opt.Inputs = None,
    output: Annotated[
        Path | None, typer.Option("-o", "--output", help="Folder for inputs.npz and outputs.npz.")
    ] = None,
    dim: opt.Dims = None,
    seed: opt.Seed = 0,
    target: opt.TargetName = "cpu",
    threads: opt.Threads = 1,
    allow_links: opt.AllowLinks = None,
    cache_dir: opt.CacheDir = None,
    as_json: opt.Json = False,
) -> None:
    """Run once on given inputs, or on random ones, and show the outputs."""
    import time

    dims = opt.parse_dims(dim)
    with progress(not as_json) as show:
        exe = open_executable(
            source,
            target=target,
            threads=threads,
            cache_dir=cache_dir,
            allow_links=allow_links,
            progress=show,
        )
        given = opt.read_inputs(inputs)
        feeds = complete_feeds(exe, given, dims=dims, seed=seed)
        start = time.perf_counter()
        results = exe.run(None, feeds)
        ms = (time.perf_counter() - start) * 1e3
    named = dict(zip([spec.name for spec in exe.outputs], results, strict=True))
    if output is not None:
        _write(output, feeds, named)
    random = sorted(set(feeds) - set(given))
    if as_json:
        described = {name: describe_array(array) for name, array in named.items()}
        emit_json(
            {
                "outputs": described,
                "random_inputs": random,
                "ms": ms,
                "written": str(output) if output else None,
            }
        )
        return
    lines = [("in " + n, *_row(a), "random" if n in random else "") for n, a in feeds.items()]
    lines += [("out " + n, *_row(a), "") for n, a in named.items()]
    print(table(("value", "dtype", "shape", "min", "mean", "max", "nan", ""), lines, right=(3, 4, 5, 6)))
    print(f"\nran in {time_text(ms)}" + (f"; inputs.npz and outputs.npz are in {output}" if output else ""))


def open_executable(
    source: Path,
    *,
    target: str,
    threads: int,
    cache_dir: Path | None,
    allow_links: Path | None,
    progress: Any = None,
) -> Executable:
    """Load an artifact, or compile a model without verification.

    Raises:
        UsageError: There is no such file.
    """
    from accelc import driver

    if opt.is_artifact(source):
        return driver.load(source, threads=threads, cache_dir=cache_dir, progress=progress)
    if not source.exists():
        raise UsageError(f"there is no file {source}", fix="give an artifact or an .onnx file")
    return driver.compile(
        source,
        target=target,
        threads=threads,
        verify=0,
        cache_dir=cache_dir,
        allow_links=allow_links,
        progress=progress,
    )


def complete_feeds(
    exe: Executable, given: dict[str, np.ndarray], *, dims: dict[str, int], seed: int
) -> dict[str, np.ndarray]:
    """The given inputs, and random ones for the rest that agree with them on symbolic dims."""
    from accelc.artifact import read, read_model
    from accelc.inputs import random_feeds
    from accelc.ir.dims import is_symbol

    names = [spec.name for spec in exe.inputs]
    if all(name in given for name in names) or set(given) - set(names):
        return given
    sizes = dict(dims)
    for spec in exe.inputs:
        if spec.name in given and spec.shape is not None:
            pairs = zip(spec.shape, given[spec.name].shape, strict=False)
            sizes.update({d: n for d, n in pairs if isinstance(d, str) and is_symbol(d)})
    if exe.model is not None:
        model = exe.model
    elif exe.artifact is not None:
        model = read_model(exe.artifact, read(exe.artifact))
    else:
        return given
    drawn = random_feeds(model, seed=seed, sizes=sizes)
    return {name: given.get(name, drawn[name]) for name in names}


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
