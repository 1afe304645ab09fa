"""What a host op is."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

HostOp = Callable[[Sequence[Any], Mapping[str, Any]], list[Any]]
"""Inputs and attributes to outputs; raises CallError where the values given make no sense."""


def given(inputs: Sequence[Any], i: int) -> Any:
    """Input ``i``, None where it is absent."""
    return inputs[i] if i < len(inputs) else None
