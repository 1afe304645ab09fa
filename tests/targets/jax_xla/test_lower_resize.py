"""Resizing, sampling and regions in JAX against ONNX's reference."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

pytest.importorskip("jax", reason="the xla target needs JAX (accelc[jax])")

from lowering_harness import case, check, lowered

from accelc.errors import LoweringError

RNG = np.random.default_rng(0)
X = RNG.standard_normal((1, 2, 5, 4)).astype(np.float32)
PLACES = ("half_pixel", "half_pixel_symmetric", "pytorch_half_pixel", "align_corners", "asymmetric")
MODES = ("nearest", "linear", "cubic")


def ints(*values: int) -> np.ndarray:
    return np.array(values, np.int64)


@pytest.mark.parametrize("mode", MODES)
def test_places(mode: str) -> None:
    """By scales up and down; corners align with those of the true extent, as onnxruntime has it."""
    cases = [
        case("Resize", X, None, np.float32([1, 1, *scales]), mode=mode, coordinate_transformation_mode=place)
        for place in PLACES
        for scales in ((2, 2), (1.5, 0.6))
        if place != "align_corners" or scales == (2, 2)
    ]
    cases += [
        case("Resize", X, None, None, ints(3, 7), axes=[2, 3], mode=mode),
        case("Resize", X, None, None, ints(7, 3), axes=[3, 2], mode=mode),
        case("Resize", X[:, :, :1], None, None, ints(1, 2, 3, 1), mode=mode),
    ]
    cases += [
        case("Resize", X, None, None, ints(7, 8), axes=[2, 3], mode=mode, keep_aspect_ratio_policy=policy)
        for policy in ("not_larger", "not_smaller")
    ]
    crop = {"coordinate_transformation_mode": "tf_crop_and_resize", "extrapolation_value": 9.0}
    roi = np.float32([0.2, 0.3, 0.9, 1.2])
    check(*cases, case("Resize", X, roi, None, ints(3, 7), axes=[2, 3], mode=mode, **crop))


def test_rounding_of_positions() -> None:
    roundings = ("round_prefer_floor", "round_prefer_ceil", "floor", "ceil")
    scales: list[tuple[Any, str]] = [((1, 1, 2, 3), "half_pixel"), ((1, 1, 0.7, 1.3), "asymmetric")]
    check(
        *(
            case("Resize", X, None, np.float32(s), nearest_mode=r, coordinate_transformation_mode=place)
            for r in roundings
            for s, place in scales
        )
    )


@pytest.mark.parametrize("mode", ["linear", "cubic"])
def test_kernels(mode: str) -> None:
    check(
        case("Resize", X, None, np.float32([1, 1, 0.6, 0.3]), mode=mode, antialias=1),
        case("Resize", X, None, None, ints(1, 2, 7, 2), mode=mode, antialias=1, exclude_outside=1),
        case(
            "Resize", X, None, np.float32([1, 1, 1.7, 0.6]), mode=mode, exclude_outside=1, cubic_coeff_a=-0.5
        ),
        case("Resize", (X * 50).astype(np.int8), None, np.float32([1, 1, 1.7, 0.6]), mode=mode),
        case("Resize", X.astype(np.float16), None, np.float32([1, 1, 1.7, 0.6]), mode=mode),
    )


def test_old_forms() -> None:
    twice = X.repeat(2, 2).repeat(2, 3)
    scales = np.float32([1, 1, 2, 2])
    check(
        case("Resize", X, scales, version=10, expected=[twice]),
        case("Upsample", X, scales, version=9, expected=[twice]),
        case("Upsample", X, version=7, scales=[1.0, 1.0, 2.0, 2.0], expected=[twice]),
        case("Upsample", X, version=1, width_scale=2.0, height_scale=2.0, expected=[twice]),
    )


def test_a_crop_needs_its_part() -> None:
    with pytest.raises(LoweringError, match="needs the start and the end of each axis"):
        lowered(
            "Resize", X, None, None, ints(1, 2, 3, 3), coordinate_transformation_mode="tf_crop_and_resize"
        )


@pytest.mark.parametrize("mode", MODES)
def test_grid_samples(mode: str) -> None:
    image, volume = (
        RNG.standard_normal(shape).astype(np.float32) for shape in ((1, 2, 4, 5), (1, 1, 2, 3, 4))
    )
    places = (RNG.standard_normal((1, 3, 4, 2)) * 1.3).astype(np.float32)
    deep = (RNG.standard_normal((1, 1, 2, 2, 3)) * 1.3).astype(np.float32)
    options = [("zeros", 0), ("border", 1), ("reflection", 0)]
    options += [("zeros", 1), ("border", 0), ("reflection", 1)] if mode != "cubic" else []
    flat = [
        case("GridSample", image, places, mode=mode, padding_mode=p, align_corners=a, atol=1e-5)
        for p, a in options
    ]
    if mode != "cubic":  # the same sums over 64 taps
        flat.append(case("GridSample", volume, deep, mode=mode, padding_mode="border", atol=1e-5))
    check(*flat)


def test_affine_grids() -> None:
    flat, deep = (RNG.standard_normal(shape).astype(np.float32) for shape in ((2, 2, 3), (2, 3, 4)))
    check(
        *(case("AffineGrid", flat, ints(2, 1, 3, 5), align_corners=a) for a in (0, 1)),
        *(case("AffineGrid", deep, ints(2, 1, 3, 5, 4), align_corners=a) for a in (0, 1)),
    )


@pytest.mark.parametrize("mode", ["avg", "max"])
def test_aligned_regions(mode: str) -> None:
    """Regions within the image, across its edge, and empty ones."""
    image = RNG.standard_normal((2, 3, 6, 5)).astype(np.float32)
    rois = np.float32([[0, 0, 3, 3], [1.2, 0.4, 4.7, 2.1], [-2, -2, 9, 9], [3, 3, 1, 1]])
    batch = ints(0, 1, 1, 0)
    check(
        *(
            case(
                *("RoiAlign", image, rois, batch),
                mode=mode,
                coordinate_transformation_mode=place,
                sampling_ratio=ratio,
                output_height=3,
                output_width=2,
                spatial_scale=0.9,
            )
            for place, ratio in (("half_pixel", 0), ("output_half_pixel", 2))
        )
    )


def test_pooled_regions() -> None:
    """Against a loop over the parts, as the layer's first description has it (Girshick 2015)."""
    image = RNG.standard_normal((2, 3, 4, 5)).astype(np.float32)
    rois = np.float32([[0, 0, 0, 3, 3], [1, 1.2, 0.6, 4.7, 2.1], [1, 3, 3, 1, 1], [0, 9, 9, 12, 12]])
    expected = np.zeros((4, 3, 2, 3), np.float32)
    for r, (n, x1, y1, x2, y2) in enumerate(rois):
        left, top, right, bottom = (int(np.floor(v * 0.8 + 0.5)) for v in (x1, y1, x2, y2))
        high, wide = max(bottom - top + 1, 1) / 2, max(right - left + 1, 1) / 3
        for p, q in np.ndindex(2, 3):
            rows = slice(int(np.floor(p * high)) + top, int(np.ceil((p + 1) * high)) + top)
            columns = slice(int(np.floor(q * wide)) + left, int(np.ceil((q + 1) * wide)) + left)
            part = image[int(n), :, rows, columns]
            expected[r, :, p, q] = part.max(axis=(1, 2)) if part.size else 0
    check(case("MaxRoiPool", image, rois, pooled_shape=[2, 3], spatial_scale=0.8, expected=[expected]))
