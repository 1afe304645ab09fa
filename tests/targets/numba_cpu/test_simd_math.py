"""Functions of vectors against float64, over all magnitudes, at their promised accuracy."""

import math
from collections.abc import Callable

import numpy as np
import pytest
from kernel_text_harness import run_text

_erf = np.frompyfunc(math.erf, 1, 1)


def erf(x: np.ndarray) -> np.ndarray:
    return _erf(x).astype(np.float64)


def sigmoid(x: np.ndarray) -> np.ndarray:
    e = np.exp(-np.abs(x))
    return np.where(x >= 0, 1 / (1 + e), e / (1 + e))


def gelu_tanh(x: np.ndarray) -> np.ndarray:
    return 0.5 * x * (1 + np.tanh(np.sqrt(2 / np.pi) * (x + 0.044715 * x**3)))


# Name: (reference, ulp allowed where the result is a normal number).
ACCURATE: dict[str, tuple[Callable[[np.ndarray], np.ndarray], float]] = {
    "vexp": (np.exp, 6),
    "vlog": (np.log, 1),
    "vlog1p": (np.log1p, 2),
    "vtanh": (np.tanh, 5),
    "verf": (erf, 5),
    "vsigmoid": (sigmoid, 4),
    "vsoftplus": (lambda x: np.logaddexp(0, x), 3),
    "vsin": (np.sin, 1),
    "vcos": (np.cos, 1),
}
# Name: (reference, error allowed as a part of max(1, |x|)): these cancel by their definition.
ABSOLUTE: dict[str, tuple[Callable[[np.ndarray], np.ndarray], float]] = {
    "vswish": (lambda x: x * sigmoid(x), 2e-7),
    "vgelu": (lambda x: 0.5 * x * (1 + erf(x / math.sqrt(2))), 4e-7),
    "vgelu_tanh": (gelu_tanh, 4e-7),
    "vhardswish": (lambda x: x * np.clip(x / 6 + 0.5, 0, 1), 2e-7),
}


def operands(dtype: type) -> np.ndarray:
    rng = np.random.default_rng(3)
    n = 1 << 15
    parts = [
        rng.normal(size=n) * 3,
        rng.uniform(-110, 110, n),
        rng.choice([-1, 1], n) * np.exp(rng.uniform(-87, 88, n)),
        np.linspace(-9, 9, n),
        np.linspace(88, 89, n),
    ]
    return np.concatenate(parts).astype(dtype)


SPECIAL = [
    np.nan,
    np.inf,
    -np.inf,
    0.0,
    -0.0,
    1.0,
    -1.0,
    88.72,
    88.73,
    1e-40,
    -1e-40,
    3.4e38,
    -3.4e38,
    1e-45,
    0.5,
    2.0,
]


def evaluate(expression: str, x: np.ndarray, bits: int = 256) -> np.ndarray:
    kind = "f32" if x.dtype == np.float32 else "f64"
    y = np.empty_like(x)
    text = f"""
def kernel(d, lo, hi, tid):
    x = ptr_{kind}(get(d, 0))
    y = ptr_{kind}(get(d, 1))
    for i in range(0, get(d, 2), {bits // 8 // x.itemsize}):
        v = vload(x, i)
        vstore(y, i, {expression})
"""
    run_text(text, x, y, len(x), bits=bits)
    return y


def reference(function: Callable[[np.ndarray], np.ndarray], x: np.ndarray) -> np.ndarray:
    with np.errstate(all="ignore"):
        return function(x.astype(np.float64))


@pytest.mark.parametrize("name", list(ACCURATE))
def test_accuracy(name: str) -> None:
    function, ulps = ACCURATE[name]
    x = operands(np.float32)
    y, exact = evaluate(f"{name}(v)", x), reference(function, x)
    with np.errstate(all="ignore"):
        rounded = exact.astype(np.float32)
    same_kind(y, rounded)
    normal = np.isfinite(rounded) & (np.abs(exact) >= np.finfo(np.float32).tiny)
    error = np.abs(y[normal] - exact[normal]) / np.spacing(np.abs(rounded[normal])).astype(np.float64)
    worst = int(np.argmax(error))
    assert error[worst] <= ulps, f"{name}({x[normal][worst]!r}) is off by {error[worst]:.2f} ulp"
    assert np.all(np.abs(y[~normal & np.isfinite(rounded)]) <= 2 * np.finfo(np.float32).tiny)


@pytest.mark.parametrize("name", list(ABSOLUTE))
def test_activations(name: str) -> None:
    function, allowed = ABSOLUTE[name]
    x = operands(np.float32)
    y, exact = evaluate(f"{name}(v)", x), reference(function, x)
    with np.errstate(all="ignore"):
        rounded = exact.astype(np.float32)
    same_kind(y, rounded)
    finite = np.isfinite(rounded)
    error = np.abs(y[finite] - exact[finite]) / np.maximum(1, np.abs(x[finite]))
    worst = int(np.argmax(error))
    assert error[worst] <= allowed, f"{name}({x[finite][worst]!r}) is off by {error[worst]:.2e} |x|"


def same_kind(y: np.ndarray, expected: np.ndarray) -> None:
    """NaN and infinities in the same places."""
    np.testing.assert_array_equal(np.isnan(y), np.isnan(expected))
    np.testing.assert_array_equal(np.where(np.isinf(y), y, 0), np.where(np.isinf(expected), expected, 0))


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_special_values(dtype: type) -> None:
    functions = {name: function for name, (function, _) in {**ACCURATE, **ABSOLUTE}.items()}
    x = np.array(SPECIAL, dtype)
    kind = "f32" if dtype is np.float32 else "f64"
    outs = [np.empty_like(x) for _ in functions]
    stores = "".join(
        f"        vstore(ptr_{kind}(get(d, {k + 1})), i, {name}(v))\n" for k, name in enumerate(functions)
    )
    text = f"""
def kernel(d, lo, hi, tid):
    for i in range(0, 16, 4):
        v = vloadn(ptr_{kind}(get(d, 0)), i, 4)
{stores}
"""
    run_text(text, x, *outs)
    for (name, function), y in zip(functions.items(), outs, strict=True):
        with np.errstate(all="ignore"):
            exact = reference(function, x).astype(dtype)
        same_kind(y, exact)
        np.testing.assert_allclose(y, exact, rtol=1e-6, atol=1e-37, err_msg=name)
        zeros = exact == 0
        if name in ("vtanh", "verf", "vsin"):
            np.testing.assert_array_equal(np.signbit(y[zeros]), np.signbit(exact[zeros]), err_msg=name)


@pytest.mark.parametrize("bits", [128, 512])
def test_widths_agree_bit_for_bit(bits: int) -> None:
    x = operands(np.float32)[::16].copy()
    text = "vadd(vexp(v), vadd(vtanh(v), vadd(verf(v), vlog(v))))"
    np.testing.assert_array_equal(evaluate(text, x, bits), evaluate(text, x, 256))


def test_float64_uses_libm() -> None:
    x = np.linspace(-5, 5, 4000)
    np.testing.assert_allclose(evaluate("vadd(vexp(v), vtanh(v))", x), np.exp(x) + np.tanh(x), atol=1e-13)
    np.testing.assert_allclose(evaluate("vgelu(v)", x), reference(ABSOLUTE["vgelu"][0], x), atol=1e-15)


def test_functions_of_libm() -> None:
    x = np.linspace(-0.99, 0.99, 512).astype(np.float32)
    cases = {
        "vtan": np.tan, "vasin": np.arcsin, "vacos": np.arccos, "vatan": np.arctan, "vsinh": np.sinh,
        "vcosh": np.cosh, "vasinh": np.arcsinh, "vatanh": np.arctanh, "vexpm1": np.expm1,
    }  # fmt: skip
    outs = [np.empty_like(x) for _ in cases]
    stores = "\n".join(
        f"        vstore(ptr_f32(get(d, {k + 1})), i, {name}(v))" for k, name in enumerate(cases)
    )
    text = f"""
def kernel(d, lo, hi, tid):
    for i in range(0, 512, 8):
        v = vload(ptr_f32(get(d, 0)), i)
{stores}
"""
    run_text(text, x, *outs)
    for out, function in zip(outs, cases.values(), strict=True):
        np.testing.assert_allclose(out, function(x.astype(np.float64)), rtol=3e-7)


def test_power_and_hard_sigmoid() -> None:
    x = np.abs(operands(np.float32)[:4096]) + np.float32(0.1)
    np.testing.assert_allclose(evaluate("vpow(v, 1.5)", x), x.astype(np.float64) ** 1.5, rtol=2e-7)
    x = operands(np.float32)[:4096]
    expected = np.clip(np.float32(0.25) * x + np.float32(0.5), 0, 1)
    np.testing.assert_allclose(evaluate("vhardsigmoid(v, 0.25, 0.5)", x), expected, atol=1e-7)
