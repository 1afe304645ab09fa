"""ImageDecoder by Pillow."""

from __future__ import annotations

import io
import sys

import numpy as np
import pytest

from accelc.errors import CallError, UnsupportedError
from accelc.targets.host_ops import HOST_OPS

DECODE = HOST_OPS["", "ImageDecoder"]
PIXELS = np.random.default_rng(0).integers(0, 255, (5, 7, 3), np.uint8)


def _encoded(pixels: np.ndarray) -> np.ndarray:
    image = pytest.importorskip("PIL.Image")
    buffer = io.BytesIO()
    image.fromarray(pixels).save(buffer, "PNG")
    return np.frombuffer(buffer.getvalue(), np.uint8)


def test_layouts() -> None:
    data = _encoded(PIXELS)
    np.testing.assert_array_equal(DECODE([data], {})[0], PIXELS)
    np.testing.assert_array_equal(DECODE([data], {"pixel_format": "BGR"})[0], PIXELS[..., ::-1])
    assert DECODE([data], {"pixel_format": "Grayscale"})[0].shape == (5, 7, 1)
    assert DECODE([_encoded(PIXELS[..., 0])], {})[0].shape == (5, 7, 3)


def test_bytes_that_are_no_image() -> None:
    pytest.importorskip("PIL.Image")
    with pytest.raises(CallError, match="no image that Pillow reads"):
        DECODE([np.zeros(9, np.uint8)], {})


def test_without_pillow(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "PIL", None)
    with pytest.raises(UnsupportedError, match=r"accelc\[images\]"):
        DECODE([np.zeros(9, np.uint8)], {})
