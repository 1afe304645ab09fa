"""The target's part of an artifact: StableHLO of every compiled function, for every platform, and what it is for.

``functions.json`` lists, for each compiled function of the program, its forms: shapes and dtypes it takes, known
values it was made for, and two files per platform: the function, and what prepares its weights. The program itself
follows from ``model.onnx`` without tracing. Loading parses JSON and StableHLO; nothing is executed or unpickled.
"""

from __future__ import annotations

import contextlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import jax
import ml_dtypes  # noqa: F401 - gives NumPy the names of narrow floats
import numpy as np
import onnx_ir as ir

from accelc.artifact import read_model
from accelc.errors import AccelcError, ArtifactError
from accelc.inputs import random_feeds
from accelc.ir.cost import inlined
from accelc.ir.pass_base import node_name
from accelc.ir.walk import all_nodes
from accelc.targets.jax_xla.compiled_step import Settings
from accelc.targets.jax_xla.export import Form, declared_specs, export_step
from accelc.targets.jax_xla.runtime import PLATFORMS

if TYPE_CHECKING:
    from accelc.targets.jax_xla.executable import XlaExecutable

FUNCTIONS = "functions.json"
SCHEMA = 1


def write(exe: XlaExecutable, folder: Path) -> dict[str, Any]:
    """Write the functions of ``exe`` into ``folder``; returns the target's part of the manifest."""
    steps = exe.runner.compiled_steps()
    if any(
        not step.entries and (step.step.statics or declared_specs(step.step.inputs) is None) for step in steps
    ):
        _try_out(exe)
        steps = exe.runner.compiled_steps()
    functions: list[dict[str, Any]] = []
    for number, step in enumerate(steps):
        forms = export_step(step, PLATFORMS)
        functions.append(
            {
                "nodes": [node_name(node) for node in step.step.nodes],
                "weights": [value.name for value in step.step.weights],
                "inputs": [value.name for value in step.step.inputs],
                "outputs": [value.name for value in step.step.outputs],
                "forms": [
                    _write_form(form, f"function{number}_{index}", folder) for index, form in enumerate(forms)
                ],
            }
        )
    content = {"schema": SCHEMA, "functions": functions}
    (folder / FUNCTIONS).write_text(json.dumps(content, indent=1) + "\n", encoding="utf-8")
    fixed = all(function["forms"] for function in functions) and not exe.symbolic_inputs
    every = all(any(form["symbolic"] for form in function["forms"]) for function in functions)
    return {
        "cpu": ", ".join(PLATFORMS),
        "platforms": list(PLATFORMS),
        "precision": exe.settings.precision,
        "shapes": "as declared" if fixed else "any" if every else "those seen; others are traced when called",
        "refused": {node_name(node): why for node, why in exe.refused.items()},
    }


def _try_out(exe: XlaExecutable) -> None:
    """Run once on random inputs: shapes behind host steps show only then. If none are accepted, so be it."""
    with contextlib.suppress(AccelcError):
        exe.run(None, random_feeds(exe.plain))


def _write_form(form: Form, stem: str, folder: Path) -> dict[str, Any]:
    files = {}
    for platform, content in form.programs.items():
        names = f"{stem}.{platform}.stablehlo", f"{stem}.{platform}.weights.stablehlo"
        (folder / names[0]).write_bytes(content)
        (folder / names[1]).write_bytes(form.prepares[platform])
        files[platform] = list(names)
    return {
        "symbolic": form.symbolic,
        "takes": [[np.dtype(dtype).name, [str(dim) for dim in shape]] for dtype, shape in form.takes],
        "statics": [_array_to_json(array) for array in form.statics],
        "known": [_array_to_json(array) for array in form.known],
        "files": files,
    }


def _array_to_json(array: np.ndarray) -> list[Any]:
    return [array.dtype.name, list(array.shape), np.ascontiguousarray(array).tobytes().hex()]


def _array_from_json(entry: Any) -> np.ndarray:
    dtype, shape, content = entry
    return np.frombuffer(bytes.fromhex(content), np.dtype(dtype)).reshape([int(n) for n in shape])


def read(
    folder: Path, manifest: Mapping[str, Any], settings: Settings, target_name: str, threads: int
) -> XlaExecutable:
    """The executable of a checked artifact.

    Raises:
        ArtifactError: The files do not fit together.
    """
    from accelc.targets.jax_xla.executable import TOLERANCES, XlaExecutable

    payload = manifest["payload"]
    model = inlined(read_model(folder, manifest))
    try:
        if payload["precision"] not in TOLERANCES:
            raise ValueError(f"there is no precision {payload['precision']!r}")
        settings = replace(settings, precision=payload["precision"])
        exe = XlaExecutable(
            model,
            settings,
            target_name=target_name,
            strict=False,
            refused=_refused(model, dict(payload["refused"])),
            ahead=False,
            threads=threads,
        )
        functions = json.loads((folder / FUNCTIONS).read_bytes())
        _attach(exe, functions, folder, manifest)
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise ArtifactError(
            "the artifact is damaged", where=str(folder / FUNCTIONS), why=str(error)
        ) from error
    with jax.enable_x64(True), jax.default_device(settings.device):
        exe.compile_ahead()
    return exe


def _attach(exe: XlaExecutable, content: Any, folder: Path, manifest: Mapping[str, Any]) -> None:
    """Give every step its stored forms; ValueError where functions and steps do not fit."""
    functions = content["functions"]
    steps = exe.runner.compiled_steps()
    if content["schema"] != SCHEMA or len(functions) != len(steps):
        raise ValueError(f"{len(functions)} functions for {len(steps)} steps")
    for step, function in zip(steps, functions, strict=True):
        names = [[value.name for value in values] for values in (step.step.weights, step.step.outputs)]
        if names != [function["weights"], function["outputs"]]:
            raise ValueError("a function takes or gives other values than its step")
        forms = [_read_form(form, folder, manifest, exe.settings.platform) for form in function["forms"]]
        step.exported = tuple(form for form in forms if form.programs)


def _refused(model: ir.Model, names: Mapping[str, str]) -> dict[ir.Node, str]:
    """Nodes by name, at any depth."""
    return {node: str(names[node_name(node)]) for node in all_nodes(model.graph) if node_name(node) in names}


def _read_form(entry: Any, folder: Path, manifest: Mapping[str, Any], platform: str) -> Form:
    """One form, with the program for this platform only."""
    programs, prepares = {}, {}
    names = entry["files"].get(platform)
    if names is not None:
        main, prepare = names
        for name in (main, prepare):
            if name not in manifest["files"]:
                raise ValueError(f"{name!r} is not a file of the artifact")
        programs[platform] = (folder / main).read_bytes()
        prepares[platform] = (folder / prepare).read_bytes()
    takes: Sequence[tuple[np.dtype[Any], tuple[Any, ...]]] = [
        (np.dtype(dtype), tuple(int(dim) if dim.isdecimal() else dim for dim in shape))
        for dtype, shape in entry["takes"]
    ]
    return Form(
        bool(entry["symbolic"]),
        tuple(takes),
        tuple(map(_array_from_json, entry["statics"])),
        tuple(map(_array_from_json, entry["known"])),
        programs,
        prepares,
    )
