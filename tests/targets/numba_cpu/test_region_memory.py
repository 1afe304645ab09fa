"""Plans found when compiling are used for just the buffers that they were made for, and checked first."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
import pytest

import accelc
from accelc.errors import AccelcError, ArtifactError
from accelc.plan.arena import Buffer
from accelc.targets.numba_cpu.executable import CpuExecutable
from accelc.targets.numba_cpu.region_memory import digest, planned
from accelc.targets.numba_cpu.tensors import TensorTable, constant_tensors

MLP = Path(__file__).parents[3] / "examples" / "digits" / "mlp.onnx"
BUFFERS = [Buffer(64, 0, 1), Buffer(100, 1, 2), Buffer(64, 2, 3)]


def test_a_known_plan_is_used_for_its_buffers_only() -> None:
    known = {digest(BUFFERS): (128, 0, 128)}
    plan = planned(known, BUFFERS)
    assert (plan.offsets, plan.peak_bytes, plan.lower_bound_bytes) == ((128, 0, 128), 192, 192)
    other = [Buffer(b.size, b.first, b.last + 1) for b in BUFFERS]
    assert planned(known, other).offsets != (128, 0, 128)


def test_what_is_no_plan_is_refused() -> None:
    with pytest.raises(AccelcError, match="overlaps"):
        planned({digest(BUFFERS): (0, 0, 64)}, BUFFERS)
    with pytest.raises(ArtifactError, match="another number of buffers"):
        planned({digest(BUFFERS): (0, 128)}, BUFFERS)


def test_plans_are_saved_with_the_program(tmp_path: Path) -> None:
    exe = accelc.compile(MLP, verify=False, dims={"batch": 4})
    assert isinstance(exe, CpuExecutable)
    exe.program.arenas = {"0" * 32: (64, 0)}
    loaded = accelc.load(exe.save(tmp_path / "mlp.accel"))
    assert isinstance(loaded, CpuExecutable)
    assert loaded.program.arenas == exe.program.arenas


def test_arenas_are_as_large_as_their_plans() -> None:
    exe = accelc.compile(MLP, verify=False)
    assert isinstance(exe, CpuExecutable)
    exe(pixels=np.zeros((5, 64), np.float32))
    assert exe.arena_bytes == exe.memory_plan.peak_bytes > 0


def test_constants_lie_alike_for_all_sizes() -> None:
    text = """<ir_version: 10, opset_import: ["": 21]> g (float[N,4] x) => (float[N,4] z)
        <float[4] b = {1, 2, 3, 4}, float[1,8] w = {1, 2, 3, 4, 5, 6, 7, 8}>
        { h, t = Split<axis=1, num_outputs=2>(w)  a = Add(x, b)  c = Mul(a, t)  z = Sub(c, h) }"""
    exe = accelc.compile(onnx.parser.parse_model(text), verify=False)
    assert isinstance(exe, CpuExecutable)
    fixed = constant_tensors(exe.program)
    assert set(fixed) >= set(exe.program.constants)
    for size in (1, 7):
        table = TensorTable(exe.program, {"N": size})
        assert {value: table.tensor(value) for value in fixed} == fixed
        x = np.ones((size, 4), np.float32)
        want = (1 + np.arange(1, 5)) * np.arange(5, 9) - np.arange(1, 5)
        np.testing.assert_array_equal(exe(x=x), np.tile(want, (size, 1)))
