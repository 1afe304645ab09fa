"""Losses: NegativeLogLikelihoodLoss and SoftmaxCrossEntropyLoss."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import jax
import jax.numpy as jnp

from accelc.targets.jax_xla import precision
from accelc.targets.jax_xla.context import Ctx
from accelc.targets.jax_xla.lower_softmax import log_probabilities
from accelc.targets.jax_xla.table import LoweringTable

if TYPE_CHECKING:
    from accelc.targets.jax_xla.table import Array

TABLE = LoweringTable()


def _loss(
    logs: jax.Array,
    target: Array,
    weight: Array | None,
    ignore_index: int | None,
    reduction: str,
) -> jax.Array:
    """Weighted mean, sum or list of minus the log-probabilities [N, C, ...] at ``target`` [N, ...]."""
    wide = logs.dtype
    wanted = jnp.asarray(target)
    ignored = jnp.zeros(wanted.shape, bool) if ignore_index is None else wanted == ignore_index
    place = jnp.where(ignored, 0, wanted).astype(jnp.int64)
    picked = -jnp.take_along_axis(logs, jnp.expand_dims(place, 1), axis=1)[:, 0]
    share = jnp.ones(wanted.shape, wide) if weight is None else jnp.asarray(weight).astype(wide)[place]
    share = jnp.where(ignored, 0, share)
    loss = jnp.where(ignored, 0, picked) * share
    if reduction == "none":
        return loss
    return loss.sum() / share.sum() if reduction == "mean" else loss.sum()


@TABLE.op("NegativeLogLikelihoodLoss")
def negative_log_likelihood_loss(
    ctx: Ctx,
    x: Array,
    target: Array,
    weight: Array | None = None,
    *,
    ignore_index: int | None = None,
    reduction: str = "mean",
) -> Array:
    """Minus the log-probabilities x [N, C, ...] of the target classes [N, ...], weighted by class.

    Source: ONNX NegativeLogLikelihoodLoss-22.
    """
    given = jnp.asarray(x)
    wide = given.astype(precision.sum_dtype(given.dtype))
    return _loss(wide, target, weight, ignore_index, reduction).astype(given.dtype)


@TABLE.op("SoftmaxCrossEntropyLoss")
def softmax_cross_entropy_loss(
    ctx: Ctx,
    x: Array,
    target: Array,
    weight: Array | None = None,
    *,
    ignore_index: int | None = None,
    reduction: str = "mean",
) -> Any:
    """As the negative log likelihood of the softmax of scores x [N, C, ...]; also gives the log-probabilities.

    Source: ONNX SoftmaxCrossEntropyLoss-13.
    """
    given = jnp.asarray(x)
    logs = log_probabilities(given.astype(precision.sum_dtype(given.dtype)), 1)
    loss = _loss(logs, target, weight, ignore_index, reduction).astype(given.dtype)
    return loss if ctx.output_count < 2 else (loss, logs.astype(given.dtype))
