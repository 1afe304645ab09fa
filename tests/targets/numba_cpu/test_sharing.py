"""Which steps are split among threads: predicted work decides, never for less than a hand-over costs."""

from __future__ import annotations

import pytest

from accelc.driver import compile as compile_model
from accelc.targets.numba_cpu.bind import SHARED_GRAINS, TEAM_GRAINS, BoundRegion
from accelc.targets.numba_cpu.executable import CpuExecutable
from accelc.targets.numba_cpu.kernels.base import GRAIN_NS, grain_of
from accelc.targets.numba_cpu.memory_map import plan_regions


def region(text: str, threads: int, **sizes: int) -> BoundRegion:
    exe = compile_model(text, verify=False)
    assert isinstance(exe, CpuExecutable)
    (found,) = plan_regions(exe.program, exe.isa, sizes, threads)
    return found


SOFTMAX = "g (float[N,256] x) => (float[N,256] y) { y = Softmax(x) }"


@pytest.mark.parametrize(("rows", "team"), [(1, 1), (60, 1), (2000, 2)])
def test_a_step_is_split_where_it_pays(rows: int, team: int) -> None:
    bound = region(SOFTMAX, 2, N=rows)
    assert bound.threads == team
    tasks, grain = (int(x) for x in bound.steps[0, 2:4])
    # 0.9 ns an element
    predicted_ns = rows * 256 * 0.9
    assert (tasks >= 2 * grain) == (predicted_ns >= SHARED_GRAINS * GRAIN_NS * 0.95)


def test_a_region_with_little_to_share_wakes_nobody() -> None:
    rows = round(SHARED_GRAINS * GRAIN_NS / (256 * 0.9) * 1.3)
    bound = region(SOFTMAX, 2, N=rows)
    tasks, grain = (int(x) for x in bound.steps[0, 2:4])
    assert 2 * grain <= tasks < TEAM_GRAINS * grain
    assert bound.threads == 1


def test_one_thread_shares_nothing() -> None:
    bound = region(SOFTMAX, 1, N=2000)
    assert bound.threads == 1
    assert bound.steps[0, 2] < 2 * bound.steps[0, 3]


def test_grains() -> None:
    assert (grain_of(GRAIN_NS), grain_of(1000.0), grain_of(0.0), grain_of(1e9)) == (1, 5, 5000, 1)
