"""compile() and load(): the only module that sees frontend, passes and targets together."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import onnx_ir as ir

from accelc import artifact
from accelc.errors import AccelcError, ArtifactError, FallbackError, LimitError, UnsupportedError, UsageError
from accelc.ir.pass_base import Limits, PassContext, count_nodes
from accelc.pipeline import Checks, Pipeline, Step, resolved, run_passes, step_names
from accelc.reference import Source, evaluate_node
from accelc.request import Progress, Request, parse_bytes
from accelc.specialise import SpecialisingExecutable, steering_inputs
from accelc.summary import describe_result, manifest_facts, model_facts
from accelc.target import CompileInfo, Executable, Target, TargetOptions, Verification
from accelc.verification import check, prepare, raise_if_failed


def compile(
    model: Any,
    *,
    target: str | Target = "cpu",
    level: int = 2,
    pipeline: Pipeline | None = None,
    passes: str | Sequence[Step] | None = None,
    dims: Mapping[str, int] | None = None,
    shapes: Mapping[str, Sequence[int | str]] | None = None,
    threads: int = 1,
    precision: str = "f32",
    verify: int | bool = 1,
    strict: bool = False,
    cache_dir: str | Path | None = None,
    vector_bits: int | None = None,
    keep_functions: bool = False,
    mem_limit: int | str | None = None,
    sanitize: bool = False,
    shots: int | None = None,
    encoding_error: float = 1e-9,
    encoding_seconds: float = 30.0,
    allow_links: str | Path | None = None,
    limits: Limits | None = None,
    data: Any = None,
    seed: int = 0,
    max_rewrites: int | None = None,
    verify_each: bool = False,
    print_ir_after: Sequence[str] = (),
    emit: Callable[[str, str], None] | None = None,
    dump_on_error: str | Path | None = None,
    time_limit: float | None = None,
    progress: Progress | None = None,
) -> Executable:
    """Compile a model.

    Args:
        model: Path, bytes, ``onnx.ModelProto``, ``onnx_ir.Model`` or ONNX text.
        target: Name (``cpu``, ``xla``, ``gpu``, ``tpu``, ``onnx``, ...) or a target.
        level: 0 to 3: how much to optimise.
        pipeline: The passes, instead of the level's.
        passes: Text as of ``--passes`` (``"a,b"``, ``"-c"``, ``"+d"``) or the passes themselves.
        dims: Sizes of symbolic dims, ``{"batch": 1}``.
        shapes: Shapes of inputs, ``{"x": (1, 3, 224, 224)}``.
        threads: Threads of one call.
        precision: ``f32``, ``tf32``, ``bf16`` or ``f16``, where the target has it.
        verify: Number of input sets to compare with onnxruntime on; False or 0 for none.
        strict: An op without a kernel is an error.
        cache_dir: Folder of compiled kernels; ``$ACCELC_CACHE_DIR`` or the user's cache by default.
        vector_bits: SIMD width for CPU kernels; the machine's widest by default.
        keep_functions: Target ``onnx`` leaves fused kernels in the model, as calls of local functions.
        mem_limit: Bytes that the arena of a call may take (``"80MB"``): cheap values are computed again instead of
            kept.
        sanitize: Watch every step for writes outside its results and reads of dead memory (slow; for debugging).
        shots: Target ``quantum``: measurements drawn for each input, by ``seed``; None or 0 reads the state.
        encoding_error: Target ``quantum``: relative error allowed to each circuit's matrix.
        encoding_seconds: Target ``quantum``: time allowed to the search for each layer's circuits.
        allow_links: External data may be links into this folder.
        limits: Bounds on what the model may make the compiler do.
        data: Inputs to verify on: a dict from name to array, or a list of such.
        seed: Seed of random inputs.
        max_rewrites: Stop changing the graph after so many rewrites.
        verify_each: Check the graph after every pass.
        print_ir_after: Passes after which ``emit`` gets the graph's text; ``"all"`` for each.
        emit: Called with pass name and text; prints by default.
        dump_on_error: Folder for the graph before a failing pass.
        time_limit: Seconds.
        progress: Called with (what, done, total).

    Returns:
        The executable; ``trace``, ``verification``, ``summary`` and ``memory_plan`` tell what was done.

    Raises:
        AccelcError: See accelc.errors; each says what, where, why and what to do.
    """
    request = Request(
        model=model,
        target=target,
        level=level,
        pipeline=pipeline,
        passes=passes,
        dims=dict(dims or {}),
        shapes=dict(shapes or {}),
        threads=threads,
        precision=precision,
        verify=verify,
        strict=strict,
        cache_dir=Path(cache_dir) if cache_dir is not None else None,
        vector_bits=vector_bits,
        keep_functions=keep_functions,
        mem_limit=None if mem_limit is None else parse_bytes(mem_limit),
        sanitize=sanitize,
        shots=shots,
        encoding_error=encoding_error,
        encoding_seconds=encoding_seconds,
        allow_links=Path(allow_links) if allow_links is not None else None,
        limits=limits if limits is not None else Limits(),
        data=data,
        seed=seed,
        max_rewrites=max_rewrites,
        verify_each=verify_each,
        print_ir_after=print_ir_after,
        emit=emit,
        dump_on_error=Path(dump_on_error) if dump_on_error is not None else None,
        time_limit=time_limit,
        progress=progress,
    )
    return run_request(request)


class _Clock:
    """Milliseconds per stage, and the time limit."""

    def __init__(self, limit: float | None) -> None:
        self.start = self._last = time.monotonic()
        self.deadline = self.start + limit if limit is not None else None
        self.ms: dict[str, float] = {}

    def stage(self, name: str) -> None:
        """End the stage ``name``."""
        now = time.monotonic()
        self.ms[name] = (now - self._last) * 1e3
        self._last = now
        if self.deadline is not None and now > self.deadline:
            raise LimitError(f"the compile ran out of time after {name}", fix="raise --time-limit")


@dataclass(frozen=True)
class Imported:
    """A model ready for passes, and what verification needs of it."""

    model: ir.Model
    original: Source
    name: str
    sha256: str
    notes: tuple[str, ...]


def import_model(request: Request) -> Imported:
    """Import the request's model, within its limits."""
    from accelc.frontend import load_model

    request.tell("import")
    loaded = load_model(
        request.model,
        limits=request.limits,
        allow_links=request.allow_links,
        dims=request.dims,
        shapes=request.shapes,
    )
    return Imported(
        loaded.model, _original(request.model, loaded.model), loaded.name, loaded.sha256, loaded.notes
    )


def _original(source: Any, imported: ir.Model) -> Source:
    """What the oracle runs: the user's own file or bytes, so that the import is checked too."""
    if isinstance(source, bytes):
        return source
    if isinstance(source, Path) or (isinstance(source, str) and "=>" not in source):
        path = Path(source)
        if path.suffix == ".onnx" or path.suffix not in (".txt", ".onnxtxt"):
            return path
    if hasattr(source, "SerializeToString") and hasattr(source, "ByteSize") and source.ByteSize() < 2**31:
        return bytes(source.SerializeToString())
    return imported.clone()


def resolve_target(target: str | Target) -> Target:
    """A target by name; a target comes back as it is.

    Raises:
        UsageError: There is no such target.
    """
    if isinstance(target, Target):
        return target
    from accelc.targets import resolve

    return resolve(target)


def run_request(request: Request, *, raise_on_mismatch: bool = True) -> Executable:
    """Compile as ``request`` says, verification included.

    Raises:
        NumericsError: Verification failed; not raised if ``raise_on_mismatch`` is off.
    """
    request.check()
    clock = _Clock(request.time_limit)
    target = resolve_target(request.target)
    if (request.mem_limit is not None or request.sanitize) and not target.plans_memory:
        asked = "sanitize" if request.sanitize else "mem_limit"
        raise UsageError(
            f"target {target.name!r} plans no memory: {asked} means nothing there", fix="use target cpu"
        )
    if request.shots is not None and not target.measures:
        raise UsageError(
            f"target {target.name!r} measures nothing: shots mean nothing there", fix="use target quantum"
        )
    imported = import_model(request)
    before = imported.model.clone() if request.verify else None
    clock.stage("import")
    exe = _build(request, target, imported, clock)
    if before is not None:
        cases = prepare(
            imported.original,
            before,
            sets=int(request.verify),
            data=request.data,
            seed=request.seed,
            progress=lambda what: request.tell(f"verify: {what}"),
        )
        exe.verification = check(exe, cases, progress=lambda what: request.tell(f"verify: {what}"))
        clock.stage("verify")
    if raise_on_mismatch:
        raise_if_failed(exe.verification, model_name=imported.name)
    clock.ms["total"] = (time.monotonic() - clock.start) * 1e3
    exe.summary = describe_result(exe, clock.ms, imported.notes)
    return exe


def _build(request: Request, target: Target, imported: Imported, clock: _Clock) -> Executable:
    """Passes and lowering; a program for each set of values where small inputs steer what has no kernel."""
    from accelc.passes import resolve

    facts = model_facts(imported.model)
    steering = steering_inputs(imported.model)
    source = imported.model.clone() if steering else imported.model
    general: Executable | None = None
    refusal: AccelcError | None = None
    try:
        exe = general = _compile_model(request, target, imported.model, clock, facts)
    except (UnsupportedError, FallbackError) as error:
        if not steering:
            raise
        refusal = error
    if steering and (general is None or general.fallbacks):
        quiet = replace(request, print_ir_after=(), progress=None)

        def build(model: ir.Model) -> Executable:
            return _compile_model(quiet, target, model)

        exe = SpecialisingExecutable(source, steering, build, general, refusal, target.name)
        exe.trace = general.trace if general is not None else exe.trace
    exe.verification = Verification("off")
    exe.info = CompileInfo(
        imported.name,
        imported.sha256,
        tuple(map(str, resolved(request.steps(target), resolve))),
        manifest_facts(exe, facts),
    )
    return exe


def _compile_model(
    request: Request,
    target: Target,
    model: ir.Model,
    clock: _Clock | None = None,
    facts: dict[str, Any] | None = None,
) -> Executable:
    """Run the passes over ``model`` and lower it; ``clock`` and ``facts`` are told how it went."""
    from accelc.passes import resolve

    steps = resolved(request.steps(target), resolve)
    ctx = PassContext(
        limits=request.limits,
        evaluator=evaluate_node,
        cost=target.cost(),
        max_rewrites=request.max_rewrites,
        deadline=clock.deadline if clock is not None else None,
    )
    names = [name for step in steps for name in step_names(step)]
    ctx.progress = lambda name: request.tell(
        f"pass {name}", min(len(ctx.trace.records), len(names)), len(names)
    )
    checks = Checks(
        request.verify_each,
        tuple(request.print_ir_after),
        (request.emit or _print_text) if request.print_ir_after else None,
        request.dump_on_error,
    )
    model = run_passes(steps, model, ctx, checks)
    if facts is not None:
        facts["nodes"]["after"] = count_nodes(model)
    if clock is not None:
        clock.stage("passes")
    request.tell(f"lower for {target.name}")
    exe = target.lower(model, request.target_options())
    if clock is not None:
        clock.stage("lower")
    exe.trace = ctx.trace
    exe.model = exe.model if exe.model is not None else model
    return exe


def _print_text(name: str, text: str) -> None:
    print(f"// after {name}\n{text}")


def load(
    path: str | Path,
    *,
    threads: int = 1,
    cache_dir: str | Path | None = None,
    sanitize: bool = False,
    shots: int | None = None,
    progress: Progress | None = None,
) -> Executable:
    """Load an artifact that ``Executable.save`` or ``accelc compile`` wrote.

    Raises:
        ArtifactError: It is truncated, edited, of another schema, or made for another machine.
    """
    folder = Path(path)
    manifest = artifact.read(folder)
    try:
        target = resolve_target(str(manifest.get("target")))
    except UsageError as error:
        raise ArtifactError(
            f"the artifact {folder} needs another target", why=error.what, fix="install what provides it"
        ) from error
    folder_of_kernels = Path(cache_dir) if cache_dir else None
    options = TargetOptions(
        threads, cache_dir=folder_of_kernels, sanitize=sanitize, shots=shots, progress=progress
    )
    exe = target.load(folder, manifest, options)
    exe.info = CompileInfo(
        str(manifest["model"]["name"]),
        str(manifest["model"]["sha256"]),
        tuple(map(str, manifest["passes"])),
        dict(manifest["facts"]),
    )
    exe.artifact = folder
    exe.verification = artifact.verification_of(manifest)
    exe.summary = describe_result(exe, {}, ())
    return exe


def verify(
    exe: Executable,
    model: Any,
    *,
    sets: int = 1,
    data: Any = None,
    seed: int = 0,
    allow_links: Path | None = None,
) -> Verification:
    """Compare an executable with onnxruntime on ``model``; the verdict is returned, not raised."""
    imported = import_model(Request(model, allow_links=allow_links))
    cases = prepare(imported.original, imported.model, sets=sets, data=data, seed=seed)
    return check(exe, cases)
