"""One model against its oracle: -O0 and -O3 against onnxruntime, for every binding of the dynamic dims."""

from __future__ import annotations

import warnings
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import onnx_ir as ir
from fuzz_graph import BINDINGS, Case, session_of
from fuzz_model import captured
from onnx.reference import ReferenceEvaluator

import accelc
from accelc.errors import AccelcError

LEVELS = (0, 3)
BOUNDS = {"float16": 2e-2, "float32": 1e-4, "float64": 1e-7}
"""Allowed max|a-b| as a share of max|expected|; a generated model amplifies rounding by less than that."""
UNLIKE_ON_NAN = {
    "ArgMax", "ArgMin", "TopK", "Cast", "CastLike", "Hardmax", "If", "ReduceMax", "ReduceMin", "MaxPool",
    "GlobalMaxPool", "Pow", "Tanh", "Gelu", "Resize", "ScatterElements",
}  # fmt: skip
"""Ops whose NaN or infinity is undefined (casts), or which onnxruntime treats unlike NumPy (ReduceMax, Tanh)."""


@dataclass(frozen=True)
class Verdict:
    """What became of one model. ``kind``: equal, skipped, wrong, error, crash or recompiled."""

    kind: str
    detail: str = ""
    level: int = -1
    output: str = ""
    fallbacks: tuple[str, ...] = field(default=())

    @property
    def failed(self) -> bool:
        return self.kind not in ("equal", "skipped")


def check_case(case: Case, target: str = "cpu", *, special: bool = False) -> Verdict:
    """Compile at both levels and compare on every binding; ``special`` adds inputs with NaN and infinity."""
    proto = case.model()
    try:
        session = session_of(proto)
        runs = list(_runs(case, session, special))
    except Exception as error:
        return Verdict("skipped", f"{type(error).__name__}: {str(error)[:200]}")
    fallbacks: set[str] = set()
    for level in LEVELS:
        try:
            exe = accelc.compile(
                proto.SerializeToString(), target=target, level=level, verify=False, verify_each=level > 0
            )
            fallbacks.update(
                each.split("(")[-1].split(")")[0] + each.split(")")[-1] for each in exe.fallbacks
            )
            verdict = _compare(exe, case, runs, level)
        except AccelcError as error:
            verdict = Verdict("error", f"{type(error).__name__}: {error}", level)
        except Exception as error:
            verdict = Verdict("crash", f"{type(error).__name__}: {error}", level)
        if verdict is not None:
            return verdict
    return Verdict("equal", fallbacks=tuple(sorted(fallbacks)))


def _runs(
    case: Case, session: Any, special: bool
) -> Iterator[tuple[dict[str, np.ndarray], list[np.ndarray]]]:
    for binding in range(BINDINGS):
        feeds = case.feeds(binding)
        yield feeds, session.run(case.outputs, feeds)
    if special and not any(_ops(node) & UNLIKE_ON_NAN for node in case.nodes):
        rng = np.random.default_rng(case.seed)
        feeds = {name: _spoiled(array, rng) for name, array in case.feeds(0).items()}
        yield feeds, session.run(case.outputs, feeds)


def _ops(node: Any) -> set[str]:
    return {node.op_type}


def _spoiled(array: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """With NaN and infinities in some places."""
    if array.dtype.kind != "f" or array.size == 0:
        return array
    spoiled = array.copy()
    places = rng.integers(0, array.size, 3)
    spoiled.reshape(-1)[places] = [np.nan, np.inf, -np.inf]
    return spoiled


def _compare(
    exe: Any, case: Case, runs: list[tuple[dict[str, np.ndarray], list[np.ndarray]]], level: int
) -> Verdict | None:
    store = getattr(exe, "_store", None)
    for number, (feeds, expected) in enumerate(runs):
        before = store.compiled if store is not None else 0
        with np.errstate(all="ignore"):
            given = {spec.name: feeds[spec.name] for spec in exe.inputs}
            if exe.emitted is not None:
                results = session_of(ir.to_proto(exe.emitted)).run(list(case.outputs), given)
            else:
                results = exe.run(list(case.outputs), given)
        for name, want, got in zip(case.outputs, expected, results, strict=True):
            why = difference(np.asarray(want), np.asarray(got))
            if why and number >= BINDINGS and _as_defined(case, feeds, name, np.asarray(got)):
                continue
            if why:
                what = "special values" if number >= BINDINGS else f"binding {number}"
                return Verdict("wrong", f"{what}, output {name}: {why}", level, name)
        if number > 0 and store is not None and store.compiled != before:
            return Verdict("recompiled", "a new shape compiled kernels", level)
    return None


def _as_defined(case: Case, feeds: dict[str, np.ndarray], name: str, got: np.ndarray) -> bool:
    """Whether the result is that of ONNX's reference: NaN and infinity are where onnxruntime has its own mind.

    Clip without a bound keeps infinities there, and LogSoftmax of infinity is NaN whatever the dtype and axis.
    """
    try:
        with np.errstate(all="ignore"), warnings.catch_warnings():
            warnings.simplefilter("ignore")
            (want,) = ReferenceEvaluator(case.model()).run([name], feeds)
    except Exception:
        return False
    return not difference(np.asarray(want), got)


def difference(want: np.ndarray, got: np.ndarray) -> str:
    """What is unlike; empty if nothing is."""
    if want.shape != got.shape:
        return f"shape {list(got.shape)}, expected {list(want.shape)}"
    if want.dtype != got.dtype:
        return f"dtype {got.dtype}, expected {want.dtype}"
    if want.dtype.kind != "f":
        unlike = want != got
        return (
            f"{int(unlike.sum())} of {want.size} differ: {_shown(got)} expected {_shown(want)}"
            if unlike.any()
            else ""
        )
    a, b = want.astype(np.float64), got.astype(np.float64)
    special = ~np.isfinite(a) | ~np.isfinite(b)
    if (special & ~((a == b) | (np.isnan(a) & np.isnan(b)))).any():
        return f"NaN or infinity: {_shown(got)} expected {_shown(want)}"
    a, b = np.where(special, 0, a), np.where(special, 0, b)
    worst = float(np.abs(a - b).max()) if a.size else 0.0
    size = float(np.abs(a).max()) if a.size else 0.0
    if worst > BOUNDS[want.dtype.name] * size + 1e-30:
        return f"off by {worst:.3g} of {size:.3g}: {_shown(got)} expected {_shown(want)}"
    return ""


def _shown(array: np.ndarray) -> str:
    return str([x.item() for x in array.reshape(-1)[:8]])


def smaller(
    case: Case, target: str, first: Verdict, *, special: bool, tries: int = 80
) -> tuple[Case, Verdict]:
    """Drop outputs and nodes, one at a time, as long as the model fails in the same way."""
    best, verdict = case, first
    best_tries = [tries]

    def attempt(candidate: Case) -> bool:
        nonlocal best, verdict
        if best_tries[0] <= 0:
            return False
        best_tries[0] -= 1
        found = check_case(candidate, target, special=special)
        if found.kind == first.kind:
            best, verdict = candidate, found
            return True
        return False

    if verdict.output:
        attempt(with_parts(best, best.nodes, [verdict.output]))
    progress = True
    while progress and best_tries[0] > 0:
        progress = False
        for name in list(best.outputs):
            if len(best.outputs) > 1:
                progress |= attempt(with_parts(best, best.nodes, [o for o in best.outputs if o != name]))
        for node in reversed(list(best.nodes)):
            if node in best.nodes and len(best.nodes) > 1:
                kept = [n for n in best.nodes if n is not node]
                made = {name for n in kept for name in n.output}
                outputs = [o for o in best.outputs if o in made] or [kept[-1].output[0]]
                progress |= attempt(with_parts(best, kept, outputs))
    return best, verdict


def with_parts(case: Case, nodes: list[Any], outputs: list[str]) -> Case:
    """The case with only these nodes; what they read and nobody makes any more becomes an input."""
    live, wanted = [], set(outputs)
    for node in reversed(nodes):
        if wanted & set(node.output):
            live.append(node)
            wanted |= captured(node)
    live.reverse()
    made = {name for node in live for name in node.output}
    constants = [v for v in case.constants if v.name in wanted]
    known = made | {v.name for v in constants}
    inner = {name for node in live for a in node.attribute for n in a.g.node for name in n.output}
    inputs = [case.values[name] for name in sorted(wanted - known - inner) if name in case.values]
    return Case(case.seed, case.opset, live, inputs, constants, outputs, case.values)
