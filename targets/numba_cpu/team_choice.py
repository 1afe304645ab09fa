"""Whether a team of threads pays for a short region, by what the region's own calls took.

Predicted work says which steps are worth sharing (bind.py), but not how busy the machine is: a worker that has
claimed part of a 20 us step and loses its processor costs a time slice. So a region that is over in a few
milliseconds is tried both ways now and then, and runs in the quicker one between.
"""

from __future__ import annotations

import time
from statistics import median

from accelc.targets.numba_cpu.native_run import Native

LONGEST_MS = 8.0
"""Predicted work of the shared steps above which a region is not tried: it is worth a team."""
KEPT_CALLS = 500
"""Calls between two trials: 10 trials in 500 calls cost 2% of what the slower way loses."""
_TRIALS = 5
_WARM_CALLS = 2


class TeamChoice:
    """Runs the calls of one region, alone or with a team.

    Several Python threads may call at once: a trial that they disturb is repeated after ``KEPT_CALLS`` calls.

    Args:
        team: Threads of the team.
    """

    def __init__(self, team: int) -> None:
        self.threads = team
        """What calls between trials get."""
        self._order = [1, team] * _TRIALS
        self._times: dict[int, list[float]] = {1: [], team: []}
        self._tried = -_WARM_CALLS  # the first calls touch memory for the first time
        self._left = 0

    def run(self, native: Native, steps_address: int, n_steps: int) -> None:
        """Run a step table; see NativeRunner.run."""
        if self._left > 0:
            self._left -= 1
            native.run(steps_address, n_steps, self.threads)
            return
        place = self._tried
        threads = self._order[place % len(self._order)]
        start = time.perf_counter()
        native.run(steps_address, n_steps, threads)
        self.took(place, threads, time.perf_counter() - start)

    def took(self, place: int, threads: int, seconds: float) -> None:
        """Note one trial; the last one decides."""
        self._tried = place + 1
        if place < 0:
            return
        self._times[threads].append(seconds)
        if place + 1 < len(self._order):
            return
        if all(self._times.values()):
            self.threads = min(self._times, key=lambda n: median(self._times[n]))
        for times in self._times.values():
            times.clear()
        self._tried, self._left = 0, KEPT_CALLS
