"""``accelc passes``: what passes there are, and in which order a level runs them."""

from __future__ import annotations

from typing import Annotated, Any

import typer

from accelc.cli import options as opt
from accelc.cli.output import emit_json, table
from accelc.errors import AccelcError

app = opt.verb()


@app.command()
def list_passes(
    level: Annotated[
        int | None, typer.Option("-O", min=0, max=3, help="Only this level's, in order.")
    ] = None,
    as_json: opt.Json = False,
) -> None:
    """List the passes, and what each does."""
    from accelc.passes import names
    from accelc.pipeline import LEVELS, Pipeline, Repeat

    chosen = Pipeline.default(level).names() if level is not None else names()
    found = [
        _facts(name, [n for n in range(len(LEVELS)) if name in Pipeline.default(n).names()])
        for name in chosen
    ]
    if as_json:
        emit_json({"level": level, "passes": found})
        return
    lines = [
        (
            f["name"],
            ",".join(f"O{n}" for n in f["levels"]) or "-",
            "lossy" if f["lossy"] else "",
            f["summary"],
        )
        for f in found
    ]
    print(table(("pass", "levels", "", "what it does"), lines))
    repeats = [step for step in Pipeline.default(level).steps if isinstance(step, Repeat)] if level else []
    for step in repeats:
        print(f"\n{', '.join(map(str, step.steps))} run in turn until they find nothing more")


def _facts(name: str, levels: list[int]) -> dict[str, Any]:
    import dataclasses
    import inspect

    from accelc.passes import pass_class

    try:
        cls = pass_class(name)
    except (AccelcError, ImportError, AttributeError) as error:  # one broken pass does not hide the others
        return {
            "name": name,
            "levels": levels,
            "lossy": False,
            "summary": f"cannot be loaded: {error}",
            "options": {},
        }
    doc = inspect.getdoc(cls) or ""
    shown: dict[str, Any] = {}
    fields: tuple[dataclasses.Field[Any], ...] = (
        dataclasses.fields(cls) if dataclasses.is_dataclass(cls) else ()
    )
    for field in fields:
        plain = isinstance(field.default, int | float | str | bool)
        shown[field.name] = field.default if plain else str(field.default)
    summary = doc.split("\n", 1)[0].replace("``", "")
    return {"name": name, "levels": levels, "lossy": cls.lossy, "summary": summary, "options": shown}
