"""Depthwise convolutions against NumPy in float64."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from kernel_harness import run_family

from accelc.errors import ArtifactError, CallError
from accelc.targets.numba_cpu.isa import Isa
from accelc.targets.numba_cpu.kernels.depthwise import Depthwise
from accelc.targets.numba_cpu.kernels.expr import ExprBuilder
from accelc.targets.numba_cpu.kernels.packing import pack_depthwise

DEPTHWISE = Depthwise()


def reference(
    x: np.ndarray, w: np.ndarray, strides: Any, dilations: Any, before: Any, after: Any
) -> np.ndarray:
    """Depthwise convolution, tap by tap, in float64; zeros are not multiplied but left out."""
    rank = w.ndim - 2
    widths = [(0, 0), (0, 0), *zip(before, after, strict=True)]
    padded = np.pad(x.astype(np.float64), widths)
    inside = np.pad(np.ones(x.shape), widths).astype(bool)
    out = [
        (padded.shape[2 + i] - (w.shape[2 + i] - 1) * dilations[i] - 1) // strides[i] + 1 for i in range(rank)
    ]
    y = np.zeros((*x.shape[:2], *out))
    for tap in np.ndindex(*w.shape[2:]):
        places = zip(tap, dilations, out, strides, strict=True)
        windows = [slice(t * d, t * d + (o - 1) * s + 1, s) for t, d, o, s in places]
        index: Any = (slice(None), slice(None), *windows)
        weights = w[(slice(None), 0, *tap)].reshape(1, -1, *(1,) * rank)
        with np.errstate(invalid="ignore"):
            y += np.where(inside[index], padded[index] * weights, 0.0)
    return y


def channels_last(x: np.ndarray) -> np.ndarray:
    return np.moveaxis(np.ascontiguousarray(np.moveaxis(x, 1, -1)), -1, 1)


def random(*shape: int, seed: int = 0, dtype: Any = np.float32) -> np.ndarray:
    return np.random.default_rng(seed).standard_normal(shape).astype(dtype)


def check(
    x: np.ndarray, kernel: Any, strides: Any, dilations: Any, before: Any, after: Any, isa: Isa | None = None
) -> None:
    w = random(x.shape[1], 1, *kernel, seed=1).astype(x.dtype)
    wanted = reference(x, w, strides, dilations, before, after)
    y = channels_last(np.full(wanted.shape, 7.0, x.dtype))
    p = {"dtype": x.dtype.name, "kernel": list(kernel), "strides": list(strides), "dilations": list(dilations),
         "pads": list(before)}  # fmt: skip
    run_family(DEPTHWISE, p, [channels_last(x), pack_depthwise(w)], [y], isa, threads_simulated=2)
    scale = max(1.0, float(np.abs(wanted[np.isfinite(wanted)]).max(initial=0.0)))
    np.testing.assert_allclose(y, wanted, rtol=0, atol=1e-5 * scale)


@pytest.mark.parametrize(
    ("shape", "before", "after"),
    [((1, 8, 9, 11), (1, 1), (1, 1)), ((2, 20, 4, 5), (0, 0), (0, 0)), ((1, 3, 1, 1), (1, 1), (1, 1)),
     ((1, 17, 2, 30), (2, 2), (0, 1)), ((0, 4, 5, 5), (1, 1), (1, 1)), ((1, 5, 3, 3), (6, 6), (6, 6)),
     ((1, 8, 6, 2), (1, 1), (1, 1))],
)  # fmt: skip
def test_three_by_three(shape: Any, before: Any, after: Any) -> None:
    check(random(*shape), (3, 3), (1, 1), (1, 1), before, after)
    # Strides and dilations of rows are run-time words of the same kernel.
    if shape[2] > 4:
        check(random(*shape), (2, 3), (2, 1), (3, 1), before, after)


def test_strides_dilations_and_sizes() -> None:
    check(random(2, 9, 9, 21), (3, 3), (2, 2), (1, 1), (1, 1), (1, 1))
    check(random(1, 9, 12, 24), (3, 3), (1, 2), (2, 3), (2, 3), (2, 3))
    check(random(1, 12, 40), (5,), (1,), (1,), (2,), (2,))


def test_wide_kernel_at_run_time() -> None:
    check(random(1, 9, 20, 20), (9, 11), (1, 1), (1, 1), (4, 5), (4, 5))
    check(random(1, 3, 9, 40), (3, 9), (1, 9), (1, 3), (0, 20), (0, 20))


def test_other_forms() -> None:
    check(random(1, 37, 7, 9), (3, 3), (1, 1), (1, 1), (1, 1), (1, 1), Isa.host(512))
    check(random(1, 7, 7, 9, dtype=np.float64), (3, 3), (1, 1), (1, 1), (1, 1), (1, 1))


def test_nan_and_infinity_outside_the_window_do_not_matter() -> None:
    x = random(1, 8, 6, 9)
    x[0, 3, 0, 0], x[0, 5, 5, 8] = np.nan, np.inf
    w = random(8, 1, 3, 3, seed=1)
    wanted = reference(x, w, (1, 1), (1, 1), (1, 1), (1, 1))
    y = channels_last(np.zeros(wanted.shape, np.float32))
    p = {"dtype": "float32", "kernel": [3, 3], "strides": [1, 1], "dilations": [1, 1], "pads": [1, 1]}
    run_family(DEPTHWISE, p, [channels_last(x), pack_depthwise(w)], [y])
    np.testing.assert_array_equal(np.isfinite(y), np.isfinite(wanted))


def test_epilogue() -> None:
    """clip(x + bias, 0, 6) * by-image scale + residual."""
    b = ExprBuilder()
    f = "float32"
    total = b.add(f, "add", b.operand(0, f), b.operand(1, f))
    clipped = b.add(f, "min", b.add(f, "max", total, b.const(0.0, f)), b.const(6.0, f))
    scaled = b.add(f, "mul", clipped, b.operand(2, f))
    expr = b.build(b.add(f, "add", scaled, b.operand(3, f)))
    p = {"dtype": f, "kernel": [3, 3], "strides": [1, 1], "dilations": [1, 1], "pads": [1, 1],
         "epilogue": expr.to_json(), "kinds": ["vector", "scalar", "vector"]}  # fmt: skip
    x, w = random(2, 19, 5, 7), random(19, 1, 3, 3, seed=1)
    bias, scale, residual = (
        random(1, 19, 1, 1, seed=2),
        random(2, 1, 1, 1, seed=3),
        channels_last(random(2, 19, 5, 7)),
    )
    wanted = np.clip(reference(x, w, (1, 1), (1, 1), (1, 1), (1, 1)) + bias, 0, 6) * scale + residual
    run_family(DEPTHWISE, p, [channels_last(x), pack_depthwise(w), bias, scale, residual], [residual])
    np.testing.assert_allclose(residual, wanted, rtol=0, atol=1e-5)


def test_operands_that_do_not_fit() -> None:
    p = {"dtype": "float32", "kernel": [3, 3], "strides": [1, 1], "dilations": [1, 1], "pads": [1, 1]}
    w = pack_depthwise(random(4, 1, 3, 3))
    with pytest.raises(CallError, match="do not fit"):
        run_family(DEPTHWISE, p, [channels_last(random(1, 5, 5, 5)), w], [channels_last(random(1, 5, 5, 5))])
    with pytest.raises(CallError, match="not adjacent"):
        run_family(DEPTHWISE, p, [random(1, 4, 5, 5), w], [random(1, 4, 5, 5)])


@pytest.mark.parametrize("change", [{"pads": [1]}, {"pads": [-1, 0]}, {"kernel": [0, 3]}, {"dtype": "bool"}])
def test_parameters_from_a_file_are_checked(change: dict[str, Any]) -> None:
    p = {"dtype": "float32", "kernel": [3, 3], "strides": [1, 1], "dilations": [1, 1], "pads": [1, 1]}
    DEPTHWISE.check(p)
    with pytest.raises(ArtifactError):
        DEPTHWISE.check({**p, **change})
