"""The object cache on disk, and the kernel store on top of it."""

import os
import subprocess
import sys
import threading
import time
from pathlib import Path

import numpy as np
import pytest
from kernel_text_harness import ENTRY

from accelc import cache_folder
from accelc.cache_folder import default_folder
from accelc.errors import UsageError
from accelc.targets.numba_cpu import compile_worker, kernel_store
from accelc.targets.numba_cpu.compile_kernel import KernelCompileError
from accelc.targets.numba_cpu.isa import Isa
from accelc.targets.numba_cpu.kernel_store import KernelStore
from accelc.targets.numba_cpu.kernels.base import KernelSource
from accelc.targets.numba_cpu.object_cache import ObjectCache

KEY = "ab" * 32
NUMBER = iter(range(1_000_000, 2_000_000))


def fresh_sources(count: int) -> tuple[list[KernelSource], list[int]]:
    """Kernels that no test has loaded before, each writing a number of its own."""
    numbers = [next(NUMBER) for _ in range(count)]
    text = "def kernel(d, lo, hi, tid):\n    put(d, 0, {})\n"
    return [KernelSource(f"number_{n}", text.format(n)) for n in numbers], numbers


def value(address: int) -> int:
    words = np.zeros(1, np.int64)
    ENTRY(address)(words.ctypes.data, 0, 1, 0)
    return int(words[0])


# ---------------------------------------------------------------------- the folder


def test_round_trip_and_stats(tmp_path: Path) -> None:
    cache = ObjectCache(tmp_path / "c")
    assert cache.get(KEY) is None
    assert cache.put(KEY, b"code")
    assert cache.get(KEY) == b"code"
    assert cache.stats().objects == 1
    assert cache.stats().writable
    assert cache.clear() == 1
    assert cache.stats().total_bytes == 0


@pytest.mark.parametrize(
    "damage", [lambda d: d[:-1], lambda d: d[:3], lambda d: b"", lambda d: d[:-1] + b"?"]
)
def test_damaged_object_is_a_miss_and_goes(tmp_path: Path, damage) -> None:
    cache = ObjectCache(tmp_path)
    cache.put(KEY, b"some code")
    path = cache.folder / f"{KEY}.o"
    path.write_bytes(damage(path.read_bytes()))
    assert cache.get(KEY) is None
    assert not path.exists()


def test_folder_is_owner_only(tmp_path: Path) -> None:
    cache = ObjectCache(tmp_path / "a" / "b")
    assert cache.folder.stat().st_mode & 0o777 == 0o700
    assert cache.folder.parent.stat().st_mode & 0o777 == 0o700


@pytest.mark.parametrize("mode", [0o777, 0o770])
def test_folder_that_others_can_write_is_refused(tmp_path: Path, mode: int) -> None:
    folder = tmp_path / "open"
    folder.mkdir()
    folder.chmod(mode)
    with pytest.raises(UsageError) as caught:
        ObjectCache(folder)
    assert str(caught.value) == (
        "UsageError: the kernel cache is in a folder that others can write\n"
        f"  where  {folder}\n"
        f"  why    owner {os.geteuid()}, mode {mode:o}; it holds machine code that accelc will run\n"
        f"  fix    chmod 700 {folder}, or choose another folder with ACCELC_CACHE_DIR or --cache-dir"
    )


def test_folder_of_someone_else_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    uid = os.geteuid() or 1
    ObjectCache(tmp_path)
    if os.geteuid() == 0:
        os.chown(tmp_path, uid, -1)
    else:
        monkeypatch.setattr(os, "geteuid", lambda: uid + 1)
    with pytest.raises(UsageError, match="others can write"):
        ObjectCache(tmp_path)


def test_place_that_cannot_be_written_serves_and_refuses(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    cache = ObjectCache(tmp_path)
    cache.put(KEY, b"code")

    def refuse(*_args: object, **_kwargs: object) -> None:
        raise PermissionError("read-only")

    monkeypatch.setattr(cache_folder.tempfile, "mkstemp", refuse)
    monkeypatch.setattr(os, "utime", refuse)
    assert cache.get(KEY) == b"code"
    assert not cache.put("cd" * 32, b"more")


def test_interrupted_write_leaves_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    cache = ObjectCache(tmp_path)

    def interrupt(*_: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(os, "replace", interrupt)
    with pytest.raises(KeyboardInterrupt):
        cache.put(KEY, b"code")
    assert list(cache.folder.iterdir()) == []


def test_least_recently_used_go_first(tmp_path: Path) -> None:
    cache = ObjectCache(tmp_path, limit_bytes=350)
    now = time.time()
    for number in range(5):
        cache.put(f"{number:064x}", b"x" * 52)  # 100 bytes on disk
        os.utime(cache.folder / f"{number:064x}.o", (now - 10_000 + number, now - 10_000 + number))
    assert cache.get(f"{0:064x}") is not None  # used now: the oldest is the youngest again
    stale = cache.folder / ".dead.tmp"
    stale.write_bytes(b"half")
    os.utime(stale, (now - 10_000, now - 10_000))
    assert cache.evict() == 2
    left = sorted(int(path.stem, 16) for path in cache.folder.iterdir())
    assert left == [0, 3, 4]
    assert cache.evict() == 0


def test_environment_moves_the_default(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ACCELC_CACHE_DIR", str(tmp_path / "here"))
    assert ObjectCache().folder == tmp_path / "here" / "kernels"
    monkeypatch.delenv("ACCELC_CACHE_DIR")
    assert default_folder().name == "accelc"


# ---------------------------------------------------------------------- the store


def test_store_compiles_once(tmp_path: Path) -> None:
    [source], [number] = fresh_sources(1)
    seen: list[tuple[str, int, int]] = []
    store = KernelStore(tmp_path, Isa.host(), lambda *event: seen.append(event))
    assert value(store.address(source)) == number
    assert seen == [(source.name, 1, 1)]
    store.require([source, source])
    assert store.compiled == 1
    # Another process: forget what is loaded.
    kernel_store._LOADED.pop((store.isa.key, source.digest))
    again = KernelStore(tmp_path, Isa.host())
    assert value(again.address(source)) == number
    assert (again.compiled, again.hits) == (0, 1)


def test_damaged_kernel_is_compiled_again(tmp_path: Path) -> None:
    [source], [number] = fresh_sources(1)
    store = KernelStore(tmp_path, Isa.host())
    store.require([source])
    path = store.cache.folder / f"{store.key(source)}.o"
    path.write_bytes(path.read_bytes()[:-8])
    kernel_store._LOADED.pop((store.isa.key, source.digest))
    again = KernelStore(tmp_path, Isa.host())
    assert value(again.address(source)) == number
    assert again.compiled == 1


def test_many_kernels_in_worker_processes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(kernel_store, "_cpu_count", lambda: 2)
    monkeypatch.setattr(kernel_store, "_compile_here", None)  # must not be needed
    sources, numbers = fresh_sources(5)
    store = KernelStore(tmp_path, Isa.host())
    store.require(sources)
    assert [value(store.address(source)) for source in sources] == numbers
    assert store.stats().objects == 5


def test_worker_that_cannot_start_is_done_without(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(kernel_store, "_cpu_count", lambda: 2)
    broken = tmp_path / "python-broken"
    broken.write_text("#!/bin/sh\nexit 3\n")
    broken.chmod(0o700)
    monkeypatch.setattr(sys, "executable", str(broken))
    sources, numbers = fresh_sources(4)
    store = KernelStore(tmp_path, Isa.host())
    store.require(sources)
    assert [value(store.address(source)) for source in sources] == numbers


def test_error_in_a_worker_is_the_error_here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(kernel_store, "_cpu_count", lambda: 2)
    sources, _ = fresh_sources(3)
    bad = KernelSource("bad_one", "def kernel(d, lo, hi, tid):\n    nothing_like_it(d)\n")
    store = KernelStore(tmp_path, Isa.host())
    with pytest.raises(KernelCompileError, match="kernel bad_one does not compile"):
        store.require([*sources, bad])


def test_interrupt_ends_the_workers_and_keeps_what_is_done(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(kernel_store, "_cpu_count", lambda: 2)
    started: list[subprocess.Popen[str]] = []
    real = subprocess.Popen

    def remember(*args, **kwargs):
        started.append(real(*args, **kwargs))
        return started[-1]

    monkeypatch.setattr(subprocess, "Popen", remember)
    sources, _ = fresh_sources(4)

    def interrupt(*_: object) -> None:
        raise KeyboardInterrupt

    store = KernelStore(tmp_path, Isa.host(), interrupt)
    with pytest.raises(KeyboardInterrupt):
        store.require(sources)
    assert started
    assert all(process.poll() is not None for process in started)
    assert store.stats().objects == 1


def test_keys_name_all_that_matters() -> None:
    source = KernelSource("a", "text")
    store = KernelStore(None, Isa.host())
    others = [
        KernelStore(None, Isa.host(128 if store.isa.vector_bits != 128 else 256)).key(source),
        KernelStore(None, Isa("other", store.isa.features, store.isa.vector_bits)).key(source),
        store.key(KernelSource("a", "text2")),
    ]
    assert store.key(source) not in others
    assert store.key(source) == store.key(KernelSource("renamed", "text"))


def test_threads_may_ask_at_once(tmp_path: Path) -> None:
    [source], [number] = fresh_sources(1)
    store = KernelStore(tmp_path, Isa.host())
    found: list[int] = []
    threads = [threading.Thread(target=lambda: found.append(value(store.address(source)))) for _ in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert found == [number] * 6
    assert store.compiled == 1


def test_warm_path_does_not_import_numba(tmp_path: Path) -> None:
    [source], [number] = fresh_sources(1)
    KernelStore(tmp_path, Isa.host()).require([source])
    program = f"""
import ctypes, pathlib, sys
from accelc.targets.numba_cpu.isa import Isa
from accelc.targets.numba_cpu.kernel_store import KernelStore
from accelc.targets.numba_cpu.kernels.base import KernelSource
store = KernelStore(pathlib.Path({str(tmp_path)!r}), Isa.host())
address = store.address(KernelSource({source.name!r}, {source.text!r}))
word = ctypes.c_int64()
ctypes.CFUNCTYPE(None, *[ctypes.c_int64] * 4)(address)(ctypes.addressof(word), 0, 1, 0)
print(word.value, "numba" in sys.modules)
"""
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert done.stdout.split() == [str(number), "False"]


def test_worker_answers_and_reports() -> None:
    isa = Isa.host()
    task = {
        "name": "n",
        "text": "def kernel(d, lo, hi, tid):\n    pass\n",
        "isa": [isa.cpu, isa.features, 128],
    }
    assert set(compile_worker.answer(task)) == {"code"}
    [what, why] = compile_worker.answer({**task, "text": "def kernel(d, lo, hi, tid):\n    x\n"})["error"]
    assert what == "kernel n does not compile"
    assert "x" in why
    assert "error" in compile_worker.answer({**task, "text": 3})
