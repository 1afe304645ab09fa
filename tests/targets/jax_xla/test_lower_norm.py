"""Normalisations, softmaxes and dropout against ONNX's reference."""

from __future__ import annotations

import numpy as np
import pytest

pytest.importorskip("jax", reason="the xla target needs JAX (accelc[jax])")

from lowering_harness import case, check, lowered, run

RNG = np.random.default_rng(3)


def normal(*shape: int) -> np.ndarray:
    return RNG.standard_normal(shape).astype(np.float32)


def batch_operands(channels: int, *rest: int) -> list[np.ndarray]:
    return [normal(3, channels, *rest), *(normal(channels) for _ in range(3)), np.abs(normal(channels)) + 0.1]


def test_batch_normalization() -> None:
    plain = batch_operands(4, 3, 2)
    check(
        case("BatchNormalization", *plain, epsilon=1e-2),
        case("BatchNormalization", *batch_operands(5), epsilon=0.0),
        case("BatchNormalization", *plain, outputs=3, training_mode=1, momentum=0.3, atol=1e-5),
        case("BatchNormalization", *(x.astype(np.float16) for x in plain)),
    )


def test_other_norms() -> None:
    x, two = normal(2, 4, 3, 3), normal(4)
    rows, weights = normal(3, 4, 5), normal(5)
    check(
        case("InstanceNormalization", x, two, two, epsilon=1e-3, atol=1e-5),
        case("LayerNormalization", rows, weights, weights, outputs=3, atol=1e-5),
        case("LayerNormalization", rows, normal(4, 5), axis=1, epsilon=0.1, atol=1e-5),
        case("RMSNormalization", rows, weights, atol=1e-5),
        case("RMSNormalization", rows, normal(4, 5), axis=-2, epsilon=0.0, atol=1e-5),
        case("GroupNormalization", x, two, two, num_groups=2, atol=1e-5),
        case("MeanVarianceNormalization", x, atol=1e-5),
        case("MeanVarianceNormalization", x, axes=[1], atol=1e-5),
        case("LpNormalization", x, axis=1, p=1, expected=[x / np.abs(x).sum(1, keepdims=True)]),
    )


def test_layer_norm_of_halves_is_computed_wide() -> None:
    x = (np.arange(64, dtype=np.float16) * 32).reshape(1, 64)
    (y,) = lowered("LayerNormalization", x, np.ones(64, np.float16))
    assert y.dtype == np.float16
    assert np.isfinite(y).all()


def test_lrn() -> None:
    x = normal(1, 6, 2, 2)
    cases = []
    for size in (1, 4, 5):
        squares = np.stack(
            [
                np.square(x[:, max(0, c - (size - 1) // 2) : c + size // 2 + 1], dtype=np.float64).sum(1)
                for c in range(6)
            ],
            axis=1,
        )
        for beta in (0.75, 0.5):
            expected = (x / (1.5 + 0.5 / size * squares) ** beta).astype(np.float32)
            cases.append(case("LRN", x, size=size, alpha=0.5, beta=beta, bias=1.5, expected=[expected]))
    check(*cases)


def test_zero_norms_give_zeros() -> None:
    (y,) = lowered("LpNormalization", np.zeros((2, 3), np.float32))
    assert not y.any()


@pytest.mark.parametrize("op", ["Softmax", "LogSoftmax", "Hardmax"])
def test_softmaxes(op: str) -> None:
    x = normal(2, 3, 4)
    check(
        *(case(op, x, axis=axis) for axis in (0, 1, -1)), case(op, x), case(op, np.zeros((2, 0), np.float32))
    )
    flat, whole = run([case(op, x, axis=1, version=11), case(op, x.reshape(2, 12), axis=1)])
    np.testing.assert_allclose(flat[0].reshape(2, 12), whole[0], rtol=1e-6)


def test_softmax_of_extremes() -> None:
    x = np.array([[1e30, -1e30], [np.inf, 0], [-np.inf, 0]], np.float32)
    (y,) = lowered("Softmax", x)
    np.testing.assert_array_equal(y[0], [1, 0])
    assert np.isnan(y[1, 0])
    np.testing.assert_array_equal(y[2], [0, 1])


def test_dropout_drops_the_share_and_keeps_the_mean() -> None:
    x, options = np.ones((50, 100), np.float32), {"outputs": 2, "seed": 7}
    settings = [(0.25, True), (0.25, False), (0.0, True)]
    found = run(
        [case("Dropout", x, np.float32(share), np.array(mode), **options) for share, mode in settings]
    )
    y, mask = found[0]
    assert abs(mask.mean() - 0.75) < 0.03
    np.testing.assert_array_equal(y != 0, mask)
    np.testing.assert_allclose(y[mask], 1 / 0.75, rtol=1e-6)
    for y, mask in found[1:]:
        np.testing.assert_array_equal(y, x)
        assert mask.all()
