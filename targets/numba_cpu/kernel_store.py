"""Kernels by text: compiled when first needed, kept on disk, loaded once per process.

The warm path (all kernels on disk) imports llvmlite but not Numba.
"""

from __future__ import annotations

import base64
import contextlib
import functools
import hashlib
import importlib.metadata
import json
import os
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

from accelc.errors import AccelcError
from accelc.targets.numba_cpu.isa import Isa
from accelc.targets.numba_cpu.kernel_error import KernelCompileError
from accelc.targets.numba_cpu.kernels.base import KernelSource
from accelc.targets.numba_cpu.load_object import load_objects
from accelc.targets.numba_cpu.object_cache import CacheStats, ObjectCache

SCHEMA = 1
Progress = Callable[[str, int, int], None]

# Fewer missing kernels than this are compiled in this process: a worker takes about a second to start.
_WORTH_A_PROCESS = 4
_TOOLCHAIN_FILES = (
    "compile_kernel.py", "lower_kernel.py",
    "simd.py", "simd_types.py", "simd_memory.py", "simd_arith.py", "simd_math.py", "simd_control.py",
)  # fmt: skip
_LOADED: dict[tuple[str, str], int] = {}


class _Guard:
    """Guards what a process has once (``_LOADED``, the team of threads).

    A forked child gets a lock of its own, whatever the parent's threads held.
    """

    def __init__(self) -> None:
        self.lock = threading.RLock()
        if hasattr(os, "register_at_fork"):
            os.register_at_fork(after_in_child=self._renew)

    def _renew(self) -> None:
        self.lock = threading.RLock()


GUARD = _Guard()


@functools.cache
def toolchain_digest() -> str:
    """Digest of everything but text and Isa that decides what a kernel compiles to."""
    digest = hashlib.sha256()
    for name in _TOOLCHAIN_FILES:
        digest.update((Path(__file__).parent / name).read_bytes())
    for package in ("numba", "llvmlite"):
        digest.update(f"{package} {importlib.metadata.version(package)}\n".encode())
    digest.update(f"schema {SCHEMA} {sys.platform}".encode())
    return digest.hexdigest()


class KernelStore:
    """Turns kernel texts into function addresses.

    Args:
        cache_dir: Folder of the object cache; None is the user's.
        isa: What to compile for.
        progress: Called as ``progress(kernel name, done, total)`` while kernels are compiled.

    Raises:
        UsageError: The cache folder is not safe; see ObjectCache.
    """

    def __init__(self, cache_dir: Path | None, isa: Isa, progress: Progress | None = None) -> None:
        self.isa = isa
        self.cache = ObjectCache(cache_dir)
        self.progress = progress
        self.hits = 0
        self.compiled = 0

    def key(self, source: KernelSource) -> str:
        """Name of a kernel's object in the cache."""
        content = json.dumps([source.digest, source.text, self.isa.key, toolchain_digest()])
        return hashlib.sha256(content.encode()).hexdigest()

    def require(self, sources: Sequence[KernelSource]) -> None:
        """Make sure that ``address`` answers at once for all of ``sources``.

        Raises:
            KernelCompileError: A kernel does not compile.
        """
        with GUARD.lock:
            wanted = {s.digest: s for s in sources if (self.isa.key, s.digest) not in _LOADED}
            if not wanted:
                return
            codes: dict[str, bytes] = {}
            missing: list[KernelSource] = []
            for digest, source in wanted.items():
                code = self.cache.get(self.key(source))
                if code is None:
                    missing.append(source)
                else:
                    codes[f"k_{digest}"] = code
                    self.hits += 1
            for done, (source, code) in enumerate(self._compile(missing), start=1):
                self.cache.put(self.key(source), code)
                codes[f"k_{source.digest}"] = code
                self.compiled += 1
                if self.progress is not None:
                    self.progress(source.name, done, len(missing))
            if missing:
                self.cache.evict()
            for symbol, address in load_objects(codes).items():
                _LOADED[self.isa.key, symbol[2:]] = address

    def address(self, source: KernelSource) -> int:
        """Address of the kernel, a C function ``void (int64 *d, int64 lo, int64 hi, int64 tid)``."""
        found = _LOADED.get((self.isa.key, source.digest))
        if found is None:
            self.require([source])
            found = _LOADED[self.isa.key, source.digest]
        return found

    def stats(self) -> CacheStats:
        """State of the cache folder."""
        return self.cache.stats()

    def clear(self) -> int:
        """Empty the cache folder; loaded kernels stay usable. The number of objects removed."""
        return self.cache.clear()

    def _compile(self, missing: Sequence[KernelSource]) -> Iterator[tuple[KernelSource, bytes]]:
        """Compile in worker processes where that pays, here otherwise."""
        left = {source.digest: source for source in missing}
        workers = min(_cpu_count(), len(missing) // 2)
        if len(missing) >= _WORTH_A_PROCESS and workers > 1 and _is_python(sys.executable):
            with _Workers(self.isa, workers) as pool:
                for source, code in pool.compile(missing):
                    del left[source.digest]
                    yield source, code
        for source in left.values():  # all of them, or what workers that died left over
            yield source, _compile_here(source, self.isa)


def _cpu_count() -> int:
    """CPUs that this process may use."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def _is_python(executable: str | None) -> bool:
    """Whether subprocesses can be started with it: in an embedded interpreter it is some other program."""
    return bool(executable) and Path(str(executable)).name.lower().startswith(("python", "pypy"))


def _compile_here(source: KernelSource, isa: Isa) -> bytes:
    from accelc.targets.numba_cpu.compile_kernel import compile_kernel

    return compile_kernel(source, isa)


def _compile_error(source: KernelSource, what: str, why: str) -> AccelcError:
    """The error of a worker, as it would have been raised here."""
    return KernelCompileError(what, where=f"kernel {source.digest}", why=why)


class _Workers:
    """Compile processes; leaving the ``with`` block (Ctrl-C included) ends them."""

    def __init__(self, isa: Isa, count: int) -> None:
        # -P and the parent's own path: never import from the current folder by accident.
        program = (
            "import sys, json; sys.path[:] = json.loads(sys.argv[1]); "
            "from accelc.targets.numba_cpu.compile_worker import main; main()"
        )
        command = [sys.executable, "-P", "-c", program, json.dumps(sys.path)]
        self._isa = [isa.cpu, isa.features, isa.vector_bits]
        self._processes: list[subprocess.Popen[str]] = []
        try:
            for _ in range(count):
                self._processes.append(
                    subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
                )
        except OSError:
            pass  # whatever was started does the work; if nothing was, the caller does

    def __enter__(self) -> _Workers:
        return self

    def __exit__(self, *_: object) -> None:
        for process in self._processes:
            if process.poll() is None:
                process.kill()
        for process in self._processes:
            process.wait()
            for stream in (process.stdin, process.stdout):
                if stream is not None:
                    with contextlib.suppress(OSError):  # unflushed text to a process that is gone
                        stream.close()

    def compile(self, sources: Sequence[KernelSource]) -> Iterator[tuple[KernelSource, bytes]]:
        """Yield finished kernels in the order they finish; those of a worker that dies are left out."""
        import queue

        tasks: queue.SimpleQueue[KernelSource] = queue.SimpleQueue()
        results: queue.SimpleQueue[tuple[KernelSource, dict[str, Any]] | None] = queue.SimpleQueue()
        # Long texts first: a long compile begun last would leave the other processes idle.
        for source in sorted(sources, key=lambda s: -len(s.text)):
            tasks.put(source)

        def drive(process: subprocess.Popen[str]) -> None:
            try:
                while True:
                    source = tasks.get_nowait()
                    results.put((source, self._ask(process, source)))
            except (queue.Empty, OSError, ValueError):
                pass  # nothing left, or the worker died: its task is done by the caller
            finally:
                results.put(None)

        for process in self._processes:
            threading.Thread(target=drive, args=(process,), daemon=True).start()
        running = len(self._processes)
        while running:
            result = results.get()
            if result is None:
                running -= 1
                continue
            source, reply = result
            if "error" in reply:
                raise _compile_error(source, *reply["error"])
            yield source, base64.b64decode(reply["code"])

    def _ask(self, process: subprocess.Popen[str], source: KernelSource) -> dict[str, Any]:
        """One task to one worker; ValueError or OSError if it died."""
        if process.stdin is None or process.stdout is None:
            raise ValueError("the worker has no pipes")
        task = {"name": source.name, "text": source.text, "isa": self._isa}
        process.stdin.write(json.dumps(task) + "\n")
        process.stdin.flush()
        reply: dict[str, Any] = json.loads(process.stdout.readline())
        return reply
