"""What is needed to look into a bug, in one folder: command, versions, traceback, the model's graph."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import sys
import tempfile
import traceback
from collections.abc import Sequence
from pathlib import Path

from accelc.machine import cpu_name, versions

_MODEL_SUFFIXES = (".onnx", ".onnxtxt", ".txt")
_COPY_BYTES = 1 << 20


def write_bundle(error: BaseException, command: Sequence[str], *, folder: Path | None = None) -> Path:
    """Write ``accelc-repro-<digest>`` under ``folder`` (the working folder, else the temporary one).

    The same failure gives the same name, so that repeating it leaves one folder. Models up to 1 MiB are copied;
    of larger ones the path, size and digest are kept: weights may be private.

    Raises:
        OSError: Nothing can be written.
    """
    text = "".join(traceback.format_exception(error))
    digest = hashlib.sha256((text + "\0".join(command)).encode()).hexdigest()[:12]
    parent = folder if folder is not None else Path.cwd()
    if not os.access(parent, os.W_OK):
        parent = Path(tempfile.gettempdir())
    target = parent / f"accelc-repro-{digest}"
    staging = Path(tempfile.mkdtemp(prefix=f".{target.name}.", dir=parent))
    try:
        (staging / "traceback.txt").write_text(text, encoding="utf-8")
        facts = {
            "command": list(command),
            "versions": versions(),
            "cpu": cpu_name(),
            "platform": sys.platform,
            "models": [_keep(Path(word), staging) for word in command if _is_model(word)],
        }
        (staging / "report.json").write_text(json.dumps(facts, indent=1) + "\n", encoding="utf-8")
        staging.chmod(0o755)
        if target.exists():
            shutil.rmtree(target)
        staging.rename(target)
    finally:
        shutil.rmtree(staging, ignore_errors=True)
    return target


def _is_model(word: str) -> bool:
    return word.endswith(_MODEL_SUFFIXES) and Path(word).is_file()


def _keep(path: Path, staging: Path) -> dict[str, object]:
    size = path.stat().st_size
    with path.open("rb") as file:
        digest = hashlib.file_digest(file, "sha256").hexdigest()
    if size <= _COPY_BYTES:
        shutil.copyfile(path, staging / path.name)
    return {"path": str(path), "bytes": size, "sha256": digest}
