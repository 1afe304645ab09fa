"""The debug mode finds kernels that write astray, plans that overlap, and reads of memory that is dead."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from typing import Any

import numpy as np
import onnx_ir as ir
import pytest

from accelc.errors import AccelcError, MemoryFaultError
from accelc.plan.arena import Buffer, MemoryPlan
from accelc.target import TargetOptions
from accelc.targets.numba_cpu import region_memory
from accelc.targets.numba_cpu.executable import CpuExecutable
from accelc.targets.numba_cpu.kernels.elementwise import Elementwise
from accelc.targets.numba_cpu.target import NumbaCpu

TEXT = """<ir_version: 11, opset_import: ["" : 24]>
g (float[N,16] x) => (float[N,16] y) {
  a = Exp(x)
  b = Softmax<axis=-1>(a)
  c = Tanh(b)
  d = Softmax<axis=-1>(c)
  y = Add(d, a)
}"""
X = np.random.default_rng(0).standard_normal((3, 16)).astype(np.float32)


def lower(*, sanitize: bool) -> CpuExecutable:
    exe = NumbaCpu().lower(ir.from_onnx_text(TEXT), TargetOptions(sanitize=sanitize))
    assert isinstance(exe, CpuExecutable)
    return exe


def test_a_sound_program_gives_the_same_results() -> None:
    sanitized, plain = lower(sanitize=True), lower(sanitize=False)
    for batch in (3, 1, 0):
        np.testing.assert_array_equal(sanitized(x=X[:batch]), plain(x=X[:batch]))
    odd = X.copy()
    odd[0, 0] = np.nan
    odd.view(np.uint32)[1, 1] = 0xFFFFFFFF  # the poison itself, given by a caller
    np.testing.assert_array_equal(sanitized(x=odd), plain(x=odd))


def test_a_kernel_that_writes_too_far_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    bind = Elementwise.bind

    def too_far(self: Any, params: Any, inputs: Any, outputs: Sequence[Any], isa: Any) -> Any:
        binding = bind(self, params, inputs, outputs, isa)
        binding.words[0] += 8  # elements of the innermost run
        binding.words[1] += 8
        return binding

    monkeypatch.setattr(Elementwise, "bind", too_far)
    exe = lower(sanitize=True)
    with pytest.raises(MemoryFaultError) as caught:
        exe(x=X)
    text = str(caught.value)
    assert "kernel elementwise broke the memory plan: it wrote outside its results" in text
    assert "32 bytes between" in text
    assert any(f"node {exe.program.steps[0].origin[0]}" in line for line in caught.value.where)  # type: ignore[union-attr]


def test_a_plan_that_overlaps_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    def all_at_zero(buffers: Sequence[Buffer], **_: Any) -> MemoryPlan:
        top = max((b.size for b in buffers), default=0)
        return MemoryPlan((0,) * len(buffers), top, top)

    monkeypatch.setattr(region_memory, "allocate", all_at_zero)
    with pytest.raises(AccelcError, match="overlaps buffers"):
        lower(sanitize=True)(x=X)


def test_a_live_range_that_ends_too_early_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    place = region_memory.RegionMemory.place

    def short(self: region_memory.RegionMemory) -> region_memory.Placement:
        placed = place(self)
        buffers = tuple(dataclasses.replace(b, last=b.first) if b.values else b for b in placed.buffers)
        return dataclasses.replace(placed, buffers=buffers)

    monkeypatch.setattr(region_memory.RegionMemory, "place", short)
    with pytest.raises(MemoryFaultError, match="where no value is"):
        lower(sanitize=True)(x=X)
