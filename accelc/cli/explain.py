"""``accelc explain``: what became of one node."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from accelc.cli import options as opt
from accelc.cli.option_groups import Compiling, Feeding, grouped
from accelc.cli.output import emit_json, progress, rows, table
from accelc.quantities import count_text, size_text, time_text

app = opt.verb()


@app.command()
@grouped
def explain_node(
    node: Annotated[str, typer.Argument(metavar="NODE", help="A node, or the name of its result.")],
    source: Annotated[Path, typer.Argument(metavar="MODEL|ART", help="A model, or an artifact folder.")],
    *,
    compiling: Compiling,
    rounds: Annotated[int, typer.Option("--rounds", min=0, help="Timed runs; 0 runs nothing.")] = 5,
    feeding: Feeding,
    as_json: opt.Json = False,
) -> None:
    """Show what became of one node, and why.

    What passes did with it or refused to do, the kernel it is part of, and its time.
    """
    with progress(not as_json) as show:
        exe, original, final = _open(source, compiling, show)
        facts = _facts(node, exe, original, final, feeding, compiling, rounds)
    facts = {"source": str(source), "target": exe.target_name, **facts}
    if as_json:
        emit_json(facts)
    else:
        _print(facts, traced=original is not None)


def _open(source: Path, compiling: Compiling, show: Any) -> tuple[Any, Any, Any]:
    """The executable, the imported model (None for an artifact) and the optimised one."""
    from accelc import artifact, driver
    from accelc.ir.shapes import infer

    exe = compiling.open(source, show)
    if not opt.is_artifact(source):
        return exe, driver.import_model(compiling.request(source)).model, exe.model
    final = artifact.read_model(source, artifact.read(source))
    infer(final)
    return exe, None, final


def _facts(
    node: str,
    exe: Any,
    original: Any,
    final: Any,
    feeding: Feeding,
    compiling: Compiling,
    rounds: int,
) -> dict[str, Any]:
    from accelc.explanation import explain
    from accelc.inspection import free_symbols
    from accelc.ir.shapes import unify
    from accelc.machine_speed import machine_speed

    symbols = {**free_symbols(final), **compiling.dims}
    explain(node, original=original, final=final, trace=exe.trace)  # an unknown name is known at once
    steps = []
    if rounds:
        feeds = feeding.complete(exe, symbols)
        steps = exe.step_times(feeds, rounds)
        symbols = {}
        for spec in exe.inputs:
            unify(spec.shape or (), feeds[spec.name].shape, symbols, name=spec.name)
    speed = machine_speed(compiling.threads) if rounds else None
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
        ("stands for", "\n".join(name for each in facts["becomes"] for name in each["origin"])),
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
    names = item["nodes"]
    shown = ", ".join(names[:2]) + (f" and {len(names) - 2} more" if len(names) > 2 else "")
    return f"{item['pass']}: {item['rule']} of {shown}{result}{note}"


def _share(ms: float | None, total: float) -> str:
    return "" if ms is None else f"{100 * ms / total:.1f}%"


def _params(facts: dict[str, Any]) -> str:
    shown = [f"{k}={v}" for k, v in facts.items() if isinstance(v, int | str | bool) and len(str(v)) < 40]
    return " ".join(shown)[:100]
