"""Signals: DFT, STFT, windows, MelWeightMatrix. Complex numbers are pairs in a last dim of 2."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

import jax
import jax.numpy as jnp
import numpy as np
import onnx_ir as ir

from accelc.errors import UnsupportedError
from accelc.targets.jax_xla import precision
from accelc.targets.jax_xla.context import Ctx
from accelc.targets.jax_xla.table import LoweringTable

if TYPE_CHECKING:
    from accelc.targets.jax_xla.table import Array

TABLE = LoweringTable()


def _complex(x: jax.Array) -> jax.Array:
    """[..., 1] as real [...], [..., 2] as complex [...]; halves as float32."""
    if x.ndim < 2 or x.shape[-1] not in (1, 2):
        raise UnsupportedError(
            "a signal's last dim is 1 (real) or 2 (complex)", why=f"the shape is {list(x.shape)}"
        )
    wide = x.astype(precision.sum_dtype(x.dtype))
    return wide[..., 0] if x.shape[-1] == 1 else jax.lax.complex(wide[..., 0], wide[..., 1])


def _pairs(z: jax.Array, dtype: Any) -> jax.Array:
    return jnp.stack((jnp.real(z), jnp.imag(z)), axis=-1).astype(dtype)


def _number(value: Any) -> int:
    return int(np.asarray(value).reshape(-1)[0])


def _dft(x: Array, length: Any, axis: int, inverse: int, onesided: int) -> Array:
    given = jnp.asarray(x)
    place = axis % given.ndim
    if place == given.ndim - 1:
        raise UnsupportedError("DFT's axis is the last dim, which holds the real and imaginary parts")
    z = _complex(given)
    count: Any = z.shape[place] if length is None else _number(length)
    if inverse and onesided:
        if length is None:
            count = 2 * (z.shape[place] - 1)
        return jnp.fft.irfft(z, count, place)[..., None].astype(given.dtype)
    if inverse:
        return _pairs(jnp.fft.ifft(z, count, place), given.dtype)
    return _pairs(_spectrum(z, count, place, bool(onesided)), given.dtype)


def _spectrum(z: jax.Array, count: Any, axis: int, onesided: bool) -> jax.Array:
    """The transform along ``axis``; of a real signal the second half is the first one's mirror image."""
    if jnp.iscomplexobj(z):
        spectrum = jnp.fft.fft(z, count, axis)
        return jax.lax.slice_in_dim(spectrum, 0, count // 2 + 1, axis=axis) if onesided else spectrum
    half = jnp.fft.rfft(z, count, axis)
    if onesided:
        return half
    mirrored = jax.lax.slice_in_dim(half, 1, (count + 1) // 2, axis=axis)
    return jnp.concatenate((half, jnp.conj(jnp.flip(mirrored, axis))), axis)


@TABLE.op("DFT", since=20, static=(1, 2))
def dft(
    ctx: Ctx, x: Array, length: Any = None, axis: Any = None, *, inverse: int = 0, onesided: int = 0
) -> Array:
    """The discrete Fourier transform along an axis, its inverse, and the one-sided form of real signals.

    Source: ONNX DFT-20.
    """
    return _dft(x, length, -2 if axis is None else _number(axis), inverse, onesided)


@TABLE.op("DFT", static=(1,))
def dft_17(
    ctx: Ctx, x: Array, length: Any = None, *, axis: int = 1, inverse: int = 0, onesided: int = 0
) -> Array:
    """As :func:`dft`, the axis an attribute. Source: ONNX DFT-17."""
    return _dft(x, length, axis, inverse, onesided)


@TABLE.op("STFT", static=(1, 3))
def stft(
    ctx: Ctx, x: Array, step: Any, window: Array | None = None, length: Any = None, *, onesided: int = 1
) -> Array:
    """DFT of windowed frames of signals [N, L, 1 or 2]: [N, frames, bins, 2]. Source: ONNX STFT-17."""
    given = jnp.asarray(x)
    stride = _number(step)
    natural = given.shape[1] if window is None else jnp.asarray(window).shape[0]
    size = natural if length is None else _number(length)
    frames = 1 + (given.shape[1] - size) // stride
    index = jnp.arange(frames)[:, None] * stride + jnp.arange(size)[None, :]
    cut = _complex(given)[:, index]
    if window is not None:
        cut = cut * jnp.asarray(window)
    return _pairs(_spectrum(cut, size, cut.ndim - 1, bool(onesided)), given.dtype)


def _cosines(size: Any, output_datatype: int, periodic: int, weights: tuple[float, ...]) -> Array:
    """``sum weights[k] * cos(2 pi k n / N)``; N is the size, less one for symmetric windows."""
    count = _number(size)
    around = count if periodic else count - 1
    angle = 2 * np.pi * np.arange(count) / max(around, 1)
    total = sum(weight * np.cos(k * angle) for k, weight in enumerate(weights))
    return np.asarray(total).astype(ir.DataType(output_datatype).numpy())


@TABLE.op("HannWindow", static=(0,))
def hann_window(ctx: Ctx, size: Any, *, output_datatype: int = 1, periodic: int = 1) -> Array:
    """``0.5 - 0.5 cos``. Source: ONNX HannWindow-17."""
    return _cosines(size, output_datatype, periodic, (0.5, -0.5))


@TABLE.op("HammingWindow", static=(0,))
def hamming_window(ctx: Ctx, size: Any, *, output_datatype: int = 1, periodic: int = 1) -> Array:
    """``25/46 - 21/46 cos``. Source: ONNX HammingWindow-17."""
    return _cosines(size, output_datatype, periodic, (25 / 46, -21 / 46))


@TABLE.op("BlackmanWindow", static=(0,))
def blackman_window(ctx: Ctx, size: Any, *, output_datatype: int = 1, periodic: int = 1) -> Array:
    """``0.42 - 0.5 cos + 0.08 cos 2``. Source: ONNX BlackmanWindow-17."""
    return _cosines(size, output_datatype, periodic, (0.42, -0.5, 0.08))


@TABLE.op("MelWeightMatrix", static=(0, 1, 2, 3, 4))
def mel_weight_matrix(
    ctx: Ctx, bins: Any, length: Any, rate: Any, low: Any, high: Any, *, output_datatype: int = 1
) -> Array:
    """Triangular filters [length // 2 + 1, bins], evenly spaced on the mel scale. Source: ONNX MelWeightMatrix-17."""
    count, size, per_second = _number(bins), _number(length), _number(rate)
    edges = [
        2595 * math.log10(1 + float(np.asarray(edge).astype(np.float64).reshape(-1)[0]) / 700)
        for edge in (low, high)
    ]
    mel = edges[0] + np.arange(count + 2) * ((edges[1] - edges[0]) / (count + 2))
    at = ((size + 1) * (700 * (10 ** (mel / 2595) - 1)) // per_second).astype(np.int64)
    row = np.arange(size // 2 + 1)[:, None]
    left, centre, right = at[:-2], at[1:-1], at[2:]
    rising = np.where(
        centre == left, row == centre, (row - left) / np.where(centre == left, 1, centre - left)
    )
    falling = (right - row) / np.where(right == centre, 1, right - centre)
    y = np.where((row >= left) & (row <= centre), rising, 0.0)
    y = np.where((row >= centre) & (row < right), falling, y)
    return y.astype(ir.DataType(output_datatype).numpy())
