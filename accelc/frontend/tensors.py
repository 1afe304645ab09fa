"""Tensors of a model file: sizes checked with exact arithmetic, data mapped where it lies.

Source: https://onnx.ai/onnx/api/classes.html#tensorproto
"""

from __future__ import annotations

import math
import sys
from collections.abc import Sequence

import ml_dtypes
import numpy as np
import onnx
import onnx_ir as ir

from accelc.errors import InvalidModelError, LimitError

MAX_ELEMENTS = 2**62
_FIELD_OF: dict[str, tuple[ir.DataType, ...]] = {
    "float_data": (ir.DataType.FLOAT, ir.DataType.COMPLEX64),
    "double_data": (ir.DataType.DOUBLE, ir.DataType.COMPLEX128),
    "int64_data": (ir.DataType.INT64,),
    "uint64_data": (ir.DataType.UINT32, ir.DataType.UINT64),
    "string_data": (ir.DataType.STRING,),
}
_DATA_FIELDS = ("float_data", "int32_data", "int64_data", "double_data", "uint64_data", "string_data")


def data_type(number: int, where: str) -> ir.DataType:
    """The dtype of a TensorProto or type number.

    Raises:
        InvalidModelError: ONNX has no such dtype.
    """
    try:
        dtype = ir.DataType(number)
    except ValueError:
        dtype = ir.DataType.UNDEFINED
    if dtype == ir.DataType.UNDEFINED:
        raise InvalidModelError(f"there is no tensor dtype number {number}", where=where)
    return dtype


def element_count(dims: Sequence[int], where: str) -> int:
    """Number of elements.

    Raises:
        InvalidModelError: A dimension is negative, or the product leaves 62 bits.
    """
    if any(dim < 0 for dim in dims):
        raise InvalidModelError("a tensor has a negative dimension", where=where, why=f"dims {list(dims)}")
    count = math.prod(dims)
    if count > MAX_ELEMENTS or any(dim > MAX_ELEMENTS for dim in dims):
        raise InvalidModelError(
            "a tensor has more elements than memory has addresses", where=where, why=f"dims {list(dims)}"
        )
    return count


def bits(dtype: ir.DataType) -> int:
    """Bits of one element, 4 for INT4; 0 for strings, which have no fixed size."""
    return 0 if dtype in (ir.DataType.STRING, ir.DataType.UNDEFINED) else round(dtype.itemsize * 8)


def byte_count(dtype: ir.DataType, count: int) -> int:
    """Bytes of ``count`` packed elements (two 4-bit elements share a byte)."""
    return (count * bits(dtype) + 7) // 8


def check_tensor(proto: onnx.TensorProto, where: str, *, raw_bytes: int | None = None) -> None:
    """Check that a tensor's data is exactly what its dims and dtype need.

    Args:
        proto: The tensor.
        where: Its place, for errors.
        raw_bytes: Size of its raw data if that was left in the file; None if it is in ``proto``.

    Raises:
        InvalidModelError: Dtype, dims or the amount of data are wrong.
    """
    dtype = data_type(proto.data_type, where)
    count = element_count(proto.dims, where)
    if proto.data_location == onnx.TensorProto.EXTERNAL:
        if dtype == ir.DataType.STRING:
            raise InvalidModelError("strings cannot be external data", where=where)
        return
    if raw_bytes is None and proto.HasField("raw_data"):
        raw_bytes = len(proto.raw_data)
    filled = [name for name in _DATA_FIELDS if len(getattr(proto, name))]
    if raw_bytes is not None:
        if dtype == ir.DataType.STRING or filled:
            other = "strings cannot be raw" if dtype == ir.DataType.STRING else f"also filled: {filled[0]}"
            raise InvalidModelError("a tensor holds its data in two ways", where=where, why=other)
        _expect(where, dtype, proto.dims, byte_count(dtype, count), raw_bytes, "bytes")
        return
    field = next((name for name, dtypes in _FIELD_OF.items() if dtype in dtypes), "int32_data")
    if any(name != field for name in filled):
        wrong = next(name for name in filled if name != field)
        raise InvalidModelError(
            f"a {dtype.name} tensor holds its data in {wrong}", where=where, why=f"expected {field}"
        )
    per_element = 2 if dtype in (ir.DataType.COMPLEX64, ir.DataType.COMPLEX128) else 1
    wanted = count * per_element
    if field == "int32_data" and bits(dtype) in (2, 4):
        wanted = byte_count(dtype, count)
    _expect(where, dtype, proto.dims, wanted, len(getattr(proto, field)), f"items of {field}")


def _expect(where: str, dtype: ir.DataType, dims: Sequence[int], wanted: int, found: int, unit: str) -> None:
    if wanted != found:
        raise InvalidModelError(
            "a tensor's data does not match its shape",
            where=where,
            why=f"{dtype.name}{list(dims)} needs {wanted} {unit}, found {found}",
            fix="the file is damaged, or was written by a broken exporter",
        )


def mapped(data: memoryview, dtype: ir.DataType, dims: Sequence[int], name: str) -> ir.TensorProtocol:
    """A tensor over bytes that stay where they are; its size was checked.

    Bytes that are not aligned for their dtype are copied on first use, because compiled kernels need
    aligned arrays.

    Args:
        data: Exactly the tensor's bytes, little endian.
        dtype: Its dtype, not STRING.
        dims: Its shape.
        name: Its name.
    """
    shape = ir.Shape(dims, frozen=True)
    array = np.frombuffer(data, dtype=np.uint8)
    if bits(dtype) < 8:
        return ir.PackedTensor(array, dtype, shape=shape, name=name)
    item = dtype.numpy()
    if array.ctypes.data % item.alignment == 0 and sys.byteorder == "little":
        return ir.Tensor(array.view(item).reshape(tuple(dims)), dtype=dtype, shape=shape, name=name)

    def copy() -> ir.TensorProtocol:
        native = np.frombuffer(data, dtype=np.uint8).copy().view(item)
        native = native if sys.byteorder == "little" else native.byteswap()
        return ir.Tensor(native.reshape(tuple(dims)), dtype=dtype, shape=shape, name=name)

    return ir.LazyTensor(copy, dtype=dtype, shape=shape, name=name, cache=True)


def densify(proto: onnx.SparseTensorProto, where: str, max_bytes: int) -> ir.TensorProtocol:
    """A sparse tensor as a dense one.

    Indices are linear ``[NNZ]`` or coordinates ``[NNZ, rank]``; ONNX wants them sorted and unique.

    Args:
        proto: The sparse tensor; its parts hold their data inline.
        where: Its place, for errors.
        max_bytes: Largest dense size.

    Raises:
        InvalidModelError: Parts have wrong dtypes or shapes, or an index is out of range or repeats.
        LimitError: The dense tensor is larger than ``max_bytes``.
    """
    values, indices = proto.values, proto.indices
    for part, part_name in ((values, "values"), (indices, "indices")):
        if part.data_location == onnx.TensorProto.EXTERNAL:
            raise InvalidModelError(f"{part_name} of a sparse tensor are external", where=where)
        check_tensor(part, f"{where}, {part_name}")
    dtype = data_type(values.data_type, where)
    count = element_count(proto.dims, where)
    size = byte_count(dtype, count)
    if size > max_bytes:
        raise LimitError(
            f"a sparse tensor is too large to store densely: {size} bytes",
            where=where,
            why=f"the limit is {max_bytes} bytes",
            fix="raise limits.max_dense_bytes",
        )
    if indices.data_type != onnx.TensorProto.INT64 or len(values.dims) != 1 or not proto.dims:
        raise InvalidModelError(
            "a sparse tensor needs int64 indices, values of rank 1 and rank of at least 1", where=where
        )
    if bits(dtype) < 8:
        raise InvalidModelError(f"a sparse tensor cannot hold {dtype.name}", where=where)
    linear = _linear_indices(
        ir.serde.deserialize_tensor(indices).numpy(), tuple(proto.dims), values.dims[0], where
    )
    dense = np.zeros(count, dtype=dtype.numpy())
    dense[linear] = ir.serde.deserialize_tensor(values).numpy()
    return ir.Tensor(dense.reshape(tuple(proto.dims)), dtype=dtype, name=values.name)


def _linear_indices(indices: np.ndarray, dims: tuple[int, ...], nnz: int, where: str) -> np.ndarray:
    if indices.shape not in ((nnz,), (nnz, len(dims))):
        raise InvalidModelError(
            "indices of a sparse tensor have the wrong shape",
            where=where,
            why=f"expected [{nnz}] or [{nnz}, {len(dims)}], got {list(indices.shape)}",
        )
    bounds = np.array(dims if indices.ndim == 2 else [math.prod(dims)], dtype=np.int64)
    rows = indices if indices.ndim == 2 else indices[:, None]
    if ((rows < 0) | (rows >= bounds)).any():
        raise InvalidModelError(
            "an index of a sparse tensor is out of range", where=where, why=f"dims {dims}"
        )
    linear = np.ravel_multi_index(tuple(rows.T), tuple(bounds)) if nnz else np.zeros(0, dtype=np.int64)
    if len(np.unique(linear)) != nnz:
        raise InvalidModelError("an index of a sparse tensor repeats", where=where)
    return np.asarray(linear)


assert ml_dtypes.bfloat16  # registers the dtypes that ir.DataType.numpy() returns
