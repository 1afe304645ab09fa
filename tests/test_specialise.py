"""Small inputs that steer shapes: a program for each of their values."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx_ir as ir
import pytest

import accelc
from accelc import specialise
from accelc.errors import CallError
from accelc.frontend import load_model
from accelc.specialise import SpecialisingExecutable, steering_inputs, with_constants

SUM = "g (float[N,3] x, int64[K] axes) => (float[A,B] y) { y = ReduceSum(x, axes) }"


def test_inputs_that_steer_are_found_through_what_computes_them() -> None:
    text = """g (float[N,3] x, int64[2] pads, int64[1] more, int64[N] many, int64[2,2] table) => (float[A,B] y) {
        zero = Constant<value = int64[1] {0}>()
        all = Add(pads, more)
        p = Pad(x, all)
        at = Gather(table, zero)
        y = Expand(p, many)
    }"""
    assert steering_inputs(load_model(text).model) == ("pads", "more", "many")


def test_inputs_that_steer_are_found_through_branches() -> None:
    text = """g (float[N,3] x, bool c, int64[2] a, int64[2] b) => (float[A,B] y) {
        n = If (c) <
            then_branch = t () => (int64[2] p) { p = Identity(a) },
            else_branch = e () => (int64[2] q) { q = Identity(b) }
        >
        y = Tile(x, n)
    }"""
    assert steering_inputs(load_model(text).model) == ("c", "a", "b")


def test_shapes_are_inferred_anew_with_constants() -> None:
    model = load_model("g (float[N,3] x, int64[2] r) => (float[A,B] y) { y = Tile(x, r) }").model
    made = with_constants(model, {"r": np.array([1, 4])})
    assert [value.name for value in made.graph.inputs] == ["x"]
    assert [str(dim) for dim in made.graph.outputs[0].shape or ()][1] == "12"
    assert [value.name for value in model.graph.inputs] == ["x", "r"]


def test_each_value_has_its_program_and_its_answer(monkeypatch: pytest.MonkeyPatch) -> None:
    exe = accelc.compile(SUM, verify=False)
    assert isinstance(exe, SpecialisingExecutable)
    x = np.arange(12, dtype=np.float32).reshape(4, 3)
    for _ in range(2):
        np.testing.assert_array_equal(exe(x=x, axes=np.array([0])), x.sum(0, keepdims=True))
        np.testing.assert_array_equal(exe(x=x[:2], axes=np.array([1])), x[:2].sum(1, keepdims=True))
    assert exe.fallbacks == ()
    assert len(exe._programs) == 2
    with pytest.raises(CallError, match="axes"):
        exe(x=x, axes=np.array([0], np.int32))
    with pytest.raises(CallError, match="no input 'z'"):
        exe(x=x, axes=np.array([0]), z=x)


def test_many_values_share_the_general_program(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(specialise, "MAX_PROGRAMS", 1)
    text = "g (float[4] x, int64[1] start, int64[1] stop) => (float[M] y) { y = Slice(x, start, stop) }"
    exe = accelc.compile(text, verify=False)
    x = np.arange(4, dtype=np.float32)
    for start in range(3):
        np.testing.assert_array_equal(exe(x=x, start=np.array([start]), stop=np.array([9])), x[start:])
    if isinstance(exe, SpecialisingExecutable):
        assert len(exe._programs) == 1


def test_verification_and_saving(tmp_path: Path) -> None:
    text = """g (float[N,4] x, int64[2] pads) => (float[P,4] y) {
        axes = Constant<value = int64[1] {0}>()
        y = Pad(x, pads, , axes)
    }"""
    exe = accelc.compile(text, verify=1)
    assert exe.verification.status in ("verified", "not verified")
    loaded = accelc.load(exe.save(tmp_path / "m.accel"))
    x = np.ones((2, 4), np.float32)
    feeds = {"x": x, "pads": np.array([1, 0])}
    np.testing.assert_array_equal(loaded(**feeds), exe(**feeds))


def test_a_model_without_steering_inputs_is_compiled_once() -> None:
    model = load_model("g (float[N,3] x) => (float[N,3] y) { y = Relu(x) }").model
    assert isinstance(model, ir.Model)
    assert steering_inputs(model) == ()
