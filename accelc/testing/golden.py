"""Golden outputs: what a model answered once, kept in a folder, and compared with what later builds answer.

A golden folder holds ``manifest.json`` and one ``case_N.npz`` per set of inputs. It is data: nothing in it is
executed or unpickled. The same folder serves ``accelc golden check`` and the pytest fixture ``golden``.
"""

from __future__ import annotations

import difflib
import hashlib
import io
import json
import re
import secrets
import shutil
import zipfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import numpy as np

from accelc.errors import NumericsError, UsageError
from accelc.testing.compare import compare, default_bound

SCHEMA = 1
KIND = "accelc golden outputs"
MANIFEST = "manifest.json"
_CASE_FILE = re.compile(r"case_[0-9]{1,6}\.npz")
_NATIVE_KINDS = "biufcU"
_RECORD_AGAIN = "record it again: accelc golden record MODEL DIR --force"

Feeds = Mapping[str, np.ndarray]


class Runnable(Protocol):
    """What can be recorded and checked: an Executable, or any session with onnxruntime's ``run``."""

    def run(self, output_names: Sequence[str] | None, feeds: Mapping[str, Any], /) -> Sequence[Any]:
        """Outputs in order."""


@dataclass(frozen=True)
class Case:
    """One set of inputs and the outputs expected for it."""

    feeds: dict[str, np.ndarray]
    outputs: dict[str, np.ndarray]


@dataclass(frozen=True)
class Golden:
    """A golden folder in memory; ``bounds`` is the largest error allowed per output, of max|output|."""

    model: str
    model_sha256: str
    bounds: dict[str, float]
    cases: tuple[Case, ...]


@dataclass(frozen=True)
class Row:
    """The comparison of one output in one case; ``problem`` is empty if it is within the bound."""

    case: int
    output: str
    error: float
    bound: float
    problem: str

    def to_json(self) -> dict[str, Any]:
        """JSON-able form."""
        return dict(vars(self))


def record(
    exe: Runnable,
    folder: str | Path,
    feeds: Sequence[Feeds],
    *,
    bound: float | None = None,
    model: str = "",
    model_sha256: str = "",
    force: bool = False,
) -> Golden:
    """Run ``exe`` on each of ``feeds`` and keep inputs and outputs in ``folder``.

    Args:
        exe: What answers; its answers become the expected ones.
        folder: Where to; it appears complete or not at all.
        feeds: One mapping per case, at least one.
        bound: Largest error of a later build, as a share of max|output|; by default from each output's dtype.
        model: Name of the model, for people.
        model_sha256: Digest of the model file, to tell a changed model from a changed build.
        force: Replace a golden folder that is there. Any other folder is left alone.

    Raises:
        UsageError: No feeds, a bound that is no bound, or ``folder`` is in the way.
    """
    target = Path(folder)
    if not feeds:
        raise UsageError(
            "there is nothing to record", why="no inputs were given", fix="give at least one set"
        )
    if bound is not None and not 0 <= bound < np.inf:
        raise UsageError(f"a bound of {bound} allows nothing or everything", fix="give a number such as 1e-4")
    _check_free(target, force)
    names = output_names(exe)
    cases = []
    for given in feeds:
        inputs = {name: np.array(array) for name, array in given.items()}
        outputs = dict(zip(names, map(np.asarray, exe.run(None, inputs)), strict=True))
        cases.append(Case(inputs, outputs))
    bounds = {
        name: default_bound(a.dtype) if bound is None else bound for name, a in cases[0].outputs.items()
    }
    golden = Golden(model, model_sha256, bounds, tuple(cases))
    _write(golden, target)
    return golden


def check(exe: Runnable, golden: Golden) -> list[Row]:
    """Run every recorded case through ``exe`` and compare each output; all rows, good and bad.

    Raises:
        UsageError: ``exe`` has other outputs than those recorded.
    """
    names = output_names(exe)
    rows = []
    for number, case in enumerate(golden.cases):
        missing = [name for name in case.outputs if name not in names]
        if missing:
            raise UsageError(
                "the model has other outputs than the golden folder",
                why=f"{', '.join(missing)} recorded; the model has {', '.join(names)}",
                fix=_RECORD_AGAIN,
            )
        actual = dict(zip(names, exe.run(None, case.feeds), strict=True))
        for name, expected in case.outputs.items():
            error, problem = compare(expected, np.asarray(actual[name]), golden.bounds[name])
            rows.append(Row(number, name, error, golden.bounds[name], problem))
    return rows


def require(rows: Sequence[Row]) -> None:
    """Raise NumericsError naming every case and output beyond its bound."""
    bad = [row for row in rows if row.problem]
    if bad:
        raise NumericsError(
            f"{len(bad)} of {len(rows)} golden outputs differ",
            where=[f"case {row.case}, output {row.output}: {row.problem}" for row in bad[:10]],
            fix=f"if the new answers are right, {_RECORD_AGAIN}",
        )


def load(folder: str | Path) -> Golden:
    """Read a golden folder.

    Raises:
        UsageError: It is none, is damaged, or was written by another version's schema.
    """
    path = Path(folder)
    try:
        manifest = json.loads((path / MANIFEST).read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise UsageError(
            f"{path} is not a golden folder", why=f"{MANIFEST}: {error}", fix="make one: accelc golden record"
        ) from error
    try:
        if manifest["kind"] != KIND or manifest["schema"] != SCHEMA:
            raise ValueError(
                f"kind {manifest['kind']!r}, schema {manifest['schema']!r}; need schema {SCHEMA}"
            )
        bounds = {str(name): float(value) for name, value in manifest["bounds"].items()}
        cases = tuple(_read_case(path, entry) for entry in manifest["cases"])
        if any(name not in bounds for case in cases for name in case.outputs):
            raise ValueError("an output has no bound")
        return Golden(str(manifest["model"]), str(manifest["model_sha256"]), bounds, cases)
    except (KeyError, TypeError, ValueError, AttributeError, OSError, zipfile.BadZipFile) as error:
        why = f"{type(error).__name__}: {error}"
        raise UsageError(f"{path} is a damaged golden folder", why=why, fix=_RECORD_AGAIN) from error


def output_names(exe: Runnable) -> tuple[str, ...]:
    """Names of the outputs in order, of an Executable or of a session."""
    specs = exe.get_outputs() if hasattr(exe, "get_outputs") else getattr(exe, "outputs", ())
    return tuple(str(spec.name) for spec in specs)


class GoldenFolder:
    """Golden files of one test file; the pytest fixture ``golden`` is one of these.

    Args:
        folder: Where the files are.
        update: Write what the test produces instead of comparing (``pytest --update-golden``).
    """

    def __init__(self, folder: Path, *, update: bool = False) -> None:
        self.folder = folder
        self.update = update

    def text(self, name: str, text: str) -> None:
        """``text`` must equal the file ``name``; the difference is in the AssertionError."""
        path = self._path(name)
        text = text if text.endswith("\n") else text + "\n"
        if self.update:
            self.folder.mkdir(parents=True, exist_ok=True)
            _replace_file(path, text.encode("utf-8"))
            return
        if not path.is_file():
            raise AssertionError(f"no golden file {path}; write it with: pytest --update-golden")
        expected = path.read_text(encoding="utf-8")
        if expected != text:
            lines = difflib.unified_diff(
                expected.splitlines(), text.splitlines(), str(path), "now", lineterm=""
            )
            raise AssertionError("\n".join(["differs from its golden file (pytest --update-golden)", *lines]))

    def outputs(
        self, name: str, exe: Runnable, feeds: Feeds | Sequence[Feeds], *, bound: float | None = None
    ) -> None:
        """``exe`` must answer the recorded inputs of ``name`` as recorded (see :func:`record`).

        ``feeds`` is what ``--update-golden`` records; without it, the recorded inputs are used.
        """
        path = self._path(name)
        if self.update:
            sets = [feeds] if isinstance(feeds, Mapping) else list(feeds)
            self.folder.mkdir(parents=True, exist_ok=True)
            record(exe, path, sets, bound=bound, model=name, force=True)
            return
        if not path.is_dir():
            raise AssertionError(f"no golden folder {path}; write it with: pytest --update-golden")
        require(check(exe, load(path)))

    def _path(self, name: str) -> Path:
        if not re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9._+-]*", name):
            raise UsageError(f"{name!r} is no name for a golden file", fix="use letters, digits, and . _ + -")
        return self.folder / name


def _check_free(target: Path, force: bool) -> None:
    if not target.exists():
        return
    if not (target / MANIFEST).is_file() and (not target.is_dir() or any(target.iterdir())):
        raise UsageError(f"{target} is in the way and is not a golden folder", fix="choose another folder")
    if (target / MANIFEST).is_file() and not force:
        raise UsageError(f"{target} has golden outputs", fix="--force replaces them")


def _write(golden: Golden, target: Path) -> None:
    """Write beside ``target`` and move into place, so that an interrupt leaves nothing half-written."""
    from accelc import __version__

    target.parent.mkdir(parents=True, exist_ok=True)
    work = target.with_name(_temporary_name(target))
    work.mkdir()
    try:
        entries = [_write_case(case, work / f"case_{i}.npz") for i, case in enumerate(golden.cases)]
        manifest = {
            "kind": KIND,
            "schema": SCHEMA,
            "model": golden.model,
            "model_sha256": golden.model_sha256,
            "recorded_with": {"accelc": __version__},
            "bounds": golden.bounds,
            "cases": entries,
        }
        text = json.dumps(manifest, indent=1, ensure_ascii=False) + "\n"
        (work / MANIFEST).write_text(text, encoding="utf-8")
        old = work.with_name(f"{work.name}.old")
        if target.exists():
            target.rename(old)
        work.rename(target)
        shutil.rmtree(old, ignore_errors=True)
    except BaseException:
        shutil.rmtree(work, ignore_errors=True)
        raise


def _temporary_name(path: Path) -> str:
    return f".{path.name}.{secrets.token_hex(6)}"


def _replace_file(path: Path, data: bytes) -> None:
    work = path.with_name(_temporary_name(path))
    work.write_bytes(data)
    work.replace(path)


def _write_case(case: Case, path: Path) -> dict[str, Any]:
    """Write one npz whose bytes depend on the arrays alone; return its entry of the manifest."""
    entry: dict[str, Any] = {"file": path.name, "inputs": {}, "outputs": {}}
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as archive:
        for role, arrays in (("inputs", case.feeds), ("outputs", case.outputs)):
            for index, (name, array) in enumerate(arrays.items()):
                key = f"{role}_{index}"
                stored, dtype = _to_storable(array)
                entry[role][name] = {"key": key, "dtype": dtype, "shape": list(array.shape)}
                info = zipfile.ZipInfo(f"{key}.npy")  # fixed date, so that equal data gives equal bytes
                info.compress_type = zipfile.ZIP_DEFLATED
                with archive.open(info, "w", force_zip64=True) as file:
                    np.lib.format.write_array(file, stored, allow_pickle=False)
    path.write_bytes(buffer.getvalue())
    entry["sha256"] = hashlib.sha256(buffer.getvalue()).hexdigest()
    return entry


def _read_case(folder: Path, entry: Mapping[str, Any]) -> Case:
    name = str(entry["file"])
    if not _CASE_FILE.fullmatch(name):
        raise ValueError(f"{name!r} is no file of a golden folder")
    data = (folder / name).read_bytes()
    if hashlib.sha256(data).hexdigest() != entry["sha256"]:
        raise ValueError(f"{name} is not the file that was recorded (its sha256 differs)")
    with np.load(io.BytesIO(data), allow_pickle=False) as arrays:
        sides = [
            {
                str(value): _from_stored(arrays[str(about["key"])], str(about["dtype"]), list(about["shape"]))
                for value, about in entry[role].items()
            }
            for role in ("inputs", "outputs")
        ]
    return Case(*sides)


def _to_storable(array: np.ndarray) -> tuple[np.ndarray, str]:
    """An array that npy can hold, and the dtype to read it back as.

    ONNX's small floats and integers (ml_dtypes) are stored as their bytes, strings as fixed-width text.
    """
    if array.dtype.kind == "O":
        return array.astype(np.str_), "object"
    if array.dtype.kind in _NATIVE_KINDS and array.dtype.isbuiltin == 1:
        return array, array.dtype.name
    return np.ascontiguousarray(array).view(f"u{array.dtype.itemsize}"), array.dtype.name


def _from_stored(stored: np.ndarray, dtype: str, shape: list[int]) -> np.ndarray:
    if list(stored.shape) != shape:
        raise ValueError(f"stored shape {list(stored.shape)}, the manifest says {shape}")
    if dtype == "object":
        return stored.astype(object)
    if stored.dtype.kind == "U" or dtype == stored.dtype.name:
        return stored
    import ml_dtypes

    return stored.view(getattr(ml_dtypes, dtype))
