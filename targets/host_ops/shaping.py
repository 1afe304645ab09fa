"""Ops whose output shape is given by an operand that is known only at run time."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from accelc.errors import CallError
from accelc.targets.host_ops.base import HostOp, given


def _ints(value: Any) -> list[int]:
    """Elements as a list; a scalar as a list of one."""
    return [int(n) for n in np.asarray(value).reshape(-1)]


def reshape(inputs: Sequence[Any], attrs: Mapping[str, Any]) -> list[Any]:
    """Same elements, other dims; 0 keeps a dim unless ``allowzero``, -1 is what is left. Source: Reshape-19."""
    x, target = inputs[0], _ints(inputs[1])
    if not int(attrs.get("allowzero", 0)):
        target = [x.shape[i] if n == 0 and i < x.ndim else n for i, n in enumerate(target)]
    known = math.prod(n for n in target if n != -1)
    if -1 in target and known:
        target[target.index(-1)] = x.size // known
    if math.prod(target) != x.size or min(target, default=0) < 0:
        raise CallError("the tensor cannot be reshaped", why=f"{list(x.shape)} to {_ints(inputs[1])}")
    return [x.reshape(target)]


def expand(inputs: Sequence[Any], attrs: Mapping[str, Any]) -> list[Any]:
    """Broadcast both ways against a shape. Source: ONNX Expand-13."""
    x, shape = inputs[0], tuple(_ints(inputs[1]))
    try:
        return [np.broadcast_to(x, np.broadcast_shapes(x.shape, shape)).copy()]
    except ValueError as error:
        raise CallError("the tensor cannot be expanded", why=f"{list(x.shape)} to {list(shape)}") from error


def tile(inputs: Sequence[Any], attrs: Mapping[str, Any]) -> list[Any]:
    """Repeated along each axis. Source: ONNX Tile-13."""
    repeats = _ints(inputs[1])
    if len(repeats) != inputs[0].ndim or min(repeats, default=0) < 0:
        raise CallError("Tile needs a count per axis", why=f"{repeats} for rank {inputs[0].ndim}")
    return [np.tile(inputs[0], repeats)]


def constant_of_shape(inputs: Sequence[Any], attrs: Mapping[str, Any]) -> list[Any]:
    """One value everywhere. Source: ONNX ConstantOfShape-9."""
    value = np.asarray(attrs.get("value", np.zeros(1, np.float32)))
    shape = _ints(inputs[0])
    if min(shape, default=0) < 0:
        raise CallError("a shape has a negative dim", why=f"{shape}")
    return [np.full(shape, value.reshape(-1)[0], dtype=value.dtype)]


def range_(inputs: Sequence[Any], attrs: Mapping[str, Any]) -> list[Any]:
    """``start + i * delta`` below ``limit``. Source: ONNX Range-11."""
    start, limit, delta = (np.asarray(value).reshape(-1)[0] for value in inputs)
    if delta == 0:
        raise CallError("the step of Range is 0")
    if start.dtype.kind in "iu":
        count = max(0, -((int(limit) - int(start)) // -int(delta)))
    else:
        count = max(0, math.ceil((limit - start) / delta))
    return [(np.arange(count) * delta + start).astype(start.dtype)]


def slice_(inputs: Sequence[Any], attrs: Mapping[str, Any]) -> list[Any]:
    """Elements from starts to ends by steps along axes. Source: ONNX Slice-13."""
    x = inputs[0]
    starts, ends = (_ints(inputs[i]) for i in (1, 2))
    axes = range(len(starts)) if given(inputs, 3) is None else _ints(inputs[3])
    steps = [1] * len(starts) if given(inputs, 4) is None else _ints(inputs[4])
    index = [slice(None)] * x.ndim
    for start, end, axis, step in zip(starts, ends, axes, steps, strict=True):
        if step == 0 or not -x.ndim <= axis < x.ndim:
            raise CallError("Slice is out of range", why=f"axis {axis} of rank {x.ndim}, step {step}")
        extent = x.shape[axis]
        start, end = (n + extent if n < 0 else n for n in (start, end))
        if step > 0:
            index[axis] = slice(min(max(start, 0), extent), min(max(end, 0), extent), step)
        else:
            start, end = min(max(start, -1), extent - 1), min(max(end, -1), extent - 1)
            index[axis] = slice(max(start, 0), end if end >= 0 else None, step) if start >= 0 else slice(0, 0)
    return [np.ascontiguousarray(x[tuple(index)])]


def squeeze(inputs: Sequence[Any], attrs: Mapping[str, Any]) -> list[Any]:
    """Without axes of extent 1. Source: ONNX Squeeze-13."""
    axes = None if given(inputs, 1) is None else tuple(_ints(inputs[1]))
    return [np.squeeze(inputs[0], axis=axes)]


def unsqueeze(inputs: Sequence[Any], attrs: Mapping[str, Any]) -> list[Any]:
    """With axes of extent 1 put in. Source: ONNX Unsqueeze-13."""
    return [np.expand_dims(inputs[0], tuple(_ints(inputs[1])))]


def split(inputs: Sequence[Any], attrs: Mapping[str, Any]) -> list[Any]:
    """Parts along an axis, their sizes given. Source: ONNX Split-18."""
    axis = int(attrs.get("axis", 0))
    extent = inputs[0].shape[axis]
    if given(inputs, 1) is not None:
        sizes = _ints(inputs[1])
    else:
        count = int(attrs.get("num_outputs", 1))
        size = -(-extent // count)
        sizes = [min(size, max(0, extent - i * size)) for i in range(count)]
    if sum(sizes) != extent or min(sizes, default=0) < 0:
        raise CallError("the parts of Split do not make up the whole", why=f"{sizes} of {extent}")
    ends = np.cumsum(sizes)[:-1]
    return [np.ascontiguousarray(part) for part in np.split(inputs[0], ends, axis=axis)]


def identity(inputs: Sequence[Any], attrs: Mapping[str, Any]) -> list[Any]:
    """The value itself, of any type. Source: ONNX Identity-16."""
    return [inputs[0]]


def shape(inputs: Sequence[Any], attrs: Mapping[str, Any]) -> list[Any]:
    """Dims from ``start`` to ``end``, int64. Source: ONNX Shape-15."""
    dims = np.shape(inputs[0])
    return [np.array(dims[int(attrs.get("start", 0)) : attrs.get("end", len(dims))], dtype=np.int64)]


def size(inputs: Sequence[Any], attrs: Mapping[str, Any]) -> list[Any]:
    """Number of elements, int64. Source: ONNX Size-13."""
    return [np.array(np.size(inputs[0]), dtype=np.int64)]


OPS: dict[tuple[str, str], HostOp] = {
    ("", "Reshape"): reshape,
    ("", "Expand"): expand,
    ("", "Tile"): tile,
    ("", "ConstantOfShape"): constant_of_shape,
    ("", "Range"): range_,
    ("", "Slice"): slice_,
    ("", "Squeeze"): squeeze,
    ("", "Unsqueeze"): unsqueeze,
    ("", "Split"): split,
    ("", "Identity"): identity,
    ("", "Shape"): shape,
    ("", "Size"): size,
}
