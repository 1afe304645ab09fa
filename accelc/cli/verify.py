"""``accelc verify``: compare with onnxruntime, and find the rewrite that breaks a model."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from accelc.cli import options as opt
from accelc.cli.option_groups import Compiling, Feeding, grouped
from accelc.cli.output import emit_json, progress, rows
from accelc.errors import EXIT_NUMERICS, EXIT_OK, UsageError

if TYPE_CHECKING:
    from accelc.bisection import Culprit
    from accelc.request import Request

app = opt.verb()


@app.command()
@grouped
def verify_model(
    source: Annotated[Path, typer.Argument(metavar="MODEL|ART", help="A model, or an artifact folder.")],
    *,
    original: Annotated[Path | None, typer.Option(help="The model that the artifact was made from.")] = None,
    sets: Annotated[int, typer.Option("--sets", min=1, help="Input sets to compare on.")] = 3,
    bisect: Annotated[bool, typer.Option("--bisect", help="Name the rewrite that breaks the model.")] = False,
    feeding: Feeding,
    compiling: Compiling,
    as_json: opt.Json = False,
) -> None:
    """Compare a compiled model with onnxruntime.

    An artifact's files are checked byte by byte as well.
    """
    from dataclasses import replace

    data = feeding.given() or None
    if opt.is_artifact(source):
        if bisect:
            raise UsageError("an artifact cannot be bisected", fix="give the model it was made from")
        _verify_artifact(
            source,
            original,
            sets=sets,
            data=data,
            seed=feeding.seed,
            links=compiling.allow_links,
            as_json=as_json,
        )
        return
    request = compiling.request(source, verify=sets, data=data, seed=feeding.seed)
    with progress(not as_json) as show:
        request = replace(request, progress=show)
        if not bisect:
            verdict = _verdict_of(request)
    if bisect:
        _bisect(request, as_json)
    else:
        _report(source, verdict, as_json)


def _verdict_of(request: Request) -> dict[str, Any]:
    from dataclasses import asdict

    from accelc.driver import run_request

    return asdict(run_request(request, raise_on_mismatch=False).verification)


def _verify_artifact(
    folder: Path,
    original: Path | None,
    *,
    sets: int,
    data: Any,
    seed: int,
    links: Path | None,
    as_json: bool,
) -> None:
    from dataclasses import asdict

    from accelc import artifact, driver

    manifest = artifact.read(folder, full=True)
    exe = driver.load(folder)
    if original is None:
        verdict = asdict(exe.verification)
        verdict["reason"] = verdict["reason"] or "as compiled; --original MODEL compares again"
    else:
        verdict = asdict(driver.verify(exe, original, sets=sets, data=data, seed=seed, allow_links=links))
    _report(folder, verdict, as_json, files=len(manifest["files"]))


def _report(source: Path, verdict: dict[str, Any], as_json: bool, *, files: int = 0) -> None:
    from accelc.cli.summary_text import verification_text

    code = EXIT_NUMERICS if verdict["status"] == "failed" else EXIT_OK
    if as_json:
        emit_json({"source": str(source), "files_checked": files, "verification": verdict}, code)
    else:
        outputs = "\n".join(f"{name}  {error:.2g}" for name, error in verdict["outputs"])
        checked = f"{files} files match the manifest" if files else ""
        print(source)
        print(rows([("files", checked), ("verification", verification_text(verdict)), ("outputs", outputs)]))
    raise typer.Exit(code)


def _bisect(request: Request, as_json: bool) -> None:
    from accelc.bisection import bisect

    culprit = bisect(request)
    if culprit is None:
        if as_json:
            emit_json({"bisect": None})
        else:
            print("nothing to bisect: the compiled model gives the same answers")
        return
    if as_json:
        from dataclasses import asdict

        emit_json({"bisect": asdict(culprit)}, EXIT_NUMERICS)
    else:
        print(rows(_culprit_rows(culprit), indent=0))
    raise typer.Exit(EXIT_NUMERICS)


def _culprit_rows(culprit: Culprit) -> list[tuple[str, str]]:
    if culprit.rewrite is None:
        found = "none: the model is wrong before any rewrite, so import or lowering is to blame"
        if culprit.first_bad:
            found = f"number {culprit.first_bad} fails before it can be named"
        return [("rewrite", found), ("verification", culprit.verdict.reason)]
    rewrite = culprit.rewrite
    return [
        ("rewrite", f"{culprit.first_bad} of {culprit.rewrites}"),
        ("pass", culprit.pass_name),
        ("rule", rewrite.rule),
        ("nodes", ", ".join(rewrite.nodes)),
        ("result", rewrite.result),
        ("note", rewrite.note),
        ("verification", culprit.verdict.reason),
        ("repeat", f"accelc compile MODEL --max-rewrites {culprit.first_bad}"),
    ]
