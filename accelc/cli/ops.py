"""``accelc ops``: which ops a target has kernels for."""

from __future__ import annotations

from dataclasses import asdict

from accelc.cli import options as opt
from accelc.cli.output import emit_json, table

app = opt.verb()


@app.command()
def list_ops(target: opt.TargetName = "cpu", as_json: opt.Json = False) -> None:
    """List the ops that a target lowers; others run on a slow reference, or are an error with --strict."""
    from accelc.targets import resolve

    support = sorted(resolve(target).ops(), key=lambda row: (row.domain, row.op, row.since))
    if as_json:
        emit_json({"target": target, "ops": [asdict(row) for row in support]})
        return
    lines = [
        (f"{r.domain}::{r.op}" if r.domain else r.op, r.since, " ".join(r.dtypes), r.note) for r in support
    ]
    print(table(("op", "since", "dtypes", "note"), lines, right=(1,)))
    print(f"\n{len(support)} ops")
