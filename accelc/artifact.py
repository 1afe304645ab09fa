"""The artifact: a folder of data that any copy of accelc can check, read and run. No code, no pickles.

``manifest.json`` says what the folder is and seals every file in it, itself included. ``model.onnx`` is the
optimised graph; its weights lie in the target's files where the target keeps them row-major, else in
``initializers.bin``. Everything else is the target's (``Executable.payload``). The same input gives the same
bytes: no times, paths or machine names are written.
"""

from __future__ import annotations

import hashlib
import json
import os
import secrets
import shutil
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

import onnx_ir as ir

from accelc.errors import ArtifactError, UsageError
from accelc.ir.weights import ALIGNMENT, Weight, reference_to
from accelc.target import Executable, Verification

FORMAT = "accelc-artifact"
SCHEMA = 1
MANIFEST = "manifest.json"
MODEL = "model.onnx"
INITIALIZERS = "initializers.bin"
OTHER_LAYOUT = "stored-in-the-target-s-own-layout"
"""Location of a weight that the target keeps packed: readers of ``model.onnx`` fail clearly instead of
reading panels as rows."""

_INLINE_BYTES = 1024
_FULL_DIGEST_BYTES = 16 << 20
_QUICK_CHUNKS, _QUICK_CHUNK_BYTES = 64, 1 << 16
_MAX_MANIFEST_BYTES = 256 << 20


def save(exe: Executable, path: Path) -> Path:
    """Write ``exe`` to the folder ``path`` under another name first, and move it there when it is whole.

    An artifact that is already there is replaced; anything else in the way is left alone.

    Raises:
        UsageError: ``path`` exists and is not an artifact, or ``exe`` did not come from ``accelc.compile``.
    """
    if exe.artifact is None and (exe.model is None or exe.info is None):
        raise UsageError(
            "this executable cannot be saved", why="it was not made by accelc.compile or accelc.load"
        )
    path = Path(os.path.abspath(path))
    check_free(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    token = secrets.token_hex(4)
    staging = path.with_name(f".{path.name}.{token}.new")
    staging.mkdir(mode=0o777)
    try:
        if exe.artifact is not None:
            _copy(exe.artifact, staging)
        elif exe.model is not None:
            payload = exe.payload(staging)
            _write_model(exe.model, staging, payload.get("weights") or {})
            _write_manifest(exe, staging, payload)
        _move(staging, path, path.with_name(f".{path.name}.{token}.old"))
    finally:
        shutil.rmtree(staging, ignore_errors=True)
    return path


def _copy(source: Path, staging: Path) -> None:
    """Save a loaded executable again: its folder, checked byte by byte."""
    for name in [*read(source, full=True)["files"], MANIFEST]:
        target = staging / name
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(source / name, target)


def check_free(path: Path) -> None:
    """Check that ``path`` is free, or an artifact that may be replaced.

    Raises:
        UsageError: Something else is in the way.
    """
    if not path.exists() and not path.is_symlink():
        return
    fix = "choose another folder with -o, or remove it"
    if not path.is_dir() or path.is_symlink():
        raise UsageError(f"{path} is in the way", why="it is not a folder", fix=fix)
    if any(path.iterdir()) and not _is_artifact(path):
        raise UsageError(f"{path} is in the way", why="it is not an accelc artifact", fix=fix)


def _is_artifact(path: Path) -> bool:
    """Whether a folder is one of ours, whole or damaged: only those are replaced."""
    try:
        with (path / MANIFEST).open("rb") as file:
            return FORMAT.encode() in file.read(200)
    except OSError:
        return False


def _move(staging: Path, path: Path, aside: Path) -> None:
    if path.exists():
        path.rename(aside)
    try:
        staging.rename(path)
    except OSError:
        if aside.exists():
            aside.rename(path)
        raise
    shutil.rmtree(aside, ignore_errors=True)


def _write_model(model: ir.Model, folder: Path, stored: Mapping[str, Any]) -> None:
    """``model.onnx`` with references to weights; ``initializers.bin`` holds those the target did not store."""
    copy = model.clone()
    offset = 0
    with (folder / INITIALIZERS).open("wb") as file:
        for name, value in copy.graph.initializers.items():
            tensor = value.const_value
            if tensor is None or tensor.dtype == ir.DataType.STRING or tensor.nbytes < _INLINE_BYTES:
                continue
            place = stored.get(name, ())
            if place:
                location, start = str(place[0]), int(place[1])
            elif place is None:
                location, start = OTHER_LAYOUT, 0
            else:
                file.write(b"\0" * (-file.tell() % ALIGNMENT))
                location, start = INITIALIZERS, file.tell()
                _write_tensor(tensor, file)
                offset = file.tell()
            value.const_value = reference_to(Weight(str(name), start, tensor.nbytes, tensor), location)
    if offset == 0:
        (folder / INITIALIZERS).unlink()
    (folder / MODEL).write_bytes(ir.to_proto(copy).SerializeToString(deterministic=True))


def _write_tensor(tensor: ir.TensorProtocol, file: Any) -> None:
    if hasattr(tensor, "tofile"):
        tensor.tofile(file)
    else:
        file.write(tensor.tobytes())


def _write_manifest(exe: Executable, folder: Path, payload: Mapping[str, Any]) -> None:
    info = exe.info
    assert info is not None  # save looked
    files = {}
    for file in sorted(p for p in folder.rglob("*") if p.is_file()):
        files[file.relative_to(folder).as_posix()] = _seal(file)
    manifest = {
        "format": FORMAT,
        "schema": SCHEMA,
        "model": {"name": info.model_name, "sha256": info.model_sha256},
        "target": exe.target_name,
        "passes": list(info.passes),
        "verification": asdict(exe.verification),
        "facts": info.facts,
        "payload": dict(payload),
        "files": files,
    }
    manifest["seal"] = _manifest_seal(manifest)
    text = json.dumps(manifest, indent=1, sort_keys=False, allow_nan=False) + "\n"
    (folder / MANIFEST).write_text(text, encoding="utf-8")


def _manifest_seal(manifest: Mapping[str, Any]) -> str:
    content = {key: value for key, value in manifest.items() if key != "seal"}
    canonical = json.dumps(content, sort_keys=True, separators=(",", ":"), allow_nan=False)
    return hashlib.sha256(canonical.encode()).hexdigest()


def _seal(file: Path) -> dict[str, Any]:
    size = file.stat().st_size
    entry: dict[str, Any] = {"size": size, "sha256": _full_digest(file)}
    if size > _FULL_DIGEST_BYTES:
        entry["sample"] = _sample_digest(file, size)
    return entry


def _full_digest(file: Path) -> str:
    with file.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()


def _sample_digest(file: Path, size: int) -> str:
    """Digest of 64 chunks spread over a large file, first and last included: a load in milliseconds."""
    digest = hashlib.sha256()
    with file.open("rb") as stream:
        for index in range(_QUICK_CHUNKS):
            stream.seek((size - _QUICK_CHUNK_BYTES) * index // (_QUICK_CHUNKS - 1))
            digest.update(stream.read(_QUICK_CHUNK_BYTES))
    return digest.hexdigest()


def read(folder: Path, *, full: bool = False) -> dict[str, Any]:
    """The manifest of an artifact, after checking the folder against it.

    Args:
        folder: The artifact.
        full: Read every byte of every file; otherwise files above 16 MiB are sampled.

    Raises:
        ArtifactError: Not an artifact, of another schema, truncated or edited; names the file.
    """
    manifest = _parse(folder)
    if manifest.get("seal") != _manifest_seal(manifest):
        raise _damaged(folder / MANIFEST, "its content does not match its seal: it was edited or cut off")
    files = manifest.get("files")
    if not isinstance(files, dict) or MODEL not in files:
        raise _damaged(folder / MANIFEST, "it lists no files")
    for name, entry in files.items():
        _check_file(folder, name, entry, full)
    return manifest


def _parse(folder: Path) -> dict[str, Any]:
    path = folder / MANIFEST
    if not folder.is_dir() or not path.is_file():
        raise ArtifactError(
            f"{folder} is not an artifact", why=f"it has no {MANIFEST}", fix="accelc compile MODEL -o DIR"
        )
    if path.stat().st_size > _MAX_MANIFEST_BYTES:
        raise _damaged(path, f"it has {path.stat().st_size} bytes")
    try:
        manifest = json.loads(path.read_bytes())
    except (ValueError, RecursionError) as error:
        raise _damaged(path, "it is not JSON: it was edited or cut off") from error
    if not isinstance(manifest, dict) or manifest.get("format") != FORMAT:
        raise ArtifactError(f"{folder} is not an artifact", why=f"{MANIFEST} has no format {FORMAT!r}")
    if manifest.get("schema") != SCHEMA:
        raise ArtifactError(
            f"the artifact {folder} has another schema",
            why=f"expected schema {SCHEMA}, found {manifest.get('schema')!r}",
            fix="compile the model again with this version of accelc",
        )
    return manifest


def _check_file(folder: Path, name: str, entry: Any, full: bool) -> None:
    path = folder / name
    parts = Path(name).parts
    if Path(name).is_absolute() or ".." in parts or not parts:
        raise _damaged(folder / MANIFEST, f"it lists a file outside the artifact: {name!r}")
    if any((folder / Path(*parts[: n + 1])).is_symlink() for n in range(len(parts))) or not path.is_file():
        raise _damaged(path, "it is missing, or not a regular file")
    if not isinstance(entry, dict):
        raise _damaged(folder / MANIFEST, f"it says nothing about {name!r}")
    size = path.stat().st_size
    if size != entry.get("size"):
        raise _damaged(path, f"expected {entry.get('size')} bytes, found {size}")
    sampled = size > _FULL_DIGEST_BYTES and not full
    found = _sample_digest(path, size) if sampled else _full_digest(path)
    if found != entry.get("sample" if sampled else "sha256"):
        raise _damaged(path, "its content does not match the manifest: it was edited")


def _damaged(path: Path, why: str) -> ArtifactError:
    return ArtifactError(
        "the artifact is damaged",
        where=f"file {path}",
        why=why,
        fix="copy it again, or compile the model again",
    )


def verification_of(manifest: Mapping[str, Any]) -> Verification:
    """The verdict that the compile came to.

    Raises:
        ArtifactError: The manifest holds no verdict.
    """
    try:
        stored = dict(manifest["verification"])
        stored["outputs"] = tuple((str(name), float(error)) for name, error in stored["outputs"])
        return Verification(**stored)
    except (KeyError, TypeError, ValueError) as error:
        raise ArtifactError("the manifest holds no verification", why=str(error)) from error


def read_model(folder: Path, manifest: Mapping[str, Any]) -> ir.Model:
    """The optimised graph of a checked artifact; weights are mapped, not read.

    Weights that the target keeps in another layout have no tensor (``const_value`` is None).

    Raises:
        ArtifactError: The graph does not parse, or a weight's place is outside its file.
    """
    import onnx

    path = folder / MODEL
    proto = onnx.ModelProto()
    try:
        proto.ParseFromString(path.read_bytes())
        model = ir.from_proto(proto)
    except Exception as error:  # protobuf and onnx-ir raise many classes
        raise _damaged(path, f"it does not parse: {error}") from error
    for name, value in model.graph.initializers.items():
        tensor = value.const_value
        if isinstance(tensor, ir.ExternalTensor):
            value.type = ir.TensorType(tensor.dtype)
            value.shape = ir.Shape([int(dim) for dim in tensor.shape.numpy()])
            value.const_value = _resolve(str(name), tensor, folder, manifest)
    return model


def _resolve(
    name: str, tensor: ir.ExternalTensor, folder: Path, manifest: Mapping[str, Any]
) -> ir.ExternalTensor | None:
    if tensor.location == OTHER_LAYOUT:
        return None
    place = f"weight {name}: {tensor.location}"
    files = manifest["files"]
    if str(tensor.location) not in files:
        raise _damaged(folder / MODEL, f"{place} is not a file of the artifact")
    offset, length = tensor.offset or 0, tensor.length
    size = files[str(tensor.location)]["size"]
    if length is None or offset < 0 or length != tensor.nbytes or offset + length > size:
        raise _damaged(
            folder / MODEL,
            f"{place}, bytes {offset} to {offset + (length or 0)}, are not its {tensor.nbytes}",
        )
    dims = [int(dim) for dim in tensor.shape.numpy()]
    return ir.ExternalTensor(
        str(tensor.location),
        offset,
        length,
        tensor.dtype,
        shape=ir.Shape(dims),
        name=name,
        base_dir=str(folder),
    )
