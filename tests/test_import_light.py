"""What starts fast: ``import accelc``, the command line's help, and pytest with our plugin load nothing heavy."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

HEAVY = ("jax", "numba", "llvmlite", "qiskit", "onnxruntime", "scipy", "sklearn", "torch")


def loaded_by(statement: str, cwd: Path) -> set[str]:
    """Top-level modules in a new process after ``statement``."""
    code = f"import sys\n{statement}\nprint(*sorted({{m.split('.')[0] for m in sys.modules}}))"
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=cwd, capture_output=True, text=True, check=False, timeout=120
    )
    assert done.returncode == 0, done.stderr
    return set(done.stdout.split())


@pytest.mark.parametrize(
    "statement",
    [
        "import accelc",
        "import accelc; dir(accelc); accelc.AccelcError",
        "from accelc import Executable, Pass, Pipeline",
        "import accelc.session",
        "import accelc.passes, accelc.targets, accelc.frontend",
        "import accelc.driver",
        "import accelc.cli.main",
    ],
)
def test_no_heavy_library_is_loaded(statement: str, tmp_path: Path) -> None:
    assert not loaded_by(statement, tmp_path) & set(HEAVY)


def test_the_package_itself_loads_no_library_at_all(tmp_path: Path) -> None:
    assert not loaded_by("import accelc", tmp_path) & {"numpy", "onnx", "onnx_ir", *HEAVY}


def test_the_pytest_plugin_is_light(tmp_path: Path) -> None:
    assert not loaded_by("import accelc.testing.pytest_plugin", tmp_path) & {
        "numpy",
        "onnx",
        "onnx_ir",
        *HEAVY,
    }
