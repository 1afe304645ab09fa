"""Arithmetic, functions, logic and activations in JAX against ONNX's reference."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

pytest.importorskip("jax", reason="the xla target needs JAX (accelc[jax])")

import jax
from lowering_harness import Case, case, check, lowered

FUNCTIONS = (
    "Abs",
    "Ceil",
    "Floor",
    "Neg",
    "Round",
    "Sign",
    "Acos",
    "Asin",
    "Asinh",
    "Atan",
    "Atanh",
    "Cos",
    "Cosh",
    "Erf",
    "Exp",
    "Log",
    "Sigmoid",
    "Sin",
    "Sinh",
    "Sqrt",
    "Tanh",
    "Relu",
    "IsNaN",
    "IsInf",
)
ACTIVATIONS = (
    "LeakyRelu",
    "ThresholdedRelu",
    "Elu",
    "Celu",
    "Selu",
    "HardSigmoid",
    "HardSwish",
    "Gelu",
    "Softplus",
    "Softsign",
    "Swish",
)
COMPARISONS = ("Equal", "Less", "Greater", "LessOrEqual", "GreaterOrEqual")
BINARY = ("Add", "Sub", "Mul", "Max", "Min", "Sum", *COMPARISONS)
SPECIAL = np.array([np.nan, np.inf, -np.inf, -0.0, 0.0, 1.0, -2.5, 0.5, 1.5], np.float32)
SHAPES = st.sampled_from([((), (3,)), ((0,), (1,)), ((3, 1, 5), (4, 5)), ((1,), (7, 1)), ((2, 0, 3), (1, 3))])


def numbers(shape: tuple[int, ...], dtype: Any, seed: int) -> np.ndarray:
    rng = np.random.default_rng(seed)
    if np.dtype(dtype).kind in "iu":
        info = np.iinfo(dtype)
        return rng.integers(max(info.min, -50), min(info.max, 50), shape).astype(dtype)
    return np.asarray(rng.standard_normal(shape)).astype(dtype)


def test_functions() -> None:
    """Values of all sizes, and those that are no numbers."""
    x = np.concatenate([numbers((60,), np.float32, 0) * 3, SPECIAL, np.float32([1e-30, 80, -80, 3e38])])
    plain = numbers((9,), np.float32, 1)
    cases = [case(op, x, atol=1e-5) for op in FUNCTIONS + ACTIVATIONS]
    check(*cases, *(case(op, plain) for op in ("Acosh", "Mish", "Reciprocal", "Shrink", "Tan")))


@pytest.mark.parametrize("dtype", [np.float16, np.float64])
def test_functions_of_other_floats(dtype: Any) -> None:
    x = numbers((3, 1, 5), dtype, 2)
    check(*(case(op, x) for op in ("Exp", "Erf", "Gelu", "Sigmoid", "Round", "Relu", "Softplus")))


@settings(max_examples=3, deadline=None)
@given(shapes=SHAPES, dtype=st.sampled_from([np.float32, np.float64, np.float16]), seed=st.integers(0, 99))
def test_floats(shapes: Any, dtype: Any, seed: int) -> None:
    x, y = (numbers(shape, dtype, seed + i) for i, shape in enumerate(shapes))
    cases = [case(op, x, y) for op in (*BINARY, "Div")]
    cases += [
        case("Pow", np.abs(x), y),
        case("Mod", x, y, fmod=1),
        case("Clip", x, dtype(-0.5), dtype(0.4)),
        case("Clip", x, None, dtype(0.4)),
        case("PRelu", x, numbers(x.shape[-1:], dtype, seed)),
    ]
    check(*cases)


@settings(max_examples=3, deadline=None)
@given(shapes=SHAPES, dtype=st.sampled_from([np.int32, np.int64, np.uint8, np.int8]), seed=st.integers(0, 99))
def test_integers(shapes: Any, dtype: Any, seed: int) -> None:
    x, y = (numbers(shape, dtype, seed + i) for i, shape in enumerate(shapes))
    divisor = np.where(y == 0, dtype(3), y)
    cases = [case(op, x, y) for op in (*BINARY, "BitwiseAnd", "BitwiseOr", "BitwiseXor")]
    cases += [case("Div", x, divisor), case("Mod", x, divisor), case("Mod", x, divisor, fmod=1)]
    cases += [case(op, x) for op in ("Abs", "Sign", "BitwiseNot")]
    check(*cases)


def test_special_values() -> None:
    cases = [case("Max", SPECIAL, SPECIAL[::-1].copy()), case("Min", SPECIAL, np.float32([0]))]
    cases += [
        case("IsInf", SPECIAL, detect_negative=0),
        case("IsInf", SPECIAL, detect_positive=0),
        case("Clip", SPECIAL, np.float32(-1), np.float32(1)),
        case("Where", SPECIAL > 0, SPECIAL, np.float32(3)),
    ]
    check(*cases)


def test_attributes_are_what_is_given() -> None:
    """At zero, where a default must not come back, and at a third value."""
    given_values: list[tuple[str, dict[str, Any]]] = [
        ("LeakyRelu", {"alpha": 0.0}),
        ("Elu", {"alpha": 0.0}),
        ("Elu", {"alpha": 2.0}),
        ("Celu", {"alpha": 0.5}),
        ("Selu", {"alpha": 0.0, "gamma": 3.0}),
        ("HardSigmoid", {"alpha": 0.0, "beta": 0.0}),
        ("HardSigmoid", {"alpha": 0.7, "beta": 0.1}),
        ("ThresholdedRelu", {"alpha": 0.0}),
        ("Shrink", {"bias": 0.5, "lambd": 0.0}),
        ("Swish", {"alpha": 0.0}),
        ("Gelu", {"approximate": "tanh"}),
    ]
    x = numbers((5, 3), np.float32, 1) * 3
    check(*(Case(op_type, (x,), values) for op_type, values in given_values))


def test_gradients_of_large_numbers_are_finite() -> None:
    """A branch that is not taken must not turn the gradient of the other into NaN."""
    x = np.array([-300, -100, -1, 0, 1, 100, 300], np.float32)
    cases = [case(op, x) for op in (*ACTIVATIONS, "Mish", "Sigmoid", "Tanh", "Erf", "Abs")]

    def total(x: Any) -> Any:
        return sum(each.trace([x])[0].sum() for each in cases)

    with jax.enable_x64(True):
        gradient = jax.jit(jax.grad(total))(x)
    assert np.isfinite(np.asarray(gradient)).all()


def test_booleans() -> None:
    a, b = np.array([True, True, False, False]), np.array([True, False, True, False])
    check(*(case(op, a, b) for op in ("And", "Or", "Xor", "Equal")), case("Not", a))


def test_shifts_by_the_width_leave_nothing_but_sign_bits() -> None:
    x, amount = np.array([1, -8, 127], np.int8), np.array([9, 9, 2], np.int8)
    left = lowered("BitShift", x, amount, direction="LEFT", version=28)[0]
    right = lowered("BitShift", x, amount, direction="RIGHT", version=28)[0]
    assert left.tolist() == [0, 0, -4]
    assert right.tolist() == [0, -1, 31]
    check(case("BitShift", np.uint8([1, 200]), np.uint8([1, 3]), direction="RIGHT"))


def test_powers() -> None:
    x = np.array([-3, -1, 0, 1, 2], np.int64)
    signs = lowered("Pow", x, np.array([-1, -3, 2, -5, -2], np.int64))[0]
    assert signs.tolist() == [0, -1, 0, 1, 0]  # what is no integer is cut off
    base = numbers((4, 3), np.float32, 0)
    for exponent in (2, 3, 0.5, 0.0, -1, 7):
        known = case("Pow", np.abs(base), np.float32(exponent), known=(1,))
        check(known, case("Pow", np.abs(base), np.int64(exponent)))


def test_forms_before_opset_7() -> None:
    x, y = numbers((2, 3, 4), np.float32, 0), numbers((3,), np.float32, 1)
    expected = x + y[:, None]
    check(
        case("Add", x, y, version=6, broadcast=1, axis=1, expected=[expected]),
        case("Add", x, x, version=6, expected=[x + x]),
        case("Less", x, y, version=1, broadcast=1, axis=-2, expected=[x < y[:, None]]),
        case("Clip", x, version=6, min=-0.5, max=0.0, expected=[np.clip(x, np.float32(-0.5), np.float32(0))]),
        case("PRelu", x, y, version=6, expected=[np.where(x < 0, x * y[:, None], x)]),
    )


def test_mean_of_operands_that_broadcast() -> None:
    x, y = numbers((3, 1), np.float32, 0), numbers((4,), np.float32, 1)
    check(case("Mean", x, y, y, expected=[(x + y + y) / np.float32(3)]), case("Mean", x))
