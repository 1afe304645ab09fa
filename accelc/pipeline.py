"""Which passes run, in which order: data per level; and the loop that runs them.

Names are resolved to passes by the caller (``accelc.passes.resolve``): this module knows no pass.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import onnx_ir as ir

from accelc.errors import AccelcError, PassError, UsageError
from accelc.ir.pass_base import Pass, PassContext, PassRecord, count_nodes

Step = str | Pass

CLEAN: tuple[str, ...] = (
    "infer-shapes{again=True}",  # names that the model declares inside meet shape arithmetic the second time
    "identity-ops",
    "fold-constants",
    "fold-shapes",
    "fold-constants",
    "inline-if",
    "fold-shapes",
    "fold-constants",
    "inline-if",  # an If inside the branch taken, whose condition is known only now
    "fold-shapes",
    "fold-constants",
    "identity-ops",
    "cast-chains",
    "reshape-chains",
    "transpose-sink",
    "eliminate-common",
    "fuse-batch-norm",
    "matmul-add-to-gemm",
    "eliminate-dead",
)
"""Folding, no-ops, chains, common subexpressions, weights that absorb their neighbours."""

RECOVER: tuple[str, ...] = (
    "unflatten-gemm",
    "recover-layer-norm",
    "recover-rms-norm",
    "recover-gelu",
    "recover-silu",
    "recover-hard-swish",
    "recover-attention",
    "eliminate-common",
    "eliminate-dead",
    "infer-shapes",
)
"""Ops that exporters took apart, put together again."""

FUSE: tuple[str, ...] = ("fuse-epilogues", "fuse-reductions", "fuse-elementwise", "eliminate-dead")
"""Clusters outlined into functions, one kernel each."""

LEVELS: tuple[tuple[str, ...], ...] = (
    ("infer-shapes",),
    CLEAN,
    CLEAN + RECOVER + FUSE,
    CLEAN + RECOVER + FUSE,
)
"""Steps of -O0 to -O3."""


def step_name(step: Step) -> str:
    """Name of a step, without its options."""
    return (step if isinstance(step, str) else str(step)).split("{")[0]


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

    def names(self) -> tuple[str, ...]:
        """Names of the steps in order, without options."""
        return tuple(step_name(step) for step in self.steps)

    def without(self, *names: str) -> Pipeline:
        """Leave out every step with one of these names.

        Raises:
            UsageError: A name is not in the pipeline.
        """
        self._check_present(names)
        return replace(self, steps=tuple(s for s in self.steps if step_name(s) not in names))

    def only(self, *names: str) -> Pipeline:
        """Keep the steps with these names, in their order here.

        Raises:
            UsageError: A name is not in the pipeline.
        """
        self._check_present(names)
        return replace(self, steps=tuple(s for s in self.steps if step_name(s) in names))

    def then(self, *steps: Step) -> Pipeline:
        """Add steps at the end."""
        return replace(self, steps=(*self.steps, *steps))

    def before(self, name: str, *steps: Step) -> Pipeline:
        """Add steps before the first step called ``name``.

        Raises:
            UsageError: ``name`` is not in the pipeline.
        """
        self._check_present((name,))
        place = self.names().index(name)
        return replace(self, steps=(*self.steps[:place], *steps, *self.steps[place:]))

    def before_fusion(self, *steps: Step) -> Pipeline:
        """Add steps where passes on plain ops belong: before the first fusing step, else at the end."""
        fusing = [name for name in self.names() if name in FUSE[:-1]]
        return self.before(fusing[0], *steps) if fusing else self.then(*steps)

    def edited(self, text: str) -> Pipeline:
        """Apply the text of ``--passes``.

        ``a,b`` runs just these; ``-c`` leaves one out; ``+d`` adds one before fusion. Names may carry options
        in braces. ``-c`` or ``+d`` without plain names edit this pipeline.

        Raises:
            UsageError: An item is empty, or a name to leave out is not there.
        """
        items = split_steps(text)
        plain = [item for item in items if item[0] not in "+-"]
        result = Pipeline(tuple(plain)) if plain else self
        for item in items:
            if item[0] == "-":
                result = result.without(item[1:])
            elif item[0] == "+":
                result = result.before_fusion(item[1:])
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
    """Split at commas outside braces: ``a,p{n=2,m=4},-c`` has three items.

    Raises:
        UsageError: An item is empty or a brace is not closed.
    """
    items: list[str] = [""]
    depth = 0
    for char in text:
        depth += (char == "{") - (char == "}")
        if char == "," and depth == 0:
            items.append("")
        else:
            items[-1] += char
    items = [item.strip() for item in items]
    if depth != 0 or any(not item.lstrip("+-") for item in items):
        raise UsageError(f"cannot read the list of passes {text!r}", fix="write --passes=a,b,-c")
    return items


def run_passes(
    passes: Sequence[Pass],
    model: ir.Model,
    ctx: PassContext,
    *,
    verify_each: bool = False,
    print_after: Collection[str] = (),
    emit: Callable[[str, str], None] | None = None,
    dump_on_error: Path | None = None,
) -> ir.Model:
    """Run passes in order; each adds a PassRecord to ``ctx.trace``.

    Args:
        passes: What to run.
        model: Changed in place.
        ctx: Shared context; ``ctx.record`` is the record of the pass at work.
        verify_each: Check the graph after every pass (accelc.ir.verify).
        print_after: Names of passes after which the graph's text goes to ``emit``; ``"all"`` for each.
        emit: Called with the pass's name and the text.
        dump_on_error: Folder (or ``.onnx`` file) for the graph before a failing pass. Keeping it costs a copy
            of the graph, weights shared, per pass.

    Returns:
        The model after the last pass.

    Raises:
        PassError: A pass failed or left an invalid graph; names the pass, its place and the dump.
        AccelcError: A limit was reached or the like; the pass and its place are added to ``where``.
    """
    for place, pass_ in enumerate(passes, start=1):
        before = model.clone() if dump_on_error is not None else None
        if ctx.progress is not None:
            ctx.progress(str(pass_))
        try:
            model = _run_one(pass_, model, ctx, verify_each)
        except Exception as error:
            where = f"pass {pass_}, {place} of {len(passes)}"
            dumped = _dump(before, dump_on_error, place, pass_)
            raise _named(error, where, dumped) from error
        if emit is not None and ("all" in print_after or step_name(pass_) in print_after):
            from accelc.ir.text import to_text

            emit(str(pass_), to_text(model))
    return model


def _run_one(pass_: Pass, model: ir.Model, ctx: PassContext, verify_each: bool) -> ir.Model:
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
        result = pass_.apply(model, ctx).model
    finally:
        record.ms = (time.perf_counter() - start) * 1e3
    record.nodes_after = count_nodes(result)
    if verify_each:
        verify(result, after=str(pass_), expect=expect)
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


def _dump(model: ir.Model | None, target: Path | None, place: int, pass_: Pass) -> str:
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
