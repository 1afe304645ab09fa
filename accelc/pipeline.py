"""Which passes run, in which order: data per level; and the loop that runs them.

Names are resolved to passes by the caller (``accelc.passes.resolve``): this module knows no pass.
"""

from __future__ import annotations

import itertools
import time
from collections.abc import Callable, Collection, Iterable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import cast

import onnx_ir as ir

from accelc.errors import AccelcError, PassError, UsageError
from accelc.ir.pass_base import Pass, PassContext, PassRecord, PassResult, count_nodes


@dataclass(frozen=True)
class Repeat:
    """Steps that run in turn until none of them finds anything more to change; written ``(a,b,c)*``.

    A pass that has run finds nothing more in what it left, so the turns end when every other step has looked at
    the graph since the last change. A graph with nothing to do costs one turn.

    Args:
        steps: Names or passes.
        rounds: Turns at most: past them the graph stays as it is, valid and no worse.
    """

    steps: tuple[str | Pass, ...]
    rounds: int = 8

    def __str__(self) -> str:
        """The steps in parentheses, as ``--passes`` reads them."""
        return f"({','.join(str(step) for step in self.steps)})*"


Step = str | Pass | Repeat

CLEAN: tuple[Step, ...] = (
    "infer-shapes",
    "identity-ops",
    Repeat(("fold-constants", "fold-shapes", "inline-if")),  # each gives the others something to know
    "identity-ops",
    "cast-chains",
    Repeat(("reshape-chains", "transpose-sink")),  # a Transpose of dims of 1 becomes a Reshape
    "unflatten-softmax",
    "eliminate-common",
    "fuse-batch-norm",
    "matmul-add-to-gemm",
    "eliminate-dead",
)
"""Folding, no-ops, chains, common subexpressions, weights that absorb their neighbours."""

RECOVER: tuple[Step, ...] = (
    "unflatten-gemm",
    "recover-layer-norm",
    "recover-rms-norm",
    "recover-gelu",
    "recover-silu",
    "recover-hard-swish",
    "recover-attention",
    "merge-affine",  # not before: a scale behind a formula would take the formula's own factor
    "eliminate-common",
    "eliminate-dead",
    "infer-shapes",
)
"""Ops that exporters took apart, put together again."""

FUSE: tuple[Step, ...] = ("fuse-epilogues", "fuse-reductions", "fuse-elementwise", "eliminate-dead")
"""Clusters outlined into functions, one kernel each."""

EMIT: tuple[Step, ...] = ("recover-batch-norm", "eliminate-common", "eliminate-dead")
"""In the place of fusion for targets that emit a model: forms that other runtimes are good at."""

LEVELS: tuple[tuple[Step, ...], ...] = (
    ("infer-shapes",),
    CLEAN,
    CLEAN + RECOVER + FUSE,
    CLEAN + RECOVER + FUSE,
)
"""Steps of -O0 to -O3."""


def step_name(step: Step) -> str:
    """Name of a step, without its options."""
    return str(step).split("{")[0]


def step_names(step: Step) -> tuple[str, ...]:
    """Names of the passes of one step: several if it repeats."""
    return tuple(map(step_name, step.steps)) if isinstance(step, Repeat) else (step_name(step),)


def resolved(steps: Iterable[Step], resolve: Callable[[str | Pass], Pass]) -> tuple[Pass | Repeat, ...]:
    """The steps with a pass in the place of every name."""
    return tuple(
        replace(step, steps=tuple(map(resolve, step.steps))) if isinstance(step, Repeat) else resolve(step)
        for step in steps
    )


@dataclass(frozen=True)
class Pipeline:
    """An order of passes; every method returns a new pipeline.

    Args:
        steps: Names (``"fold-constants"``, ``"prune-n-m{n=2,m=4}"``) or passes.
    """

    steps: tuple[Step, ...] = ()

    @classmethod
    def default(cls, level: int = 2) -> Pipeline:
        """The steps of ``-O<level>``.

        Raises:
            UsageError: There is no such level.
        """
        if not 0 <= level < len(LEVELS):
            raise UsageError(
                f"there is no optimisation level {level}", fix=f"use one of 0 to {len(LEVELS) - 1}"
            )
        return cls(LEVELS[level])

    @classmethod
    def emitting(cls, level: int = 2) -> Pipeline:
        """The steps of ``-O<level>`` for a target that emits a model: without fusion, so that every node stays an op.

        Raises:
            UsageError: There is no such level.
        """
        steps = cls.default(level).steps
        fused = steps[-len(FUSE) :] == FUSE
        return cls(steps[: -len(FUSE)] + EMIT if fused else steps)

    def names(self) -> tuple[str, ...]:
        """Names of the steps in order, without options."""
        return tuple(name for step in self.steps for name in step_names(step))

    def without(self, *names: str) -> Pipeline:
        """Leave out every step with one of these names.

        Raises:
            UsageError: A name is not in the pipeline.
        """
        self._check_present(names)
        return self._keeping(lambda name: name not in names)

    def only(self, *names: str) -> Pipeline:
        """Keep the steps with these names, in their order here.

        Raises:
            UsageError: A name is not in the pipeline.
        """
        self._check_present(names)
        return self._keeping(lambda name: name in names)

    def _keeping(self, keep: Callable[[str], bool]) -> Pipeline:
        """The steps whose names ``keep`` accepts; nothing repeats where nothing is left of it."""
        kept: list[Step] = []
        for step in self.steps:
            if isinstance(step, Repeat):
                inner = tuple(each for each in step.steps if keep(step_name(each)))
                kept += [replace(step, steps=inner)] if inner else []
            elif keep(step_name(step)):
                kept.append(step)
        return replace(self, steps=tuple(kept))

    def then(self, *steps: Step) -> Pipeline:
        """Add steps at the end."""
        return replace(self, steps=(*self.steps, *steps))

    def before(self, name: str, *steps: Step) -> Pipeline:
        """Add steps before the first step called ``name``, or the one that repeats it.

        Raises:
            UsageError: ``name`` is not in the pipeline.
        """
        self._check_present((name,))
        place = next(i for i, step in enumerate(self.steps) if name in step_names(step))
        return replace(self, steps=(*self.steps[:place], *steps, *self.steps[place:]))

    def before_fusion(self, *steps: Step) -> Pipeline:
        """Add steps where passes on plain ops belong: before the first fusing step, else at the end."""
        fusing = [name for name in self.names() if name.startswith("fuse-") and name in FUSE]
        return self.before(fusing[0], *steps) if fusing else self.then(*steps)

    def edited(self, text: str) -> Pipeline:
        """Apply the text of ``--passes``.

        ``a,b`` runs just these, ``(a,b)*`` in turn until they change nothing; ``-c`` leaves one out; ``+d`` adds
        one before fusion. Names may carry options in braces. ``-c`` or ``+d`` without plain names edit this
        pipeline.

        Raises:
            UsageError: An item is empty, or a name to leave out is not there.
        """
        items = split_steps(text)
        plain = [item for item in items if item[0] not in "+-"]
        result = Pipeline(tuple(map(_parse_step, plain))) if plain else self
        for item in items:
            if item[0] == "-":
                result = result.without(item[1:])
            elif item[0] == "+":
                result = result.before_fusion(_parse_step(item[1:]))
        return result

    def _check_present(self, names: Collection[str]) -> None:
        present = self.names()
        for name in names:
            if name not in present:
                raise UsageError(
                    f"pass {name!r} is not in the pipeline",
                    why=f"it has {', '.join(dict.fromkeys(present)) or 'no passes'}",
                    fix="see `accelc passes`",
                )

    def __str__(self) -> str:
        """The steps joined by commas, as ``--passes`` reads them."""
        return ",".join(str(step) for step in self.steps)


def split_steps(text: str) -> list[str]:
    """Split at commas outside braces and parentheses: ``a,p{n=2,m=4},(b,c)*,-d`` has four items.

    Raises:
        UsageError: An item is empty or a bracket is not closed.
    """
    items: list[str] = [""]
    depth = 0
    for char in text:
        depth += (char in "{(") - (char in "})")
        if char == "," and depth == 0:
            items.append("")
        else:
            items[-1] += char
    items = [item.strip() for item in items]
    if depth != 0 or any(not item.lstrip("+-") for item in items):
        raise UsageError(f"cannot read the list of passes {text!r}", fix="write --passes=a,b,-c")
    return items


def _parse_step(text: str) -> Step:
    """``(a,b)*`` as a Repeat, anything else as it is."""
    if not text.startswith("("):
        return text
    if not text.endswith(")*"):
        raise UsageError(f"cannot read the step {text!r}", fix="write (a,b)* for passes that run in turn")
    return Repeat(tuple(split_steps(text[1:-2])))


@dataclass(frozen=True)
class Checks:
    """What happens around every pass.

    Args:
        verify_each: Check the graph after every pass (accelc.ir.verify).
        print_after: Names of passes after which the graph's text goes to ``emit``; ``"all"`` for each.
        emit: Called with the pass's name and the text.
        dump_on_error: Folder (or ``.onnx`` file) for the graph before a failing pass. Keeping it costs a copy
            of the graph, weights shared, per pass.
    """

    verify_each: bool = False
    print_after: Collection[str] = ()
    emit: Callable[[str, str], None] | None = None
    dump_on_error: Path | None = None


NO_CHECKS = Checks()


def run_passes(
    steps: Sequence[Pass | Repeat], model: ir.Model, ctx: PassContext, checks: Checks = NO_CHECKS
) -> ir.Model:
    """Run passes in order; each adds a PassRecord to ``ctx.trace`` whenever it runs.

    Args:
        steps: What to run, resolved (see :func:`resolved`).
        model: Changed in place.
        ctx: Shared context; ``ctx.record`` is the record of the pass at work.
        checks: What is looked at and kept around every pass.

    Returns:
        The model after the last pass.

    Raises:
        PassError: A pass failed or left an invalid graph; names the pass, its place and the dump.
        AccelcError: A limit was reached or the like; the pass and its place are added to ``where``.
    """
    for place, step in enumerate(steps, start=1):
        turn = cast("tuple[Pass, ...]", step.steps) if isinstance(step, Repeat) else (step,)
        longest = step.rounds * len(turn) if isinstance(step, Repeat) else 1
        unchanged = 0  # passes that ran since the last change, the one that made it included
        for pass_ in itertools.islice(itertools.cycle(turn), longest):
            result = _run_checked(pass_, model, ctx, checks, f"{place} of {len(steps)}")
            model = result.model
            unchanged = 1 if result.modified else unchanged + 1
            if unchanged == len(turn):
                break
    return model


def _run_checked(pass_: Pass, model: ir.Model, ctx: PassContext, checks: Checks, place: str) -> PassResult:
    before = model.clone() if checks.dump_on_error is not None else None
    if ctx.progress is not None:
        ctx.progress(str(pass_))
    try:
        result = _run_one(pass_, model, ctx, checks.verify_each)
    except Exception as error:
        dumped = _dump(before, checks.dump_on_error, place.split()[0], pass_)
        raise _named(error, f"pass {pass_}, {place}", dumped) from error
    if checks.emit is not None and ("all" in checks.print_after or step_name(pass_) in checks.print_after):
        from accelc.ir.text import to_text

        checks.emit(str(pass_), to_text(result.model))
    return result


def _run_one(pass_: Pass, model: ir.Model, ctx: PassContext, verify_each: bool) -> PassResult:
    record = PassRecord(str(pass_), nodes_before=count_nodes(model))
    ctx.record = record
    ctx.trace.records.append(record)
    expect = None
    if verify_each:
        from accelc.ir.verify import signature, verify

        expect = signature(model)
    start = time.perf_counter()
    try:
        ctx.check_time(f"pass {pass_}")
        result = pass_.apply(model, ctx)
    finally:
        record.ms = (time.perf_counter() - start) * 1e3
    record.nodes_after = count_nodes(result.model)
    if verify_each:
        verify(result.model, after=str(pass_), expect=expect)
    return result


def _named(error: Exception, where: str, dumped: str) -> AccelcError:
    """The error with the pass, its place and the dump added; anything unplanned becomes a PassError."""
    places = (where, f"graph before the pass: {dumped}") if dumped else (where,)
    if isinstance(error, AccelcError):
        error.where = (*error.where, *places)
        return error
    return PassError(
        "a pass failed",
        where=places,
        why=f"{type(error).__name__}: {error}",
        fix="leave the pass out with --passes=-NAME, and report this",
    )


def _dump(model: ir.Model | None, target: Path | None, place: str, pass_: Pass) -> str:
    if model is None or target is None:
        return ""
    file = target if target.suffix == ".onnx" else target / f"before-{place}-{step_name(pass_)}.onnx"
    try:
        file.parent.mkdir(parents=True, exist_ok=True)
        # Weights go beside the graph: protobuf holds no more than 2 GB.
        ir.save(model, file, external_data=f"{file.name}.data")
    except (OSError, ValueError) as error:
        return f"not written ({error})"
    return str(file)
