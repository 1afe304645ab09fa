"""The support matrix of a target: every op of the standard, and how it runs, read from the tables themselves."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

from accelc.frontend.expand import EXPANDED
from accelc.frontend.microsoft.expand import RULES
from accelc.ir.schemas import newest_ops
from accelc.target import Target

WAYS = {
    "compiled": "compiled",
    "emitted": "emitted as it is",
    "decomposed": "taken apart at import",
    "host": "on the host",
    "fallback": "by the slow reference",
    "no": "not supported",
}
"""How an op runs, best first, and how that is said."""


@dataclass(frozen=True)
class Row:
    """One op.

    Args:
        domain: Its domain; empty for ONNX's own.
        op: Its name.
        way: A key of ``WAYS``.
        since: Opset versions from which on lowerings hold, for those that have some.
        newest: The newest version of the op that the installed onnx knows; None outside the standard.
        dtypes: What the target's table says of dtypes; empty if it says nothing.
        note: One line for people.
    """

    domain: str
    op: str
    way: str
    since: tuple[int, ...]
    newest: int | None
    dtypes: tuple[str, ...]
    note: str

    @property
    def name(self) -> str:
        """The op with its domain."""
        return f"{self.domain}::{self.op}" if self.domain else self.op


def support_matrix(target: Target) -> list[Row]:
    """A row for each op of the standard, and for each that the target or the import knows beside it, sorted."""
    newest = newest_ops()
    found: dict[tuple[str, str], list[Row]] = {}
    for key in newest:
        found[key] = [Row(*key, "no", (), newest[key], (), "")]
    for row in target.ops():
        key = (row.domain, row.op)
        found.setdefault(key, []).append(
            Row(*key, row.way, (row.since,) * (row.way == "compiled"), newest.get(key), row.dtypes, row.note)
        )
    for key in (*RULES, *EXPANDED):
        found.setdefault(key, []).append(Row(*key, "decomposed", (), newest.get(key), (), ""))
    return [_best(rows) for _, rows in sorted(found.items())]


def _best(rows: Sequence[Row]) -> Row:
    """The best way of several, with all versions that are served in that way."""
    order = list(WAYS)
    best = min(rows, key=lambda row: order.index(row.way))
    same = [row for row in rows if row.way == best.way]
    since = tuple(sorted({version for row in same for version in row.since}))
    dtypes = tuple(dict.fromkeys(dtype for row in same for dtype in row.dtypes))
    return Row(best.domain, best.op, best.way, since, best.newest, dtypes, best.note)


def counts(rows: Sequence[Row]) -> dict[str, int]:
    """How many ops run in each way, best first; ways of none are left out."""
    found = Counter(row.way for row in rows)
    return {way: found[way] for way in WAYS if found[way]}
