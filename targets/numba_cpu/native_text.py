"""Kernel text of the native runtime: walking a step table, alone or with a team of threads.

Layout of the control block, in int64 words; words that threads wait on have cache lines of their own.
"""

from __future__ import annotations

from accelc.targets.numba_cpu.kernels.base import KernelSource

SEQ = 0
"""Number of jobs so far; workers sleep on it."""
STATE = 8
"""OPEN while workers may join, plus the number of workers inside."""
PROGRESS = 16
"""Steps known to be complete: all of the table before it."""
LOCK = 24
"""1 while a team runs; a second caller then works alone."""
SLEEPERS = 32
"""Workers asleep, or about to be."""
STEPS, COUNT, THREADS, STOP = 40, 41, 42, 43
CONTROL_WORDS = 48
OPEN = 1 << 32

STEP_WORDS = 8
# Columns of a step; CLAIMED and DONE are written by the runtime.
FUNCTION, DESCRIPTOR, TASKS, GRAIN, FLAGS, CLAIMED, DONE = range(7)

# Rounds of waiting with the pause instruction (20-50 ns each) before the processor is offered to others,
# and before an idle worker goes to sleep (about 100 us).
_SPINS = 2000
_IDLE_SPINS = 6000

_SERIAL = f"""
@inline
def run_alone(steps, n):
    for i in range(n):
        s = at(steps, i * {STEP_WORDS})
        call_kernel(get(s, {FUNCTION}), get(s, {DESCRIPTOR}), 0, get(s, {TASKS}), 0)
"""

SERIAL = KernelSource(
    "run_serial",
    _SERIAL
    + """
def kernel(d, lo, hi, tid):
    run_alone(d, hi)
""",
)
"""Run steps one after the other: ``d`` is the table, ``hi`` the number of steps."""

_TEAM = (
    _SERIAL
    + f"""
@inline
def wait_for(p, o, least):
    spins = 0
    while atomic_load(p, o) < least:
        spins += 1
        if spins < {_SPINS}:
            cpu_pause()
        else:
            cpu_yield()

@inline
def work(s, threads, tid):
    # Guided self-scheduling: chunks of 1/(2 threads) of what is left, never below the grain. A thread that
    # comes late (it slept, or its processor was taken) finds less to do, and nobody waits for it.
    tasks = get(s, {TASKS})
    while True:
        first = atomic_load(s, {CLAIMED})
        if first >= tasks:
            break
        chunk = (tasks - first) // (2 * threads)
        if chunk < get(s, {GRAIN}):
            chunk = get(s, {GRAIN})
        if chunk < 1:
            chunk = 1
        last = first + chunk
        if last > tasks:
            last = tasks
        if atomic_cas(s, {CLAIMED}, first, last) == 1:
            call_kernel(get(s, {FUNCTION}), get(s, {DESCRIPTOR}), first, last, tid)
            atomic_add(s, {DONE}, last - first)

@inline
def is_shared(s):
    return get(s, {TASKS}) >= 2 * get(s, {GRAIN})

@inline
def finish(steps, first, last):
    for i in range(first, last):
        s = at(steps, i * {STEP_WORDS})
        if is_shared(s):
            wait_for(s, {DONE}, get(s, {TASKS}))
"""
)

TEAM = KernelSource(
    "run_team",
    _TEAM
    + f"""
def kernel(d, lo, hi, tid):
    c = ptr_i64(tid)
    if atomic_cas(c, {LOCK}, 0, 1) == 0:
        run_alone(d, lo)
        return
    for i in range(lo):
        put(d, i * {STEP_WORDS} + {CLAIMED}, 0)
        put(d, i * {STEP_WORDS} + {DONE}, 0)
    put(c, {STEPS}, addr(d))
    put(c, {COUNT}, lo)
    put(c, {THREADS}, hi)
    atomic_store(c, {PROGRESS}, 0)
    atomic_add(c, {STATE}, {OPEN})
    atomic_add(c, {SEQ}, 1)
    if atomic_load(c, {SLEEPERS}) > 0:
        futex_wake(c, {SEQ}, 1 << 20)
    first = 0
    for i in range(lo):
        s = at(d, i * {STEP_WORDS})
        if i > 0 and (get(s, {FLAGS}) & 1) == 1:
            finish(d, first, i)
            first = i
            atomic_store(c, {PROGRESS}, i)
        if is_shared(s):
            work(s, hi, 0)
        else:
            call_kernel(get(s, {FUNCTION}), get(s, {DESCRIPTOR}), 0, get(s, {TASKS}), 0)
    finish(d, first, lo)
    atomic_store(c, {PROGRESS}, lo)
    atomic_add(c, {STATE}, -{OPEN})
    spins = 0
    while atomic_load(c, {STATE}) != 0:
        spins += 1
        if spins < {_SPINS}:
            cpu_pause()
        else:
            cpu_yield()
    atomic_store(c, {LOCK}, 0)
""",
)
"""Run steps with a team: ``d`` the table, ``lo`` steps, ``hi`` threads, ``tid`` the control block."""

WORKER = KernelSource(
    "team_worker",
    _TEAM
    + f"""
@inline
def join(c, tid):
    # 1 if this worker is inside the current job now.
    while True:
        state = atomic_load(c, {STATE})
        if state < {OPEN}:
            return 0
        if atomic_cas(c, {STATE}, state, state + 1) == 1:
            if tid < get(c, {THREADS}):
                return 1
            atomic_add(c, {STATE}, -1)
            return 0

@inline
def help_out(c, tid):
    steps = ptr_i64(get(c, {STEPS}))
    threads = get(c, {THREADS})
    for i in range(atomic_load(c, {PROGRESS}), get(c, {COUNT})):
        s = at(steps, i * {STEP_WORDS})
        if i > 0 and (get(s, {FLAGS}) & 1) == 1:
            wait_for(c, {PROGRESS}, i)
        if is_shared(s):
            work(s, threads, tid)

def kernel(d, lo, hi, tid):
    seen = lo
    while atomic_load(d, {STOP}) == 0:
        spins = 0
        while atomic_load(d, {SEQ}) == seen:
            spins += 1
            if spins < {_IDLE_SPINS}:
                cpu_pause()
            else:
                atomic_add(d, {SLEEPERS}, 1)
                futex_wait(d, {SEQ}, seen)
                atomic_add(d, {SLEEPERS}, -1)
        seen = atomic_load(d, {SEQ})
        if join(d, tid) == 1:
            help_out(d, tid)
            atomic_add(d, {STATE}, -1)
""",
)
"""A worker: ``d`` the control block, ``lo`` the last job seen, ``tid`` its number from 1. Returns on STOP."""

DISMISS = KernelSource(
    "dismiss_team",
    f"""
def kernel(d, lo, hi, tid):
    atomic_store(d, {STOP}, 1)
    atomic_add(d, {SEQ}, 1)
    futex_wake(d, {SEQ}, 1 << 20)
""",
)
"""Make all workers return: ``d`` the control block."""
