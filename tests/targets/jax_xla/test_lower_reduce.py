"""Reductions in JAX against ONNX's reference."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

pytest.importorskip("jax", reason="the xla target needs JAX (accelc[jax])")

from lowering_harness import Case, case, check

WHOLE = ["ReduceSum", "ReduceProd", "ReduceMax", "ReduceMin", "ReduceL1"]
FLOATS = [*WHOLE, "ReduceMean", "ReduceL2", "ReduceSumSquare", "ReduceLogSum", "ReduceLogSumExp"]


@settings(max_examples=3, deadline=None)
@given(
    shape=st.sampled_from([(3, 4, 5), (1, 7, 2), (2, 0, 3), (6,)]),
    dtype=st.sampled_from([np.float32, np.float64, np.float16]),
    data=st.data(),
)
def test_floats(shape: tuple[int, ...], dtype: Any, data: st.DataObject) -> None:
    x = np.abs(np.random.default_rng(len(shape)).standard_normal(shape)).astype(dtype)
    chosen = data.draw(st.lists(st.integers(-len(shape), -1), unique=True, max_size=len(shape)))
    attrs = {"keepdims": data.draw(st.integers(0, 1)), "noop_with_empty_axes": data.draw(st.integers(0, 1))}
    ops = FLOATS if x.size else WHOLE[:4]
    operands = (x, np.array(chosen, np.int64))
    check(*(Case(op, operands, dict(attrs)) for op in ops), case("ReduceSum", x))


@pytest.mark.parametrize("dtype", [np.int64, np.uint32])
def test_integers(dtype: Any) -> None:
    x = np.random.default_rng(0).integers(0, 9, (3, 4)).astype(dtype)
    empty = np.zeros((2, 0), dtype)
    axes = np.array([1])
    cases = [case(op, x, axes) for op in (*WHOLE, "ReduceMean", "ReduceL2")]
    check(*cases, *(case(op, empty, axes) for op in WHOLE))


def test_special_values() -> None:
    x = np.array([[np.nan, 1], [np.inf, 2], [-np.inf, 3]], np.float32)
    axes = np.array([1])
    cases = [case(op, x, axes) for op in ("ReduceSum", "ReduceMax", "ReduceMin", "ReduceMean")]
    huge = np.array([[1000.0, 999.0], [-1000.0, -np.inf]], np.float32)
    log_sums = np.array([[1000.3132617], [-1000.0]], np.float32)
    check(
        *cases,
        case("ReduceLogSumExp", huge, axes, expected=[log_sums]),
        case(
            "ReduceLogSumExp",
            np.zeros((2, 0), np.float32),
            axes,
            expected=[np.full((2, 1), -np.inf, np.float32)],
        ),
        case("ReduceMax", np.array([[True, False], [False, False]]), axes),
        case("ArgMax", x, axis=0),
    )


def test_axes_as_attribute() -> None:
    x = np.random.default_rng(1).standard_normal((2, 3, 4)).astype(np.float32)
    attrs: dict[str, Any] = {"axes": (0, -1), "keepdims": 0}
    check(*(Case(op, (x,), dict(attrs), version=11) for op in ("ReduceSum", "ReduceMean", "ReduceMax")))


def test_places_of_extremes() -> None:
    x = np.array([[1, 3, 3], [3, 1, 1]], np.float32)
    cases = [
        case(op, x, axis=axis, keepdims=keep, select_last_index=last)
        for op in ("ArgMax", "ArgMin")
        for axis in (0, -1)
        for keep in (0, 1)
        for last in (0, 1)
    ]
    check(*cases)
