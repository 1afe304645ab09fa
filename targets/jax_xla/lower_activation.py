"""Activation functions, element by element; half floats are computed in float32.

Source: https://onnx.ai/onnx/operators/
"""

from __future__ import annotations

from collections.abc import Callable
from functools import wraps
from typing import TYPE_CHECKING, Any

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax

from accelc.targets.jax_xla.context import Ctx
from accelc.targets.jax_xla.lower_math import wide
from accelc.targets.jax_xla.table import LoweringTable

if TYPE_CHECKING:
    from accelc.targets.jax_xla.table import Array

TABLE = LoweringTable()

MISH_IS_IDENTITY = 20.0
"""From here on Mish is ``x`` to the last bit of a float64."""
SELU_ALPHA = 1.67326319217681884765625
SELU_GAMMA = 1.05070102214813232421875


def _activation(
    op_type: str, since: int = 1
) -> Callable[[Callable[..., jax.Array]], Callable[..., jax.Array]]:
    """Register ``function(x, **attributes)``, given ``x`` in at least float32; the result is in its own dtype."""

    def register(function: Callable[..., jax.Array]) -> Callable[..., jax.Array]:
        @TABLE.op(op_type, since=since)
        @wraps(function)
        def lowering(ctx: Ctx, x: Array, **attributes: Any) -> jax.Array:
            return function(wide(x), **attributes).astype(x.dtype)

        return function

    return register


@TABLE.op("Relu")
def relu(ctx: Ctx, x: Array) -> jax.Array:
    """``max(x, 0)``, of integers too; NaN stays."""
    return jnp.maximum(x, np.zeros((), x.dtype))


@_activation("LeakyRelu")
def leaky_relu(x: jax.Array, *, alpha: float = 0.01) -> jax.Array:
    """``x``, its negative elements times ``alpha``."""
    return jnp.where(x < 0, x * alpha, x)


@_activation("ThresholdedRelu")
def thresholded_relu(x: jax.Array, *, alpha: float = 1.0) -> jax.Array:
    """``x`` above ``alpha``, else 0."""
    return jnp.where(x > alpha, x, 0)


@_activation("Elu")
def elu(x: jax.Array, *, alpha: float = 1.0) -> jax.Array:
    """``alpha * (exp(x) - 1)`` below 0."""
    return jnp.where(x < 0, alpha * jnp.expm1(jnp.minimum(x, 0)), x)


@_activation("Celu")
def celu(x: jax.Array, *, alpha: float = 1.0) -> jax.Array:
    """``alpha * (exp(x / alpha) - 1)`` below 0, continuously differentiable."""
    # Bounded before the exponential, so that the gradient of large numbers is no product of 0 and infinity.
    return jnp.maximum(x, 0) + jnp.minimum(0, alpha * jnp.expm1(jnp.minimum(x, 0) / alpha))


@_activation("Selu", since=6)
def selu(x: jax.Array, *, alpha: float = SELU_ALPHA, gamma: float = SELU_GAMMA) -> jax.Array:
    """``gamma`` times the Elu of ``x``."""
    return gamma * jnp.where(x > 0, x, alpha * jnp.expm1(jnp.minimum(x, 0)))


@_activation("Selu", since=1)
def rounded_selu(x: jax.Array, *, alpha: float = 1.6732, gamma: float = 1.0507) -> jax.Array:
    """``Selu`` before opset 6: the constants have fewer digits."""
    return selu(x, alpha=alpha, gamma=gamma)


@_activation("HardSigmoid")
def hard_sigmoid(x: jax.Array, *, alpha: float = 0.2, beta: float = 0.5) -> jax.Array:
    """``alpha * x + beta`` within 0 and 1."""
    return jnp.clip(alpha * x + beta, 0, 1)


@_activation("HardSwish")
def hard_swish(x: jax.Array) -> jax.Array:
    """``x`` times ``x / 6 + 1 / 2`` within 0 and 1."""
    return x * jnp.clip(x * (1 / 6) + 0.5, 0, 1)


@_activation("Gelu")
def gelu(x: jax.Array, *, approximate: str = "none") -> jax.Array:
    """``x`` times the normal distribution at ``x``, or its form by tanh."""
    if approximate == "tanh":
        return 0.5 * x * (1 + jnp.tanh(np.sqrt(2 / np.pi).item() * (x + 0.044715 * x * x * x)))
    return 0.5 * x * (1 + lax.erf(x * np.sqrt(0.5).item()))


@_activation("Mish")
def mish(x: jax.Array) -> jax.Array:
    """``x * tanh(softplus(x))``."""
    # tanh(log(1 + e)) is ((1 + e) ** 2 - 1) / ((1 + e) ** 2 + 1), and 1 well before e overflows.
    e = jnp.exp(jnp.minimum(x, MISH_IS_IDENTITY))
    n = e * (e + 2)
    return x * (n / (n + 2))


@_activation("Softplus")
def softplus(x: jax.Array) -> jax.Array:
    """``log(1 + exp(x))``, without overflow."""
    return jnp.asarray(jax.nn.softplus(x))


@_activation("Softsign")
def softsign(x: jax.Array) -> jax.Array:
    """``x / (1 + |x|)``."""
    return x / (1 + jnp.abs(x))


@_activation("Shrink")
def shrink(x: jax.Array, *, bias: float = 0.0, lambd: float = 0.5) -> jax.Array:
    """0 within ``lambd``, else nearer to 0 by ``bias``."""
    return jnp.where(x < -lambd, x + bias, jnp.where(x > lambd, x - bias, 0))


@_activation("Swish")
def swish(x: jax.Array, *, alpha: float = 1.0) -> jax.Array:
    """``x * sigmoid(alpha * x)``."""
    return x * jax.nn.sigmoid(alpha * x)


@TABLE.op("SwiGLU")
def swiglu(ctx: Ctx, gate: Array, value: Array, *, alpha: float = 1.0) -> jax.Array:
    """``swish(gate) * value``. Source: ONNX SwiGLU-28."""
    return (swish(wide(gate), alpha=alpha) * wide(value)).astype(gate.dtype)
