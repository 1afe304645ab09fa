"""Signal processing: DFT, STFT, MelWeightMatrix. Complex numbers are pairs in a last dim of 2."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import onnx_ir as ir

from accelc.errors import CallError
from accelc.targets.host_ops.base import HostOp, given


def _complex(x: np.ndarray) -> np.ndarray:
    """[..., 1] or [..., 2] as complex [...]."""
    if x.ndim < 2 or x.shape[-1] not in (1, 2):
        raise CallError("a signal's last dim is 1 (real) or 2 (complex)", why=f"the shape is {list(x.shape)}")
    wide = x if x.dtype == np.float64 else x.astype(np.float32)
    return wide[..., 0] if x.shape[-1] == 1 else wide[..., 0] + 1j * wide[..., 1]


def _pairs(z: np.ndarray, dtype: np.dtype[Any]) -> np.ndarray:
    return np.stack((z.real, z.imag), axis=-1).astype(dtype)


def dft(inputs: Sequence[Any], attrs: Mapping[str, Any]) -> list[Any]:
    """The discrete Fourier transform along an axis, its inverse, and the one-sided form of real signals.

    The axis is an operand from opset 20 on and an attribute before. Source: ONNX DFT-20.
    """
    x, length, place = np.asarray(inputs[0]), given(inputs, 1), given(inputs, 2)
    axis = int(np.asarray(place).reshape(-1)[0]) if place is not None else int(attrs.get("axis", -2))
    if not -x.ndim <= axis < x.ndim or axis % x.ndim == x.ndim - 1:
        raise CallError("the axis of DFT is out of range", why=f"axis {axis} of rank {x.ndim}")
    axis %= x.ndim
    inverse, onesided = bool(attrs.get("inverse", 0)), bool(attrs.get("onesided", 0))
    z = _complex(x)
    count = z.shape[axis] if length is None else int(np.asarray(length).reshape(-1)[0])
    if length is None and inverse and onesided:
        count = 2 * (z.shape[axis] - 1)
    if inverse and onesided:
        return [np.fft.irfft(z, count, axis)[..., None].astype(x.dtype)]
    if inverse:
        return [_pairs(np.fft.ifft(z, count, axis), x.dtype)]
    spectrum = np.fft.fft(z, count, axis)
    if onesided:
        spectrum = np.take(spectrum, np.arange(count // 2 + 1), axis)
    return [_pairs(spectrum, x.dtype)]


def stft(inputs: Sequence[Any], attrs: Mapping[str, Any]) -> list[Any]:
    """DFT of windowed frames of signals [N, L, 1 or 2]: [N, frames, bins, 2]. Source: ONNX STFT-17."""
    x, step = np.asarray(inputs[0]), int(np.asarray(inputs[1]).reshape(-1)[0])
    window, length = given(inputs, 2), given(inputs, 3)
    if length is not None:
        size = int(np.asarray(length).reshape(-1)[0])
    else:
        size = x.shape[1] if window is None else len(window)
    if step < 1 or not 0 < size <= x.shape[1]:
        raise CallError(
            "STFT's frames do not fit the signal", why=f"size {size}, step {step}, {x.shape[1]} samples"
        )
    frames = 1 + (x.shape[1] - size) // step
    index = step * np.arange(frames)[:, None] + np.arange(size)
    cut = _complex(x)[:, index]
    if window is not None:
        cut = cut * window
    spectrum = np.fft.fft(cut, axis=-1)
    if attrs.get("onesided", 1):
        spectrum = spectrum[..., : size // 2 + 1]
    return [_pairs(spectrum, x.dtype)]


def mel_weights(inputs: Sequence[Any], attrs: Mapping[str, Any]) -> list[Any]:
    """Triangular filters [dft_length // 2 + 1, bins], evenly spaced on the mel scale. Source: MelWeightMatrix-17."""
    bins, length, rate = (int(np.asarray(inputs[i]).reshape(-1)[0]) for i in range(3))
    low, high = (float(np.asarray(inputs[i]).reshape(-1)[0]) for i in (3, 4))
    rows = length // 2 + 1
    if bins < 0 or length < 1 or rate < 1:
        raise CallError(
            "MelWeightMatrix needs positive sizes", why=f"{bins} bins, length {length}, rate {rate}"
        )
    edges = [2595 * np.log1p(edge / 700) / np.log(10) for edge in (low, high)]
    mel = edges[0] + np.arange(bins + 2) * (edges[1] - edges[0]) / (bins + 2)
    at = ((length + 1) * (700 * np.expm1(mel / 2595 * np.log(10))) // rate).astype(np.int64)
    row = np.arange(rows)[:, None]
    left, centre, right = at[:-2], at[1:-1], at[2:]
    with np.errstate(divide="ignore", invalid="ignore"):
        rising = np.where(centre == left, row == centre, (row - left) / (centre - left))
        falling = (right - row) / (right - centre)
    y = np.where((row >= left) & (row <= centre), rising, 0.0)
    y = np.where((row >= centre) & (row < right), falling, y)
    return [y.astype(ir.DataType(int(attrs.get("output_datatype", 1))).numpy())]


OPS: dict[tuple[str, str], HostOp] = {
    ("", "DFT"): dft,
    ("", "MelWeightMatrix"): mel_weights,
    ("", "STFT"): stft,
}
"""Host ops by (domain, op)."""
