"""The oracle in a process of its own, for models that may kill or hang the one they run in.

onnxruntime traps on an integer division by zero and runs a loop for as long as the model says. Such models
are run here: a crash, a time-out or a lack of memory is then a reason, not the end.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import onnx_ir as ir

from accelc.errors import UnsupportedError
from accelc.ir.weights import skeleton
from accelc.reference import Oracle, Source

TIMEOUT_SECONDS = 20.0


def run_isolated(
    source: Source,
    feeds: Mapping[str, np.ndarray],
    *,
    timeout: float = TIMEOUT_SECONDS,
    memory_bytes: int = 0,
) -> tuple[list[np.ndarray], list[np.ndarray]]:
    """Outputs of optimised and of unoptimised onnxruntime, run in a child process.

    Args:
        source: The model.
        feeds: Its inputs.
        timeout: Seconds before the child is killed.
        memory_bytes: Address space the child may take; 0 for no limit.

    Raises:
        UnsupportedError: onnxruntime rejects the model or its inputs, crashes, or does not end in time.
    """
    with tempfile.TemporaryDirectory(prefix="accelc-oracle-") as name:
        folder = Path(name)
        model = _model_file(source, folder)
        _save(folder / "feeds.npz", list(feeds.values()))
        job = {"model": str(model), "names": list(feeds), "memory_bytes": memory_bytes}
        (folder / "job.json").write_text(json.dumps(job), encoding="utf-8")
        command = [sys.executable, "-m", "accelc.oracle_process", str(folder)]
        root = str(Path(__file__).resolve().parent.parent)
        paths = [root, *filter(None, [os.environ.get("PYTHONPATH", "")])]
        environment = os.environ | {"PYTHONPATH": os.pathsep.join(paths)}
        try:
            done = subprocess.run(command, capture_output=True, timeout=timeout, env=environment, check=False)
        except subprocess.TimeoutExpired as error:
            raise UnsupportedError(
                f"onnxruntime did not end within {timeout:.0f} s", why="the model may not end"
            ) from error
        return _results(folder, done.returncode)


def _results(folder: Path, returncode: int) -> tuple[list[np.ndarray], list[np.ndarray]]:
    if (folder / "error.txt").is_file():
        what, _, why = (folder / "error.txt").read_text("utf-8").partition("\n")
        raise UnsupportedError(what, why=why)
    if returncode != 0:
        how = f"signal {-returncode}" if returncode < 0 else f"exit code {returncode}"
        raise UnsupportedError("onnxruntime crashed on the model", why=how)
    sides: list[list[np.ndarray]] = []
    for side in ("first", "second"):
        with np.load(folder / f"{side}.npz", allow_pickle=False) as file:
            arrays = [file[f"x{i}"] for i in range(len(file.files))]
        sides.append([a.astype(object) if a.dtype.kind == "U" else a for a in arrays])
    return sides[0], sides[1]


def _save(path: Path, arrays: Sequence[np.ndarray]) -> None:
    """Write arrays in order; strings as fixed-width text, for object arrays would need pickles."""
    plain: dict[str, Any] = {
        f"x{i}": a.astype(str) if a.dtype == object else a for i, a in enumerate(map(np.asarray, arrays))
    }
    np.savez(path, **plain)


def _model_file(source: Source, folder: Path) -> Path:
    if isinstance(source, str | Path):
        return Path(source).resolve()
    path = folder / "model.onnx"
    if isinstance(source, bytes):
        path.write_bytes(source)
        return path
    small, weights = skeleton(source, location="weights.bin")
    with (folder / "weights.bin").open("wb") as file:
        for weight in weights:
            if weight.offset >= file.tell():
                file.write(b"\0" * (weight.offset - file.tell()))
                file.write(weight.tensor.tobytes())
    path.write_bytes(ir.to_proto(small).SerializeToString())
    return path


def main(folder: Path) -> int:
    """What the child does: run the job in ``folder`` and leave results or ``error.txt`` there."""
    job = json.loads((folder / "job.json").read_text("utf-8"))
    if job["memory_bytes"]:
        import resource

        resource.setrlimit(resource.RLIMIT_AS, (job["memory_bytes"], job["memory_bytes"]))
    with np.load(folder / "feeds.npz", allow_pickle=False) as file:
        arrays = [file[f"x{i}"] for i in range(len(job["names"]))]
    feeds = {
        n: a.astype(object) if a.dtype.kind == "U" else a for n, a in zip(job["names"], arrays, strict=True)
    }
    try:
        for side, optimize in (("first", True), ("second", False)):
            results = Oracle(Path(job["model"]), optimize=optimize).run(feeds)
            _save(folder / f"{side}.npz", results)
    except (UnsupportedError, MemoryError) as error:
        what = getattr(error, "what", "onnxruntime ran out of memory")
        (folder / "error.txt").write_text(f"{what}\n{getattr(error, 'why', '')}", encoding="utf-8")
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main(Path(sys.argv[1])))
