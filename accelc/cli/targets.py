"""``accelc targets``: what models can be compiled for, here."""

from __future__ import annotations

from typing import Any

from accelc.cli import options as opt
from accelc.cli.output import emit_json, table
from accelc.errors import AccelcError

app = opt.verb()


@app.command()
def list_targets(as_json: opt.Json = False) -> None:
    """List the targets, and whether each works on this machine."""
    from accelc.targets import names

    found = [target_facts(name) for name in names()]
    if as_json:
        emit_json({"targets": found})
        return
    lines = [(f["name"], ", ".join(f["aliases"]), "yes" if f["works"] else "no", f["summary"]) for f in found]
    print(table(("target", "also", "works", "what it is"), lines))


def target_facts(name: str) -> dict[str, Any]:
    """Name, aliases, one line about it, what it says about this machine, or why it does not load."""
    import inspect

    from accelc.targets import resolve

    facts: dict[str, Any] = {"name": name, "aliases": [], "works": False, "summary": "", "machine": {}}
    try:
        target = resolve(name)
        facts["machine"] = dict(target.doctor())
    except (AccelcError, ImportError, AttributeError, OSError) as error:
        return facts | {"summary": f"cannot be loaded: {error}"}
    summary = (inspect.getdoc(type(target)) or "").split("\n", 1)[0]
    return facts | {"aliases": list(target.aliases), "works": True, "summary": summary}
