"""Optimizers of ai.onnx.preview.training: one step of Adagrad, Adam or Momentum for any number of tensors.

Operands are the rate, the step count, then as many tensors of each kind as there are.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import jax.numpy as jnp

from accelc.targets.jax_xla.context import Ctx
from accelc.targets.jax_xla.table import LoweringTable

if TYPE_CHECKING:
    import jax

    from accelc.targets.jax_xla.table import Array

TABLE = LoweringTable()
DOMAIN = "ai.onnx.preview.training"


def _each(kinds: int, operands: tuple[Array, ...], step: Callable[..., tuple[jax.Array, ...]]) -> Any:
    """Apply ``step`` to each tensor with its gradient and states; results by kind, then by tensor."""
    arrays = [jnp.asarray(x) for x in operands]
    count = len(arrays) // kinds
    steps = [step(*(arrays[kind * count + i] for kind in range(kinds))) for i in range(count)]
    kept = [[s.astype(arrays[i].dtype) for s in results] for i, results in enumerate(steps)]
    return tuple(results[kind] for kind in range(kinds - 1) for results in kept)


@TABLE.op("Adagrad", domain=DOMAIN)
def adagrad(
    ctx: Ctx,
    rate: Array,
    count: Array,
    *operands: Array,
    decay_factor: float = 0.0,
    epsilon: float = 0.0,
    norm_coefficient: float = 0.0,
) -> Any:
    """``x - rate * g / (sqrt(sum of g^2) + epsilon)``. Source: ONNX Adagrad-1."""
    adjusted = jnp.asarray(rate) / (1 + jnp.asarray(count) * decay_factor)

    def step(x: jax.Array, g: jax.Array, h: jax.Array) -> tuple[jax.Array, ...]:
        total = norm_coefficient * x + g
        squares = h + total * total
        return x - adjusted * total / (jnp.sqrt(squares) + epsilon), squares

    return _each(3, operands, step)


@TABLE.op("Adam", domain=DOMAIN)
def adam(
    ctx: Ctx,
    rate: Array,
    count: Array,
    *operands: Array,
    alpha: float = 0.9,
    beta: float = 0.999,
    epsilon: float = 0.0,
    norm_coefficient: float = 0.0,
    norm_coefficient_post: float = 0.0,
) -> Any:
    """Running means of the gradient and its square, bias-corrected from step 1 on. Source: ONNX Adam-1."""
    given, t = jnp.asarray(rate), jnp.asarray(count)
    later = jnp.maximum(t, 1)
    adjusted = jnp.where(t > 0, given * jnp.sqrt(1 - beta**later) / (1 - alpha**later), given)

    def step(x: jax.Array, g: jax.Array, v: jax.Array, h: jax.Array) -> tuple[jax.Array, ...]:
        total = norm_coefficient * x + g
        mean = alpha * v + (1 - alpha) * total
        squares = beta * h + (1 - beta) * (total * total)
        new = x - adjusted * (mean / (jnp.sqrt(squares) + epsilon))
        return (1 - norm_coefficient_post) * new, mean, squares

    return _each(4, operands, step)


@TABLE.op("Momentum", domain=DOMAIN)
def momentum(
    ctx: Ctx,
    rate: Array,
    count: Array,
    *operands: Array,
    alpha: float,
    beta: float,
    mode: str,
    norm_coefficient: float,
) -> Any:
    """A running sum of gradients, plain or by Nesterov. Source: ONNX Momentum-1."""
    share = jnp.where(jnp.asarray(count) > 0, beta, 1.0)

    def step(x: jax.Array, g: jax.Array, v: jax.Array) -> tuple[jax.Array, ...]:
        total = norm_coefficient * x + g
        moved = alpha * v + share * total
        along = total + alpha * moved if mode == "nesterov" else moved
        return x - jnp.asarray(rate) * along, moved

    return _each(3, operands, step)
