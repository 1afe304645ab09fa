"""Read the text of an image with RapidOCR, its three onnxruntime sessions replaced by accelc's.

    pip install accelc[ocr]
    python examples/ocr/read_text.py                 # draws an image, reads it with both, compares
    python examples/ocr/read_text.py scan.png        # your own image

RapidOCR finds boxes of text, turns those upside down, and reads each: three models with free sizes. The one
change is the class that its sessions are made of. Exit code 1 if a text differs or a corner moves by more than a
pixel.
"""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np

import accelc

LINES = ("accelc reads text", "Invoice 2024-0731", "Total: 1,284.50 EUR", "Thank you!")
Reading = list[tuple[np.ndarray, str]]


def draw() -> np.ndarray:
    """An image of a few lines of text, uint8 [height, width, 3]."""
    from PIL import Image, ImageDraw, ImageFont

    image = Image.new("RGB", (640, 360), "white")
    pen = ImageDraw.Draw(image)
    for i, line in enumerate(LINES):
        pen.text((40, 30 + 80 * i), line, fill=(20, 20, 60 * i), font=ImageFont.load_default(36 - 3 * i))
    return np.asarray(image)


@contextmanager
def sessions_of(make: Callable[..., Any]) -> Iterator[None]:
    """RapidOCR makes its sessions by ``make`` inside of this block."""
    from rapidocr_onnxruntime.utils import infer_engine

    original = infer_engine.InferenceSession
    infer_engine.InferenceSession = make
    try:
        yield
    finally:
        infer_engine.InferenceSession = original


def read(image: np.ndarray, make: Callable[..., Any] | None = None) -> tuple[Reading, float]:
    """Corners [4, 2] and text of each box, and the seconds that a second reading takes."""
    import onnxruntime
    from rapidocr_onnxruntime import RapidOCR

    with sessions_of(make or onnxruntime.InferenceSession):
        engine = RapidOCR()
    engine(image)
    start = time.perf_counter()
    found, _ = engine(image)
    seconds = time.perf_counter() - start
    return [(np.asarray(corners), text) for corners, text, _ in found or []], seconds


def differences(ours: Reading, theirs: Reading) -> list[str]:
    """What is not the same: texts exactly, corners within a pixel."""
    if len(ours) != len(theirs):
        return [f"{len(ours)} boxes, onnxruntime finds {len(theirs)}"]
    found = []
    for (corners, text), (expected, wanted) in zip(ours, theirs, strict=True):
        if text != wanted:
            found.append(f"{text!r}, onnxruntime reads {wanted!r}")
        distance = float(np.abs(corners - expected).max())
        if not distance <= 1.0:
            found.append(f"the corners of {text!r} are {distance:.1f} pixels off")
    return found


def main() -> None:
    """Read one image with both kinds of sessions."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("image", nargs="?", type=Path)
    args = parser.parse_args()
    try:
        import rapidocr_onnxruntime  # noqa: F401 - only to see whether it is there
    except ImportError as error:
        sys.exit(f"this example needs RapidOCR ({error}): pip install 'accelc[ocr]'")
    if args.image is None:
        image = draw()
    else:
        from PIL import Image

        image = np.asarray(Image.open(args.image).convert("RGB"))
    ours, our_seconds = read(image, accelc.InferenceSession)
    theirs, their_seconds = read(image)
    for corners, text in ours:
        x, y = corners.min(axis=0)
        print(f"{x:6.0f} {y:6.0f}  {text}")
    print(f"{our_seconds * 1e3:.0f} ms with accelc, {their_seconds * 1e3:.0f} ms with onnxruntime")
    found = differences(ours, theirs)
    print("\n".join(found) or "same text, same boxes")
    sys.exit(1 if found else 0)


if __name__ == "__main__":
    main()
