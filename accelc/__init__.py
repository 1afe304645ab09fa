"""accelc: a compiler-style optimizer for ONNX models.

Public names are resolved on first use, so that ``import accelc`` loads neither a target's library nor
onnxruntime.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING

from accelc.errors import AccelcError

if TYPE_CHECKING:
    from accelc.driver import compile as compile
    from accelc.driver import load as load
    from accelc.gradients import to_jax as to_jax
    from accelc.gradients import with_params as with_params
    from accelc.ir.pass_base import Pass as Pass
    from accelc.pipeline import Pipeline as Pipeline
    from accelc.session import InferenceSession as InferenceSession
    from accelc.target import Executable as Executable

__version__ = "0.1.0"

_LAZY = {
    "compile": "accelc.driver",
    "load": "accelc.driver",
    "to_jax": "accelc.gradients",
    "with_params": "accelc.gradients",
    "Pass": "accelc.ir.pass_base",
    "Pipeline": "accelc.pipeline",
    "InferenceSession": "accelc.session",
    "Executable": "accelc.target",
}

__all__ = [
    "AccelcError",
    "Executable",
    "InferenceSession",
    "Pass",
    "Pipeline",
    "compile",
    "load",
    "to_jax",
    "with_params",
]


def __getattr__(name: str) -> object:
    if name in _LAZY:
        return getattr(import_module(_LAZY[name]), name)
    raise AttributeError(f"module 'accelc' has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted([*globals(), *_LAZY])
