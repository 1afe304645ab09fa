"""``accelc doctor``: does everything work here, and what would matter in a bug report."""

from __future__ import annotations

from typing import Any

import typer

from accelc.cli import options as opt
from accelc.cli.output import emit_json, rows
from accelc.errors import EXIT_OK, EXIT_UNSUPPORTED, AccelcError
from accelc.quantities import size_text

app = opt.verb()


@app.command()
def examine(cache_dir: opt.CacheDir = None, as_json: opt.Json = False) -> None:
    """Examine this machine: versions, CPU, cache, targets."""
    from accelc.cli.targets import target_facts
    from accelc.free_memory import free_memory_bytes
    from accelc.machine import cpu_name, usable_cpus, versions
    from accelc.targets import names

    targets = [target_facts(name) for name in names()]
    cache = _cache_facts(cache_dir)
    found = versions()
    code = (
        EXIT_OK
        if all(t["works"] or t["missing"] for t in targets) and "problem" not in cache
        else EXIT_UNSUPPORTED
    )
    if as_json:
        machine = {"cpu": cpu_name(), "cpus": usable_cpus(), "free_memory_bytes": free_memory_bytes()}
        emit_json({"versions": found, "machine": machine, "cache": cache, "targets": targets}, code)
        raise typer.Exit(code)
    pairs = [
        ("versions", "\n".join(f"{name} {version}" for name, version in found.items())),
        ("cpu", f"{cpu_name()}, {usable_cpus()} usable"),
        ("free memory", size_text(free_memory_bytes())),
        ("cache", cache.get("problem") or _cache_text(cache)),
    ]
    for facts in targets:
        machine_text = "\n".join(f"{key}: {value}" for key, value in facts["machine"].items())
        pairs.append((f"target {facts['name']}", machine_text if facts["works"] else _problem_text(facts)))
    print(rows(pairs, indent=0))
    print(
        "\neverything that is installed works"
        if code == EXIT_OK
        else "\nsomething does not work here: see above"
    )
    raise typer.Exit(code)


def _problem_text(facts: dict[str, Any]) -> str:
    return "\n".join(filter(None, (facts["problem"], facts["fix"])))


def _cache_facts(cache_dir: Any) -> dict[str, Any]:
    from dataclasses import asdict

    try:
        from accelc.targets.numba_cpu.object_cache import ObjectCache

        return asdict(ObjectCache(cache_dir).stats())
    except (AccelcError, OSError, ImportError) as error:
        return {"problem": str(error)}


def _cache_text(cache: dict[str, Any]) -> str:
    state = "" if cache["writable"] else ", read-only"
    return f"{cache['folder']}: {cache['objects']} kernels, {size_text(cache['total_bytes'])}{state}"
