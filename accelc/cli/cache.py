"""``accelc cache``: the folder of compiled kernels and synthesised circuits."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import Annotated

import typer

from accelc.cache_folder import KINDS, DataFolder
from accelc.cli import options as opt
from accelc.cli.option_groups import Compiling, grouped
from accelc.cli.output import emit_json, progress, rows
from accelc.quantities import size_text

app = opt.verb("Look at, empty or fill the kernel cache.")


def _circuits(cache_dir: Path | None) -> list[DataFolder]:
    """What the quantum target keeps: circuits of matrices, and the encodings made of them."""
    return [DataFolder(kind, cache_dir) for kind in KINDS]


@app.command()
def info(cache_dir: opt.CacheDir = None, as_json: opt.Json = False) -> None:
    """Show where the cache is and how full."""
    from accelc.targets.numba_cpu.object_cache import ObjectCache

    stats = ObjectCache(cache_dir).stats()
    kept = [each.stats() for each in _circuits(cache_dir)]
    count, size = sum(one for one, _ in kept), sum(one for _, one in kept)
    if as_json:
        emit_json({"cache": asdict(stats), "circuits": {"files": count, "total_bytes": size}})
        return
    limit = f"{size_text(stats.total_bytes)} of {size_text(stats.limit_bytes)}"
    writable = "yes" if stats.writable else "no: kernels that are missing are compiled again in every process"
    pairs = [
        ("folder", stats.folder),
        ("kernels", str(stats.objects)),
        ("size", limit),
        ("circuits", f"{count} files, {size_text(size)}"),
        ("writable", writable),
    ]
    print(rows(pairs, indent=0))


@app.command()
def clear(cache_dir: opt.CacheDir = None, as_json: opt.Json = False) -> None:
    """Remove all kernels and circuits; what is needed is made again."""
    from accelc.targets.numba_cpu.object_cache import ObjectCache

    cache = ObjectCache(cache_dir)
    before = cache.stats()
    removed = cache.clear()
    circuits = sum(each.clear() for each in _circuits(cache_dir))
    if as_json:
        emit_json(
            {"folder": before.folder, "removed": removed, "bytes": before.total_bytes, "circuits": circuits}
        )
        return
    print(f"removed {removed} kernels, {size_text(before.total_bytes)}, from {before.folder}")
    if circuits:
        print(f"removed {circuits} files of circuits")


@app.command()
@grouped
def warm(
    models: Annotated[
        list[Path], typer.Argument(metavar="MODEL...", help="Models whose kernels are wanted.")
    ],
    compiling: Compiling,
    as_json: opt.Json = False,
) -> None:
    """Compile the kernels of models, so that they are there.

    Later compiles and loads of models that need the same kernels find them in the cache.
    """
    from accelc.driver import run_request
    from accelc.targets.numba_cpu.object_cache import ObjectCache

    cache_dir = compiling.cache_dir
    before = ObjectCache(cache_dir).stats()
    with progress(not as_json) as show:
        for model in models:
            run_request(compiling.request(model, verify=0, progress=show))
    after = ObjectCache(cache_dir).stats()
    added = after.objects - before.objects
    if as_json:
        emit_json({"models": [str(model) for model in models], "added": added, "cache": asdict(after)})
    else:
        print(f"added {added} kernels; {after.folder} has {after.objects}, {size_text(after.total_bytes)}")
