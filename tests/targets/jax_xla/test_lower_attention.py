"""Attention and RotaryEmbedding in all their forms against ONNX's reference."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

pytest.importorskip("jax", reason="the xla target needs JAX (accelc[jax])")

from lowering_harness import case, check, lowered

RNG = np.random.default_rng(4)


def normal(*shape: int) -> np.ndarray:
    return RNG.standard_normal(shape).astype(np.float32)


def heads(queries: int = 4, keys: int = 4, steps: int = 3, positions: int = 5) -> list[np.ndarray]:
    return [normal(2, queries, steps, 8), normal(2, keys, positions, 8), normal(2, keys, positions, 6)]


MASKS = [
    RNG.random((3, 5)) > 0.4,
    RNG.random((2, 1, 1, 5)) > 0.4,
    normal(4, 3, 5),
    normal(2, 4, 3, 4),  # shorter than the keys: the rest is masked
]


def test_masks_and_caps() -> None:
    q, k, v = heads()
    check(
        case("Attention", q, k, v),
        case("Attention", q, k, v, scale=0.5, softcap=1.5, is_causal=1),
        *(case("Attention", q, k, v, mask) for mask in MASKS),
        case("Attention", q, k, v, MASKS[2], is_causal=1),
        *(
            case(
                "Attention", q, k, v, MASKS[2], outputs=4, qk_matmul_output_mode=mode, softcap=2.0, atol=1e-5
            )
            for mode in (1, 2, 3)
        ),
        case("Attention", q, k, v, MASKS[2], outputs=4, qk_matmul_output_mode=0, atol=1e-5),
    )


def test_the_plain_product_is_not_capped() -> None:
    q, k, v = heads()
    product = lowered("Attention", q, k, v, outputs=4, qk_matmul_output_mode=0, softcap=0.1, scale=1.0)[3]
    np.testing.assert_allclose(product, q @ k.swapaxes(2, 3), rtol=1e-4, atol=1e-5)


def test_groups_caches_and_flat_inputs() -> None:
    q, k, v = heads(queries=6, keys=2)
    past = normal(2, 2, 4, 8), normal(2, 2, 4, 6)
    flat = [normal(2, 3, 4 * 8), normal(2, 5, 2 * 8), normal(2, 5, 2 * 6)]
    lengths = np.array([5, 3], np.int64)
    check(
        case("Attention", q, k, v),
        case("Attention", q, k, v, None, *past, outputs=3, is_causal=1),
        case("Attention", q, k, v, None, None, None, lengths, is_causal=1),
        case("Attention", *flat, q_num_heads=4, kv_num_heads=2),
    )


def test_queries_that_see_nothing_give_zeros() -> None:
    mask = np.ones((3, 5), bool)
    mask[1] = False
    (y,) = lowered("Attention", *heads(), mask)
    assert not y[:, :, 1].any()
    assert np.isfinite(y).all()


@pytest.mark.parametrize("attrs", [{}, {"is_causal": 1}, {"scale": 0.3}])
def test_library_attention_on_accelerators_is_the_same(attrs: dict[str, Any]) -> None:
    q, k, v = heads(queries=4, keys=2)
    other = normal(2, 2, 5, 8)
    check(*(case("Attention", q, k, values, platform="cuda", atol=1e-5, **attrs) for values in (v, other)))


def test_rotary_embedding() -> None:
    x, angles = normal(2, 4, 3, 8), normal(10, 4)
    caches = np.cos(angles), np.sin(angles)
    places = RNG.integers(0, 10, (2, 3))
    half = angles[:, :2]
    check(
        case("RotaryEmbedding", x, *caches, places),
        case("RotaryEmbedding", x, *caches, places, interleaved=1),
        case("RotaryEmbedding", x, np.cos(half), np.sin(half), places, rotary_embedding_dim=4),
        case("RotaryEmbedding", normal(2, 3, 32), *(c[:6].reshape(2, 3, 4) for c in caches), num_heads=4),
    )
