"""One case, compiled, run and compared: the verdict."""

from __future__ import annotations

import time
import warnings
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from accelc.conformance.cases import Case, features
from accelc.conformance.emitted import EMITTING, try_emitted
from accelc.errors import AccelcError

PASS, WRONG, REFUSED, FALLBACK, CRASH, HANG = "pass", "wrong", "refused", "fallback", "crash", "hang"
UNCOUNTED = "uncounted"
VERDICTS = (PASS, WRONG, REFUSED, FALLBACK, CRASH, HANG, UNCOUNTED)
_BFLOAT16_RTOL = 2.0**-6
"""Two units in the last place of bfloat16, as the suite's own runner allows."""


@dataclass(frozen=True)
class Result:
    """What became of one case.

    Args:
        name: The case.
        kind: Its folder in the suite.
        category: ``core``, ``control`` or ``other``.
        verdict: ``pass``; ``wrong`` answers; ``refused`` with a clear error; ``fallback`` (right, but an op ran
            on the reference); ``crash`` (the process died, or an error that is not one of accelc's); ``hang``;
            ``uncounted`` (the target emits a model for onnxruntime, which fails on the original already).
        detail: Why, in one line.
        seconds: Wall time.
    """

    name: str
    kind: str
    category: str
    verdict: str
    detail: str = ""
    seconds: float = 0.0

    def to_json(self) -> dict[str, Any]:
        """The fields as a JSON-able dict."""
        return {**asdict(self), "seconds": round(self.seconds, 3)}


def judge(case: Case, options: Mapping[str, Any]) -> Result:
    """Compile a case with ``options`` (arguments of ``accelc.compile``), run its data sets, and compare."""
    start = time.monotonic()
    facts = features(case)
    try:
        with warnings.catch_warnings(), np.errstate(all="ignore"):
            warnings.simplefilter("ignore")
            verdict, detail = _try(case, options, host_values=facts.host_values)
    except AccelcError as error:
        parts = (error.what, *error.where[:3], error.why)
        verdict, detail = REFUSED, f"{type(error).__name__}: {' | '.join(part for part in parts if part)}"
    except Exception as error:  # whatever else is raised is a bug of ours
        verdict, detail = CRASH, f"{type(error).__name__}: {error}"
    line = " ".join(detail.split())[:400]
    return Result(case.name, case.kind, facts.category, verdict, line, time.monotonic() - start)


def _try(case: Case, options: Mapping[str, Any], *, host_values: bool) -> tuple[str, str]:
    from accelc.driver import compile as compile_model

    if options.get("target") in EMITTING:
        counts, why = try_emitted(case, options)
        return (WRONG if why else PASS) if counts else UNCOUNTED, why
    exe = compile_model(case.load(), verify=False, **options)
    names = [spec.name for spec in exe.inputs]
    for inputs, expected in case.data():
        feeds = {name: x for name, x in zip(names, inputs, strict=False) if x is not None}
        difference = differs(expected, exe.run(None, feeds), case.rtol, case.atol)
        if difference:
            return WRONG, difference
    if exe.fallbacks and not host_values:
        return FALLBACK, "; ".join(exe.fallbacks[:3])
    return PASS, ""


def differs(expected: Sequence[Any], actual: Sequence[Any], rtol: float, atol: float) -> str:
    """Why two lists of outputs differ by the suite's rules; empty if they do not.

    Shapes and dtypes must match; floats within ``atol + rtol * |expected|``, the rest exactly. Sequences are
    compared element by element, an empty optional is None.
    """
    if len(expected) != len(actual):
        return f"{len(actual)} outputs, expected {len(expected)}"
    pairs = [(f"output {i}", a, b) for i, (a, b) in enumerate(zip(expected, actual, strict=True))]
    for where, want, got in pairs:  # grows while sequences are opened
        if isinstance(want, list | tuple):
            if not isinstance(got, list | tuple) or len(got) != len(want):
                return f"{where}: a sequence of {len(want)} expected, got {_brief(got)}"
            pairs += [(f"{where}[{i}]", a, b) for i, (a, b) in enumerate(zip(want, got, strict=True))]
        elif want is None or got is None:
            if want is not got:
                return f"{where}: {_brief(want)} expected, got {_brief(got)}"
        elif why := _tensors_differ(np.asarray(want), np.asarray(got), rtol, atol):
            return f"{where}: {why}"
    return ""


def _brief(value: Any) -> str:
    return f"{value.dtype.name}{list(value.shape)}" if isinstance(value, np.ndarray) else type(value).__name__


def _tensors_differ(want: np.ndarray, got: np.ndarray, rtol: float, atol: float) -> str:
    if want.shape != got.shape:
        return f"shape {list(got.shape)}, expected {list(want.shape)}"
    if want.dtype.kind in "OU":
        same = got.dtype.kind in "OU" and bool((want.astype(str) == got.astype(str)).all())
        return "" if same else "other strings than expected"
    if want.dtype != got.dtype:
        return f"dtype {got.dtype.name}, expected {want.dtype.name}"
    if want.dtype.name == "bfloat16":
        rtol = max(rtol, _BFLOAT16_RTOL)
    if want.dtype.kind in "biu":
        close = want == got
    else:
        wide = np.complex128 if want.dtype.kind == "c" else np.float64
        close = np.isclose(got.astype(wide), want.astype(wide), rtol=rtol, atol=atol, equal_nan=True)
    if close.all():
        return ""
    at = np.unravel_index(int(np.argmin(close)), close.shape)
    bad = int(close.size - np.count_nonzero(close))
    return f"{bad} of {close.size} elements differ, first at {[int(i) for i in at]}: {got[at]} for {want[at]}"
