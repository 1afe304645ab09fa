"""Sizes of memory as people write them."""

from __future__ import annotations

import pytest

from accelc.errors import UsageError
from accelc.request import Request, parse_bytes


@pytest.mark.parametrize(
    ("text", "size"),
    [("1000", 1000), ("80MB", 80_000_000), ("1.5 GiB", 3 << 29), ("7B", 7), ("4kib", 4096), (12, 12)],
)
def test_bytes(text: str | int, size: int) -> None:
    assert parse_bytes(text) == size


@pytest.mark.parametrize("text", ["", "MB", "-3MB", "3 parsecs", "1e9", "80 MB MB"])
def test_no_bytes(text: str) -> None:
    with pytest.raises(UsageError, match="cannot read the size"):
        parse_bytes(text)


def test_a_limit_is_positive() -> None:
    with pytest.raises(UsageError, match="mem_limit=0 makes no sense"):
        Request("m.onnx", mem_limit=0).check()
