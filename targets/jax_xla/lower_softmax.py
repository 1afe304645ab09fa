"""Softmax, LogSoftmax and Hardmax, along an axis or, in old opsets, over all dims from an axis on."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import jax
import jax.numpy as jnp
from jax import lax

from accelc.targets.jax_xla import precision
from accelc.targets.jax_xla.context import Ctx
from accelc.targets.jax_xla.table import LoweringTable

if TYPE_CHECKING:
    from accelc.targets.jax_xla.table import Array

TABLE = LoweringTable()

AlongAxis = Callable[[jax.Array, int], jax.Array]


def probabilities(x: jax.Array, axis: int) -> jax.Array:
    """``exp(x) / sum(exp(x))`` along ``axis``, in the dtype of x."""
    powers = jnp.exp(_below_maximum(x, axis))
    return powers / jnp.sum(powers, axis, keepdims=True)


def log_probabilities(x: jax.Array, axis: int) -> jax.Array:
    """Logarithm of :func:`probabilities`."""
    below = _below_maximum(x, axis)
    return below - jnp.log(jnp.sum(jnp.exp(below), axis, keepdims=True))


def _below_maximum(x: jax.Array, axis: int) -> jax.Array:
    """``x - max(x)``, exactly 0 at the maximum."""
    largest = lax.stop_gradient(jnp.max(x, axis, keepdims=True))
    return _rounded(x, largest) - largest


@jax.custom_jvp
def _rounded(x: jax.Array, largest: jax.Array) -> jax.Array:
    """x, rounded to its dtype before anything is subtracted from it.

    Where x is a product, LLVM contracts it with the subtraction, in some lanes of a vector and not in others; and
    what was not rounded less what was is far from 0 for logits of 1e9: NaN where onnxruntime has probabilities.
    Bits that are combined with a value unknown to the compiler cannot be contracted; the value is 0 unless the
    maximum is NaN, when all results are.
    """
    integer = jnp.dtype(f"int{8 * x.dtype.itemsize}")
    bits = lax.bitcast_convert_type(x, integer) ^ jnp.isnan(largest).astype(integer)
    return lax.bitcast_convert_type(bits, x.dtype)


@_rounded.defjvp
def _rounded_jvp(values: Any, tangents: Any) -> Any:
    return _rounded(*values), tangents[0]


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
    return _wide(probabilities, x, axis)


@TABLE.op("LogSoftmax", since=13)
def log_softmax(ctx: Ctx, x: Array, *, axis: int = -1) -> Array:
    """Logarithm of the softmax along ``axis``. Source: ONNX LogSoftmax-13."""
    return _wide(log_probabilities, x, axis)


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
    return _over_the_rest(probabilities, x, axis)


@TABLE.op("LogSoftmax")
def flat_log_softmax(ctx: Ctx, x: Array, *, axis: int = 1) -> Array:
    """Logarithm of the softmax over all dims from ``axis`` on. Source: ONNX LogSoftmax-11."""
    return _over_the_rest(log_probabilities, x, axis)


@TABLE.op("Hardmax")
def flat_hardmax(ctx: Ctx, x: Array, *, axis: int = 1) -> Array:
    """1 at the first maximum of all dims from ``axis`` on. Source: ONNX Hardmax-11."""
    return _over_the_rest(_hardmax, x, axis)
