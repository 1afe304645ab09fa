"""Things by name, loaded when asked for: one line of a table each, and those that installed packages add."""

from __future__ import annotations

import difflib
import importlib
from collections.abc import Mapping
from dataclasses import dataclass, field
from importlib.metadata import EntryPoint, entry_points
from typing import Generic, TypeVar

from accelc.errors import UsageError

Kind = TypeVar("Kind")


@dataclass(frozen=True)
class Registry(Generic[Kind]):
    """Classes of one kind by name.

    Args:
        kind: What they are, for messages: ``pass``, ``target``.
        base: What each of them must be a subclass of.
        base_name: ``base`` as users import it.
        table: Name to ``module:Class``, for those of our own.
        aliases: Other names of these.
        group: Entry points of this group are the installed packages' own; the table wins.
    """

    kind: str
    base: type[Kind]
    base_name: str
    table: Mapping[str, str]
    group: str
    aliases: Mapping[str, str] = field(default_factory=dict)

    def names(self) -> tuple[str, ...]:
        """All names without aliases, installed ones of third parties included, sorted."""
        return tuple(sorted({*self.table, *self._installed()}))

    def _installed(self) -> dict[str, EntryPoint]:
        return {point.name: point for point in entry_points(group=self.group)}

    def load(self, name: str) -> type[Kind]:
        """The class called ``name``.

        Raises:
            UsageError: There is none, or it cannot be loaded.
        """
        name = self.aliases.get(name, name)
        if name in self.table:
            module, _, attribute = self.table[name].partition(":")
            return self.checked(getattr(importlib.import_module(module), attribute), name)
        if (point := self._installed().get(name)) is not None:
            try:
                return self.checked(point.load(), name)
            except UsageError:
                raise
            except Exception as error:  # a third party's module may fail in any way
                what = f"{self.kind} {name} cannot be loaded"
                raise UsageError(what, where=point.value, why=repr(error)) from error
        near = difflib.get_close_matches(name, (*self.names(), *self.aliases), n=1)
        hint = f"did you mean {near[0]}? " if near else ""
        raise UsageError(f"there is no {self.kind} {name!r}", fix=f"{hint}see `accelc {self._verb()}`")

    def _verb(self) -> str:
        return f"{self.kind}es" if self.kind.endswith("s") else f"{self.kind}s"

    def checked(self, loaded: object, where: str) -> type[Kind]:
        """``loaded`` if it is a class of this kind.

        Raises:
            UsageError: It is something else.
        """
        if not (isinstance(loaded, type) and issubclass(loaded, self.base)):
            raise UsageError(
                f"{where} is not a {self.kind}", why=f"it must be a subclass of {self.base_name}"
            )
        return loaded
