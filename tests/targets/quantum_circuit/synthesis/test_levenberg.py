"""The search for angles: when it ends, what it gives back, and that coarse steps get as far as fine ones."""

from __future__ import annotations

import time

import numpy as np
import pytest

from accelc.targets.quantum_circuit.synthesis import levenberg
from accelc.targets.quantum_circuit.synthesis.levenberg import Effort, fit
from accelc.targets.quantum_circuit.synthesis.template import round_robin


def rotation(size: int, seed: int) -> np.ndarray:
    found = np.linalg.qr(np.random.default_rng(seed).normal(size=(size, size)))[0]
    if np.linalg.det(found) < 0:
        found[0] *= -1
    return found


def effort(max_error: float = 1e-10, seconds: float = 60.0, **more: int) -> Effort:
    return Effort(max_error, time.monotonic() + seconds, **more)


def test_the_error_is_that_of_the_circuit() -> None:
    wanted = rotation(8, 0)
    found = fit(round_robin(3, 8), wanted, effort(draws=2, patience=5), np.random.default_rng(0))
    off = np.linalg.norm(found.circuit().unitary() - wanted) / np.linalg.norm(wanted)
    assert found.error == pytest.approx(off)
    assert 1e-3 < found.error < 1


def test_a_warm_start_draws_nothing() -> None:
    wanted, template = rotation(8, 0), round_robin(3, 13)
    first = fit(template, wanted, effort(1e-3, starts=4), np.random.default_rng(0))
    rng = np.random.default_rng(1)
    before = rng.bit_generator.state
    assert fit(template, wanted, effort(), rng, first.angles).error < 1e-10
    assert rng.bit_generator.state == before


def test_no_time_gives_the_start() -> None:
    found = fit(round_robin(3, 13), rotation(8, 0), effort(seconds=-1.0), np.random.default_rng(0))
    assert found.error > 0.1


def test_coarse_steps(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(levenberg, "_COARSE_SIZE", 1)
    wanted = rotation(8, 2)
    found = fit(round_robin(3, 13), wanted, effort(1e-12, starts=4), np.random.default_rng(0))
    assert found.error < 1e-12
    np.testing.assert_allclose(found.circuit().unitary(), wanted, atol=1e-11)
