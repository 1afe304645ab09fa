"""The search's many small products and solves run on one thread.

Handing matrices of some hundred rows to BLAS's team costs more than it gains, and on a busy machine ten times more.
"""

from __future__ import annotations

import contextlib
import functools
from collections.abc import Iterator
from typing import Any


@functools.cache
def _controller() -> Any:
    """What sets the threads of the BLAS libraries loaded; None without threadpoolctl, which only costs time."""
    try:
        from threadpoolctl import ThreadpoolController
    except ImportError:
        return None
    return ThreadpoolController()


@contextlib.contextmanager
def one_blas_thread() -> Iterator[None]:
    """Inside it, and in a function decorated with it, BLAS uses the calling thread alone."""
    controller = _controller()
    with contextlib.nullcontext() if controller is None else controller.limit(limits=1, user_api="blas"):
        yield
