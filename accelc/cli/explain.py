"""``accelc explain``: what became of one node."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from accelc.cli import options as opt
from accelc.cli.output import count_text, emit_json, progress, rows, size_text, table, time_text
from accelc.cli.run import complete_feeds

app = typer.Typer()


@app.command()
def explain_node(
    node: Annotated[str, typer.Argument(metavar="NODE", help="A node, or the name of its result.")],
    source: Annotated[Path, typer.Argument(metavar="MODEL|ART", help="A model, or an artifact folder.")],
    level: opt.Level = 2,
    passes: opt.PassesText = None,
    dim: opt.Dims = None,
    target: opt.TargetName = "cpu",
    threads: opt.Threads = 1,
    rounds: Annotated[int, typer.Option("--rounds", min=0, help="Timed runs; 0 runs nothing.")] = 5,
    inputs: opt.Inputs = None,
    seed: opt.Seed = 0,
    allow_links: opt.AllowLinks = None,
    cache_dir: opt.CacheDir = None,
    as_json: opt.Json = False,
) -> None:
    """Show what passes did with a node or refused to do, the kernel it is part of, and its time."""
    dims = opt.parse_dims(dim)
    with progress(not as_json) as show:
        options = {"target": target, "threads": threads, "cache_dir": cache_dir, "progress": show}
        if opt.is_artifact(source):
            exe, original, final = _load(source, options)
        else:
            if not source.is_file():
                opt.missing(source)
            options |= {"dims": dims, "level": level, "passes": passes, "allow_links": allow_links}
            exe, original, final = _compile(source, options)
        facts = _facts(node, exe, original, final, opt.read_inputs(inputs), dims, rounds, seed)
    facts = {"source": str(source), "target": exe.target_name, **facts}
    if as_json:
        emit_json(facts)
    else:
        _print(facts, traced=original is not None)


def _load(source: Path, options: dict[str, Any]) -> tuple[Any, None, Any]:
    from accelc import artifact, driver
    from accelc.ir.shapes import infer

    options.pop("target")
    exe = driver.load(source, **options)
    final = artifact.read_model(source, artifact.read(source))
    infer(final)
    return exe, None, final


def _compile(source: Path, options: dict[str, Any]) -> tuple[Any, Any, Any]:
    from accelc import driver
    from accelc.request import Request

    exe = driver.compile(source, verify=0, **options)
    request = Request(source, dims=options["dims"], allow_links=options["allow_links"])
    return exe, driver.import_model(request).model, exe.model


def _facts(
    node: str,
    exe: Any,
    original: Any,
    final: Any,
    given: dict[str, Any],
    dims: dict[str, int],
    rounds: int,
    seed: int,
) -> dict[str, Any]:
    from accelc.explanation import explain, machine_speed
    from accelc.inspection import free_symbols
    from accelc.ir.shapes import unify

    symbols = {**free_symbols(final), **dims}
    explain(node, original=original, final=final, trace=exe.trace)  # an unknown name is known at once
    steps = []
    if rounds:
        feeds = complete_feeds(exe, given, dims=symbols, seed=seed)
        steps = exe.step_times(feeds, rounds)
        symbols = {}
        for spec in exe.inputs:
            unify(spec.shape or (), feeds[spec.name].shape, symbols, name=spec.name)
    speed = machine_speed() if rounds else None
    facts = explain(
        node,
        original=original,
        final=final,
        trace=exe.trace,
        steps=steps,
        symbols=symbols,
        speed=speed,
    )
    return {**facts, "at": symbols, "total_ms": sum(step.ms or 0.0 for step in steps)}


def _print(facts: dict[str, Any], *, traced: bool) -> None:
    before = facts["original"]
    print(f"{facts['node']}  {before['op'] if before else ''}".rstrip())
    rewrites = [_rewrite_text(item) for item in facts["rewrites"]]
    refusals = [f"{item['pass']}: {item['why']}" for item in facts["refusals"]]
    at = ", ".join(f"{name}={size}" for name, size in facts["at"].items())
    becomes = [f"{each['name']}  {each['op']}  {'; '.join(each['outputs'])}" for each in facts["becomes"]]
    gone = "nothing: it was folded, merged or dead" if facts["rewrites"] else "nothing"
    predicted = facts["predicted_ms"]
    pairs = [
        ("inputs", "\n".join(before["inputs"]) if before else ""),
        ("outputs", "\n".join(before["outputs"]) if before else ""),
        ("passes", "\n".join(rewrites) or ("left as it is" if traced else "artifacts keep no trace")),
        ("refused", "\n".join(refusals)),
        ("becomes", "\n".join(becomes) or gone),
        ("kernel", "\n".join(each["kernel"] for each in facts["becomes"] if each["kernel"])),
        ("with", "\n".join(", ".join(each["origin"]) for each in facts["becomes"])),
        (
            "work",
            f"{count_text(facts['flops'])} FLOPs, {size_text(facts['bytes'])}" + f"  (at {at})" * bool(at),
        ),
        (
            "predicted",
            f"{time_text(predicted)} at this machine's speed in NumPy" if predicted is not None else "",
        ),
    ]
    print(rows(pairs))
    if facts["steps"]:
        total = facts["total_ms"] or 1.0
        lines = [
            (
                s["kernel"],
                "" if s["ms"] is None else time_text(s["ms"]),
                _share(s["ms"], total),
                _params(s["facts"]),
            )
            for s in facts["steps"]
        ]
        print("\n" + table(("step", "measured", "share", ""), lines, right=(1, 2)))


def _rewrite_text(item: dict[str, Any]) -> str:
    result = f" -> {item['result']}" if item["result"] else ""
    note = f"  ({item['note']})" if item["note"] else ""
    return f"{item['pass']}: {item['rule']} of {', '.join(item['nodes'])}{result}{note}"


def _share(ms: float | None, total: float) -> str:
    return "" if ms is None else f"{100 * ms / total:.1f}%"


def _params(facts: dict[str, Any]) -> str:
    shown = [f"{k}={v}" for k, v in facts.items() if isinstance(v, int | str | bool) and len(str(v)) < 40]
    return " ".join(shown)[:100]
