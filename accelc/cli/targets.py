"""``accelc targets``: what models can be compiled for, here."""

from __future__ import annotations

from typing import Any

from accelc.cli import options as opt
from accelc.cli.output import emit_json, table
from accelc.errors import AccelcError, UnsupportedError

app = opt.verb()


@app.command()
def list_targets(as_json: opt.Json = False) -> None:
    """List the targets, and which work on this machine."""
    from accelc.targets import names

    found = [target_facts(name) for name in names()]
    if as_json:
        emit_json({"targets": found})
        return
    lines = [(f["name"], ", ".join(f["aliases"]), "yes" if f["works"] else "no", f["summary"]) for f in found]
    print(table(("target", "also", "works", "what it is"), lines))
    for facts in found:
        if facts["problem"]:
            print(f"\n{facts['name']}: {facts['problem']}" + (f"\n  {facts['fix']}" if facts["fix"] else ""))


def target_facts(name: str) -> dict[str, Any]:
    """What a target is, whether it works here and what it says about this machine, else why not and what to do.

    ``missing`` is set where nothing is broken: a device or an optional package is not there.
    """
    import inspect

    from accelc.targets import target_class

    facts: dict[str, Any] = {"name": name, "aliases": [], "works": False, "missing": False, "summary": ""}
    facts |= {"machine": {}, "problem": "", "fix": ""}
    try:
        cls = target_class(name)
        facts["summary"] = (inspect.getdoc(cls) or "").split("\n", 1)[0]
        facts["aliases"] = list(cls.aliases)
        facts["machine"] = dict(cls().doctor())
    except AccelcError as error:
        missing = isinstance(error, UnsupportedError)
        return facts | {"missing": missing, "problem": error.what, "fix": error.fix}
    except (ImportError, AttributeError, OSError) as error:
        return facts | {"problem": f"cannot be loaded: {error}"}
    return facts | {"works": True}
