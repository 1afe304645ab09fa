"""Sampling ops, determinants, reversed sequences and pooling with indices against the reference."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from lower_harness import check_node, lower_node

import accelc
from accelc.errors import ArtifactError, CallError
from accelc.ir.pass_base import Refusal
from accelc.targets.numba_cpu.isa import Isa
from accelc.targets.numba_cpu.kernels.base import Tensor
from accelc.targets.numba_cpu.kernels.registry import family
from accelc.targets.numba_cpu.lower import linear_algebra, pool, vision

RNG = np.random.default_rng(77)


def normal(*shape: int, dtype: Any = np.float32) -> np.ndarray:
    return RNG.normal(size=shape).astype(dtype)


@pytest.mark.parametrize(
    ("spatial", "mode", "padding", "align"),
    [
        ((4, 5), "cubic", "zeros", 0),
        ((4, 5), "linear", "reflection", 1),
        ((6,), "nearest", "reflection", 0),
    ],
)
def test_grid_sample(spatial: tuple[int, ...], mode: str, padding: str, align: int) -> None:
    x = normal(2, 3, *spatial)
    grid = (RNG.random((2, *[2] * len(spatial), len(spatial))) * 3 - 1.5).astype(np.float32)
    attrs = {"mode": mode, "padding_mode": padding, "align_corners": align}
    check_node(vision.TABLE, "GridSample", [x, grid], attrs, atol=1e-4, threads=2)


def test_grid_sample_of_nan_stays_inside() -> None:
    grid = np.full((1, 1, 2, 2), np.nan, np.float32)
    grid[0, 0, 1] = 1e30
    attrs = {"padding_mode": "reflection", "align_corners": 1}
    found = lower_node(
        vision.TABLE, "GridSample", [normal(1, 1, 3, 3), grid], attrs, specs=[("float32", (1, 1, 1, 2))]
    )
    assert not isinstance(found, Refusal)


@pytest.mark.parametrize("mode", ["avg", "max"])
def test_roi_align(mode: str) -> None:
    rois = np.array([[0, 0, 7, 5], [2, 1, 30, 9], [3, 3, 3, 3]], np.float32)
    inputs = [normal(2, 3, 8, 10), rois, np.array([1, 0, 1], np.int64)]
    attrs = {"mode": mode, "output_height": 2, "output_width": 3, "spatial_scale": 0.7, "sampling_ratio": 2}
    check_node(vision.TABLE, "RoiAlign", inputs, attrs)


def test_deform_conv() -> None:
    x, w, bias = normal(2, 4, 5, 6), normal(6, 2, 2, 3), normal(6)
    offset, mask = normal(2, 2 * 2 * 6, 6, 6), normal(2, 2 * 6, 6, 6)
    attrs = {"group": 2, "offset_group": 2, "pads": [1, 1, 1, 1], "kernel_shape": [2, 3]}
    check_node(vision.TABLE, "DeformConv", [x, w, offset, bias, mask], attrs, atol=1e-4)


@pytest.mark.parametrize("order", [0, 1])
def test_max_pool_with_indices(order: int) -> None:
    attrs = {"kernel_shape": [2, 3], "strides": [2, 1], "pads": [1, 1, 0, 1], "storage_order": order}
    x = RNG.permutation(60).reshape(1, 2, 5, 6).astype(np.float32)
    wanted, places = [], []
    for plane in range(2):
        for i in range(0, 5, 2):
            for j in range(6):
                rows, columns = range(max(0, i - 1), min(5, i + 1)), range(max(0, j - 1), min(6, j + 2))
                best = max(
                    ((x[0, plane, r, c], r, c) for r in rows for c in columns), key=lambda item: item[0]
                )
                wanted.append(best[0])
                places.append(plane * 30 + (best[1] + best[2] * 5 if order else best[1] * 6 + best[2]))
    shape = (1, 2, 3, 6)
    expected = [np.array(wanted, np.float32).reshape(shape), np.array(places, np.int64).reshape(shape)]
    check_node(pool.TABLE, "MaxPool", [x], attrs, outputs=2, expected=expected)


def test_max_unpool() -> None:
    x = np.array([[[[1, 2], [3, 4]]]], np.float32)
    index = np.array([[[[5, 7], [13, 15]]]], np.int64)
    attrs = {"kernel_shape": [2, 2], "strides": [2, 2]}
    check_node(vision.TABLE, "MaxUnpool", [x, index], attrs)
    size = np.array([1, 1, 5, 5], np.int64)
    check_node(vision.TABLE, "MaxUnpool", [x, index, size], attrs, constant=(2,))


def test_det() -> None:
    x = normal(2, 3, 4, 4)
    x[0, 0, 1] = x[0, 0, 0]
    check_node(linear_algebra.TABLE, "Det", [x], atol=1e-4)


@pytest.mark.parametrize("batch_axis", [0, 1])
def test_reverse_sequence(batch_axis: int) -> None:
    x = RNG.integers(0, 99, (4, 3, 2)).astype(np.int32)
    lens = np.array([1, 3, 2, 0][: x.shape[batch_axis]], np.int64)
    attrs = {"batch_axis": batch_axis, "time_axis": 1 - batch_axis}
    check_node(linear_algebra.TABLE, "ReverseSequence", [x, lens], attrs)


def test_hardmax_takes_the_first() -> None:
    x = np.array([[3, 0, 3], [1, 2, 2]], np.float32)
    check_node(linear_algebra.TABLE, "Hardmax", [x], {"axis": 1})
    check_node(linear_algebra.TABLE, "Hardmax", [x], {"axis": 0})


def test_hardmax_and_one_hot_of_any_extent() -> None:
    text = """<ir_version: 10, opset_import: ["" : 21]>
    g (float[N,M] x, int64[K] i, float[2] v) => (float[N,M] y, float[K,D] z) {
        y = Hardmax (x)  d = Shape <start: int = 1> (x)  z = OneHot (i, d, v)
    }"""
    exe = accelc.compile(text, verify=False, strict=True)
    for shape in ((3, 4), (2, 0)):
        x = normal(*shape)
        y, z = exe.run(None, {"x": x, "i": np.array([0, -1, 9]), "v": np.array([1, 2], np.float32)})
        assert y.sum() == (3 if x.size else 0)
        assert z.tolist() == ([[2, 1, 1, 1], [1, 1, 1, 2], [1] * 4] if x.size else [[]] * 3)


def test_global_lp_pool() -> None:
    x = normal(2, 3, 4, 5)
    wanted = np.abs(x).astype(np.float64).sum(axis=(2, 3), keepdims=True).astype(np.float32)
    check_node(linear_algebra.TABLE, "GlobalLpPool", [x], {"p": 1}, expected=[wanted])
    cubes = (np.abs(x).astype(np.float64) ** 3).sum(axis=(2, 3), keepdims=True) ** (1 / 3)
    check_node(linear_algebra.TABLE, "GlobalLpPool", [x], {"p": 3}, expected=[cubes.astype(np.float32)])


def test_cum_prod() -> None:
    x = np.array([[1, 2, 3], [4, 5, 6]], np.float32)
    axis = np.asarray(np.int64(1))
    attrs = {"exclusive": 1, "reverse": 1}
    wanted = np.array([[6, 3, 1], [30, 6, 1]], np.float32)
    options: dict[str, Any] = {"expected": [wanted], "constant": (1,), "opset": 26}
    check_node(linear_algebra.TABLE, "CumProd", [x, axis], attrs, **options)


def test_parameters_and_shapes_are_checked() -> None:
    irregular = family("irregular")
    with pytest.raises(ArtifactError, match="must be one of"):
        irregular.check({"kind": "det", "dtype": "int8"})
    x = Tensor(0, "float32", (1, 2, 3), (6, 3, 1))
    y = Tensor(1, "float32", (1,), (1,))
    with pytest.raises(CallError, match="shapes do not fit together"):
        irregular.bind({"kind": "det", "dtype": "float32"}, [x], [y, x], Isa.host())
