"""Is the compiled model still the model? Compare it with onnxruntime on a few inputs.

The bound is max(tolerance, 2 x spread) of max|output|, the spread being that between onnxruntime with and
without its own optimisations on the same inputs: what rounding alone does to this model. An error above that is
compared with what rounding could do (accelc.conditioning), and the verdict says so. Integers, bools, shapes, NaN
and infinities match exactly wherever the two runs of onnxruntime agree with each other.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import onnx_ir as ir

from accelc.conditioning import MOST, rounding_spread
from accelc.errors import CallError, NumericsError, UnsupportedError
from accelc.free_memory import free_memory_bytes
from accelc.inputs import ATTEMPTS, Feeds, checked_data, data_beside, model_inputs, random_feeds
from accelc.ir.cost import nbytes, weight_bytes
from accelc.ir.pass_base import node_name
from accelc.ir.reading import NEEDS_DATA
from accelc.ir.runnable import make_runnable
from accelc.ir.shapes import dims_of
from accelc.ir.weights import subgraphs_of
from accelc.oracle_process import run_isolated
from accelc.reference import Oracle, Source, is_float, relative_error
from accelc.target import Executable, Verification

_RANDOM_OPS = frozenset(
    ("RandomNormal", "RandomNormalLike", "RandomUniform", "RandomUniformLike", "Multinomial", "Bernoulli")
)
_PRECISION_SLACK = 4.0
"""A model that computes in float16 cannot be closer than a few of its rounding steps."""


_CHILD_ATTEMPTS = 3
"""Draws for a model that runs in a child process, each of which costs a second."""
_MOST_TRIPS = 1_000_000
_LARGE_BYTES = 256 << 20
_LARGE_RATIO = 8


@dataclass(frozen=True)
class Case:
    """One set of inputs and what the oracle makes of them, optimised and not; ``drawn`` at random or given."""

    feeds: Feeds
    expected: tuple[np.ndarray, ...]
    second: tuple[np.ndarray, ...]
    drawn: bool = False


@dataclass
class Cases:
    """Input sets with the oracle's answers; ``reason`` says why there are none. ``model`` is the imported model."""

    cases: list[Case] = field(default_factory=list)
    reason: str = ""
    floor: float = 0.0
    model: ir.Model | None = None
    _rounding: dict[int, list[float]] = field(default_factory=dict)

    def rounding(self, index: int) -> list[float]:
        """How far rounding can move each output on one of the input sets; zeros where that cannot be told."""
        if index not in self._rounding:
            case = self.cases[index]
            spread = [0.0] * len(case.expected)
            if self.model is not None and not hazard(self.model):
                with suppress(UnsupportedError):
                    spread = rounding_spread(self.model, case.feeds, case.expected)
            self._rounding[index] = spread
        return self._rounding[index]


def prepare(
    original: Source,
    imported: ir.Model,
    *,
    sets: int = 1,
    data: Sequence[Mapping[str, Any]] | Mapping[str, Any] | None = None,
    seed: int = 0,
    progress: Callable[[str], None] | None = None,
) -> Cases:
    """Choose inputs and run the oracle on them, for :func:`check`.

    Args:
        original: What the user gave: the file itself where there is one, so that the import is checked too.
        imported: The imported model, before any pass; tells inputs and their uses.
        sets: Input sets; models with free dims get at least two, of different sizes.
        data: The user's inputs, one set or several; without them test data beside the model, then
            random ones.
        seed: Seed of random inputs.
        progress: Told what is being done.
    """
    reason = _why_not(imported, trusted=data is not None)
    if reason:
        return Cases(reason=reason)
    given = checked_data(imported, data) if data is not None else []
    free = any(not isinstance(d, int) for value in model_inputs(imported) for d in dims_of(value) or (None,))
    wanted = 0 if given else max(sets, 2) if free else sets
    if not given and isinstance(original, str | Path):
        given = list(data_beside(Path(original), imported))[:sets]
    if progress is not None:
        progress("onnxruntime")
    oracle = _Oracles(original, imported)
    found = Cases(floor=_precision_floor(imported), model=imported)
    try:
        found.cases += [Case(feeds, *oracle(feeds)) for feeds in given]
        _random_cases(oracle, imported, wanted - len(given), seed, found)
    except UnsupportedError as error:
        found.reason = f"{error.what}: {error.why}" if error.why else error.what
    return found


def _random_cases(oracle: _Oracles, imported: ir.Model, sets: int, seed: int, found: Cases) -> None:
    """Add random cases; a draw that the oracle rejects is drawn again, with larger sizes."""
    first = 0
    for index in range(sets):
        for attempt in range(first, oracle.attempts):
            feeds = random_feeds(imported, seed=seed + index, setting=index, attempt=attempt)
            try:
                found.cases.append(Case(feeds, *oracle(feeds), drawn=True))
            except UnsupportedError as error:
                if not oracle.rejected:
                    raise
                found.reason = f"onnxruntime rejected every input drawn: {error.why}"
                continue
            first = attempt
            break
    if found.cases:
        found.reason = ""


class _Oracles:
    """Optimised and unoptimised onnxruntime on the user's model, or if it refuses that on the imported one.

    ``rejected`` tells, after a failure, whether other inputs might do better.
    """

    def __init__(self, original: Source, imported: ir.Model) -> None:
        self._sources: list[Source] = [original] if original is imported else [original, imported]
        self._imported = imported
        self._sessions: tuple[Oracle, Oracle] | None = None
        self._isolated = hazard(imported) != ""
        self.attempts = _CHILD_ATTEMPTS if self._isolated else ATTEMPTS
        self.rejected = False

    def __call__(self, feeds: Feeds) -> tuple[tuple[np.ndarray, ...], tuple[np.ndarray, ...]]:
        self.rejected = False
        if self._isolated:
            return self._in_child(feeds)
        if self._sessions is None:
            self._sessions = self._load()
        self.rejected = True
        first, second = (tuple(session.run(feeds)) for session in self._sessions)
        return first, second

    def _in_child(self, feeds: Feeds) -> tuple[tuple[np.ndarray, ...], tuple[np.ndarray, ...]]:
        try:
            first, second = run_isolated(self._sources[0], feeds, memory_bytes=free_memory_bytes())
        except UnsupportedError as error:
            self.rejected = error.what == "onnxruntime cannot run the model"
            raise
        return tuple(first), tuple(second)

    def _load(self) -> tuple[Oracle, Oracle]:
        first: UnsupportedError | None = None
        for source in self._sources:
            try:
                return Oracle(source), Oracle(source, optimize=False)
            except UnsupportedError as error:
                first = first or error
        other_forms = self._imported.clone()  # onnxruntime has dropped kernels that it once had
        make_runnable(other_forms)
        try:
            return Oracle(other_forms), Oracle(other_forms, optimize=False)
        except UnsupportedError as error:
            raise first or error from error


def _nodes(model: ir.Model) -> list[ir.Node]:
    """All nodes, subgraphs included."""
    found: list[ir.Node] = []
    pending: list[ir.Graph] = [model.graph]
    while pending:
        for node in pending.pop():
            found.append(node)
            pending.extend(subgraphs_of(node))
    return found


def _why_not(model: ir.Model, *, trusted: bool = False) -> str:
    """Why a model cannot be compared with the oracle; empty if it can.

    Unless the user gave inputs (``trusted``), a value out of proportion to the weights is a reason too: a file
    of a few bytes may ask for any amount of memory.
    """
    if not trusted and NEEDS_DATA in model.graph.meta:
        return f"{model.graph.meta[NEEDS_DATA]}: verify on inputs of your own with --input"
    for node in _nodes(model):
        if node.domain == "" and node.op_type in _RANDOM_OPS:
            return f"non-deterministic: {node.op_type} at node {node_name(node)}"
        if node.op_type == "Dropout" and len(node.inputs) > 2 and node.inputs[2] is not None:
            flag = node.inputs[2].const_value
            if flag is None or bool(flag.numpy().any()):
                return f"non-deterministic: Dropout in training mode at node {node_name(node)}"
        if node.op_type == "Loop" and node.domain == "":
            trips = node.inputs[0].const_value if node.inputs and node.inputs[0] is not None else None
            endless = not node.inputs or node.inputs[0] is None
            if endless or (trips is not None and int(trips.numpy().reshape(-1)[0]) > _MOST_TRIPS):
                return f"may not end: Loop at node {node_name(node)} has no small bound"
    for value in model_inputs(model):
        if not isinstance(value.type, ir.TensorType) or value.dtype is None:
            return f"input {value.name!r} is not a tensor of known dtype"
    weights, largest = weight_bytes(model), _largest_value(model)
    if not trusted and largest > max(_LARGE_BYTES, _LARGE_RATIO * weights):
        return f"too large: one value takes {largest >> 20} MB; verify on inputs of your own with --input"
    need = 2 * weights + largest
    free = free_memory_bytes()
    if need > free:
        return f"too large: needs about {need >> 20} MB, {free >> 20} MB are free"
    return ""


def _largest_value(model: ir.Model) -> int:
    """Bytes of the largest value of known size."""
    sizes = [nbytes(value, {}) for node in _nodes(model) for value in node.outputs]
    return max((size for size in sizes if size is not None), default=0)


def hazard(model: ir.Model) -> str:
    """Why running ``model`` in onnxruntime may kill or hang this process; empty if nothing known does."""
    for node in _nodes(model):
        if node.domain != "":
            continue
        if node.op_type == "Loop":
            return f"Loop at node {node_name(node)}"
        if node.op_type in ("Div", "Mod") and len(node.inputs) == 2:
            a, b = node.inputs
            if a is None or b is None or (a.dtype is not None and a.dtype.is_floating_point()):
                continue
            divisor = ir.convenience.get_const_tensor(b)
            if divisor is None or np.isin(divisor.numpy(), (0, -1)).any():
                return f"integer {node.op_type} at node {node_name(node)}"
    return ""


def _precision_floor(model: ir.Model) -> float:
    """A few rounding steps of the narrowest float type that the model computes in."""
    kinds = {value.dtype for node in _nodes(model) for value in node.outputs if value.dtype is not None}
    floor = 0.0
    for kind, step in ((ir.DataType.FLOAT16, 2.0**-10), (ir.DataType.BFLOAT16, 2.0**-7)):
        if kind in kinds:
            floor = max(floor, _PRECISION_SLACK * step)
    return floor


def check(exe: Executable, cases: Cases, *, progress: Callable[[str], None] | None = None) -> Verification:
    """Run ``exe`` on prepared cases and compare.

    Sizes drawn at random may make no sense to the model, and yet get an answer from onnxruntime, which broadcasts what
    was never meant to be: a set of those that ``exe`` refuses is left out.
    """
    if not cases.cases:
        return Verification("not verified", reason=cases.reason or "no inputs")
    names = [spec.name for spec in exe.outputs]
    worst: dict[str, float] = dict.fromkeys(names, 0.0)
    bound, failure, excess = 0.0, "", 0.0
    tolerance = max(exe.tolerance, cases.floor)
    run = _runner(exe)
    compared, refused, moved = 0, "", ""
    for index, case in enumerate(cases.cases):
        if progress is not None:
            progress(f"input set {index + 1} of {len(cases.cases)}")
        try:
            results = run(case.feeds)
        except CallError as refusal:
            if not case.drawn:
                raise
            refused = f"{refusal.what}: {refusal.why}" if refusal.why else refusal.what
            continue
        compared += 1
        answers = zip(names, case.expected, case.second, results, strict=True)
        for place, (name, a, b, found) in enumerate(answers):
            error, limit, why = compare(a, b, found, tolerance)
            if why and error <= MOST and error <= 2 * (spread := cases.rounding(index)[place]):
                limit, why = min(MOST, 2 * spread), ""
                moved = f"rounding alone moves output {name} by {spread:.2g} on input set {index + 1}"
            bound = max(bound, limit)
            worst[name] = max(worst[name], error)
            if why and (not failure or error - limit > excess):
                failure, excess = f"output {name}: {why}", error - limit
    if not compared:
        why = f"the compiled model refuses the inputs drawn ({refused})"
        return Verification("not verified", reason=f"{why}: verify on inputs of your own with --input")
    return Verification(
        "failed" if failure else "verified",
        max_rel_error=max(worst.values(), default=0.0),
        bound=bound,
        input_sets=compared,
        reason=failure or moved,
        outputs=tuple(worst.items()),
    )


def _runner(exe: Executable) -> Callable[[Feeds], list[np.ndarray]]:
    """How to run ``exe``; a model that it emitted is for onnxruntime, and is tried there."""
    emitted = exe.emitted
    if emitted is None:
        return exe.run_exactly
    if hazard(emitted):
        return lambda feeds: run_isolated(emitted, feeds)[0]
    return Oracle(emitted).run


def compare(
    expected: np.ndarray, second: np.ndarray, found: np.ndarray, tolerance: float
) -> tuple[float, float, str]:
    """Relative error of one output, its bound, and what is wrong (empty if nothing is)."""
    if found.shape != expected.shape:
        return float("inf"), tolerance, f"expected shape {list(expected.shape)}, got {list(found.shape)}"
    if found.dtype != expected.dtype:
        return float("inf"), tolerance, f"expected dtype {expected.dtype}, got {found.dtype}"
    if not is_float(expected.dtype):
        wrong = (
            (found != expected) & (expected == second)
            if second.shape == expected.shape
            else found != expected
        )
        count = int(np.count_nonzero(wrong))
        return (
            (float("inf") if count else 0.0),
            0.0,
            f"{count} of {expected.size} elements differ" if count else "",
        )
    settled = _same_class(expected, second)
    strange = settled & ~_same_class(expected, found)
    bound = max(tolerance, 2 * relative_error(expected, second))
    if strange.any():
        at = np.unravel_index(int(np.argmax(strange)), strange.shape)
        return float("inf"), bound, f"expected {expected[at]}, got {found[at]} at {[int(i) for i in at]}"
    error = relative_error(expected, found)
    return error, bound, f"error {error:.3g} of max|output| exceeds {bound:.3g}" if error > bound else ""


def _same_class(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """Elementwise: both finite, both NaN, or the same infinity."""
    if a.shape != b.shape:
        return np.ones(a.shape, bool)
    with np.errstate(all="ignore"):
        both = np.isfinite(a) & np.isfinite(b)
        return np.asarray(both | (np.isnan(a) & np.isnan(b)) | (~np.isfinite(a) & (a == b)))


def raise_if_failed(verdict: Verification, *, model_name: str) -> None:
    """Turn a failed verdict into an error.

    Raises:
        NumericsError: Names output, error and bound, and how to find the rewrite that broke it.
    """
    if verdict.status == "failed":
        raise NumericsError(
            "the compiled model does not give the same answers",
            where=f"model {model_name}",
            why=verdict.reason,
            fix="accelc verify MODEL --bisect names the rewrite; --verify off skips the check",
        )
