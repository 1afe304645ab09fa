"""Step tables, alone and with a team: right results whatever the threads do."""

import multiprocessing
import os
import subprocess
import sys
import threading

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from kernel_text_harness import store

from accelc.targets.numba_cpu.kernels.base import KernelSource
from accelc.targets.numba_cpu.native_run import NativeRunner

BARRIER = 1
# y[i] = 3 * x[i] + c for the task's elements; counts in w which thread did each task, and how often.
TEXT = """
def kernel(d, lo, hi, tid):
    x = ptr_i64(get(d, 0))
    y = ptr_i64(get(d, 1))
    w = ptr_i64(get(d, 2))
    c = get(d, 3)
    for task in range(lo, hi):
        for i in range(task * 16, task * 16 + 16):
            put(y, i, 3 * get(x, i) + c)
        put(w, task, get(w, task) + 1 + (tid << 32))
"""


class Chain:
    """A chain of steps, each reading what the one before wrote."""

    def __init__(self, shape: list[tuple[int, int]], seed: int = 0) -> None:
        """``shape`` lists (tasks, grain) of the steps."""
        most = max((tasks for tasks, _ in shape), default=1)
        rng = np.random.default_rng(seed)
        self.buffers = [rng.integers(-9, 9, size=most * 16) for _ in range(len(shape) + 1)]
        self.initial = [buffer.copy() for buffer in self.buffers]
        self.who = [np.zeros(most, np.int64) for _ in shape]
        self.shape = shape
        function = store().address(KernelSource("chain", TEXT))
        self.words = np.array(
            [
                [self.buffers[i].ctypes.data, self.buffers[i + 1].ctypes.data, self.who[i].ctypes.data, i]
                for i in range(len(shape))
            ],
            np.int64,
        ).reshape(len(shape), 4)
        self.steps = np.zeros((len(shape), 8), np.int64)
        parallel_before = False
        for i, (tasks, grain) in enumerate(shape):
            parallel = tasks >= 2 * grain
            flags = BARRIER if parallel or parallel_before else 0
            parallel_before = parallel
            self.steps[i, :5] = function, self.words[i].ctypes.data, tasks, grain, flags

    def run(self, runner: NativeRunner, threads: int) -> None:
        runner.run(self.steps.ctypes.data, len(self.shape), threads)

    def check(self, runs: int, threads: int) -> None:
        expected = self.initial[0]
        for i, (tasks, _) in enumerate(self.shape):
            result = self.initial[i + 1].copy()
            result[: tasks * 16] = 3 * expected[: tasks * 16] + i
            np.testing.assert_array_equal(self.buffers[i + 1], result)
            expected = result
            done = self.who[i][:tasks]
            assert (done & 0xFFFFFFFF == runs).all()
            assert (done >> 32 <= runs * (threads - 1)).all()


@pytest.fixture(scope="module")
def runner() -> NativeRunner:
    return NativeRunner(store())


STEP = st.tuples(st.integers(1, 40), st.sampled_from([1, 2, 5, 100]))


@settings(max_examples=40, deadline=None)
@given(shape=st.lists(STEP, max_size=8), threads=st.integers(1, 4), runs=st.integers(1, 4))
def test_any_chain_is_right(
    runner: NativeRunner, shape: list[tuple[int, int]], threads: int, runs: int
) -> None:
    chain = Chain(shape)
    for _ in range(runs):
        chain.run(runner, threads)
    chain.check(runs, threads)


@pytest.mark.parametrize("threads", [2, 3])
def test_thousands_of_barriers(runner: NativeRunner, threads: int) -> None:
    chain = Chain([(8, 1)] * 300)
    for _ in range(20):
        chain.run(runner, threads)
    chain.check(20, threads)


def test_team_takes_part(runner: NativeRunner) -> None:
    if len(os.sched_getaffinity(0)) < 2:
        pytest.skip("needs two processors")
    chain = Chain([(4000, 1)] * 20)
    for runs in range(1, 200):
        chain.run(runner, 2)
        if any((who >> 32).any() for who in chain.who):
            chain.check(runs, 2)
            return
    pytest.fail("the second thread never did anything")


def test_eight_python_threads_at_once(runner: NativeRunner) -> None:
    chains = [Chain([(50, 1), (3, 2), (70, 4)] * 5, seed) for seed in range(8)]

    def work(chain: Chain) -> None:
        for _ in range(50):
            chain.run(runner, 2)

    threads = [threading.Thread(target=work, args=(chain,)) for chain in chains]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    for chain in chains:
        chain.check(50, 2)


def _in_child(connection) -> None:
    chain = Chain([(100, 1)] * 10, seed=5)
    runner = NativeRunner(store())
    for _ in range(20):
        chain.run(runner, 2)
    chain.check(20, 2)
    connection.send("right")


@pytest.mark.filterwarnings("ignore:.*fork.*:DeprecationWarning")
@pytest.mark.filterwarnings("ignore:os.fork.*:RuntimeWarning")  # JAX, where another test ran it here
@pytest.mark.skipif(not hasattr(os, "fork"), reason="no fork on this platform")
def test_fork_after_a_run(runner: NativeRunner) -> None:
    Chain([(100, 1)] * 10).run(runner, 2)
    context = multiprocessing.get_context("fork")
    ours, theirs = context.Pipe()
    child = context.Process(target=_in_child, args=(theirs,))
    child.start()
    assert ours.poll(60)
    assert ours.recv() == "right"
    child.join(60)
    assert child.exitcode == 0
    chain = Chain([(100, 1)] * 10)
    chain.run(runner, 2)
    chain.check(1, 2)


def test_process_with_a_team_exits_cleanly() -> None:
    program = """
import sys
sys.path.insert(0, sys.argv[1])
import numpy as np
from test_native_run import Chain, NativeRunner, store
chain = Chain([(100, 1)] * 10)
chain.run(NativeRunner(store()), 3)
chain.check(1, 3)
print("done")
"""
    command = [sys.executable, "-W", "error", "-c", program, os.path.dirname(__file__)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60)
    assert (done.returncode, done.stdout, done.stderr) == (0, "done\n", "")
