"""Sequences (lists) and optionals (None for an empty one)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from accelc.errors import CallError
from accelc.targets.host_ops.base import HostOp, given


def _position(value: Any, length: int, most: int) -> int:
    """An index counted from the end if negative; ``most`` is the largest allowed."""
    index = int(np.asarray(value).reshape(-1)[0])
    if not -length <= index <= most:
        raise CallError("a position lies outside of the sequence", why=f"{index} of {length} elements")
    return index + length if index < 0 else index


def construct(inputs: Sequence[Any], attrs: Mapping[str, Any]) -> list[Any]:
    """A sequence of the operands. Source: ONNX SequenceConstruct-11."""
    return [list(inputs)]


def empty(inputs: Sequence[Any], attrs: Mapping[str, Any]) -> list[Any]:
    """A sequence without elements. Source: ONNX SequenceEmpty-11."""
    return [[]]


def at(inputs: Sequence[Any], attrs: Mapping[str, Any]) -> list[Any]:
    """One element. Source: ONNX SequenceAt-11."""
    return [inputs[0][_position(inputs[1], len(inputs[0]), len(inputs[0]) - 1)]]


def insert(inputs: Sequence[Any], attrs: Mapping[str, Any]) -> list[Any]:
    """A sequence with one element more, at the end by default. Source: ONNX SequenceInsert-11."""
    items, place = list(inputs[0]), given(inputs, 2)
    items.insert(len(items) if place is None else _position(place, len(items), len(items)), inputs[1])
    return [items]


def erase(inputs: Sequence[Any], attrs: Mapping[str, Any]) -> list[Any]:
    """A sequence with one element less, the last by default. Source: ONNX SequenceErase-11."""
    items, place = list(inputs[0]), given(inputs, 1)
    del items[_position(-1 if place is None else place, len(items), len(items) - 1)]
    return [items]


def length(inputs: Sequence[Any], attrs: Mapping[str, Any]) -> list[Any]:
    """Number of elements, int64 scalar. Source: ONNX SequenceLength-11."""
    return [np.array(len(inputs[0]), dtype=np.int64)]


def split_to(inputs: Sequence[Any], attrs: Mapping[str, Any]) -> list[Any]:
    """Parts along an axis; without sizes single slices, ``keepdims`` as said. Source: SplitToSequence-24."""
    x, sizes = np.asarray(inputs[0]), given(inputs, 1)
    axis = int(attrs.get("axis", 0))
    extent = x.shape[axis]
    if sizes is None:
        parts = [np.take(x, [i], axis=axis) for i in range(extent)]
        return [parts if int(attrs.get("keepdims", 1)) else [np.squeeze(part, axis) for part in parts]]
    numbers = np.asarray(sizes)
    if numbers.ndim == 0:
        if (step := int(numbers)) < 1:
            raise CallError("a part of SplitToSequence is empty", why=f"size {step}")
        ends = list(range(step, extent, step))
    else:
        if int(numbers.sum()) != extent or (numbers < 0).any():
            raise CallError("the parts do not make up the whole", why=f"{numbers.tolist()} of {extent}")
        ends = np.cumsum(numbers)[:-1].tolist()
    return [[np.ascontiguousarray(part) for part in np.split(x, ends, axis=axis)]]


def concat_from(inputs: Sequence[Any], attrs: Mapping[str, Any]) -> list[Any]:
    """All elements as one tensor, along an axis or a new one. Source: ONNX ConcatFromSequence-11."""
    axis = int(attrs["axis"])
    join = np.stack if int(attrs.get("new_axis", 0)) else np.concatenate
    try:
        return [join(inputs[0], axis)]
    except ValueError as error:
        raise CallError("the elements of the sequence cannot be joined", why=str(error)) from error


def optional(inputs: Sequence[Any], attrs: Mapping[str, Any]) -> list[Any]:
    """The value, or nothing. Source: ONNX Optional-15."""
    return [given(inputs, 0)]


def get_element(inputs: Sequence[Any], attrs: Mapping[str, Any]) -> list[Any]:
    """What an optional holds. Source: ONNX OptionalGetElement-18."""
    if inputs[0] is None:
        raise CallError("an optional is empty", fix="ask OptionalHasElement first")
    return [inputs[0]]


def has_element(inputs: Sequence[Any], attrs: Mapping[str, Any]) -> list[Any]:
    """Whether an optional holds something, bool scalar. Source: ONNX OptionalHasElement-18."""
    return [np.array(given(inputs, 0) is not None)]


OPS: dict[tuple[str, str], HostOp] = {
    ("", "SequenceConstruct"): construct,
    ("", "SequenceEmpty"): empty,
    ("", "SequenceAt"): at,
    ("", "SequenceInsert"): insert,
    ("", "SequenceErase"): erase,
    ("", "SequenceLength"): length,
    ("", "SplitToSequence"): split_to,
    ("", "ConcatFromSequence"): concat_from,
    ("", "Optional"): optional,
    ("", "OptionalGetElement"): get_element,
    ("", "OptionalHasElement"): has_element,
}
