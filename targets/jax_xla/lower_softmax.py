"""Softmax, LogSoftmax and Hardmax, along an axis or, in old opsets, over all dims from an axis on."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import TYPE_CHECKING

import jax
import jax.numpy as jnp

from accelc.targets.jax_xla import precision
from accelc.targets.jax_xla.context import Ctx
from accelc.targets.jax_xla.table import LoweringTable

if TYPE_CHECKING:
    from accelc.targets.jax_xla.table import Array

TABLE = LoweringTable()

AlongAxis = Callable[[jax.Array, int], jax.Array]


def _softmax(x: jax.Array, axis: int) -> jax.Array:
    return jax.nn.softmax(x, axis)


def _log_softmax(x: jax.Array, axis: int) -> jax.Array:
    return jax.nn.log_softmax(x, axis)


def _hardmax(x: jax.Array, axis: int) -> jax.Array:
    return jax.nn.one_hot(jnp.argmax(x, axis), x.shape[axis], dtype=x.dtype, axis=axis)


def _wide(along: AlongAxis, x: Array, axis: int) -> jax.Array:
    """Halves are computed in float32. No values along the axis are no values."""
    given = jnp.asarray(x)
    if any(isinstance(n, int) and n == 0 for n in given.shape):
        return given
    return along(given.astype(precision.sum_dtype(given.dtype)), axis).astype(given.dtype)


@TABLE.op("Softmax", since=13)
def softmax(ctx: Ctx, x: Array, *, axis: int = -1) -> Array:
    """``exp(x) / sum(exp(x))`` along ``axis``. Source: ONNX Softmax-13."""
    return _wide(_softmax, x, axis)


@TABLE.op("LogSoftmax", since=13)
def log_softmax(ctx: Ctx, x: Array, *, axis: int = -1) -> Array:
    """Logarithm of the softmax along ``axis``. Source: ONNX LogSoftmax-13."""
    return _wide(_log_softmax, x, axis)


@TABLE.op("Hardmax", since=13)
def hardmax(ctx: Ctx, x: Array, *, axis: int = -1) -> Array:
    """1 at the first maximum along ``axis``, 0 elsewhere. Source: ONNX Hardmax-13."""
    return _wide(_hardmax, x, axis)


def _over_the_rest(along: AlongAxis, x: Array, axis: int) -> jax.Array:
    """The dims from ``axis`` on as one."""
    given = jnp.asarray(x)
    place = axis if axis >= 0 else axis + given.ndim
    outer = math.prod(given.shape[:place])
    inner = math.prod(given.shape[place:])
    return _wide(along, given.reshape(outer, inner), 1).reshape(given.shape)


@TABLE.op("Softmax")
def flat_softmax(ctx: Ctx, x: Array, *, axis: int = 1) -> Array:
    """Softmax over all dims from ``axis`` on. Source: ONNX Softmax-11."""
    return _over_the_rest(_softmax, x, axis)


@TABLE.op("LogSoftmax")
def flat_log_softmax(ctx: Ctx, x: Array, *, axis: int = 1) -> Array:
    """Logarithm of the softmax over all dims from ``axis`` on. Source: ONNX LogSoftmax-11."""
    return _over_the_rest(_log_softmax, x, axis)


@TABLE.op("Hardmax")
def flat_hardmax(ctx: Ctx, x: Array, *, axis: int = 1) -> Array:
    """1 at the first maximum of all dims from ``axis`` on. Source: ONNX Hardmax-11."""
    return _over_the_rest(_hardmax, x, axis)
