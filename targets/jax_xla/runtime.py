"""JAX brought in once, with the settings that must stand before its first use, and the devices it finds.

Nothing else of the target is imported before ``prepare`` has run, so that a missing JAX is an error with advice.
"""

from __future__ import annotations

import importlib.util
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

from accelc.errors import UnsupportedError

if TYPE_CHECKING:
    import jax

PLATFORMS = ("cpu", "cuda", "rocm", "tpu")
"""Platforms that StableHLO is made for, on any machine."""
KINDS = {"cpu": ("cpu",), "gpu": ("cuda", "rocm"), "tpu": ("tpu",)}
"""Platforms by kind of device."""
_THREAD_VARIABLES = ("NPROC", "PJRT_NPROC")
_held: list[int | None] = []
"""Threads that XLA's CPU client was started with; None if it was started before we came."""


def prepare(threads: int | None = None) -> None:
    """Import JAX and start its clients: GPU memory is taken as needed, the CPU client gets ``threads`` threads.

    XLA fixes the number of threads when its client starts: the first compile of a process decides. None leaves it
    to JAX, which takes all CPUs.

    Raises:
        UnsupportedError: JAX is not installed.
    """
    if _held:
        return
    if "jax" not in sys.modules and importlib.util.find_spec("jax") is None:
        raise UnsupportedError("JAX is not installed", fix="pip install 'accelc[jax]'")
    os.environ.setdefault("XLA_PYTHON_CLIENT_PREALLOCATE", "false")
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")
    import jax
    from jax._src import xla_bridge  # whether a client exists is said nowhere else

    started = xla_bridge.backends_are_initialized()
    with _environment({} if threads is None else dict.fromkeys(_THREAD_VARIABLES, str(threads))):
        jax.devices()
    _held.append(None if started else threads)


@contextmanager
def _environment(values: dict[str, str]) -> Iterator[None]:
    """Environment variables for a while."""
    before = {name: os.environ.get(name) for name in values}
    os.environ.update(values)
    try:
        yield
    finally:
        for name, value in before.items():
            if value is None:
                del os.environ[name]
            else:
                os.environ[name] = value


def threads_held() -> int | None:
    """Threads of XLA's CPU client; None if JAX was in use before accelc and nobody knows."""
    return _held[0] if _held else None


def threads_text(asked: int) -> str:
    """How many threads a call has, and why they are not those asked for, if so."""
    held = threads_held()
    if held == asked:
        return str(held)
    given = "as many as JAX was started with" if held is None else str(held)
    return f"{given}, not {asked}: XLA's client keeps the number that it starts with"


def platform_of(device: jax.Device) -> str:
    """``cpu``, ``cuda``, ``rocm`` or ``tpu``; JAX calls both kinds of GPU ``gpu``."""
    if device.platform != "gpu":
        return str(device.platform)
    return "rocm" if "rocm" in device.client.platform_version.lower() else "cuda"


def device_for(kind: str) -> jax.Device:
    """The first device of a kind: ``any`` (the best there is), ``cpu``, ``gpu`` or ``tpu``.

    Raises:
        UnsupportedError: There is none here, or its plug-in is not installed.
    """
    import jax

    if kind == "any":
        return jax.local_devices()[0]
    for platform in KINDS[kind]:
        try:
            return jax.local_devices(backend=platform)[0]
        except RuntimeError:  # unknown platform, or one without a device
            continue
    plug_in = {"gpu": "jax[cuda13]", "tpu": "jax[tpu]"}.get(kind, "jax")
    raise UnsupportedError(
        f"there is no {kind.upper()} here",
        why=f"JAX sees {', '.join(str(device) for device in jax.devices())}",
        fix=f"pip install '{plug_in}' on a machine that has one; "
        f"an artifact made here by --target xla runs on {kind.upper()}s too",
    )
