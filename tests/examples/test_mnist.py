"""The MNIST example on a stand-in in MNIST's form: it learns, and the exported model is as right as the trained one."""

from __future__ import annotations

import gzip
import importlib.util
import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

SCRIPT = Path(__file__).parents[2] / "examples" / "mnist" / "mnist.py"


def write_idx(path: Path, array: np.ndarray) -> None:
    head = bytes((0, 0, 8, array.ndim)) + np.array(array.shape, ">u4").tobytes()
    data = head + array.astype(np.uint8).tobytes()
    path.write_bytes(gzip.compress(data) if path.suffix == ".gz" else data)


def stand_in(folder: Path, part: str, rows: int, suffix: str = "") -> None:
    """Noise with a bright bar whose place tells the class."""
    rng = np.random.default_rng(rows)
    labels = rng.integers(0, 10, rows)
    images = rng.integers(0, 100, (rows, 28, 28))
    for image, label in zip(images, labels, strict=True):
        image[2 * label + 2 : 2 * label + 5] += 120
    write_idx(folder / f"{part}-images-idx3-ubyte{suffix}", images)
    write_idx(folder / f"{part}-labels-idx1-ubyte{suffix}", labels)


def run(*arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, str(SCRIPT), *arguments], capture_output=True, text=True, check=False, timeout=120
    )


def test_mnist(tmp_path: Path) -> None:
    pytest.importorskip("optax", reason="training needs accelc[train]")
    stand_in(tmp_path, "train", 1000)
    stand_in(tmp_path, "t10k", 200, ".gz")
    done = run(str(tmp_path), "-o", str(tmp_path / "mlp.onnx"))
    assert done.returncode == 0, done.stderr
    assert re.search(r"^device: (cpu|gpu|tpu) ", done.stdout, re.MULTILINE)
    assert done.stdout.count("epoch ") == 5
    trained, compiled = re.findall(
        r"^(?:JAX|accelc): +(\d+\.\d+)% of 200 test rows right", done.stdout, re.MULTILINE
    )
    assert trained == compiled
    assert float(trained) > 90


@pytest.mark.parametrize("content", [None, b"", b"\0\0\x08\x01\0\0\0\x05abc"])
def test_bad_files(tmp_path: Path, content: bytes | None) -> None:
    pytest.importorskip("optax", reason="training needs accelc[train]")
    spec = importlib.util.spec_from_file_location("mnist_example", SCRIPT)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    if content is not None:
        (tmp_path / "train-images-idx3-ubyte").write_bytes(content)
    with pytest.raises(SystemExit, match=r"has no train-images|is no IDX file|is cut off"):
        module.load(tmp_path, "train")
