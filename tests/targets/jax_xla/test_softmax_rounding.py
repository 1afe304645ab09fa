"""A softmax whose operand is a product: what it subtracts the maximum from is rounded first."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from accelc.targets.jax_xla.lower_softmax import probabilities


@pytest.mark.parametrize("count", [1, 7, 1000])
def test_large_equal_logits_share_alike(count: int) -> None:
    """A multiplication contracted with the subtraction would leave half a unit of 1e9, 32 and more, to exp."""
    sums = np.full((1, count), 1.6045e12, np.float32)
    shares = jax.jit(lambda x: probabilities(x * np.float32(1 / 169), 1))(sums)
    np.testing.assert_allclose(np.asarray(shares), 1 / count, rtol=1e-6)


def test_gradient_is_that_of_jax() -> None:
    x = jnp.asarray(np.linspace(-2, 3, 12, dtype=np.float32).reshape(3, 4))
    weights = jnp.arange(12.0).reshape(3, 4)
    ours = jax.grad(lambda x: (probabilities(x, 1) * weights).sum())(x)
    theirs = jax.grad(lambda x: (jax.nn.softmax(x, 1) * weights).sum())(x)
    np.testing.assert_allclose(np.asarray(ours), np.asarray(theirs), rtol=1e-5, atol=1e-6)


def test_special_values() -> None:
    x = np.array([[np.nan, 1, 2], [-np.inf, 0, 0], [np.inf, 0, 0]], np.float32)
    shares = np.asarray(probabilities(jnp.asarray(x), 1))
    assert np.isnan(shares[0]).all()
    np.testing.assert_allclose(shares[1], [0, 0.5, 0.5], rtol=1e-6)
    assert np.isnan(shares[2][0])
