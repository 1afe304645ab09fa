import threading

import pytest
from kernel_text_harness import store

from accelc.targets.numba_cpu import native_text
from accelc.targets.numba_cpu.native_run import NativeRunner, team
from accelc.targets.numba_cpu.thread_pool import ThreadPool


@pytest.fixture
def pool():
    store().require([native_text.WORKER, native_text.DISMISS])
    pool = ThreadPool(store().address(native_text.WORKER), store().address(native_text.DISMISS))
    yield pool
    pool.stop()


def test_grows_and_never_shrinks(pool: ThreadPool) -> None:
    assert pool.size == 0
    control = pool.grow(2)
    assert control % 64 == 0
    assert pool.grow(1) == control
    assert pool.size == 2


def test_stop_ends_the_threads_and_more_can_be_started(pool: ThreadPool) -> None:
    pool.grow(3)
    threads = list(pool._threads)
    pool.stop()
    assert not any(thread.is_alive() for thread in threads)
    assert pool.size == 0
    pool.stop()
    pool.grow(1)
    assert pool._threads[0].is_alive()


def test_workers_are_daemons_with_a_name(pool: ThreadPool) -> None:
    pool.grow(1)
    assert pool._threads[0].daemon
    assert pool._threads[0].name == "accelc-1"


def test_threads_growing_it_at_once_do_not_overshoot(pool: ThreadPool) -> None:
    growers = [threading.Thread(target=pool.grow, args=(3,)) for _ in range(5)]
    for thread in growers:
        thread.start()
    for thread in growers:
        thread.join()
    assert pool.size == 3


def test_forgetting_leaves_a_pool_that_works(pool: ThreadPool) -> None:
    pool.grow(1)
    old = list(pool._threads)
    memory = pool._memory
    pool._dismiss(pool.control, 0, 0, 0)
    old[0].join(10)
    pool.forget()
    assert pool.size == 0
    pool.grow(1)
    assert pool._memory is not memory


def test_process_has_one_team() -> None:
    assert NativeRunner(store())._pool is NativeRunner(store())._pool is team(store())
