"""3x3 convolutions by minimal filtering against NumPy in float64, and when they are chosen."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from kernel_harness import run_family

from accelc.errors import ArtifactError, CallError
from accelc.targets.numba_cpu.isa import Isa
from accelc.targets.numba_cpu.kernels.expr import ExprBuilder
from accelc.targets.numba_cpu.kernels.winograd import Winograd, pack_winograd
from accelc.targets.numba_cpu.lower.winograd import choose_filtering

WINOGRAD = Winograd()
LANES = Isa.host().lanes("float32")
BOUND = {2: 3e-6, 4: 3e-5}


def random(*shape: int, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).standard_normal(shape).astype(np.float32)


def channels_last(x: np.ndarray) -> np.ndarray:
    return np.moveaxis(np.ascontiguousarray(np.moveaxis(x, 1, -1)), -1, 1)


def whole_tiles(x: np.ndarray, m: int) -> np.ndarray:
    """Input with one zero before and enough after each spatial dim."""
    after = [-(-extent // m) * m + 1 - extent for extent in x.shape[2:]]
    return channels_last(np.pad(x, [(0, 0), (0, 0), (1, after[0]), (1, after[1])]))


def reference(x: np.ndarray, w: np.ndarray) -> np.ndarray:
    """Convolution with one zero around, in float64."""
    padded = np.pad(x.astype(np.float64), [(0, 0), (0, 0), (1, 1), (1, 1)])
    high, wide = x.shape[2:]
    windows = [
        np.einsum("nchw,oc->nohw", padded[:, :, i : i + high, j : j + wide], w[:, :, i, j].astype(np.float64))
        for i in range(3)
        for j in range(3)
    ]
    return np.sum(windows, axis=0)


def params(m: int, **more: Any) -> dict[str, Any]:
    return {"dtype": "float32", "mr": 4, "nv": 2, "m": m, **more}


@pytest.mark.parametrize("threads", [1, 3])
@pytest.mark.parametrize("m", [2, 4])
@pytest.mark.parametrize(
    ("images", "channels", "columns", "high", "wide"),
    [(1, 1, 1, 4, 4), (2, 2, 3, 5, 7), (1, 3, 9, 1, 1), (1, 1, 1, 21, 22), (3, 1, 2, 2, 9), (0, 1, 1, 4, 4)],
)
def test_shapes(images: int, channels: int, columns: int, high: int, wide: int, m: int, threads: int) -> None:
    x = random(images, channels * LANES, high, wide)
    w = random(columns * LANES, channels * LANES, 3, 3, seed=1) / np.float32(channels * LANES)
    y = channels_last(np.full((images, columns * LANES, high, wide), np.nan, np.float32))
    packed = pack_winograd(w, m, 2 * LANES)
    run_family(WINOGRAD, params(m), [whole_tiles(x, m), packed], [y], threads_simulated=threads)
    wanted = reference(x, w)
    np.testing.assert_allclose(y, wanted, rtol=0, atol=BOUND[m] * max(1.0, np.abs(wanted).max(initial=0.0)))


def test_epilogue() -> None:
    """max(x + bias, 0) * by-image scale + residual, in the residual's memory."""
    b, f = ExprBuilder(), "float32"
    relu = b.add(f, "max", b.add(f, "add", b.operand(0, f), b.operand(1, f)), b.const(0.0, f))
    expr = b.build(b.add(f, "add", b.add(f, "mul", relu, b.operand(2, f)), b.operand(3, f)))
    p = params(4, epilogue=expr.to_json(), kinds=["vector", "scalar", "vector"])
    x, w = random(2, LANES, 6, 5), random(3 * LANES, LANES, 3, 3, seed=1)
    bias, scale = random(1, 3 * LANES, 1, 1), random(2, 1, 1, 1, seed=2)
    residual = channels_last(random(2, 3 * LANES, 6, 5, seed=3))
    wanted = np.maximum(reference(x, w) + bias, 0) * scale + residual
    operands = [whole_tiles(x, 4), pack_winograd(w, 4, 2 * LANES), bias, scale, residual]
    run_family(WINOGRAD, p, operands, [residual])
    np.testing.assert_allclose(residual, wanted, rtol=0, atol=3e-5 * np.abs(wanted).max())


def test_wide_vectors() -> None:
    isa = Isa.host(512)
    x, w = random(1, 16, 5, 6), random(32, 16, 3, 3, seed=1)
    y = channels_last(np.zeros((1, 32, 5, 6), np.float32))
    run_family(WINOGRAD, {**params(2), "nv": 1}, [whole_tiles(x, 2), pack_winograd(w, 2, 16)], [y], isa)
    np.testing.assert_allclose(y, reference(x, w), rtol=0, atol=3e-5)


def test_operands_that_do_not_fit() -> None:
    w = pack_winograd(random(LANES, LANES, 3, 3), 2, 2 * LANES)
    y = channels_last(random(1, LANES, 4, 4))
    with pytest.raises(CallError, match="window leaves"):
        run_family(WINOGRAD, params(2), [channels_last(random(1, LANES, 5, 6)), w], [y])
    with pytest.raises(CallError, match="weights do not fit"):
        run_family(WINOGRAD, params(2), [channels_last(random(1, 2 * LANES, 6, 6)), w], [y])
    with pytest.raises(CallError, match="not adjacent"):
        run_family(WINOGRAD, params(2), [random(1, LANES, 6, 6), w], [y])


@pytest.mark.parametrize("change", [{"m": 3}, {"m": True}, {"mr": 0}, {"dtype": "int8"}])
def test_parameters_from_a_file_are_checked(change: dict[str, Any]) -> None:
    with pytest.raises(ArtifactError):
        WINOGRAD.check({**params(2), **change})


def test_choice() -> None:
    # Large images: the form with the fewest products. Few pixels: weights are what costs, direct or F(2,3).
    assert choose_filtering((1, 64, 56, 56), 64, (3, 3), True, 8) == 4
    assert choose_filtering((1, 512, 7, 7), 512, (3, 3), True, 8) in (None, 2)
    assert choose_filtering((1, 64, 1, 1), 64, (3, 3), True, 8) is None
    assert choose_filtering(("N", 64, 56, 56), 64, (3, 3), True, 8) == 4
    # What the kernels do not do.
    assert choose_filtering((1, 64, "H", 56), 64, (3, 3), True, 8) is None
    assert choose_filtering((1, 64, 56, 56), 3, (3, 3), True, 8) is None
    assert choose_filtering((1, 65, 56, 56), 64, (3, 3), True, 8) is None
    assert choose_filtering((1, 64, 56, 56), 64, (5, 5), True, 8) is None
    assert choose_filtering((1, 64, 56, 56), 64, (3, 3), False, 8) is None
