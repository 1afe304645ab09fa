"""Ctrl-C during a compile: exit code 130, one word, nothing half-written."""

from __future__ import annotations

import signal
import subprocess
import sys
import time
from pathlib import Path

import onnx_ir as ir
import pytest

SLEEPER = '''
from dataclasses import dataclass
from typing import ClassVar
from accelc.ir.pass_base import Pass, PassResult

@dataclass(frozen=True)
class Sleeper(Pass):
    """Say that the passes run, and keep running."""
    name: ClassVar[str] = "sleeper"

    def apply(self, model, ctx):
        import time
        open("started", "w").close()
        time.sleep(60)
        return PassResult(model, False)
'''
MODEL = '<ir_version: 11, opset_import: ["" : 24]>\ng (float[N] x) => (float[N] y) { y = Relu(x) }'
# A child of a shell's background job starts with SIGINT ignored, which Python then keeps; a terminal does not.
ENTRY = (
    "import signal; signal.signal(signal.SIGINT, signal.default_int_handler); "
    "from accelc.cli.main import run; run()"
)


def test_an_interrupt_exits_130_and_leaves_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    ir.save(ir.from_onnx_text(MODEL), "m.onnx")
    Path("sleeper.py").write_text(SLEEPER)
    words = ["-t", "onnx", "--passes", "infer-shapes", "--pass-from", "sleeper.py:Sleeper"]
    child = subprocess.Popen(
        [sys.executable, "-c", ENTRY, "compile", "m.onnx", *words],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    for _ in range(600):
        if Path("started").exists() or child.poll() is not None:
            break
        time.sleep(0.05)
    child.send_signal(signal.SIGINT)
    out, err = child.communicate(timeout=30)
    assert (child.returncode, out, err.strip()) == (130, "", "interrupted")
    assert not [path.name for path in Path().iterdir() if "accel" in path.name]
