"""RapidOCR reads the same with accelc's sessions as with onnxruntime's."""

from __future__ import annotations

import importlib.util
from pathlib import Path
from types import ModuleType

import pytest

import accelc

pytest.importorskip("rapidocr_onnxruntime", reason="needs accelc[ocr]", exc_type=ImportError)


@pytest.fixture(scope="module")
def example() -> ModuleType:
    path = Path(__file__).parents[2] / "examples" / "ocr" / "read_text.py"
    spec = importlib.util.spec_from_file_location("read_text", path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.mark.filterwarnings("ignore::DeprecationWarning")
def test_same_text_and_boxes(example: ModuleType) -> None:
    image = example.draw()
    ours, _ = example.read(image, accelc.InferenceSession)
    theirs, _ = example.read(image)
    assert len(theirs) == len(example.LINES)
    assert example.differences(ours, theirs) == []


def test_differences_are_seen(example: ModuleType) -> None:
    import numpy as np

    box = np.zeros((4, 2))
    assert example.differences([(box, "a")], []) == ["1 boxes, onnxruntime finds 0"]
    found = example.differences([(box, "a")], [(box + 2, "b")])
    assert found == ["'a', onnxruntime reads 'b'", "the corners of 'a' are 2.0 pixels off"]
