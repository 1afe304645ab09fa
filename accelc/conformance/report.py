"""What a run found: a table by category, names of what is wrong, JSON, and answers known to be wrong."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from accelc.conformance.cases import CATEGORIES
from accelc.conformance.judge import (
    CRASH,
    FALLBACK,
    HANG,
    PASS,
    REFUSED,
    UNCOUNTED,
    VERDICTS,
    WRONG,
    Result,
)

SCHEMA = 1
KNOWN_WRONG = Path(__file__).with_name("known_wrong.json")
"""Cases whose expected output we do not give, each with the reason: ``{"case": "reason"}``."""


@dataclass(frozen=True)
class Report:
    """All results of one run."""

    target: str
    level: int
    results: tuple[Result, ...]
    known_wrong: Mapping[str, str]

    @property
    def faults(self) -> tuple[Result, ...]:
        """Crashes, hangs, and wrong answers that are not listed."""
        return tuple(
            r
            for r in self.results
            if r.verdict in (CRASH, HANG) or (r.verdict == WRONG and r.name not in self.known_wrong)
        )

    def totals(self) -> dict[str, dict[str, int]]:
        """Verdicts counted, by category and for all."""
        table = {name: Counter[str]() for name in (*CATEGORIES, "all")}
        for result in self.results:
            table[result.category][result.verdict] += 1
            table["all"][result.verdict] += 1
        return {name: {v: counts[v] for v in VERDICTS} for name, counts in table.items() if counts.total()}

    def table(self) -> str:
        """The totals as aligned text; the share is that of the cases that count."""
        shown = [v for v in VERDICTS if v != UNCOUNTED or any(r.verdict == v for r in self.results)]
        header = ["category", "cases", *shown, "passed"]
        lines = [header]
        for name, counts in self.totals().items():
            cases = sum(counts.values())
            counted = cases - counts[UNCOUNTED]
            share = f"{100 * counts[PASS] / counted:.1f}%" if counted else "-"
            lines.append([name, str(cases), *(str(counts[v]) for v in shown), share])
        widths = [max(len(line[i]) for line in lines) for i in range(len(header))]
        return "\n".join(
            "  ".join(
                c.ljust(w) if i == 0 else c.rjust(w)
                for i, (c, w) in enumerate(zip(line, widths, strict=True))
            )
            for line in lines
        )

    def text(self) -> str:
        """The table, then each wrong answer, crash and hang by name."""
        parts = [self.table()]
        for verdict in (WRONG, CRASH, HANG):
            found = [r for r in self.results if r.verdict == verdict]
            if found:
                parts.append("\n".join([f"\n{verdict}:", *(self._line(r) for r in found)]))
        return "\n".join(parts)

    def _line(self, result: Result) -> str:
        known = self.known_wrong.get(result.name, "") if result.verdict == WRONG else ""
        return f"  {result.name}: {result.detail}" + (f" (known: {known})" if known else "")

    def to_json(self) -> dict[str, Any]:
        """The report as a JSON-able dict."""
        import onnx

        return {
            "schema": SCHEMA,
            "target": self.target,
            "level": self.level,
            "onnx": onnx.__version__,
            "totals": self.totals(),
            "faults": [result.name for result in self.faults],
            "cases": [result.to_json() for result in self.results],
        }

    def refusals(self) -> list[tuple[str, Sequence[str]]]:
        """Reasons of refusals and fallbacks with the cases they hold for, most frequent first."""
        groups: dict[str, list[str]] = {}
        for result in self.results:
            if result.verdict in (REFUSED, FALLBACK):
                groups.setdefault(result.detail.split(" | ")[-1], []).append(result.name)
        return sorted(groups.items(), key=lambda item: -len(item[1]))


def read_known_wrong(path: Path = KNOWN_WRONG) -> dict[str, str]:
    """Reasons by case name."""
    known: dict[str, str] = json.loads(path.read_text(encoding="utf-8"))
    return known
