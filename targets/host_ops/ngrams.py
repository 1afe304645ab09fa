"""TfIdfVectorizer: how often each n-gram of a pool occurs in rows of tokens."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import pairwise
from typing import Any

import numpy as np

from accelc.errors import CallError
from accelc.targets.host_ops.base import HostOp


def tf_idf(inputs: Sequence[Any], attrs: Mapping[str, Any]) -> list[Any]:
    """Counts (TF), weights where it occurs (IDF), or both multiplied (TFIDF), float32 [C] or [N, C].

    Tokens of an n-gram may lie up to ``max_skip_count`` others apart, all gaps of one n-gram alike; single
    tokens are counted once. Source: ONNX TfIdfVectorizer-9.
    """
    x = np.asarray(inputs[0])
    if x.ndim not in (1, 2):
        raise CallError("TfIdfVectorizer takes rows of tokens", why=f"the rank is {x.ndim}")
    columns = [int(n) for n in attrs["ngram_indexes"]]
    shortest, longest = int(attrs["min_gram_length"]), int(attrs["max_gram_length"])
    known = _pool(attrs, shortest, longest)
    rows = x.reshape(1, -1) if x.ndim == 1 else x
    counts = np.zeros((len(rows), max(columns) + 1), np.float32)
    for row, tokens in enumerate(rows.tolist()):
        for size in range(shortest, longest + 1):
            for gap in range(1, 2 if size == 1 else int(attrs["max_skip_count"]) + 2):
                for first in range(len(tokens) - gap * (size - 1)):
                    number = known.get(tuple(tokens[first : first + gap * (size - 1) + 1 : gap]))
                    if number is not None:
                        counts[row, columns[number]] += 1
    weights = np.asarray(attrs.get("weights", ()), np.float32)
    mode = str(attrs["mode"])
    if mode != "TF":
        shown = counts if mode == "TFIDF" else (counts > 0).astype(np.float32)
        counts = shown * _by_column(weights, counts.shape[1]) if len(weights) else shown
    return [counts[0] if x.ndim == 1 else counts]


def _by_column(weights: np.ndarray, columns: int) -> np.ndarray:
    """The weight of each output column, as onnxruntime reads them; 0 where none is given."""
    spread = np.zeros(columns, np.float32)
    spread[: len(weights)] = weights[:columns]
    return spread


def _pool(attrs: Mapping[str, Any], shortest: int, longest: int) -> dict[tuple[Any, ...], int]:
    """Number of each n-gram of the wanted lengths, in the pool's order."""
    tokens: Sequence[Any] = tuple(attrs.get("pool_int64s") or attrs.get("pool_strings") or ())
    starts = [*(int(n) for n in attrs["ngram_counts"]), len(tokens)]
    known: dict[tuple[Any, ...], int] = {}
    number = 0
    for size, (first, last) in enumerate(pairwise(starts), start=1):
        for place in range(first, last - size + 1, size):
            if shortest <= size <= longest:
                known.setdefault(tuple(tokens[place : place + size]), number)
            number += 1
    return known


OPS: dict[tuple[str, str], HostOp] = {("", "TfIdfVectorizer"): tf_idf}
"""Host ops by (domain, op)."""
