"""Which rewrite broke a model: binary search over the number of rewrites, one oracle run."""

from __future__ import annotations

import re
from dataclasses import dataclass, replace

from accelc.driver import import_model, run_request
from accelc.ir.pass_base import Rewrite
from accelc.request import Request
from accelc.target import Verification
from accelc.verification import Cases, check, prepare


@dataclass(frozen=True)
class Culprit:
    """What bisecting found.

    Args:
        rewrites: Rewrites of the whole compile.
        first_bad: How many rewrites it takes to break the model; 0 if it is broken without any.
        pass_name: The pass that made the breaking rewrite.
        rewrite: That rewrite, None if no rewrite is to blame.
        verdict: The verification with it.
    """

    rewrites: int
    first_bad: int
    pass_name: str
    rewrite: Rewrite | None
    verdict: Verification


def bisect(request: Request) -> Culprit | None:
    """Find the rewrite that breaks a model, by binary search over the number of rewrites; None if it is right.

    The oracle runs once. A compile or run that fails counts as broken.
    """
    imported = import_model(request)
    cases = prepare(
        imported.original,
        imported.model,
        sets=max(1, int(request.verify)),
        data=request.data,
        seed=request.seed,
    )
    total, verdict, _ = _try(request, cases, None)
    if verdict.status != "failed":
        return None
    good, bad = -1, total
    while bad - good > 1:
        middle = (good + bad) // 2
        request.tell("bisect", middle, total)
        _, found, _ = _try(request, cases, middle)
        good, bad = (good, middle) if found.status == "failed" else (middle, bad)
    done, verdict, last = _try(request, cases, bad)
    pass_name, rewrite = last if bad > 0 and last is not None else ("", None)
    return Culprit(total, min(bad, done) if bad else 0, pass_name, rewrite, verdict)


def _try(
    request: Request, cases: Cases, max_rewrites: int | None
) -> tuple[int, Verification, tuple[str, Rewrite] | None]:
    """Compile with at most so many rewrites; how many were made, the verdict, and the last of them."""
    trial = replace(request, verify=0, max_rewrites=max_rewrites, progress=None, print_ir_after=())
    rewrites: list[tuple[str, Rewrite]] = []
    try:
        exe = run_request(trial)
        rewrites = [(r.name, rewrite) for r in exe.trace.records for rewrite in r.rewrites]
        verdict = check(exe, cases)
    except Exception as error:  # a crash is what bisecting is for
        verdict = Verification("failed", reason=re.sub(r"\s+", " ", f"{type(error).__name__}: {error}")[:300])
        if not rewrites and max_rewrites:
            return max_rewrites, verdict, None
    return len(rewrites), verdict, rewrites[-1] if rewrites else None
