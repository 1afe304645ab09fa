"""All lowering tables as one."""

from __future__ import annotations

import pkgutil
from functools import cache
from importlib import import_module
from pathlib import Path

from accelc.targets.jax_xla.table import LoweringTable


@cache
def table() -> LoweringTable:
    """The merged table of the target: ``TABLE`` of every module called ``lower_*``."""
    package = "accelc.targets.jax_xla"
    names = sorted(
        module.name
        for module in pkgutil.iter_modules([str(Path(__file__).parent)])
        if module.name.startswith("lower_")
    )
    files = [import_module(f"{package}.{name}") for name in names]
    return LoweringTable().merge(file.TABLE for file in files)
