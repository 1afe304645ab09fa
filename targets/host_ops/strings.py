"""Strings: object arrays of str."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np

from accelc.errors import CallError
from accelc.targets.host_ops.base import HostOp


def _map(x: Any, function: Callable[[str], Any], dtype: Any) -> np.ndarray:
    array = np.asarray(x, dtype=object)
    return np.array([function(str(item)) for item in array.flat], dtype=dtype).reshape(array.shape)


def normalize(inputs: Sequence[Any], attrs: Mapping[str, Any]) -> list[Any]:
    """Without stop words, in one case; an empty result is one empty string. Source: StringNormalizer-10."""
    x = np.asarray(inputs[0], dtype=object)
    if x.ndim not in (1, 2) or (x.ndim == 2 and x.shape[0] != 1):
        raise CallError("StringNormalizer takes [C] or [1, C]", why=f"got {list(x.shape)}")
    stop = [str(word) for word in attrs.get("stopwords", ())]
    sensitive = bool(int(attrs.get("is_case_sensitive", 0)))
    dropped = set(stop if sensitive else (word.lower() for word in stop))
    words = [str(word) for word in x.flat]
    kept = [word for word in words if (word if sensitive else word.lower()) not in dropped]
    change = {"LOWER": str.lower, "UPPER": str.upper}.get(str(attrs.get("case_change_action", "NONE")))
    kept = [change(word) for word in kept] if change is not None else kept
    made = np.array(kept or [""], dtype=object)
    return [made if x.ndim == 1 else made.reshape(1, -1)]


def full_match(inputs: Sequence[Any], attrs: Mapping[str, Any]) -> list[Any]:
    """Whether each whole string fits the pattern. Source: ONNX RegexFullMatch-20 (RE2 syntax)."""
    try:
        pattern = re.compile(str(attrs.get("pattern", "")))
    except re.error as error:
        raise CallError("the pattern of RegexFullMatch cannot be read", why=str(error)) from error
    return [_map(inputs[0], lambda text: pattern.fullmatch(text) is not None, bool)]


def concat(inputs: Sequence[Any], attrs: Mapping[str, Any]) -> list[Any]:
    """Strings joined elementwise, broadcast. Source: ONNX StringConcat-20."""
    x, y = np.broadcast_arrays(*(np.asarray(value, dtype=object) for value in inputs))
    made = np.array([f"{a}{b}" for a, b in zip(x.flat, y.flat, strict=True)], dtype=object)
    return [made.reshape(x.shape)]


def split(inputs: Sequence[Any], attrs: Mapping[str, Any]) -> list[Any]:
    """Parts of each string along a new last axis, filled up with "", and their number. Source: StringSplit-20."""
    x = np.asarray(inputs[0], dtype=object)
    delimiter = str(attrs["delimiter"]) if attrs.get("delimiter") else None
    most = int(attrs.get("maxsplit", -1))
    parts = [str(item).split(delimiter, most) if item != "" else [] for item in x.flat]
    width = max((len(each) for each in parts), default=0)
    filled = [word for each in parts for word in (*each, *[""] * (width - len(each)))]
    counts = np.array([len(each) for each in parts], dtype=np.int64).reshape(x.shape)
    return [np.array(filled, dtype=object).reshape(*x.shape, width), counts]


def gather(inputs: Sequence[Any], attrs: Mapping[str, Any]) -> list[Any]:
    """Elements at indices along an axis, strings included. Source: ONNX Gather-13."""
    x, index, axis = np.asarray(inputs[0]), np.asarray(inputs[1]), int(attrs.get("axis", 0))
    extent = x.shape[axis]
    if index.size and (index.min() < -extent or index.max() >= extent):
        raise CallError(
            "an index of Gather is out of range", why=f"{int(index.min())} to {int(index.max())} of {extent}"
        )
    return [np.asarray(np.take(x, index, axis), x.dtype)]


OPS: dict[tuple[str, str], HostOp] = {
    ("", "Gather"): gather,
    ("", "StringNormalizer"): normalize,
    ("", "RegexFullMatch"): full_match,
    ("", "StringConcat"): concat,
    ("", "StringSplit"): split,
}
