"""Pools against ONNX's reference, by shifted images and by XLA's own windows; MaxUnpool and Col2Im."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

pytest.importorskip("jax", reason="the xla target needs JAX (accelc[jax])")

from lowering_harness import case, check, lowered, onnxruntime_says

RNG = np.random.default_rng(2)


def normal(*shape: int) -> np.ndarray:
    return RNG.standard_normal(shape).astype(np.float32)


def pooled(
    x: np.ndarray, kernel: int, stride: int, dilation: int, pad: int, ceil: bool, include: bool, op: str
) -> Any:
    """Any of the pools of one image plane, window by window."""
    span = (kernel - 1) * dilation + 1
    room = x.shape[0] + 2 * pad - span
    count = (-(-room // stride) if ceil else room // stride) + 1
    if ceil and (count - 1) * stride >= x.shape[0] + pad:
        count -= 1
    y = np.zeros((count, count))
    for i in range(count):
        for j in range(count):
            rows, columns = ([start * stride - pad + t * dilation for t in range(kernel)] for start in (i, j))
            values = [x[r, c] for r in rows for c in columns if 0 <= r < x.shape[0] and 0 <= c < x.shape[1]]
            within = sum(
                -pad <= r < x.shape[0] + pad and -pad <= c < x.shape[1] + pad for r in rows for c in columns
            )
            if op == "MaxPool":
                y[i, j] = max(values, default=-np.inf)
            elif op == "LpPool":
                y[i, j] = np.sqrt(np.sum(np.square(values)))
            else:
                y[i, j] = np.sum(values) / (within if include else len(values))
    return y


@pytest.mark.parametrize("op", ["MaxPool", "AveragePool", "LpPool"])
def test_windows(op: str) -> None:
    cases = []
    for _ in range(5):
        kernel, stride, dilation, extent = (
            int(RNG.integers(*ends)) for ends in ((1, 5), (1, 4), (1, 3), (7, 10))
        )
        pad = int(RNG.integers(0, 2)) if kernel > 1 else 0
        ceil, include = (bool(n) for n in RNG.integers(0, 2, 2))
        x = normal(1, 2, extent, extent)
        attrs: dict[str, Any] = {
            "kernel_shape": [kernel] * 2,
            "strides": [stride] * 2,
            "dilations": [dilation] * 2,
        }
        attrs |= {"pads": [pad] * 4, "ceil_mode": int(ceil)}
        if op == "AveragePool":
            attrs["count_include_pad"] = int(include)
        planes = [pooled(plane, kernel, stride, dilation, pad, ceil, include, op) for plane in x[0]]
        expected = np.stack(planes)[None].astype(np.float32)
        cases += [
            case(op, x, **attrs, expected=[expected], platform=platform) for platform in ("cpu", "cuda")
        ]
    check(*cases)


def test_nan_is_the_maximum() -> None:
    x = normal(1, 1, 4, 4)
    x[0, 0, 1, 1] = np.nan
    (y,) = lowered("MaxPool", x, kernel_shape=[2, 2])
    assert np.isnan(y[0, 0, 0, 0])
    assert np.isfinite(y[0, 0, 2, 2])


@pytest.mark.parametrize("storage_order", [0, 1])
def test_places(storage_order: int) -> None:
    x = RNG.integers(0, 5, (2, 2, 5, 4)).astype(np.float32)
    kept = {"kernel_shape": [2, 2], "strides": [2, 1], "storage_order": storage_order}
    values, places = lowered("MaxPool", x, outputs=2, **kept)
    assert places.dtype == np.int64
    flat = (x.swapaxes(2, 3) if storage_order else x).reshape(-1)
    np.testing.assert_array_equal(flat[places], values)


def test_integers_large_kernels_and_automatic_pads() -> None:
    x = RNG.integers(-128, 127, (1, 1, 6, 6)).astype(np.int8)
    plane = normal(1, 1, 5, 6)
    cases = [
        case("MaxPool", x, kernel_shape=[3, 3], pads=[1, 1, 1, 1]),
        case("AveragePool", normal(1, 1, 70), kernel_shape=[60], rtol=1e-4, atol=1e-5),
    ]
    cases += [
        case("MaxPool", plane, kernel_shape=[2, 3], strides=[2, 2], auto_pad=pad)
        for pad in ("SAME_UPPER", "SAME_LOWER", "VALID")
    ]
    for each in cases:
        each.expected = onnxruntime_says(each)
    check(*cases)


def test_global_pools() -> None:
    x = normal(2, 3, 4, 5)
    powers = [(np.abs(x.astype(np.float64)) ** p).sum((2, 3), keepdims=True) ** (1 / p) for p in (1, 2, 3)]
    check(
        case("GlobalAveragePool", x),
        case("GlobalMaxPool", x),
        *(case("GlobalLpPool", x, p=p, expected=[powers[p - 1].astype(np.float32)]) for p in (1, 2, 3)),
    )


def test_max_unpool_puts_values_back() -> None:
    x = normal(1, 2, 4, 4)
    values, places = lowered("MaxPool", x, outputs=2, kernel_shape=[2, 2], strides=[2, 2])
    (y,) = lowered("MaxUnpool", values, places, kernel_shape=[2, 2], strides=[2, 2])
    np.testing.assert_array_equal(y.reshape(-1)[places], values)
    assert np.count_nonzero(y) == values.size
    wanted = np.array([1, 2, 5, 5])
    (y,) = lowered("MaxUnpool", values, places, wanted, kernel_shape=[2, 2], strides=[2, 2])
    np.testing.assert_array_equal(y[:, :, 4], 0)


def test_col2im() -> None:
    columns = normal(1, 2 * 4, 9)
    check(case("Col2Im", columns, np.array([4, 4]), np.array([2, 2])))
