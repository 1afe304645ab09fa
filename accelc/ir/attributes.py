"""ONNX attributes and dtypes as plain Python values."""

from __future__ import annotations

from typing import Any

import numpy as np
import onnx_ir as ir


def attributes(node: ir.Node) -> dict[str, Any]:
    """Attributes by name: numbers, strings, tuples and NumPy arrays; graphs and references are left out."""
    return {name: plain for name, attr in node.attributes.items() if (plain := _plain(attr)) is not None}


def _plain(attr: ir.Attr) -> Any:
    kind = ir.AttributeType
    if attr.is_ref():
        return None
    if attr.type == kind.INT:
        return int(attr.as_int())
    if attr.type == kind.FLOAT:
        return float(attr.as_float())
    if attr.type == kind.STRING:
        return attr.as_string()
    if attr.type == kind.INTS:
        return tuple(int(x) for x in attr.as_ints())
    if attr.type == kind.FLOATS:
        return tuple(float(x) for x in attr.as_floats())
    if attr.type == kind.STRINGS:
        return tuple(attr.as_strings())
    if attr.type == kind.TENSOR:
        return attr.as_tensor().numpy()
    return None


def constant_array(node: ir.Node) -> np.ndarray | None:
    """The array of a Constant node, whichever attribute holds it; None if it is sparse."""
    attrs = attributes(node)
    if "value" in attrs:
        return np.asarray(attrs["value"])
    for name, dtype in (
        ("value_int", np.int64),
        ("value_ints", np.int64),
        ("value_float", np.float32),
        ("value_floats", np.float32),
        ("value_string", object),
        ("value_strings", object),
    ):
        if name in attrs:
            return np.asarray(attrs[name], dtype=dtype)
    return None


def dtype_name(dtype: ir.DataType | None) -> str | None:
    """NumPy name of an ONNX dtype; None for undefined ones and strings."""
    if dtype is None or dtype in (ir.DataType.UNDEFINED, ir.DataType.STRING):
        return None
    return dtype.numpy().name
