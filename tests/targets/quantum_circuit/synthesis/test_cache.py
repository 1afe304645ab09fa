"""The cache of circuits: what was put is got, damage is a miss, nothing is unpickled."""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np
import pytest

from accelc.targets.quantum_circuit.circuit import Circuit, Gate
from accelc.targets.quantum_circuit.synthesis.cache import CircuitCache

MATRIX = np.arange(6.0).reshape(2, 3)
CIRCUIT = Circuit(3, (Gate("ry", (2,), 0.1), Gate("cx", (0, 2)), Gate("z", (1,))))


def test_round_trip(tmp_path: Path) -> None:
    cache = CircuitCache(tmp_path / "new")
    assert cache.get(MATRIX, {"a": 1}, 1.0) is None
    cache.put(MATRIX, {"a": 1}, CIRCUIT, math.inf)
    assert cache.get(MATRIX, {"a": 1}, 1e9) == CIRCUIT
    assert cache.get(MATRIX, {"a": 2}, 1.0) is None
    assert cache.get(MATRIX.T, {"a": 1}, 1.0) is None
    assert (tmp_path / "new" / "circuits").stat().st_mode & 0o077 == 0


def test_a_search_cut_short_does_not_answer_a_longer_one(tmp_path: Path) -> None:
    cache = CircuitCache(tmp_path)
    cache.put(MATRIX, {}, Circuit(1, ()), 10.0)
    assert cache.get(MATRIX, {}, 10.0) == Circuit(1, ())
    assert cache.get(MATRIX, {}, 11.0) is None


@pytest.mark.parametrize("keep", [0, 20, 200, -30])
def test_damage_is_a_miss(tmp_path: Path, keep: int) -> None:
    cache = CircuitCache(tmp_path)
    cache.put(MATRIX, {}, CIRCUIT, math.inf)
    (file,) = (tmp_path / "circuits").iterdir()
    file.write_bytes(file.read_bytes()[:keep])
    assert cache.get(MATRIX, {}, 1.0) is None


def test_pickles_are_not_loaded(tmp_path: Path) -> None:
    cache = CircuitCache(tmp_path)
    cache.put(MATRIX, {}, CIRCUIT, math.inf)
    (file,) = (tmp_path / "circuits").iterdir()
    np.savez(file, width=3, limit=math.inf, names=np.array([{}], object), qubits=[[0, -1]], angles=[0.0])
    assert cache.get(MATRIX, {}, 1.0) is None


def test_no_folder(tmp_path: Path) -> None:
    blocked = tmp_path / "file"
    blocked.write_text("")
    for cache in (CircuitCache(False), CircuitCache(blocked)):
        cache.put(MATRIX, {}, CIRCUIT, math.inf)
        assert cache.get(MATRIX, {}, 1.0) is None


def test_the_environment_names_the_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ACCELC_CACHE_DIR", str(tmp_path))
    CircuitCache().put(MATRIX, {}, CIRCUIT, math.inf)
    assert len(list((tmp_path / "circuits").iterdir())) == 1
