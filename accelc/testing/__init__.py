"""What users test their passes with; pytest fixtures are in ``accelc.testing.pytest_plugin``."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from accelc.testing.graph_text import model_from_text, normal_text
    from accelc.testing.rewrites import (
        assert_refuses,
        assert_rewrites,
        assert_same_meaning,
        random_feeds,
        run_pass,
    )

__all__ = [
    "assert_refuses",
    "assert_rewrites",
    "assert_same_meaning",
    "model_from_text",
    "normal_text",
    "random_feeds",
    "run_pass",
]

_HOMES = {"model_from_text": "graph_text", "normal_text": "graph_text"}


def __getattr__(name: str) -> Any:
    """Load on first use: the pytest plugin lives here too and must not load onnx at pytest's start."""
    if name not in __all__:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    import importlib

    home = importlib.import_module(f"accelc.testing.{_HOMES.get(name, 'rewrites')}")
    return getattr(home, name)
