"""``accelc compile``: a model to an artifact, verified."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from accelc.cli import options as opt
from accelc.cli.option_groups import Compiling, Feeding, grouped
from accelc.cli.output import emit_json, progress
from accelc.errors import UsageError

if TYPE_CHECKING:
    from accelc.request import Request
    from accelc.target import Executable

app = opt.verb()


@app.command()
@grouped
def compile_model(
    model: Annotated[Path, typer.Argument(metavar="MODEL", help="The ONNX model.")],
    *,
    output: Annotated[
        Path | None,
        typer.Option("-o", "--output", help="Folder; MODEL.accel by default. Target onnx: or FILE.onnx."),
    ] = None,
    compiling: Compiling,
    verify: Annotated[str, typer.Option("--verify", help="Input sets to verify on, or off.")] = "1",
    feeding: Feeding,
    strict: Annotated[bool, typer.Option("--strict", help="An op without a kernel is an error.")] = False,
    print_ir_after: Annotated[
        list[str] | None, typer.Option("--print-ir-after", help="Print the graph after this pass, or all.")
    ] = None,
    report: Annotated[
        Path | None, typer.Option("--report", help="Write what was done as one HTML page.")
    ] = None,
    timing: Annotated[bool, typer.Option("--timing", help="Print what each pass did and its time.")] = False,
    verify_each: Annotated[
        bool, typer.Option("--verify-each", help="Check the graph after every pass.")
    ] = False,
    dump_on_error: Annotated[
        Path | None, typer.Option("--dump-on-error", help="Folder for the graph before a failing pass.")
    ] = None,
    time_limit: opt.TimeLimit = None,
    as_json: opt.Json = False,
) -> None:
    """Compile a model, verify the result, save it as a folder."""
    from dataclasses import replace

    from accelc.driver import run_request

    request = compiling.request(
        model,
        verify=opt.parse_verify(verify),
        data=feeding.given() or None,
        seed=feeding.seed,
        strict=strict,
        print_ir_after=tuple(print_ir_after or ()),
        emit=_emit_to_stderr if as_json else None,
        verify_each=verify_each,
        dump_on_error=dump_on_error,
        time_limit=time_limit,
    )
    folder = output if output is not None else Path(f"{model.stem}.accel")
    _check_output(folder, model, compiling.target)  # before minutes of work, not after
    if report is not None and not report.parent.is_dir():
        raise UsageError(f"there is no folder {report.parent} for the report")
    with progress(not as_json and not print_ir_after) as show:
        request = replace(request, progress=show)
        exe = run_request(request)
        written = exe.save(folder)
        if report is not None:
            _write_report(report, exe, request, feeding)
    _print_result(exe, model, folder, written, report, timing, as_json)


def _check_output(output: Path, model: Path, target: str) -> None:
    """Check that the result can be written: a folder, or one file of a target that emits a model.

    Raises:
        UsageError: Something is in the way, the model itself for one.
    """
    from accelc.artifact import check_free
    from accelc.driver import resolve_target
    from accelc.model_file import is_model_file

    if not (resolve_target(target).emits and is_model_file(output)):
        check_free(output)
    elif output.exists() and output.samefile(model):
        raise UsageError(f"{output} is the model itself", fix="choose another file with -o")


def _emit_to_stderr(name: str, text: str) -> None:
    import sys

    print(f"// after {name}\n{text}", file=sys.stderr)


def _write_report(path: Path, exe: Executable, request: Request, feeding: Feeding) -> None:
    """Time the steps on the inputs given, or on random ones, and write the page."""
    import shlex
    import sys

    from accelc.driver import import_model
    from accelc.errors import AccelcError
    from accelc.inspection import free_symbols
    from accelc.ir.shapes import unify
    from accelc.report import report_html, write_report

    request.tell("report")
    original = import_model(request).model
    symbols = {**free_symbols(original), **request.dims}
    try:
        feeds = feeding.complete(exe, symbols)
        for spec in exe.inputs:
            unify(spec.shape or (), feeds[spec.name].shape, symbols, name=spec.name)
    except AccelcError:
        feeds = None  # no inputs that the model takes can be drawn: nothing is timed
    command = shlex.join(["accelc", *sys.argv[1:]])
    text = report_html(exe, original, feeds=feeds, symbols=symbols, command=command, threads=request.threads)
    write_report(path, text)


def _files(written: Path) -> dict[str, int]:
    """Bytes of what was written, by name: the files of a folder, or a model file and its weights beside it."""
    if written.is_file():
        both = (written, written.with_name(f"{written.name}.data"))
        return {path.name: path.stat().st_size for path in both if path.exists()}
    return {
        p.relative_to(written).as_posix(): p.stat().st_size for p in sorted(written.rglob("*")) if p.is_file()
    }


def _print_result(
    exe: Executable,
    model: Path,
    folder: Path,
    written: Path,
    report: Path | None,
    timing: bool,
    as_json: bool,
) -> None:
    from accelc.cli.summary_text import summary_text, timing_text
    from accelc.summary import trace_json

    files = _files(written)
    if as_json:
        content: dict[str, Any] = {"output": str(folder), "files": files, **exe.summary}
        if report is not None:
            content["report"] = str(report)
        if timing:
            content["trace"] = trace_json(exe.trace)
        emit_json(content)
        return
    if timing:
        print(timing_text(exe.trace))
    print(summary_text(exe.summary, title=f"{model.name} -> {folder}", files=files))
    if report is not None:
        print(f"\nthe report is in {report}")
