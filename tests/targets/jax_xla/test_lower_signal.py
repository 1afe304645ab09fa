"""Signals, losses, random draws and optimizers."""

from __future__ import annotations

import numpy as np
import pytest

pytest.importorskip("jax", reason="the xla target needs JAX (accelc[jax])")

from lowering_harness import Case, case, check, lowered, run

RNG = np.random.default_rng(6)


def normal(*shape: int) -> np.ndarray:
    return RNG.standard_normal(shape).astype(np.float32)


@pytest.mark.parametrize("length", [None, 6, 9, 12])
def test_dft(length: int | None) -> None:
    given = None if length is None else np.array(length)
    real, pairs = normal(2, 9, 1), normal(2, 9, 2)
    axis = np.array(1)
    check(
        *(case("DFT", real, given, axis, onesided=n, atol=1e-5) for n in (0, 1)),
        case("DFT", pairs, given, axis, atol=1e-5),
        case("DFT", pairs, given, axis, inverse=1, atol=1e-5),
        case("DFT", pairs, given, axis=1, version=17, atol=1e-5),
    )


def test_one_sided_inverse_gives_the_signal_back() -> None:
    x = normal(1, 8, 1)
    (spectrum,) = lowered("DFT", x, None, np.array(1), onesided=1)
    (y,) = lowered("DFT", spectrum, np.array(8), np.array(1), inverse=1, onesided=1)
    np.testing.assert_allclose(y, x, atol=1e-6)


def test_stft_and_windows() -> None:
    x, window = normal(1, 32, 1), normal(8)
    check(
        case("STFT", x, np.array(4), window, np.array(8), atol=1e-5),
        case("STFT", x, np.array(3), window, onesided=0, atol=1e-5),
        *(
            case(f"{name}Window", np.array(9), periodic=periodic)
            for name in ("Hann", "Hamming", "Blackman")
            for periodic in (0, 1)
        ),
        case("MelWeightMatrix", *(np.array(n) for n in (8, 16, 8192)), np.float32(0), np.float32(4096)),
    )


@pytest.mark.parametrize("reduction", ["none", "sum", "mean"])
def test_losses(reduction: str) -> None:
    x, target, weight = normal(3, 5, 4), RNG.integers(0, 5, (3, 4)), np.abs(normal(5))
    check(
        case("NegativeLogLikelihoodLoss", x, target, reduction=reduction),
        case("NegativeLogLikelihoodLoss", x, target, weight, reduction=reduction, ignore_index=2),
        case("SoftmaxCrossEntropyLoss", x, target, reduction=reduction, outputs=2),
        case(
            "SoftmaxCrossEntropyLoss", x[:, :, 0], target[:, 0], weight, reduction=reduction, ignore_index=-1
        ),
    )


def test_draws_have_their_statistics() -> None:
    shape = (80, 100)
    normals, uniforms, coins, classes = (
        outputs[0]
        for outputs in run(
            [
                case("RandomNormal", shape=shape, mean=2.0, scale=3.0),
                case("RandomUniformLike", np.zeros(shape, np.float16), low=-1.0, high=0.5),
                case("Bernoulli", np.full(shape, 0.3), dtype=7),
                case("Multinomial", np.log([[0.2, 0.8], [0.5, 0.5]]), sample_size=4000),
            ]
        )
    )
    assert abs(normals.mean() - 2) < 0.15
    assert abs(normals.std() - 3) < 0.15
    assert uniforms.dtype == np.float16
    assert -1 <= uniforms.min() < uniforms.max() <= 0.5
    assert abs(uniforms.astype(np.float64).mean() + 0.25) < 0.05
    assert coins.dtype == np.int64
    assert abs(coins.mean() - 0.3) < 0.03
    np.testing.assert_allclose(classes.mean(1), [0.8, 0.5], atol=0.04)


def test_seeds_without_a_key_repeat_and_keys_decide() -> None:
    draws = [Case("RandomUniform", (), {"shape": (8,), "seed": seed}) for seed in (0.5, 0.5, 1.5)]
    keyed = [Case("RandomUniform", (), {"shape": (8,), "seed": 0.5}, seed=key) for key in (1, 2)]
    first, second, third, *others = (outputs[0] for outputs in run([*draws, *keyed]))
    np.testing.assert_array_equal(first, second)
    assert (first != third).any()
    assert (others[0] != others[1]).any()


def by_reference(each: Case) -> list[np.ndarray]:
    """Outputs of a case of a preview domain by ONNX's reference."""
    import onnx
    from onnx.reference import ReferenceEvaluator

    names = [f"x{i}" for i in range(len(each.operands))]
    outputs = [f"y{i}" for i in range(each.outputs)]
    node = onnx.helper.make_node(each.op_type, names, outputs, domain=each.domain, **each.attrs)
    graph = onnx.helper.make_graph(
        [node],
        "one",
        [onnx.helper.make_tensor_value_info(name, onnx.TensorProto.FLOAT, None) for name in names],
        [onnx.helper.make_tensor_value_info(name, onnx.TensorProto.FLOAT, None) for name in outputs],
    )
    model = onnx.helper.make_model(graph, opset_imports=[onnx.helper.make_opsetid(each.domain, each.version)])
    found = ReferenceEvaluator(model).run(None, dict(zip(names, each.operands, strict=True)))
    return [np.asarray(y, np.float32) for y in found]


@pytest.mark.parametrize("step", [0, 3])
def test_optimizers(step: int) -> None:
    rate, count = np.float32(0.1), np.array(step, np.int64)
    x, g, v, h = ([normal(2, 2), normal(3)] for _ in range(4))
    h = [np.abs(array) for array in h]
    common = {"norm_coefficient": 0.01, "alpha": 0.9, "beta": 0.8}
    cases = [
        case(
            "Adagrad",
            rate,
            count,
            *x,
            *g,
            *h,
            outputs=4,
            decay_factor=0.1,
            epsilon=1e-3,
            norm_coefficient=0.01,
        ),
        case(
            "Adam", rate, count, *x, *g, *v, *h, outputs=6, epsilon=1e-3, norm_coefficient_post=0.1, **common
        ),
        *(
            case("Momentum", rate, count, *x, *g, *v, outputs=4, mode=m, **common)
            for m in ("standard", "nesterov")
        ),
    ]
    for each in cases:
        each.domain, each.version, each.atol = "ai.onnx.preview.training", 1, 1e-5
        each.expected = by_reference(each)
    check(*cases)
