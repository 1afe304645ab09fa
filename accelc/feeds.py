"""The arrays of a call, checked against what a model takes."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from accelc.errors import CallError
from accelc.target import TensorSpec


def checked_feeds(
    specs: Sequence[TensorSpec], feeds: Mapping[str, Any], optional: frozenset[str] = frozenset()
) -> list[Any]:
    """The values of ``feeds`` in the order of ``specs``: arrays, lists of arrays for sequences, None for no value.

    Args:
        specs: What the model takes; dtype object stands for strings, sequences and optionals.
        feeds: What the caller gave, by name; numbers and lists become arrays of the dtype wanted.
        optional: Inputs that may be left out.

    Raises:
        CallError: Names input, expected and got.
    """
    unknown = sorted(set(feeds) - {spec.name for spec in specs})
    if unknown:
        names = ", ".join(spec.name for spec in specs) or "none"
        raise CallError(f"no input is called {unknown[0]!r}", fix=f"inputs: {names}")
    sizes: dict[str, int] = {}
    arrays: list[Any] = []
    for spec in specs:
        given = feeds.get(spec.name)
        if given is None:
            if spec.name not in optional:
                raise CallError(f"input {spec.name!r} is missing", why=f"expected {describe(spec)}")
            arrays.append(None)
            continue
        value = _taken(spec, given)
        if not _fits(spec, value, sizes):
            raise CallError(
                f"input {spec.name!r} does not fit", why=f"expected {describe(spec)}, got {_brief(value)}"
            )
        arrays.append(value)
    return arrays


def _taken(spec: TensorSpec, given: Any) -> Any:
    """An array, or a list of arrays for a sequence."""
    if spec.dtype == object:
        if isinstance(given, list | tuple) and not any(isinstance(item, str | bytes) for item in given):
            return [_text(np.asarray(item)) for item in given]
        return _text(np.asarray(given))
    if isinstance(given, np.ndarray | np.generic) or hasattr(given, "__array__"):
        return np.asarray(given)
    try:
        return np.asarray(given, dtype=spec.dtype)
    except (TypeError, ValueError, OverflowError):
        return np.asarray(given, dtype=object)  # refused as what it is


def _text(array: np.ndarray) -> np.ndarray:
    """Arrays of str are object arrays throughout; others stay as they are."""
    return array.astype(object) if array.dtype.kind in "US" else array


def _brief(value: Any) -> str:
    if isinstance(value, list):
        return f"a sequence of {len(value)}"
    return f"{value.dtype}[{','.join(map(str, value.shape))}]"


def describe(spec: TensorSpec) -> str:
    """``float32[N,3,224,224]``."""
    if spec.shape is None:
        return f"{spec.dtype} of any shape"
    return f"{spec.dtype}[{','.join('?' if dim is None else str(dim) for dim in spec.shape)}]"


def _fits(spec: TensorSpec, value: Any, sizes: dict[str, int]) -> bool:
    if spec.dtype == object:
        return True
    if isinstance(value, list) or value.dtype != spec.dtype:
        return False
    if spec.shape is None:
        return True
    if len(spec.shape) != value.ndim:
        return False
    for dim, size in zip(spec.shape, value.shape, strict=True):
        expected = sizes.setdefault(dim, size) if isinstance(dim, str) and dim.isidentifier() else dim
        if isinstance(expected, int) and expected != size:
            return False
    return True


def selected(specs: Sequence[TensorSpec], results: list[Any], names: Sequence[str]) -> list[Any]:
    """The results of the outputs called ``names``.

    Raises:
        CallError: There is no such output.
    """
    by_name = {spec.name: result for spec, result in zip(specs, results, strict=True)}
    unknown = [name for name in names if name not in by_name]
    if unknown:
        raise CallError(f"no output is called {unknown[0]!r}", fix=f"outputs: {', '.join(by_name)}")
    return [by_name[name] for name in names]
