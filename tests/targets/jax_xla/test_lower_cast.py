"""Casts in JAX against what NumPy and ml_dtypes say, and quantisation against ONNX's reference."""

from __future__ import annotations

from typing import Any

import ml_dtypes
import numpy as np
import onnx_ir as ir
import pytest

pytest.importorskip("jax", reason="the xla target needs JAX (accelc[jax])")

from lowering_harness import Case, case, check, lowered, run

from accelc.targets.host_ops.narrow_types import convert

RNG = np.random.default_rng(0)
TYPE = ir.DataType
FLOATS = (TYPE.FLOAT8E4M3FN, TYPE.FLOAT8E4M3FNUZ, TYPE.FLOAT8E5M2, TYPE.FLOAT8E5M2FNUZ, TYPE.FLOAT4E2M1)
SHORT = (TYPE.INT4, TYPE.UINT4, TYPE.INT2, TYPE.UINT2, TYPE.INT8, TYPE.UINT8, TYPE.INT16, TYPE.UINT16)
EDGES = [np.nan, np.inf, -np.inf, 0.0, -0.0, 2**-127, 2**-128, 1e-45, 1.5, 1.75, 3.4e38, 240, 448, 464, 57344]
ALL_SIZES = np.concatenate(
    [(RNG.standard_normal(400) * 10.0 ** RNG.uniform(-38, 37, 400)), np.array(EDGES)]
).astype(np.float32)


def bits(x: np.ndarray) -> np.ndarray:
    """Bit patterns, all NaNs of a dtype alike."""
    lost = np.isnan(x.astype(np.float32))
    return np.where(lost, -1, x.view(f"u{x.dtype.itemsize}").astype(np.int64))


def test_narrow_floats_to_the_bit() -> None:
    cases = [
        (Case("Cast", (x,), {"to": int(to), "saturate": saturate}), x, to, saturate)
        for to in (*FLOATS, TYPE.BFLOAT16, TYPE.FLOAT16)
        for saturate in (0, 1)
        for x in (ALL_SIZES, ALL_SIZES.astype(ml_dtypes.bfloat16))
        if saturate or x is ALL_SIZES
    ]
    for (y,), (_, x, to, saturate) in zip(run([each for each, *_ in cases]), cases, strict=True):
        assert np.array_equal(bits(y), bits(convert(x, to.numpy(), saturate=bool(saturate)))), (to, saturate)


@pytest.mark.parametrize("round_mode", ["up", "down", "nearest"])
def test_powers_of_two_to_the_bit(round_mode: str) -> None:
    cases = [
        Case("Cast", (ALL_SIZES,), {"to": int(TYPE.FLOAT8E8M0), "saturate": s, "round_mode": round_mode})
        for s in (0, 1)
    ]
    for saturate, (y,) in enumerate(run(cases)):
        expected = convert(ALL_SIZES, y.dtype, saturate=bool(saturate), round_mode=round_mode)
        assert np.array_equal(bits(y), bits(expected))


def test_integers_that_do_not_fit_lose_their_upper_bits() -> None:
    x = np.arange(-40, 300, 7).astype(np.float32) + np.float32(0.3)
    sources = (x, x.astype(np.int32))
    cases = [
        case("Cast", s, to=int(to), expected=[s.astype(np.int32).astype(to.numpy())])
        for to in SHORT
        for s in sources
    ]
    check(*cases)


def test_narrow_types_to_wide_ones() -> None:
    x = np.array([0, 1, 2, 3, 4, 6], np.float32)
    names = ("int4", "uint4", "float8_e4m3fn", "float8_e5m2fnuz", "float4_e2m1fn", "bfloat16")
    sources = [x.astype(getattr(ml_dtypes, name)) for name in names]
    sources.append(np.array([1, 2, 4], ml_dtypes.float8_e8m0fnu))
    wide = (TYPE.FLOAT, TYPE.INT64, TYPE.BOOL)
    check(
        *(
            case("Cast", s, to=int(to), expected=[s.astype(np.float32).astype(to.numpy())])
            for s in sources
            for to in wide
        )
    )


def test_truth_and_bits() -> None:
    x = np.array([0.0, -0.0, 1e-45, -1e-40, np.nan, np.inf, 2], np.float32)
    check(
        case("Cast", x, to=int(TYPE.BOOL), expected=[x != 0]),
        case("Cast", x, to="BOOL", version=1, expected=[x != 0]),
        case("CastLike", x, np.zeros(1, np.float64), expected=[x.astype(np.float64)]),
        case("BitCast", x, to=int(TYPE.INT32), version=26, expected=[x.view(np.int32)]),
        case("BitCast", x != 0, to=int(TYPE.INT8), version=26, expected=[(x != 0).view(np.int8)]),
    )


@pytest.mark.parametrize(
    "zero",
    [
        np.uint8(100),
        np.int16(3),
        np.array(1, ml_dtypes.int4),
        np.array(3, ml_dtypes.uint4),
        np.array(0, ml_dtypes.float8_e4m3fn),
    ],
    ids=lambda zero: str(zero.dtype),
)
def test_quantisation(zero: Any) -> None:
    """Per tensor, per slice, per block; from the quantised tensor back."""
    x = RNG.standard_normal((2, 3, 8)).astype(np.float32) * 20
    slices, blocks = np.float32([0.37, 1, 3]), np.abs(RNG.standard_normal((2, 3, 3))).astype(np.float32) + 0.2
    forms: list[tuple[Any, Any, dict[str, int]]] = [
        (np.float32(0.37), zero, {}),
        (slices, np.stack([zero] * 3), {"axis": -2}),
        (blocks, np.full(blocks.shape, zero), {"axis": 2, "block_size": 3}),
    ]
    there = [case("QuantizeLinear", x, scale, shift, **attrs) for scale, shift, attrs in forms]
    quantized = [outputs[0] for outputs in check(*there)]
    pairs = zip(quantized, forms, strict=True)
    check(*(case("DequantizeLinear", q, scale, shift, **attrs) for q, (scale, shift, attrs) in pairs))


def test_quantisation_to_what_is_named() -> None:
    x = RNG.standard_normal((3, 4)).astype(np.float32) * 20
    check(
        case("QuantizeLinear", x, np.float32(0.37)),
        case("QuantizeLinear", x, np.float32(0.37), output_dtype=int(TYPE.INT8)),
        case("QuantizeLinear", x, np.float16(0.37), np.int8(2), expected=[_by_half(x)]),
        case("DynamicQuantizeLinear", x, outputs=3),
        case("DynamicQuantizeLinear", np.abs(x) + 1, outputs=3),
    )
    y, scale, zero = lowered("DynamicQuantizeLinear", np.zeros((2, 2), np.float32), outputs=3)
    assert not y.any()
    assert scale == 0
    assert zero == 0


def _by_half(x: np.ndarray) -> np.ndarray:
    quotient = (x.astype(np.float16) / np.float16(0.37)).astype(np.float32)
    return np.clip(np.rint(quotient) + 2, -128, 127).astype(np.int8)


def test_integer_products() -> None:
    a = RNG.integers(0, 255, (2, 3, 4)).astype(np.uint8)
    b = RNG.integers(-128, 127, (2, 4, 5)).astype(np.int8)
    rows, columns = np.uint8([1, 2, 3]), np.int8([1, 2, 3, 4, 5])
    shifted = (a[0].astype(int) - rows[:, None]) @ (b[0].astype(int) - columns)
    long = np.full((2, 70000), 255, np.uint8)  # sums beyond what float32 holds
    check(
        case("MatMulInteger", a, b, np.uint8(12), np.int8(-3)),
        case("MatMulInteger", a, b),
        case("MatMulInteger", a[0], b[0], rows, columns, expected=[shifted.astype(np.int32)]),
        case(
            "MatMulInteger", long[:1], long.T[:, :1] - np.uint8(248), expected=[np.int32([[255 * 7 * 70000]])]
        ),
        case(
            "QLinearMatMul",
            *(
                a,
                np.float32(0.01),
                np.uint8(113),
                b,
                np.float32(0.02),
                np.int8(2),
                np.float32(0.03),
                np.int8(3),
            ),
        ),
    )


def test_integer_convolution() -> None:
    x, w = (RNG.integers(0, 255, shape).astype(np.uint8) for shape in ((1, 3, 5, 5), (4, 3, 3, 3)))
    scales, zeros = np.float32([0.03, 0.02, 0.01, 0.04]), np.uint8([100, 90, 80, 3])
    bias = RNG.integers(-900, 900, 4).astype(np.int32)
    first = (x, np.float32(0.02), np.uint8(120), w)
    last = (np.float32(1.1), np.uint8(128))
    check(
        case("QLinearConv", *first, np.float32(0.03), np.uint8(100), *last),
        case("QLinearConv", *first, scales, zeros, *last, bias, pads=[1, 1, 1, 1], strides=[2, 2]),
    )
