"""Entry of the command line: verbs, exit codes, and errors as one message."""

from __future__ import annotations

import difflib
import importlib
import importlib.util
import os
import re
import sys
import traceback
from collections.abc import Sequence
from typing import Annotated, Any

import typer
import typer.core

import accelc
from accelc.cli.output import emit_json, to_stderr
from accelc.errors import EXIT_BUG, EXIT_INTERRUPTED, EXIT_OK, EXIT_USAGE, AccelcError, LimitError

VERBS = (
    "compile",
    "run",
    "verify",
    "bench",
    "inspect",
    "explain",
    "diff",
    "oracle",
    "golden",
    "passes",
    "targets",
    "ops",
    "cache",
    "doctor",
)


class Verbs(typer.core.TyperGroup):
    """Verbs, each loaded from its own file when it is asked for."""

    def list_commands(self, ctx: Any) -> list[str]:
        """Verbs whose file is there."""
        return [verb for verb in VERBS if importlib.util.find_spec(f"accelc.cli.{verb}") is not None]

    def get_command(self, ctx: Any, cmd_name: str) -> Any:
        """Load one verb; None if there is no such verb."""
        if cmd_name not in self.list_commands(ctx):
            return None
        module = importlib.import_module(f"accelc.cli.{cmd_name}")
        command = typer.main.get_command(module.app)
        command.name = cmd_name
        return command


app = typer.Typer(
    cls=Verbs,
    add_completion=False,
    no_args_is_help=True,
    rich_markup_mode=None,
    pretty_exceptions_enable=False,
    epilog="Exit codes: 0 ok, 1 numerics differ, 2 usage, 3 invalid or unsafe model, 4 unsupported, 5 limit "
    "reached, 6 an op without a kernel under --strict, 70 a bug of ours, 130 interrupted.",
)


def _version(wanted: bool) -> None:
    if wanted:
        print(f"accelc {accelc.__version__}")
        raise typer.Exit


@app.callback()
def _root(
    version: Annotated[
        bool, typer.Option("--version", callback=_version, is_eager=True, help="Print the version.")
    ] = False,
) -> None:
    """Make ONNX models run faster on the hardware at hand, verified, with an account of what was done."""


def run(arguments: Sequence[str] | None = None) -> None:
    """Run the command line and end the process with its exit code."""
    code = main(list(sys.argv[1:] if arguments is None else arguments))
    try:
        sys.stdout.flush()
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    sys.exit(code)


def main(arguments: list[str]) -> int:
    """Run one command; the exit code is one of accelc.errors."""
    as_json = "--json" in arguments
    try:
        result = typer.main.get_command(app).main(args=arguments, prog_name="accelc", standalone_mode=False)
        code = result if isinstance(result, int) else EXIT_OK
        return _interrupted() if code == EXIT_INTERRUPTED else code
    except KeyboardInterrupt:
        return _interrupted()
    except BrokenPipeError:
        return EXIT_OK
    except AccelcError as error:
        return _report(error, as_json, arguments)
    except MemoryError:
        return _report(LimitError("out of memory", fix="use a machine with more memory"), as_json, arguments)
    except Exception as error:
        if type(error).__name__ == "Abort":
            return _interrupted()
        if hasattr(error, "format_message"):  # a usage error of the command-line library
            return _usage(error, as_json)
        return _bug(error, as_json, arguments)


def _interrupted() -> int:
    to_stderr("interrupted")
    return EXIT_INTERRUPTED


def _usage(error: Any, as_json: bool) -> int:
    if type(error).__name__ == "NoArgsIsHelpError":
        print(error.format_message())
        return EXIT_USAGE
    context = getattr(error, "ctx", None)
    path = context.command_path if context is not None else "accelc"
    what = str(error.format_message()).strip()
    path = f"{path} --help{_near(what)}"
    if as_json:
        emit_json({"error": "UsageError", "what": what, "where": [], "why": "", "fix": path}, EXIT_USAGE)
    else:
        to_stderr(f"UsageError: {what}\n  fix    see {path}")
    return EXIT_USAGE


def _near(what: str) -> str:
    """The verb that was meant, where one was mistyped."""
    found = re.fullmatch(r"No such command '(.*)'\.", what)
    near = difflib.get_close_matches(found[1], VERBS, n=1) if found is not None else []
    return f"; did you mean {near[0]}?" if near else ""


def _report(error: AccelcError, as_json: bool, arguments: Sequence[str]) -> int:
    if error.exit_code == EXIT_BUG:
        _add_bundle(error, error, arguments)
    if as_json:
        emit_json(error.to_json(), error.exit_code)
    else:
        to_stderr(str(error))
    return error.exit_code


def _bug(error: Exception, as_json: bool, arguments: Sequence[str]) -> int:
    if os.environ.get("ACCELC_TRACEBACK"):
        traceback.print_exception(error)
    bug = AccelcError("accelc failed in a way it should not", why=f"{type(error).__name__}: {error}")
    _add_bundle(bug, error, arguments)
    if as_json:
        emit_json(bug.to_json(), EXIT_BUG)
    else:
        to_stderr(str(bug).replace("AccelcError", "InternalError", 1))
    return EXIT_BUG


def _add_bundle(shown: AccelcError, error: BaseException, arguments: Sequence[str]) -> None:
    """Write the bundle that reproduces a bug, and say where it is."""
    from accelc.repro import write_bundle

    try:
        folder = write_bundle(error, ["accelc", *arguments])
    except OSError as failure:
        shown.where = (*shown.where, f"no bundle could be written: {failure}")
        return
    shown.where = (*shown.where, f"bundle {folder}")
    advice = shown.fix.removesuffix(", and report this")
    shown.fix = f"{advice}; " * bool(advice) + f"report this, with the folder {folder.name}"
