"""PyTorch as an opponent: the same answers, and what to install where it is missing."""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
import pytest

from accelc.benchmark import opponent
from accelc.errors import UnsupportedError, UsageError

MLP = Path(__file__).parents[1] / "examples" / "digits" / "mlp.onnx"
PIXELS = {"pixels": np.random.default_rng(0).uniform(0, 16, (2, 64)).astype(np.float32)}


@pytest.mark.parametrize("name", ["torch", "torch-compile"])
def test_missing_packages_are_named(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "onnx2torch", None)
    with pytest.raises(UsageError) as caught:
        opponent(name, MLP, PIXELS)
    assert caught.value.fix == "pip install torch onnx2torch"


def test_eager_torch_gives_the_same() -> None:
    pytest.importorskip("torch", reason="PyTorch is not installed")
    pytest.importorskip("onnx2torch", reason="onnx2torch is not installed")
    expected = opponent("onnxruntime", MLP, PIXELS).call()
    runner = opponent("torch", MLP, PIXELS)
    assert runner.system == "torch"
    np.testing.assert_allclose(runner.call()[0], expected[0], rtol=1e-4, atol=1e-6)


def test_no_gpu_is_said() -> None:
    torch = pytest.importorskip("torch", reason="PyTorch is not installed")
    pytest.importorskip("onnx2torch", reason="onnx2torch is not installed")
    if torch.cuda.is_available():
        pytest.skip("there is a GPU")
    with pytest.raises(UnsupportedError, match="PyTorch sees no GPU"):
        opponent("torch", MLP, PIXELS, device="cuda")
