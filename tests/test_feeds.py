"""What a call is given, checked against what a model takes."""

from __future__ import annotations

import numpy as np
import pytest

from accelc.errors import CallError
from accelc.feeds import checked_feeds, describe, selected
from accelc.target import TensorSpec

F32, TEXT = np.dtype(np.float32), np.dtype(object)
PAIR = (TensorSpec("a", F32, ("N", 3)), TensorSpec("b", F32, ("N",)))


def test_arrays_in_order() -> None:
    b, a = np.zeros(2, np.float32), np.zeros((2, 3), np.float32)
    first, second = checked_feeds(PAIR, {"b": b, "a": a})
    assert first is a
    assert second is b


def test_lists_and_numbers_become_arrays() -> None:
    (x,) = checked_feeds([TensorSpec("x", np.dtype(np.int64), (2,))], {"x": [1, 2]})
    assert x.dtype == np.int64
    (n,) = checked_feeds([TensorSpec("n", F32, ())], {"n": 3})
    assert n.shape == ()
    assert n.dtype == np.float32


def test_strings_sequences_and_nothing() -> None:
    specs = [TensorSpec(name, TEXT, None) for name in ("words", "parts", "maybe")]
    words, parts, maybe = checked_feeds(
        specs, {"words": ["a", "b"], "parts": [np.ones(2), np.ones(3)]}, frozenset({"maybe"})
    )
    assert words.dtype == object
    assert [len(part) for part in parts] == [2, 3]
    assert maybe is None


@pytest.mark.parametrize(
    ("feeds", "message"),
    [
        ({"a": np.zeros((2, 3), np.float32)}, "input 'b' is missing"),
        ({"a": 1, "b": 1, "c": 1}, "no input is called 'c'"),
        (
            {"a": np.zeros((2, 3), np.float64), "b": np.zeros(2, np.float32)},
            r"expected float32\[N,3\], got float64\[2,3\]",
        ),
        (
            {"a": np.zeros((2, 3), np.float32), "b": np.zeros(4, np.float32)},
            r"expected float32\[N\], got float32\[4\]",
        ),
        ({"a": np.zeros((2, 3, 1), np.float32), "b": np.zeros(2, np.float32)}, r"got float32\[2,3,1\]"),
        ({"a": "text", "b": np.zeros(2, np.float32)}, "input 'a' does not fit"),
    ],
)
def test_refusals(feeds: dict[str, object], message: str) -> None:
    with pytest.raises(CallError, match=message):
        checked_feeds(PAIR, feeds)


def test_selection() -> None:
    assert selected(PAIR, [1, 2], ["b"]) == [2]
    with pytest.raises(CallError, match="no output is called 'q'"):
        selected(PAIR, [1, 2], ["q"])
    assert describe(TensorSpec("x", F32, (None, 2))) == "float32[?,2]"
