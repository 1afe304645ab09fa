"""ImageDecoder: bytes of an image file to pixels, by Pillow, which is an extra (``pip install 'accelc[images]'``)."""

from __future__ import annotations

import io
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from accelc.errors import CallError, UnsupportedError
from accelc.targets.host_ops.base import HostOp


def image_decoder(inputs: Sequence[Any], attrs: Mapping[str, Any]) -> list[Any]:
    """Pixels [height, width, channels] uint8 of an encoded image. Source: ONNX ImageDecoder-20."""
    try:
        from PIL import Image
    except ImportError as error:
        raise UnsupportedError(
            "ImageDecoder needs Pillow", why="it is not installed", fix="pip install 'accelc[images]'"
        ) from error
    layout = str(attrs.get("pixel_format", "RGB"))
    if layout not in ("RGB", "BGR", "Grayscale"):
        raise CallError(f"ImageDecoder has no pixel_format {layout!r}")
    try:
        image = Image.open(io.BytesIO(np.asarray(inputs[0], np.uint8).tobytes()))
        pixels = np.array(image.convert("L" if layout == "Grayscale" else "RGB"))
    except (OSError, ValueError, SyntaxError, Image.DecompressionBombError) as error:
        raise CallError(
            "the bytes given to ImageDecoder are no image that Pillow reads", why=str(error)
        ) from error
    if layout == "Grayscale":
        return [pixels[..., None]]
    return [np.ascontiguousarray(pixels[..., ::-1]) if layout == "BGR" else pixels]


OPS: dict[tuple[str, str], HostOp] = {("", "ImageDecoder"): image_decoder}
"""Host ops by (domain, op)."""
