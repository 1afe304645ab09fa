"""Targets by name: one line per target, loaded when asked for.

Third parties add targets by entry point in the group ``accelc.targets``.
"""

from __future__ import annotations

import difflib
import importlib
from importlib.metadata import EntryPoint, entry_points

from accelc.errors import UsageError
from accelc.target import Target

TABLE: dict[str, str] = {
    "cpu": "accelc.targets.numba_cpu.target:NumbaCpu",
    "onnx": "accelc.targets.onnx_model.target:OnnxModel",
}

ALIASES: dict[str, str] = {"numba_cpu": "cpu", "onnx_model": "onnx"}

GROUP = "accelc.targets"


def names() -> tuple[str, ...]:
    """Names of all targets, installed ones of third parties included, sorted."""
    return tuple(sorted({*TABLE, *_installed()}))


def _installed() -> dict[str, EntryPoint]:
    return {point.name: point for point in entry_points(group=GROUP)}


def resolve(name: str) -> Target:
    """A target from its name or alias.

    Raises:
        UsageError: There is no such target, or it cannot be loaded.
    """
    name = ALIASES.get(name, name)
    if name in TABLE:
        module, _, attribute = TABLE[name].partition(":")
        loaded = getattr(importlib.import_module(module), attribute)
    elif (point := _installed().get(name)) is not None:
        try:
            loaded = point.load()
        except Exception as error:  # a third party's module may fail in any way
            raise UsageError(f"target {name} cannot be loaded", where=point.value, why=repr(error)) from error
    else:
        near = difflib.get_close_matches(name, names(), n=1)
        hint = f"did you mean {near[0]}? " if near else ""
        raise UsageError(f"there is no target {name!r}", fix=f"{hint}see `accelc targets`")
    if not (isinstance(loaded, type) and issubclass(loaded, Target)):
        raise UsageError(f"{name} is not a target", why="it must be a subclass of accelc.target.Target")
    return loaded()
