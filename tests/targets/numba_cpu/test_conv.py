"""Convolutions and the padded copy against NumPy in float64."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from kernel_harness import run_family

from accelc.errors import ArtifactError, CallError
from accelc.targets.numba_cpu.isa import Isa
from accelc.targets.numba_cpu.kernels.conv import Conv
from accelc.targets.numba_cpu.kernels.expr import ExprBuilder
from accelc.targets.numba_cpu.kernels.packing import pack_convolution
from accelc.targets.numba_cpu.kernels.pad_copy import PadCopy
from accelc.targets.numba_cpu.kernels.tiles import choose_tile

CONV, PAD = Conv(), PadCopy()


def reference(x: np.ndarray, w: np.ndarray, strides: Any, dilations: Any, groups: int = 1) -> np.ndarray:
    """Convolution without pads, tap by tap, in float64."""
    rank = w.ndim - 2
    out = [(x.shape[2 + i] - (w.shape[2 + i] - 1) * dilations[i] - 1) // strides[i] + 1 for i in range(rank)]
    y = np.zeros((x.shape[0], w.shape[0], *out))
    per = w.shape[0] // groups
    channels = w.shape[1]
    for tap in np.ndindex(*w.shape[2:]):
        index = tuple(
            slice(t * d, t * d + (o - 1) * s + 1, s)
            for t, d, o, s in zip(tap, dilations, out, strides, strict=True)
        )
        window = x[(slice(None), slice(None), *index)].astype(np.float64)
        for g in range(groups):
            part = window[:, g * channels : (g + 1) * channels]
            weights = w[(slice(g * per, (g + 1) * per), slice(None), *tap)].astype(np.float64)
            y[:, g * per : (g + 1) * per] += np.einsum("nc...,oc->no...", part, weights)
    return y


def channels_last(x: np.ndarray) -> np.ndarray:
    """The same array, channels last in memory."""
    return np.moveaxis(np.ascontiguousarray(np.moveaxis(x, 1, -1)), -1, 1)


def empty(shape: tuple[int, ...], dtype: Any = np.float32) -> np.ndarray:
    return channels_last(np.full(shape, np.nan, dtype))


def relu_add(dtype: str = "float32") -> dict[str, Any]:
    """max(x + bias, 0) + residual."""
    b = ExprBuilder()
    relu = b.add(
        dtype, "max", b.add(dtype, "add", b.operand(0, dtype), b.operand(1, dtype)), b.const(0.0, dtype)
    )
    expr = b.build(b.add(dtype, "add", relu, b.operand(2, dtype)))
    return {"epilogue": expr.to_json(), "kinds": ["vector", "vector"]}


def params(
    w: np.ndarray,
    strides: Any = None,
    dilations: Any = None,
    groups: int = 1,
    isa: Isa | None = None,
    **more: Any,
) -> dict[str, Any]:
    rank = w.ndim - 2
    tile = choose_tile(isa or Isa.host(), w.dtype.name, None)
    return {
        "dtype": w.dtype.name, "mr": tile.mr, "nv": tile.nv, "groups": groups, "kernel": list(w.shape[2:]),
        "strides": list(strides or (1,) * rank), "dilations": list(dilations or (1,) * rank), **more,
    }  # fmt: skip


def convolve(
    x: np.ndarray,
    w: np.ndarray,
    p: dict[str, Any],
    operands: Any = (),
    isa: Isa | None = None,
    threads: int = 2,
) -> tuple[np.ndarray, np.ndarray]:
    """Kernel's result and NumPy's, before any epilogue."""
    wanted = reference(x, w, p["strides"], p["dilations"], p["groups"])
    y = empty(wanted.shape, w.dtype)
    nr = p["nv"] * (isa or Isa.host()).lanes(p["dtype"])
    packed = pack_convolution(w, p["groups"], nr)
    run_family(CONV, p, [channels_last(x), packed, *operands], [y], isa, threads)
    return y, wanted


def random(*shape: int, seed: int = 0, dtype: Any = np.float32) -> np.ndarray:
    return np.random.default_rng(seed).standard_normal(shape).astype(dtype)


def close(found: np.ndarray, wanted: np.ndarray, tolerance: float = 1e-5) -> None:
    np.testing.assert_allclose(
        found, wanted, rtol=0, atol=tolerance * max(1.0, np.abs(wanted).max(initial=0.0))
    )


@pytest.mark.parametrize(
    ("x", "w", "strides", "dilations"),
    [
        ((1, 3, 9, 11), (5, 3, 3, 3), (1, 1), (1, 1)),
        ((2, 4, 9, 8), (17, 4, 3, 2), (2, 1), (1, 1)),
        ((1, 3, 20, 20), (16, 3, 7, 7), (2, 2), (1, 1)),
        ((1, 130, 5, 5), (20, 130, 3, 3), (1, 1), (1, 1)),
        ((3, 2, 9, 12), (4, 2, 3, 3), (1, 2), (2, 3)),
        ((1, 8, 7, 6), (9, 8, 1, 1), (2, 2), (1, 1)),
        ((2, 3, 40), (6, 3, 5), (2,), (3,)),
        ((2, 3, 5, 6, 7), (6, 3, 2, 3, 2), (1, 2, 1), (2, 1, 1)),
        ((0, 3, 5, 5), (4, 3, 3, 3), (1, 1), (1, 1)),
        ((1, 1, 1, 1), (1, 1, 1, 1), (1, 1), (1, 1)),
    ],
)
def test_shapes(x: tuple[int, ...], w: tuple[int, ...], strides: Any, dilations: Any) -> None:
    weight = random(*w, seed=1)
    close(*convolve(random(*x), weight, params(weight, strides, dilations)))


@pytest.mark.parametrize("groups", [2, 4, 8])
def test_groups(groups: int) -> None:
    w = random(24, 8 // groups, 3, 3, seed=1)
    close(*convolve(random(2, 8, 7, 6), w, params(w, groups=groups)))


@pytest.mark.parametrize("batch", [1, 2])
@pytest.mark.parametrize("groups", [1, 2])
def test_epilogue(batch: int, groups: int) -> None:
    w = random(20, 4 // groups, 3, 3, seed=1)
    bias, residual = random(1, 20, 1, 1, seed=2), channels_last(random(batch, 20, 6, 5, seed=3))
    x = random(batch, 4, 8, 7)
    p = params(w, groups=groups, **relu_add())
    y, plain = convolve(x, w, p, (bias, residual))
    close(y, np.maximum(plain + bias, 0) + residual)


def test_operand_by_image() -> None:
    """A vector for each image: pixels of different images have no common stride."""
    w = random(20, 4, 3, 3, seed=1)
    scale, residual = random(3, 20, 1, 1, seed=2), channels_last(random(3, 20, 6, 5, seed=3))
    p = params(w, **relu_add())
    y, plain = convolve(random(3, 4, 8, 7), w, p, (scale, residual))
    close(y, np.maximum(plain + scale, 0) + residual)


def test_other_forms() -> None:
    """512-bit vectors; float64."""
    isa = Isa.host(512)
    w = random(21, 5, 3, 3, seed=1)
    close(*convolve(random(1, 5, 8, 7), w, {**params(w, isa=isa), "mr": 4, "nv": 1}, isa=isa))
    w = random(21, 5, 3, 3, seed=1, dtype=np.float64)
    close(
        *convolve(random(1, 5, 8, 7, dtype=np.float64), w, {**params(w), "mr": 2, "nv": 1}), tolerance=1e-13
    )


def test_nan_stays_in_its_windows() -> None:
    x, w = random(1, 3, 8, 8), random(4, 3, 3, 3, seed=1)
    x[0, 1, 0, 0], x[0, 2, 7, 7] = np.nan, np.inf
    y, wanted = convolve(x, w, params(w))
    np.testing.assert_array_equal(np.isnan(y), np.isnan(wanted))
    np.testing.assert_array_equal(np.isinf(y), np.isinf(wanted))


def test_windows_outside_the_input_are_refused() -> None:
    w = random(4, 3, 3, 3)
    p = params(w)
    packed = pack_convolution(w, 1, p["nv"] * Isa.host().lanes("float32"))
    with pytest.raises(CallError, match="window leaves"):
        run_family(CONV, p, [channels_last(random(1, 3, 5, 5)), packed], [empty((1, 4, 4, 3))])
    with pytest.raises(CallError, match="weights do not fit"):
        run_family(CONV, p, [channels_last(random(1, 5, 5, 5)), packed], [empty((1, 4, 3, 3))])
    with pytest.raises(CallError, match="not adjacent"):
        run_family(CONV, p, [random(1, 3, 5, 5), packed], [empty((1, 4, 3, 3))])


@pytest.mark.parametrize(
    "change",
    [{"groups": 0}, {"groups": True}, {"kernel": [3]}, {"kernel": []}, {"strides": [0, 1]}, {"dilations": [1, "1"]},
     {"mr": 0}, {"dtype": "int8"}, {"kinds": [1]}],
)  # fmt: skip
def test_parameters_from_a_file_are_checked(change: dict[str, Any]) -> None:
    with pytest.raises(ArtifactError):
        CONV.check({**params(random(4, 3, 3, 3)), **change})
    with pytest.raises(ArtifactError):
        PAD.check({"dtype": "float32", "pads": [-1], "flat": True})


@pytest.mark.parametrize("flat", [True, False])
@pytest.mark.parametrize(
    ("shape", "pads", "after"),
    [((2, 3, 4, 5), (1, 2), (0, 1)), ((1, 19, 3, 1), (0, 0), (2, 0)), ((2, 4, 6), (3,), (1,)),
     ((1, 2, 3, 4, 2), (1, 0, 2), (1, 1, 0)), ((1, 3, 0, 4), (1, 1), (1, 1)), ((0, 3, 2, 4), (1, 1), (1, 1))],
)  # fmt: skip
def test_pad_copy(shape: tuple[int, ...], pads: tuple[int, ...], after: tuple[int, ...], flat: bool) -> None:
    x = random(*shape)
    widths = [(0, 0), (0, 0), *zip(pads, after, strict=True)]
    wanted = np.pad(x, widths)
    y = empty(wanted.shape)
    p = {"dtype": "float32", "pads": list(pads), "flat": flat}
    run_family(PAD, p, [channels_last(x) if flat else x], [y], threads_simulated=2)
    np.testing.assert_array_equal(y, wanted)
