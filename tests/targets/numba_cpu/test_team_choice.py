"""A short region runs alone or with a team, whichever its own calls showed to be quicker."""

from __future__ import annotations

import pytest

import accelc.targets.numba_cpu.team_choice as module
from accelc.targets.numba_cpu.team_choice import KEPT_CALLS, TeamChoice


class Machine:
    """A native runner with a clock of its own."""

    def __init__(self, seconds: dict[int, float]) -> None:
        self.seconds, self.now = seconds, 0.0
        self.calls: list[int] = []

    def run(self, steps_address: int, n_steps: int, threads: int) -> None:
        self.calls.append(threads)
        self.now += self.seconds[threads]


@pytest.mark.parametrize(("alone", "together", "wanted"), [(3.0, 2.0, 2), (2.0, 3.0, 1)])
def test_the_quicker_way_serves_until_the_next_trial(
    monkeypatch: pytest.MonkeyPatch, alone: float, together: float, wanted: int
) -> None:
    machine = Machine({1: alone, 2: together})
    monkeypatch.setattr(module.time, "perf_counter", lambda: machine.now)
    choice = TeamChoice(2)
    trial = 12  # two calls to warm up, five each way
    for _ in range(trial + KEPT_CALLS):
        choice.run(machine, 0, 1)
    assert sorted(machine.calls[2:trial]) == [1] * 5 + [2] * 5
    assert set(machine.calls[trial:]) == {wanted}
    machine.seconds = {1: together, 2: alone}  # the machine has changed: the next trial finds out
    del machine.calls[:]
    for _ in range(10 + KEPT_CALLS):
        choice.run(machine, 0, 1)
    assert set(machine.calls[10:]) == {3 - wanted}


def test_calls_at_once_disturb_nothing() -> None:
    choice = TeamChoice(4)
    for place in (0, 0, 1, 1, 9, 9, 3):
        choice.took(place, 4, 1.0)
    assert choice.threads in (1, 4)
    machine = Machine({1: 1.0, 4: 1.0})
    for _ in range(3 * KEPT_CALLS):
        choice.run(machine, 0, 1)
    assert len(machine.calls) == 3 * KEPT_CALLS
