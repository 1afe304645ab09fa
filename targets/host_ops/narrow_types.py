"""Casts and (de)quantisation of types without kernels: 8-bit and 4-bit floats, 4- and 2-bit integers."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import ml_dtypes
import numpy as np
import onnx_ir as ir

from accelc.errors import CallError
from accelc.targets.host_ops.base import HostOp, given

_SATURATING = ("float8_e4m3fn", "float8_e4m3fnuz", "float8_e5m2", "float8_e5m2fnuz")


def convert(
    x: np.ndarray, dtype: np.dtype[Any], *, saturate: bool = True, round_mode: str = "up"
) -> np.ndarray:
    """``x`` in another dtype, rounded to nearest even.

    Args:
        x: A tensor of any numeric dtype.
        dtype: The wanted one; narrow ones are those of ml_dtypes.
        saturate: Values beyond an 8-bit float's range, infinities included, become its largest.
        round_mode: Rounding to a power of two (float8_e8m0): ``up``, ``down`` or ``nearest``.
    """
    if x.dtype.hasobject or dtype.hasobject:
        raise CallError("Cast of strings has no kernel")
    with np.errstate(all="ignore"):
        if dtype.name in _SATURATING and saturate:
            info: Any = ml_dtypes.finfo(dtype)  # type: ignore[no-untyped-call]
            wide = x.astype(np.float64 if x.dtype == np.float64 else np.float32)
            clipped: np.ndarray = np.clip(wide, float(info.min), float(info.max)).astype(dtype)
            return clipped
        if dtype.name == "float8_e8m0fnu":
            return _power_of_two(x.astype(np.float32), saturate, round_mode).astype(dtype)
        return x.astype(dtype)


def _power_of_two(x: np.ndarray, saturate: bool, round_mode: str) -> np.ndarray:
    """Magnitudes as powers of two within float8_e8m0's range; NaN, and 0 without a saturated form, as they are.

    Source: ONNX Cast-24, table of float8e8m0.
    """
    fraction, exponent = np.frexp(np.abs(x))  # |x| = fraction * 2**exponent, fraction in [0.5, 1)
    below = exponent - 1
    exact = fraction == 0.5
    if round_mode == "down":
        power = below
    elif round_mode == "nearest":
        power = np.where(fraction >= 0.75, below + 1, below)
    else:
        power = np.where(exact, below, below + 1)
    if saturate:
        power = np.where(np.isinf(x), 127, np.clip(power, -127, 127))
        power = np.where(x == 0, -127, power)
        return np.where(np.isnan(x), np.float32(np.nan), np.ldexp(np.float32(1), power))
    lost = np.isnan(x) | np.isinf(x) | (power > 127)
    power = np.where((x == 0) | (power < -127), -127, np.minimum(power, 127))
    return np.where(lost, np.float32(np.nan), np.ldexp(np.float32(1), power))


def cast(inputs: Sequence[Any], attrs: Mapping[str, Any]) -> list[Any]:
    """The tensor in dtype ``to``. Source: ONNX Cast-25."""
    dtype = ir.DataType(int(attrs["to"])).numpy()
    return [convert(np.asarray(inputs[0]), dtype, **_options(attrs))]


def cast_like(inputs: Sequence[Any], attrs: Mapping[str, Any]) -> list[Any]:
    """The first tensor in the dtype of the second. Source: ONNX CastLike-25."""
    return [convert(np.asarray(inputs[0]), np.asarray(inputs[1]).dtype, **_options(attrs))]


def _options(attrs: Mapping[str, Any]) -> dict[str, Any]:
    return {"saturate": bool(attrs.get("saturate", 1)), "round_mode": str(attrs.get("round_mode", "up"))}


def _spread(value: np.ndarray, shape: tuple[int, ...], axis: int, block: int) -> np.ndarray:
    """A scale or zero point as it broadcasts to ``shape``: whole, per slice of ``axis``, or per block of it."""
    if value.ndim == 0 or value.size == 1:
        return value.reshape(())
    axis %= max(len(shape), 1)
    if value.ndim == 1 and not block:
        return value.reshape([-1 if i == axis else 1 for i in range(len(shape))])
    if not block or value.ndim != len(shape):
        raise CallError("a scale does not fit its tensor", why=f"{list(value.shape)} for {list(shape)}")
    repeated = np.repeat(value, block, axis)
    return repeated[tuple(slice(n) for n in shape)]


def quantize(inputs: Sequence[Any], attrs: Mapping[str, Any]) -> list[Any]:
    """``x / scale + zero point`` rounded to nearest even and saturated. Source: ONNX QuantizeLinear-25."""
    x, scale, zero = np.asarray(inputs[0]), np.asarray(inputs[1]), given(inputs, 2)
    axis, block = int(attrs.get("axis", 1)), int(attrs.get("block_size", 0))
    wanted = int(attrs.get("output_dtype", 0))
    dtype = np.asarray(zero).dtype if zero is not None else ir.DataType(wanted or 2).numpy()
    precision = int(attrs.get("precision", 0))
    if precision:
        x, scale = (v.astype(ir.DataType(precision).numpy()) for v in (x, scale))
    with np.errstate(all="ignore"):
        y = (x / _spread(scale, x.shape, axis, block)).astype(np.float32)
    shift = 0.0 if zero is None else _spread(np.asarray(zero).astype(np.float32), x.shape, axis, block)
    if "float" in dtype.name:
        return [convert(y + shift, dtype, saturate=bool(attrs.get("saturate", 1)))]
    info: Any = ml_dtypes.iinfo(dtype)  # type: ignore[no-untyped-call]
    return [np.clip(np.rint(y) + shift, int(info.min), int(info.max)).astype(np.int32).astype(dtype)]


def dequantize(inputs: Sequence[Any], attrs: Mapping[str, Any]) -> list[Any]:
    """``(x - zero point) * scale`` in the dtype of the scale, or ``output_dtype``. Source: DequantizeLinear-25."""
    x, scale, zero = np.asarray(inputs[0]), np.asarray(inputs[1]), given(inputs, 2)
    axis, block = int(attrs.get("axis", 1)), int(attrs.get("block_size", 0))
    wanted = int(attrs.get("output_dtype", 0))
    dtype = ir.DataType(wanted).numpy() if wanted else scale.dtype
    wide = x.astype(np.float32)
    if zero is not None:
        wide = wide - _spread(np.asarray(zero).astype(np.float32), x.shape, axis, block)
    return [(wide * _spread(scale.astype(np.float32), x.shape, axis, block)).astype(dtype)]


OPS: dict[tuple[str, str], HostOp] = {
    ("", "Cast"): cast,
    ("", "CastLike"): cast_like,
    ("", "DequantizeLinear"): dequantize,
    ("", "QuantizeLinear"): quantize,
}
"""Host ops by (domain, op)."""
