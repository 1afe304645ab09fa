"""Convolutions: each fast form against ONNX's reference, and what windows may look like."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

pytest.importorskip("jax", reason="the xla target needs JAX (accelc[jax])")

import jax
import onnx_ir as ir
from lowering_harness import case, check, lowered, onnxruntime_says

from accelc.targets.jax_xla.context import Ctx
from accelc.targets.jax_xla.convolution import convolve
from accelc.targets.jax_xla.windows import windows

RNG = np.random.default_rng(1)


def normal(*shape: int) -> np.ndarray:
    return RNG.standard_normal(shape).astype(np.float32)


def direct(
    x: np.ndarray, w: np.ndarray, strides: int, dilation: int, pad: tuple[int, int], group: int
) -> np.ndarray:
    """A two-dimensional convolution by its definition, in float64."""
    wide = np.pad(x.astype(np.float64), ((0, 0), (0, 0), pad, pad))
    kernel = w.shape[2]
    out = [(n - (kernel - 1) * dilation - 1) // strides + 1 for n in wide.shape[2:]]
    y = np.zeros((x.shape[0], w.shape[0], *out))
    inner = w.shape[1]
    each = w.shape[0] // group
    for m in range(w.shape[0]):
        channels = wide[:, (m // each) * inner : (m // each + 1) * inner]
        for i in range(kernel):
            for j in range(kernel):
                row, column = i * dilation, j * dilation
                seen = channels[
                    :,
                    :,
                    row : row + (out[0] - 1) * strides + 1 : strides,
                    column : column + (out[1] - 1) * strides + 1 : strides,
                ]
                y[:, m] += np.einsum("nchw,c->nhw", seen, w[m, :, i, j].astype(np.float64))
    return y


FORMS = {
    "pointwise": (3, 5, 1),
    "depthwise": (4, 4, 4),
    "grouped": (4, 6, 2),
    "multiplied": (3, 6, 3),
    "plain": (3, 4, 1),
}
"""Channels in, channels out, groups."""


@pytest.mark.parametrize("form", FORMS)
def test_forms(form: str) -> None:
    channels, out, group = FORMS[form]
    cases = []
    for _ in range(4):
        kernel = 1 if form == "pointwise" else int(RNG.integers(1, 4))
        stride, dilation, batch = (int(RNG.integers(1, top)) for top in (4, 3, 3))
        before, after = (int(n) for n in RNG.integers(0, 3, 2))
        x, w = normal(batch, channels, *RNG.integers(5, 9, 2)), normal(out, channels // group, kernel, kernel)
        expected = direct(x, w, stride, dilation, (before, after), group).astype(np.float32)
        attrs = {"strides": [stride] * 2, "dilations": [dilation] * 2, "group": group}
        attrs["pads"] = [before, before, after, after]
        cases.append(case("Conv", x, w, **attrs, expected=[expected], rtol=1e-4, atol=1e-5))
    check(*cases)


@pytest.mark.parametrize(("image", "kernel"), [
    ((2, 3, 9, 8), (4, 2)), ((1, 2, 11), (3,)), ((1, 2, 5, 4, 7), (2, 4, 3)), ((0, 3, 4, 4), (2, 2)),
    ((1, 1, 3, 3), (3, 3)),
])  # fmt: skip
def test_windows_side_by_side_are_a_product(image: tuple[int, ...], kernel: tuple[int, ...]) -> None:
    x, w, b = normal(*image), normal(5, image[1], *kernel), normal(5)
    options = {"strides": list(kernel), "rtol": 1e-4, "atol": 1e-5}
    check(case("Conv", x, w, b, **options), case("Conv", x, w, **options))


def test_windows_side_by_side_have_a_gradient() -> None:
    x, w = normal(1, 2, 4, 6), normal(3, 2, 2, 3)
    shape = windows(x.shape[2:], w.shape[2:], strides=(2, 3))

    def total(platform: str, x: Any, w: Any) -> Any:
        ctx = Ctx(ir.node("Conv", []), 22, platform=platform)
        return jax.numpy.sin(convolve(ctx, x, w, shape)).sum()

    for ours, theirs in zip(*(jax.grad(total, (1, 2))(each, x, w) for each in ("cpu", "cuda")), strict=True):
        np.testing.assert_allclose(ours, theirs, rtol=1e-4, atol=1e-5)


def test_channels_last_on_accelerators_is_the_same() -> None:
    x, w, b = normal(1, 4, 6, 6), normal(4, 1, 3, 3), normal(4)
    options = {"pads": [1, 1, 1, 1], "group": 4, "rtol": 1e-4, "atol": 1e-5}
    check(*(case("Conv", x, w, b, platform=platform, **options) for platform in ("cuda", "tpu", "cpu")))


def test_auto_pad_and_other_ranks() -> None:
    x, w, b = normal(1, 2, 7, 6), normal(3, 2, 3, 2), normal(3)
    pads = ("SAME_UPPER", "SAME_LOWER", "VALID")
    check(
        *(case("Conv", x, w, b, auto_pad=pad, strides=[2, 1], rtol=1e-4) for pad in pads),
        *(
            case("Conv", normal(2, 2, *(6,) * rank), normal(3, 2, *(3,) * rank), b, rtol=1e-4, atol=1e-5)
            for rank in (1, 3)
        ),
    )


def test_empty_batch_and_channels() -> None:
    (y,) = lowered("Conv", normal(0, 2, 5, 5), normal(3, 2, 3, 3))
    assert y.shape == (0, 3, 3, 3)
    (y,) = lowered("Conv", normal(1, 0, 5, 5), normal(3, 0, 3, 3), np.arange(3, dtype=np.float32))
    assert (y == np.arange(3)[:, None, None]).all()


def test_half_precision_is_summed_wide() -> None:
    x, w = np.ones((1, 512, 3, 3), np.float16), np.full((1, 512, 3, 3), 0.5, np.float16)
    (y,) = lowered("Conv", x, w)
    assert y.dtype == np.float16
    assert y.item() == 2304


def test_conv_transpose() -> None:
    forms: list[dict[str, Any]] = [
        {},
        {"strides": [2, 3], "pads": [1, 0, 1, 2], "output_padding": [1, 0]},
        {"strides": [2, 2], "auto_pad": "SAME_UPPER"},
        {"strides": [3, 2], "output_shape": [10, 8]},
        {"dilations": [2, 2], "pads": [1, 1, 1, 1]},
    ]
    x, w, b = normal(1, 2, 3, 3), normal(2, 3, 3, 3), normal(3)
    cases = [case("ConvTranspose", x, w, b, rtol=1e-4, atol=1e-5, **form) for form in forms]
    x, w = normal(1, 4, 4, 4), normal(4, 2, 3, 3)
    cases.append(case("ConvTranspose", x, w, group=2, strides=[2, 2], rtol=1e-4, atol=1e-5))
    for each in cases:
        each.expected = onnxruntime_says(each)
    check(*cases)


def test_conv_integer() -> None:
    x = RNG.integers(0, 255, (1, 2, 5, 5)).astype(np.uint8)
    w = RNG.integers(0, 255, (3, 2, 3, 3)).astype(np.uint8)
    zeros = np.array(7, np.uint8), np.array(3, np.uint8)
    check(case("ConvInteger", x, w, *zeros, pads=[1, 1, 1, 1]))


def test_deform_conv() -> None:
    x, w = normal(1, 4, 6, 6), normal(2, 2, 3, 3)
    offset = RNG.uniform(-2, 2, (1, 2 * 9 * 2, 4, 4)).astype(np.float32)
    mask = RNG.uniform(0, 1, (1, 2 * 9, 4, 4)).astype(np.float32)
    check(case("DeformConv", x, w, offset, normal(2), mask, group=2, offset_group=2, rtol=1e-4, atol=1e-5))
