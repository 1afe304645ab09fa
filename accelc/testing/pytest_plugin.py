"""The pytest plugin: fixtures ``golden`` and ``golden_text``, option ``--update-golden``.

pytest imports this file in every session of every project that has accelc installed, so it imports nothing
heavy: NumPy and onnx load when a test first asks for a fixture.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from accelc.testing.golden import GoldenFolder


def pytest_addoption(parser: pytest.Parser) -> None:
    """Add ``--update-golden``."""
    group = parser.getgroup("accelc")
    group.addoption(
        "--update-golden",
        action="store_true",
        default=False,
        help="write golden files from what the tests produce now, instead of comparing with them",
    )


@pytest.fixture
def golden(request: pytest.FixtureRequest) -> GoldenFolder:
    """Golden files of this test file: folder ``test_x.golden/`` beside ``test_x.py``."""
    from accelc.testing.golden import GoldenFolder

    path = Path(request.path)
    return GoldenFolder(
        path.with_name(f"{path.stem}.golden"), update=bool(request.config.getoption("--update-golden"))
    )


@pytest.fixture
def golden_text(golden: GoldenFolder) -> Callable[[str, str], None]:
    """``golden_text(name, text)``: the text must equal the golden file of that name."""
    return golden.text
