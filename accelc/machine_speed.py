"""How fast this machine is at its best, measured: the roof over what kernels reach."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

from accelc.errors import AccelcError

_SIDE = 768
_ELEMENTS = 1 << 23
_ROUNDS = 12
_BLAS_THREADS = ("OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS", "OMP_NUM_THREADS", "BLIS_NUM_THREADS")
_TIME_LIMIT_S = 60.0


@dataclass(frozen=True)
class Speed:
    """What a matrix product and a copy of large arrays reach in NumPy.

    Args:
        flops_per_s: float32 operations per second.
        bytes_per_s: Bytes read and written per second, out of memory.
    """

    flops_per_s: float
    bytes_per_s: float

    def ms(self, flops: int, nbytes: int) -> float:
        """The least milliseconds that so much work takes at this speed: the roofline model."""
        return max(flops / self.flops_per_s, nbytes / self.bytes_per_s) * 1e3


def machine_speed(threads: int = 1) -> Speed:
    """Measure with so many threads, in a process of its own as NumPy's library reads their number once; under 1 s.

    Raises:
        AccelcError: The measurement failed.
    """
    environment = {**os.environ, **dict.fromkeys(_BLAS_THREADS, str(threads))}
    command = [sys.executable, "-m", "accelc.machine_speed", str(threads)]
    try:
        done = subprocess.run(
            command, env=environment, capture_output=True, text=True, check=True, timeout=_TIME_LIMIT_S
        )
        flops, nbytes = json.loads(done.stdout)
    except (OSError, subprocess.SubprocessError, ValueError) as error:
        raise AccelcError("the machine's speed cannot be measured", why=str(error)) from error
    return Speed(flops, nbytes)


def _measure(threads: int) -> Speed:
    import numpy as np

    a = np.ones((_SIDE, _SIDE), np.float32)
    source = np.ones(_ELEMENTS, np.float32)
    result = np.empty_like(source)
    parts = [slice(_ELEMENTS * i // threads, _ELEMENTS * (i + 1) // threads) for i in range(threads)]
    product = min(_seconds(lambda: a @ a) for _ in range(_ROUNDS))
    with ThreadPoolExecutor(threads) as pool:

        def copy() -> None:
            list(pool.map(lambda part: np.copyto(result[part], source[part]), parts))

        copied = min(_seconds(copy) for _ in range(_ROUNDS))
    return Speed(2 * _SIDE**3 / product, 2 * source.nbytes / copied)


def _seconds(call: Callable[[], object]) -> float:
    start = time.perf_counter()
    call()
    return time.perf_counter() - start


if __name__ == "__main__":
    measured = _measure(int(sys.argv[1]))
    print(json.dumps([measured.flops_per_s, measured.bytes_per_s]))
