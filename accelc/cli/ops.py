"""``accelc ops``: how a target runs each op of the standard."""

from __future__ import annotations

from dataclasses import asdict

from accelc.cli import options as opt
from accelc.cli.output import emit_json, table

app = opt.verb()


@app.command()
def list_ops(target: opt.TargetName = "cpu", as_json: opt.Json = False) -> None:
    """List the ops of the standard, and how a target runs each.

    Ops that a target does not support are listed as such.
    """
    from accelc.support import WAYS, counts, support_matrix
    from accelc.targets import resolve

    rows = support_matrix(resolve(target))
    if as_json:
        emit_json({"target": target, "counts": counts(rows), "ops": [asdict(row) for row in rows]})
        return
    typed = any(row.dtypes for row in rows)
    lines = [
        (
            row.name,
            WAYS[row.way],
            ", ".join(map(str, row.since)),
            row.newest or "",
            *((" ".join(row.dtypes),) if typed else ()),
            row.note,
        )
        for row in rows
    ]
    header = ("op", "how it runs", "since", "newest", *(("dtypes",) if typed else ()), "")
    print(table(header, lines, right=(2, 3)))
    print(f"\n{len(rows)} ops: {', '.join(f'{n} {WAYS[way]}' for way, n in counts(rows).items())}")
