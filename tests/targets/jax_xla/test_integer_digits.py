"""Products of integers computed in float32 are exact, however many terms are summed."""

from __future__ import annotations

import numpy as np
import pytest

pytest.importorskip("jax", reason="the xla target needs JAX (accelc[jax])")

from lowering_harness import case, check

from accelc.targets.jax_xla.integer_digits import BITS, EXACT, LARGEST, digit_bits


@pytest.mark.parametrize("terms", [0, 1, 257, 258, 576, 2304, 4608, 60000, 10**6])
def test_partial_sums_stay_where_float32_is_exact(terms: int) -> None:
    bits = digit_bits(terms)
    digit = LARGEST if bits == BITS else (1 << bits) - 1
    assert terms * LARGEST * digit < EXACT or bits == 0


def test_the_largest_sums_of_all_lengths() -> None:
    """All elements as far from zero as they can be, and random ones; 258 terms need two digits, 9000 need four."""
    cases = []
    for terms in (257, 258, 9000, 70000):
        a, b = np.full((1, terms), 255, np.uint8), np.full((terms, 1), -128, np.int8)
        exact = np.array([[255 * -255 * terms]]).astype(np.int32)
        zero = np.int8(127)
        cases += [
            case("MatMulInteger", a, b, None, zero, platform=platform, expected=[exact])
            for platform in ("cpu", "cuda")
        ]
    rng = np.random.default_rng(0)
    a, b = rng.integers(0, 256, (2, 3, 700)), rng.integers(-128, 128, (700, 5))
    exact = ((a - 120) @ (b + 3)).astype(np.int32)
    operands = (a.astype(np.uint8), b.astype(np.int8), np.uint8(120), np.int8(-3))
    check(*cases, case("MatMulInteger", *operands, platform="tpu", precision="bf16", expected=[exact]))


def test_convolutions_of_many_channels() -> None:
    rng = np.random.default_rng(1)
    x, w = rng.integers(0, 256, (1, 96, 5, 5)), rng.integers(-128, 128, (4, 96, 3, 3))
    windows = np.lib.stride_tricks.sliding_window_view(x - 7, (3, 3), axis=(2, 3))
    exact = np.einsum("nchwij,mcij->nmhw", windows, w + 5).astype(np.int32)
    operands = (x.astype(np.uint8), w.astype(np.int8), np.uint8(7), np.int8(-5))
    check(
        *(case("ConvInteger", *operands, platform=platform, expected=[exact]) for platform in ("cpu", "cuda"))
    )
