import numpy as np
import pytest
from kernel_harness import run_family

from accelc.targets.numba_cpu.isa import Isa
from accelc.targets.numba_cpu.kernels.attention import Attention


def expected(q, k, v, mask, scale, causal):
    group = q.shape[1] // k.shape[1]
    k, v = (np.repeat(x.astype(np.float64), group, axis=1) for x in (k, v))
    scores = q.astype(np.float64) @ k.swapaxes(-1, -2) * scale
    if mask is not None:
        scores = scores + (np.where(mask, 0.0, -np.inf) if mask.dtype == bool else mask)
    if causal:
        rows, keys = scores.shape[-2:]
        scores = np.where(np.tril(np.ones((rows, keys), bool)), scores, -np.inf)
    scores = scores - scores.max(axis=-1, keepdims=True)
    weights = np.exp(scores)
    return weights / weights.sum(axis=-1, keepdims=True) @ v


def compare(shape, keys, width, *, mask=None, causal=False, kv_heads=None, isa=None, threads=1):
    rng = np.random.default_rng(0)
    batch, heads, rows, depth = shape
    q = rng.standard_normal((batch, rows, heads, depth), np.float32).transpose(0, 2, 1, 3)
    k = rng.standard_normal((batch, kv_heads or heads, keys, depth), np.float32)
    v = rng.standard_normal((batch, keys, kv_heads or heads, width), np.float32).transpose(0, 2, 1, 3)
    kind = "none" if mask is None else "bool" if mask.dtype == bool else "float"
    out = np.full((batch, rows, heads, width), np.nan, np.float32).transpose(0, 2, 1, 3)
    params = {"mask": kind, "causal": causal, "scale": 0.3}
    run_family(Attention(), params, [q, k, v, mask], [out], isa, threads)
    np.testing.assert_allclose(out, expected(q, k, v, mask, 0.3, causal), rtol=2e-5, atol=2e-5)


@pytest.mark.parametrize(
    ("shape", "keys", "width"),
    [
        ((1, 1, 1, 1), 1, 1),
        ((2, 3, 7, 5), 9, 3),
        ((1, 2, 128, 64), 128, 64),
        ((1, 2, 197, 64), 197, 64),
        ((1, 1, 100, 16), 33, 24),
    ],
)
def test_sizes(shape: tuple[int, ...], keys: int, width: int) -> None:
    compare(shape, keys, width, threads=2)


def test_empty_batch_and_rows() -> None:
    compare((0, 2, 4, 8), 4, 8)
    compare((1, 2, 0, 8), 4, 8)


@pytest.mark.parametrize("mask_shape", [(2, 3, 17, 21), (1, 1, 17, 21), (2, 1, 1, 21), (17, 21), (21,)])
def test_float_masks_broadcast(mask_shape: tuple[int, ...]) -> None:
    mask = np.random.default_rng(1).standard_normal(mask_shape).astype(np.float32)
    compare((2, 3, 17, 8), 21, 8, mask=mask)


def test_bool_mask() -> None:
    mask = np.random.default_rng(1).random((17, 21)) < 0.7
    mask[:, 0] = True
    compare((2, 3, 17, 8), 21, 8, mask=mask)


def test_causal_and_shared_heads() -> None:
    compare((1, 4, 19, 8), 19, 8, causal=True, kv_heads=2)


def test_minus_infinity_hides_keys_and_nan_spreads() -> None:
    mask = np.zeros((5, 9), np.float32)
    mask[1, 3:] = -np.inf
    compare((1, 1, 5, 4), 9, 4, mask=mask)
    q, k, v = (np.ones((1, 1, n, 4), np.float32) for n in (5, 9, 9))
    q[0, 0, 2] = np.nan
    out = np.zeros((1, 1, 5, 4), np.float32)
    run_family(Attention(), {"mask": "none", "causal": False, "scale": 1.0}, [q, k, v, None], [out])
    assert np.isnan(out[0, 0, 2]).all()
    assert np.isfinite(np.delete(out, 2, axis=2)).all()


@pytest.mark.parametrize("bits", [128, 512])
def test_other_widths(bits: int) -> None:
    compare((1, 2, 23, 12), 37, 20, isa=Isa.host(bits))
